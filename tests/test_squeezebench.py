"""The committed table of SqueezeBench: whole seeds of its page, in one small file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from reading import read

import dse
from dse.results import curves, files, packs

FOLDER = Path(__file__).parents[1] / "results/reference/squeezebench"
NETWORKS = 3 * 2 * 5 * 6 * 3 * 4


def test_the_table_is_one_file_of_at_most_ten_megabytes() -> None:
    assert files.names(FOLDER / "trials") == []
    assert sum(files.pack_of(FOLDER, kind).stat().st_size for kind in files.KINDS) < 10e6
    count = len(packs.ids(FOLDER))
    assert count > 0
    assert count % NETWORKS == 0
    assert len(packs.ids(FOLDER, files.COMPRESSED)) == 108


@pytest.mark.slow
def test_its_trials_are_whole_seeds_of_the_page_with_their_curves() -> None:
    table = dse.load(FOLDER)
    page = {trial.trial_id: trial.seed for trial in read(page="squeezebench").trials}
    assert set(table["trial_id"]) <= page.keys()
    assert set(Counter(page[i] for i in table["trial_id"]).values()) == {NETWORKS}
    known, missing = curves.load(FOLDER, table["trial_id"])
    assert missing == []
    finite = table[table["status"] == "learned"]
    last = known.groupby("trial_id")["val_top1"].last()
    assert last[finite["trial_id"]].tolist() == finite["val_top1"].tolist()
    small = dse.load_compressed(FOLDER)
    first = sorted(table.loc[table["seed"] == 0, "trial_id"])[:108]
    assert sorted(small.loc[small["method"] != "none", "trial_id"]) == first
