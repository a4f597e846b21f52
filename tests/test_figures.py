"""Figures and tables of made-up records show the effects that were planted in them."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dse.analysis.figures import FIGURES, downsample, figure3a, trainability, widths
from dse.analysis.plotting import encoded
from dse.analysis.statistics import interval
from dse.analysis.sweeps import NoSweep, accuracy_column, gain, one_sweep
from dse.analysis.table3 import TABLES, table3
from dse.paper import published as paper
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.space.cost import cost, mebibytes
from dse.trial import datasets
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol
from dse.trial.question import Trial, trial_from
from dse.trial.record import COLUMNS

SR = (0.125, 0.25, 0.5, 0.75, 1.0)
PCT = (0.01, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.99)
WIRES = {"none": 0.0, "simple": 0.5, "complex": -0.25}
POOLS = {"1-2-3": -3.0, "1-4-8": 0.0, "7-8-9": 2.0}
SEEDS = {0: 0.0, 1: 2.0, 2: 5.0}
"""Seeds differ by points: only paired differences show the effect of a bypass."""

BASE = Trial(
    metaparameters=Metaparameters(base_e=16, incr_e=16, sr=0.5),
    layout=replace(LAYOUTS["px16"], norm="batch", head_relu=False),
    protocol=Protocol(image_size=12),
)


def planted(row: dict[str, Any]) -> float:
    """A question's top-1 accuracy, percent; simple bypass gains 0.1 more from seed to seed."""
    return (
        50
        + 30 * math.sqrt(row["sr"])
        - 20 * (row["pct3x3"] - 0.5) ** 2
        + WIRES[row["bypass"]]
        + (row["seed"] - 1) * 0.1 * (row["bypass"] == "simple")
        + POOLS[row["pool_after"]]
        + (row["base_e"] - 16) / 4
        + (row["incr_e"] - 16) / 16
        - (row["freq"] - 2)
        + SEEDS[row["seed"]]
    )


def sweep(**axes: Iterable[Any]) -> list[dict[str, Any]]:
    """The rows of a sweep: exact costs, planted accuracies."""
    rows = []
    for values in itertools.product(*({"seed": SEEDS} | axes).values()):
        chosen = dict(zip({"seed": SEEDS} | axes, values, strict=True))
        trial = trial_from(BASE.question | chosen)
        price = cost(trial.architecture, trial.protocol.image_size)
        answer = {
            "macs": price.macs,
            "size_bytes": price.size_bytes,
            "status": "learned",
            "top1": planted(trial.question),
            "top5": planted(trial.question) + 5,
        }
        rows.append({"trial_id": trial.trial_id, **trial.question, **answer})
    return rows


def shuffled(*sweeps: list[dict[str, Any]]) -> pd.DataFrame:
    """A folder's table after several sweeps, in random order."""
    together = pd.DataFrame(itertools.chain(*sweeps)).drop_duplicates("trial_id")
    return together.sample(frac=1, random_state=1).reset_index(drop=True)


