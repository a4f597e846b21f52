"""`dse.reproduce`: the paper's sweeps in one folder, and a page that is computed from the table.

Its trials are toys, whose accuracies are random.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import pytest
import toy_trial
from reading import composed_once
from test_page import Reader

from dse import reproduce
from dse.compress import table2
from dse.compress.request import Request
from dse.paper.published import FIGURE_3A, FIGURE_3B, TABLE_3
from dse.report import build
from dse.results import records, tables
from dse.sweep import launch
from dse.sweep.request import read_request
from dse.trial.compression import METHODS
from dse.trial.question import Trial

__all__ = ["composed_once"]

FAST = ("lr=0.001", "epochs=1", "seed=0,1,2")
STUDENT = 4.302653
"""97.5% point of Student's t distribution of 2 degrees of freedom."""

FIGURE_3 = (
    ("sr", "pct3x3", FIGURE_3A, 0.125, 0.75),
    ("pct3x3", "sr", FIGURE_3B, 0.01, 0.5),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of `dse.reproduce` with three seeds."""
    home = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(build, "figures_of", lambda *_: {})
        patch.setattr(launch, "run", partial(launch.run, execute="toy_trial:run"))
        assert reproduce.main([*FAST]) == 0
    return home / "results/reproduce"


@pytest.fixture(scope="module")
def table(home: Path) -> pd.DataFrame:
    return tables.load(home)


def accuracies(table: pd.DataFrame, **values: object) -> list[float]:
    """Top-1 of the networks with these values, by seed."""
    wanted = {"sr": 0.125, "pct3x3": 0.5, "bypass": "none", **values}
    rows = table[(table[list(wanted)] == list(wanted.values())).all(axis=1)]
    assert rows["seed"].is_unique
    return rows.sort_values("seed")["top1"].tolist()


def gained(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """The mean difference over three seeds, and the ends of its 95% interval in -100 .. 100."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    half = STUDENT * stdev(differences) / math.sqrt(3)
    mean = fmean(differences)
    return mean, max(mean - half, -100.0), min(mean + half, 100.0)


def points(trained: Iterable[Mapping[str, Any]]) -> set[tuple[object, ...]]:
    return {(row["sr"], row["pct3x3"], row["bypass"], row["seed"]) for row in trained}


def expected(seeds: Sequence[int]) -> set[tuple[object, ...]]:
    """The points of Figure 3 and Table 3; what the sweeps share is trained once."""
    return {
        (*point, seed)
        for point in {
            *((point.value, 0.5, "none") for point in FIGURE_3A),
            *((0.5, point.value, "none") for point in FIGURE_3B),
            *((0.125, 0.5, row.bypass) for row in TABLE_3),
        }
        for seed in seeds
    }


def test_it_trains_figure_3_and_table_3_with_eight_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[Trial] = []

    def run(trials: Sequence[Trial], *_: object, **__: object) -> int:
        asked.extend(trials)
        return 0

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(reproduce, "close", lambda *_: None)
    assert reproduce.main([]) == 0
    assert points(trial.question for trial in asked) == expected(range(8))
    assert len(asked) == 120


def test_seeds_on_the_command_line_replace_the_eight(table: pd.DataFrame) -> None:
    assert points(table.to_dict("records")) == expected([0, 1, 2])
    assert len(table) == 45


def test_it_leaves_figures_tables_and_a_page(home: Path) -> None:
    assert {path.name for path in home.iterdir()} >= {
        "figure3a.svg", "figure3a.png", "figure3b.svg", "figure3b.png", "table3.csv", "table3.md",
        "report.html", "table.csv", "table.parquet",
    }  # fmt: skip
    page = (home / "report.html").read_text()
    assert not re.search("https?:", page.replace("http://www.w3.org", ""))
    assert "45 networks were trained from scratch on digits for 1 epoch: 45 learned." in page
    assert re.findall('data-name="(.*?)"', page)[:2] == ["figure3a.svg", "figure3b.svg"]
    assert "<pre><code>python -m dse.reproduce lr=0.001 epochs=1 seed=0,1,2</code></pre>" in page


def test_the_gains_of_figure_3_are_those_of_its_table(home: Path, table: pd.DataFrame) -> None:
    text = " ".join(Reader((home / "report.html").read_bytes()).texts)
    for column, other, points, before, after in FIGURE_3:
        mean, low, high = gained(
            accuracies(table, **{column: before, other: 0.5}),
            accuracies(table, **{column: after, other: 0.5}),
        )
        assert (
            f"Here: {column}={after:g}: {mean:+.1f} points of top-1 [{low:.1f}, {high:.1f}] "
            f"compared with {before:g}, 3 seeds, p = "
        ) in text
        paper = {point.value: point.top5 for point in points}
        assert f"{paper[before]:.1f}% at {before:g}, {paper[after]:.1f}% at {after:g}" in text
    assert "7 tested here, 7 not decided." in text  # which needs more than three seeds


def test_the_gains_of_table_3_are_those_of_its_table(home: Path, table: pd.DataFrame) -> None:
    drawn = pd.read_csv(home / "table3.csv", keep_default_na=False).set_index("bypass")
    assert drawn.index.tolist() == ["none", "simple", "complex"]
    for row in TABLE_3:
        ours = accuracies(table, bypass=row.bypass)
        assert float(drawn["top1"][row.bypass]) == pytest.approx(fmean(ours))
        if row.bypass != "none":
            mean, low, high = gained(accuracies(table), ours)
            shown = drawn.loc[row.bypass, ["gain", "gain_low", "gain_high"]].astype(float)
            assert shown.tolist() == pytest.approx([mean, low, high], rel=1e-5)
            assert float(drawn["paper_gain"][row.bypass]) == pytest.approx(row.top1 - 57.5)


def test_a_sweep_in_which_all_diverge_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/reproduce"
    diverged = {"status": "diverged", "loss": float("nan"), "val_loss": float("nan")}
    for trial in read_request("reproduce", "", ["seed=0", "sr=0.125,0.5"], "figure3a").trials:
        records.save(folder, toy_trial.record(trial, **diverged), {})
    assert reproduce.main(["figure3a", "seed=0", "sr=0.125,0.5"]) == 0
    assert "\nno network learned\n" in capsys.readouterr().out
    assert (folder / "figure3a.svg").exists()
    text = " ".join(Reader((folder / "report.html").read_bytes()).texts)
    assert "on digits for 20 epochs: 2 with a non-finite loss or gradient." in text
    assert "(6 seeds needed)" in text
    assert "nan" not in text.split()


def test_an_unknown_page_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(["figure9", "sr=0.125"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "`figure9` must be key=value or one of figure3a, figure3b, table3, downsample, widths, "
        "table2"
    ]
    assert reproduce.main(["figure3a", "sr=0", "srr=1"]) == 2
    assert "unknown key `srr`; did you mean `sr`?" in capsys.readouterr().err
    assert reproduce.main(["-cn", "figure3a"]) == 2
    assert "`--config-name` must be left out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_table_2_trains_its_page_and_compresses_it_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[Request] = []

    def train(trials: Sequence[Trial], folder: Path, *_: object, **__: object) -> int:
        for one in trials[1:]:  # the first one has failed
            record = toy_trial.record(one)
            records.save(folder, record, {"weights.safetensors": b"weights"})
        return 1

    def compress(request: Request, **_: object) -> int:
        asked.append(request)
        return 0

    monkeypatch.setattr(launch, "run", train)
    monkeypatch.setattr(table2, "run", compress)
    monkeypatch.setattr(table2, "close", lambda request: None)
    monkeypatch.setattr(reproduce, "close", lambda *_: None)
    assert reproduce.main(["table2", "seed=0,1"]) == 1
    (request,) = asked
    trials = {one.trial.trial_id: one.trial for one in request.compressions}
    points = [(t.architecture.__class__.__name__, t.seed) for t in trials.values()]
    assert sorted(points) == [("AlexNet", 0), ("AlexNet", 1), *[("Architecture", 0)] * 4,
                              *[("Architecture", 1)] * 5]  # fmt: skip
    assert len(request.names) == len(trials) * 6
    assert {one.settings.method for one in request.compressions} == set(METHODS)
