"""A search with real processes: what is stored is not trained, hopeless trials are stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from toy_search import search
from toy_trial import epochs

from dse.search.storage import JOURNAL

SMALL = (
    "base_e=8,16",
    "incr_e=8",
    "sr=0.125,0.5",
    "pct3x3=0.25,0.5",
    "bypass=none",
    "pool_after=1-4-8",
)


def entries(folder: Path, study: int) -> list[FrozenTrial]:
    """All entries of a study of the folder."""
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL))).get_all_trials(study)


def records_of(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("trials/*/record.json")}


def test_hopeless_trials_are_stopped_and_leave_no_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    arguments = (*SMALL, "sampler=random", "n_trials=6", "epochs=8", "stopping=halving")
    assert search(folder, *arguments, execute="toy_search:train") == 0
    found = [e for e in entries(folder, 0) if "repeat" not in e.user_attrs]
    stopped = [e for e in found if e.state.name == "PRUNED"]
    done = [e for e in found if e.state.name == "COMPLETE"]
    assert len(stopped) + len(done) == 6
    assert len(stopped) >= 2
    assert len(records_of(folder)) == len(done)
    assert all(2 <= len(e.user_attrs["curve"]) < 8 for e in stopped)
    assert all(e.user_attrs["curve"][-1] < max(d.value for d in done) for e in stopped)
    assert len(epochs(folder)) < 6 * 8
    assert "stopped early" in capfd.readouterr().err
    before = len(epochs(folder))
    assert search(folder, *arguments, execute="toy_search:train") == 0
    assert len(epochs(folder)) == before
    # another study compares with what is stored, so that it stops the same trials
    assert search(folder, *arguments, "study=again", execute="toy_search:train") == 0
    assert len(records_of(folder)) == len(done)


def test_what_the_folder_has_is_not_trained_by_another_study(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    seeds = ("seed=0,1", "runner.workers=2")
    assert search(folder, *SMALL, *seeds, "sampler=grid", "n_trials=4") == 0
    assert len(records_of(folder)) == 2 * 4
    trained = len(epochs(folder))
    assert search(folder, *SMALL, *seeds, "sampler=random", "n_trials=100") == 0
    assert len(records_of(folder)) == 2 * 8, "the space has eight points"
    assert len(epochs(folder)) == 2 * trained
    stored = [e for e in entries(folder, 1) if e.user_attrs.get("stored")]
    assert len(stored) == 4
    means = {str(e.user_attrs["point"]): e.value for e in entries(folder, 0)}
    assert {str(e.user_attrs["point"]): e.value for e in stored} == means