def folder() -> pd.DataFrame:
    """Every sweep that has a figure, and smaller ones of other trials."""
    return shuffled(
        sweep(sr=SR),
        sweep(sr=SR[:3], epochs=(7,)),
        sweep(pct3x3=PCT),
        sweep(pct3x3=PCT[3:], sr=(0.125,)),
        sweep(bypass=WIRES),
        sweep(pool_after=POOLS),
        sweep(base_e=(8, 16), incr_e=(8, 16), freq=(2, 4)),
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return folder()


def means(axes: Axes, number: int = 0) -> tuple[list[float], list[float]]:
    """The x and y of a line with error bars, as drawn."""
    drawn = axes.containers[number].lines[0]
    return list(drawn.get_xdata()), list(drawn.get_ydata())


def intervals(axes: Axes, number: int = 0) -> list[tuple[float, ...]]:
    """The low and the high end of a line's error bars, as drawn; `()` where there is none."""
    (segments,) = axes.containers[number].lines[2]
    return [tuple(y for _, y in bar if not math.isnan(y)) for bar in segments.get_segments()]


def texts(figure: Figure) -> str:
    parts = [axes.get_title() + axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    return " ".join(parts)


# Finding a sweep in a table -------------------------------------------------------------------


def test_one_sweep_is_the_largest_and_whole(table: pd.DataFrame) -> None:
    rows = one_sweep(table, "sr")
    assert len(rows) == len(SR) * len(SEEDS)
    assert set(rows["sr"]) == set(SR)
    for name, value in BASE.question.items():
        if name not in ("sr", "seed"):
            assert set(rows[name]) == {value}
    assert len(one_sweep(table, "pct3x3")) == len(PCT) * len(SEEDS)
    assert len(one_sweep(table, "base_e", "incr_e", "freq")) == 8 * len(SEEDS)


@pytest.mark.parametrize("name", [*FIGURES, *TABLES])
def test_an_empty_table_holds_no_sweep(name: str) -> None:
    """As where every trial failed."""
    draw = {**FIGURES, **TABLES}[name]
    with pytest.raises(NoSweep):
        draw(pd.DataFrame(columns=list(COLUMNS)))


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_seeds_alone_are_not_a_sweep(seeds: tuple[int, ...]) -> None:
    table = pd.DataFrame(sweep(seed=seeds))
    for name, draw in {**FIGURES, **TABLES}.items():
        with pytest.raises(ValueError, match="the table holds no sweep over"):
            draw(table)
        assert name in ("figure3a", "figure3b", "table3", "downsample", "widths", "trainability")


def test_points_of_two_sweeps_are_not_a_sweep() -> None:
    """The two points differ in sr, and in epochs too."""
    table = shuffled(sweep(sr=(0.25,), epochs=(7,)), sweep(sr=(0.5,)))
    with pytest.raises(ValueError, match="no sweep over sr"):
        one_sweep(table, "sr")


def test_gain_is_paired_by_seed(table: pd.DataFrame) -> None:
    name, gained = gain(table, "sr", 0.25, 1.0)
    assert name == "top-1"
    assert gained.mean == pytest.approx(30 - 15)
    assert gained.low == pytest.approx(15)  # each seed gains the same
    assert gained.count == 3
    _, lost = gain(table, "sr", 1.0, 0.25)
    assert lost.mean == pytest.approx(-15)


# Figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "values"), [("figure3a", "sr", SR), ("figure3b", "pct3x3", PCT)]
)
def test_figure3_draws_our_points_at_their_size_and_accuracy(
    table: pd.DataFrame, name: str, column: str, values: tuple[float, ...]
) -> None:
    figure = FIGURES[name](table)
    ours = figure.axes[0]
    x, y = means(ours)
    expected = [sweep(**{column: (value,)}) for value in values]
    assert x == pytest.approx([mebibytes(rows[0]["size_bytes"]) for rows in expected])
    assert y == pytest.approx([sum(row["top1"] for row in rows) / 3 for rows in expected])
    for (low, high), rows in zip(intervals(ours), expected, strict=True):
        planted = interval([row["top1"] for row in rows])
        assert (low, high) == pytest.approx((planted.low, planted.high))
    assert y.index(max(y)) == (len(SR) - 1 if column == "sr" else PCT.index(0.5))
    above = ours.child_axes[0]
    figure.draw_without_rendering()
    assert above.get_xticks().tolist() == pytest.approx(x)
    assert [float(t.get_text()) for t in above.get_xticklabels()] == list(values)
    assert column in above.get_xlabel()
    assert "digits, 20 epochs, 3 seeds" in ours.get_title()
    assert "top-1" in ours.get_ylabel()


@pytest.mark.parametrize(
    ("name", "points", "fixed"),
    [
        ("figure3a", paper.FIGURE_3A, {"pct3x3": 0.5}),
        ("figure3b", paper.FIGURE_3B, {"sr": 0.5}),
    ],
)
def test_the_papers_points_have_a_panel_of_their_own(
    table: pd.DataFrame, name: str, points: tuple[paper.Point, ...], fixed: dict[str, float]
) -> None:
    """They are at the exact sizes of the ImageNet networks, which the paper's labels round."""
    figure = FIGURES[name](table)
    ours, theirs = figure.axes
    (drawn,) = theirs.lines
    assert drawn.get_ydata().tolist() == [point.top5 for point in points]
    column = "sr" if name == "figure3a" else "pct3x3"
    sizes = [
        mebibytes(cost(generate(Metaparameters(**fixed, **{column: p.value})), 224).size_bytes)
        for p in points
    ]
    assert drawn.get_xdata().tolist() == pytest.approx(sizes)
    for size, point in zip(sizes, points, strict=True):
        assert float(point.size_label) == pytest.approx(size, abs=1)
    for words in (theirs.get_title(), theirs.get_ylabel()):
        assert "ImageNet" in words
        assert "ImageNet" not in ours.get_title() + ours.get_ylabel()
    assert "top-5" in theirs.get_ylabel()


def test_top5_is_shown_from_100_classes_on(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for classes, name, more in ((99, "top1", 0), (100, "top5", 5)):
        facts = {"digits": replace(DATA_SETS["digits"], num_classes=classes)}
        monkeypatch.setattr(datasets, "DATA_SETS", facts)
        axes = figure3a(table).axes[0]
        rows = sweep(sr=(1.0,))
        assert means(axes)[1][-1] == pytest.approx(sum(row["top1"] for row in rows) / 3 + more)
        assert name.replace("top", "top-") in axes.get_ylabel()
        assert name in table3(table).columns


def test_one_seed_has_no_interval_and_says_so() -> None:
    axes = figure3a(pd.DataFrame(sweep(sr=SR, seed=(1,)))).axes[0]
    assert means(axes)[1] == pytest.approx([50 + 30 * math.sqrt(sr) + 2 for sr in SR])
    assert not any(intervals(axes))
    assert "1 seed\n" in axes.get_title()
    assert "interval" not in axes.get_title()


def test_no_error_bar_leaves_0_to_100_percent() -> None:
    """Student's interval of 5, 0, 0 ends below 0 %, that of 95, 100, 100 above 100 %."""
    rows = sweep(sr=SR[:2])
    for row, accuracy in zip(rows, (5.0, 95.0, 0.0, 100.0, 0.0, 100.0), strict=True):
        row["top1"] = accuracy
    table = pd.DataFrame(rows)
    ends = intervals(figure3a(table).axes[0])
    assert (ends[0][0], ends[1][1]) == pytest.approx((0, 100))
    assert (ends[0][1], ends[1][0]) == pytest.approx((8.84, 91.16), abs=0.01)


def test_two_seeds_have_no_interval_and_the_title_says_so() -> None:
    axes = figure3a(pd.DataFrame(sweep(sr=SR[:2], seed=(0, 1)))).axes[0]
    assert not any(intervals(axes))
    assert axes.get_title().endswith("2 seeds\nmean, each seed")


def test_networks_that_did_not_learn_are_drawn_and_counted(table: pd.DataFrame) -> None:
    dead = table.copy()
    place = (dead["sr"] == 1.0) & (dead["seed"] == 2)
    dead.loc[place, ["status", "top1"]] = ["never_learned", 10.0]
    axes = figure3a(dead).axes[0]
    assert means(axes)[1][-1] == pytest.approx((80 + 82 + 10) / 3)
    assert "14 learned, 1 at chance" in axes.get_title()


def test_downsample_draws_pooling_at_its_macs(table: pd.DataFrame) -> None:
    (axes,) = downsample(table).axes
    drawn = {text.get_text(): text.xy for text in axes.texts}
    assert drawn.keys() == POOLS.keys()
    for number, (pools, effect) in enumerate(POOLS.items()):
        macs = sweep(pool_after=(pools,))[0]["macs"] / 1e6
        mean = 50 + 30 * math.sqrt(0.5) + effect + 7 / 3
        assert drawn[pools] == pytest.approx((macs, mean))
        assert [v for (v,) in means(axes, number)] == pytest.approx([macs, mean])
    assert drawn["7-8-9"][0] > drawn["1-4-8"][0] > drawn["1-2-3"][0]  # late pooling costs more


def test_widths_draws_a_line_for_each_growth() -> None:
    table = shuffled(sweep(base_e=(8, 32), incr_e=(0, 8), freq=(2, 4)))
    (axes,) = widths(table).axes
    labels = [container.get_label() for container in axes.containers]
    assert labels == [f"incr_e {g}, freq {f}" for g in (0, 8) for f in (2, 4)]
    for number, (growth, freq) in enumerate(itertools.product((0, 8), (2, 4))):
        rows = [sweep(base_e=(b,), incr_e=(growth,), freq=(freq,)) for b in (8, 32)]
        x, y = means(axes, number)
        assert x == pytest.approx([mebibytes(row[0]["size_bytes"]) for row in rows])
        assert y == pytest.approx([sum(r["top1"] for r in row) / 3 for row in rows])
        assert y[1] - y[0] == pytest.approx(24 / 4)


def test_widths_without_some_of_its_points_draws_the_others() -> None:
    """As where trials failed: freq 4 has a record for one growth alone."""
    known = sweep(base_e=(8, 32), incr_e=(0, 8), freq=(2,))
    (axes,) = widths(shuffled(known, sweep(base_e=(8,), incr_e=(8,), freq=(4,)))).axes
    labels = [container.get_label() for container in axes.containers]
    assert labels == ["incr_e 0, freq 2", "incr_e 8, freq 2", "incr_e 8, freq 4"]
    assert [len(means(axes, number)[0]) for number in range(3)] == [2, 2, 1]


# Files ----------------------------------------------------------------------------------------


def digests() -> list[str]:
    """The SHA-256 of one figure in both formats."""
    figure = figure3a(pd.DataFrame(sweep(sr=SR[:2])))
    return [hashlib.sha256(content).hexdigest() for content in encoded(figure, "svg", "png")]


def test_the_same_table_gives_the_same_bytes_in_every_process() -> None:
    there = subprocess.run(
        [sys.executable, "-c", "import test_figures; print(*test_figures.digests())"],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert there.stdout.split() == digests()


def test_figures_are_encoded_in_the_format_asked_for(table: pd.DataFrame) -> None:
    figure = figure3a(table)
    png, svg = encoded(figure, "png", "svg")
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (1350, 585)  # 9 by 3.9 inches at 150 dpi
    assert b"<svg" in svg[:1000]
    assert b"<dc:date>" not in svg


# Tables ---------------------------------------------------------------------------------------


def test_table3_is_in_the_papers_order_with_paired_gains(table: pd.DataFrame) -> None:
    result = table3(table).set_index("bypass")
    assert list(result.index) == ["none", "simple", "complex"]
    assert result["seeds"].tolist() == [3, 3, 3]
    base = 50 + 30 * math.sqrt(0.5) + 7 / 3
    assert result["top1"].tolist() == pytest.approx([base, base + 0.5, base - 0.25])
    assert result["gain"].tolist() == pytest.approx([math.nan, 0.5, -0.25], nan_ok=True)
    # Seeds differ by points, their gains by tenths: 0.5 +- 4.303 * 0.1 / sqrt(3).
    assert result.loc["simple", "gain_low"] == pytest.approx(0.5 - 0.2484, abs=1e-4)
    assert result.loc["simple", "gain_high"] == pytest.approx(0.5 + 0.2484, abs=1e-4)
    assert result.loc["complex", "gain_high"] == pytest.approx(-0.25)
    assert result.loc["simple", "top1_high"] - result.loc["simple", "top1_low"] > 10
    assert result["size_bytes"].tolist() == [
        sweep(bypass=(bypass,))[0]["size_bytes"] for bypass in result.index
    ]
    assert result["paper_top1"].tolist() == [57.5, 60.4, 58.8]
    assert result["paper_top5"].tolist() == [80.3, 82.5, 82.0]
    assert result["paper_gain"].tolist() == pytest.approx([math.nan, 2.9, 1.3], nan_ok=True)
    assert result["paper_size"].tolist() == ["4.8MB", "4.8MB", "7.7MB"]


def test_table3_without_its_base_has_no_gain() -> None:
    result = table3(shuffled(sweep(bypass=("complex", "simple")))).set_index("bypass")
    assert list(result.index) == ["simple", "complex"]
    assert result[["gain", "gain_low", "gain_high"]].isna().all(axis=None)
    assert result["top1"].notna().all()


def test_table3_pairs_the_seeds_that_both_have() -> None:
    table = shuffled(sweep(bypass=("none",), seed=(0, 1)), sweep(bypass=("simple",), seed=(1, 2)))
    result = table3(table).set_index("bypass")
    assert result["seeds"].tolist() == [2, 2]
    assert result.loc["simple", "gain"] == pytest.approx(0.5)
    assert math.isnan(result.loc["simple", "gain_low"])


# Trainability ---------------------------------------------------------------------------------

DEATHS = {("none", True): 0.75, ("none", False): 0.25, ("batch", True): 0.0, ("batch", False): 0.0}
"""norm and ReLU on the scores -> the share of runs that never learn."""


def mortal() -> pd.DataFrame:
    """Every combination at two squeeze ratios and two seeds: four runs each."""
    rows = sweep(norm=("none", "batch"), head_relu=(True, False), sr=(0.125, 0.5), seed=(0, 1))
    for row in rows:
        deaths = round(4 * DEATHS[row["norm"], row["head_relu"]])
        run = 2 * (row["sr"] == 0.5) + row["seed"]
        row["status"] = "learned" if run >= deaths else "diverged" if run == 0 else "never_learned"
        if run == 3 and row["norm"] == "batch":
            row["status"] = "partly_dead"
    return shuffled(rows, sweep(init=("he", "xavier"), epochs=(7,)))


def test_trainability_shows_each_combinations_share_of_deaths() -> None:
    figure = trainability(mortal())
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        "batch norm, no ReLU, he",
        "batch norm, ReLU, he",
        "no norm, no ReLU, he",
        "no norm, ReLU, he",
    ]
    assert means(axes, 0)[0] == [0.0, 0.0, 25.0, 75.0]  # never learned, or diverged
    assert means(axes, 1)[0] == [25.0, 25.0, 0.0, 0.0]  # partly dead
    assert "4 runs a line" in axes.get_title()
    low, high = axes.containers[0].lines[2][0].get_segments()[3][:, 0]
    assert (low, high) == pytest.approx((30.06, 95.44), abs=0.01)


def test_trainability_needs_two_combinations() -> None:
    with pytest.raises(NoSweep, match="no sweep over norm, head_relu, init"):
        trainability(pd.DataFrame(sweep(sr=SR)))


def test_a_folder_of_pictures_has_its_classes_in_its_manifest() -> None:
    rows = sweep(sr=SR[:2])
    assert accuracy_column(pd.DataFrame(rows)) == "top1"
    for row in rows:
        row |= {"data": "image_folder", "manifest": f"1000-2000-500-{'0' * 20}"}
    assert accuracy_column(pd.DataFrame(rows)) == "top5"
