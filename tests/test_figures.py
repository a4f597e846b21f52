"""Figures of made-up records show the whole table, and the effects that were planted in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import intervals, labels, means, text
from matplotlib.figure import Figure
from swept import PCT, POOLS, SR, WIRES, shuffled, swept

from dse.analysis import lines as analysis_lines
from dse.analysis.axes import NoSweep, sweep
from dse.analysis.statistics import interval
from dse.analysis.table3 import table3
from dse.figures.effects import effects
from dse.figures.fronts import fronts
from dse.figures.paper import FIGURES, downsample, figure3a, figure3b, widths
from dse.figures.plots import plot
from dse.figures.plotting import CAPTION_ROWS, COLOURS, caption, panels
from dse.paper import published as paper
from dse.space.architecture import Metaparameters, generate
from dse.space.cost import cost, mebibytes
from dse.trial import datasets
from dse.trial.datasets import DATA_SETS
from dse.trial.record import COLUMNS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Figure 3 and the three values of bypass, in one folder."""
    return shuffled(swept(sr=SR), swept(pct3x3=PCT), swept(bypass=WIRES))


# Whole tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "values", "others"),
    [("figure3a", "sr", SR, 8 + 2), ("figure3b", "pct3x3", PCT, 4 + 2)],
)
def test_figure3_draws_our_points_at_their_size_and_accuracy(
    table: pd.DataFrame, name: str, column: str, values: tuple[float, ...], others: int
) -> None:
    figure = FIGURES[name](table, "")
    ours = figure.axes[0]
    x, y = means(ours)
    expected = [swept(**{column: (value,)}) for value in values]
    assert x == pytest.approx([mebibytes(rows[0]["size_bytes"]) for rows in expected])
    assert y == pytest.approx([sum(row["top1"] for row in rows) / 3 for rows in expected])
    for (low, high), rows in zip(intervals(ours), expected, strict=True):
        known = interval([row["top1"] for row in rows])
        assert (low, high) == pytest.approx((known.low, known.high))
    assert y.index(max(y)) == (len(SR) - 1 if column == "sr" else PCT.index(0.5))
    assert len(ours.containers) == 1
    words = text(figure)
    above = ours.child_axes[0]
    assert above.get_xticks().tolist() == pytest.approx(x)
    assert [float(t.get_text()) for t in above.get_xticklabels()] == list(values)
    assert column in above.get_xlabel()
    assert "digits, 20 epochs" in ours.get_title()
    assert "top-1" in ours.get_ylabel()
    assert "95% interval and each of 3 seeds" in words
    assert f"Not shown: {3 * others} trials without another" in words


def test_every_seed_is_drawn(table: pd.DataFrame) -> None:
    ours = figure3a(table).axes[0]
    (dots,) = [line for line in ours.lines if line.get_marker() == "."]
    assert sorted(dots.get_ydata()) == pytest.approx(sorted(row["top1"] for row in swept(sr=SR)))


@pytest.mark.parametrize(
    ("draw", "along", "other", "values"),
    [
        (figure3a, {"sr": SR[:3]}, "pct3x3", (0.25, 0.5, 0.75)),
        (figure3b, {"pct3x3": PCT[:3]}, "sr", (0.25, 0.5, 0.75)),
        (figure3a, {"sr": SR[:2]}, "epochs", (20, 40)),
        (figure3a, {"sr": SR[:2]}, "lr", (0.01, 0.15)),
        (figure3a, {"sr": SR[:2]}, "bypass", ("none", "simple", "complex")),
        (downsample, {"pool_after": POOLS}, "sr", (0.25, 0.5)),
        (widths, {"base_e": (8, 16)}, "sr", (0.25, 0.5)),
    ],
)
def test_each_value_of_another_axis_has_a_line(
    draw: Callable[..., Figure], along: dict[str, Any], other: str, values: tuple[Any, ...]
) -> None:
    """No row is dropped, and none of another value is on a line."""
    figure = draw(shuffled(swept(**along, **{other: values})))
    axes = figure.axes[0]
    assert labels(axes) == [f"{other} {value}" for value in values]
    (column,) = along
    for number, value in enumerate(values):
        rows = [swept(**{column: (one,), other: (value,)}) for one in along[column]]
        assert means(axes, number)[1] == pytest.approx(
            [np.mean([r["top1"] for r in s]) for s in rows]
        )
    assert "no line" not in text(figure)


@pytest.mark.parametrize(
    ("draw", "along", "moved"),
    [(figure3a, {"sr": SR[:2]}, False), (downsample, {"pool_after": POOLS}, True)],
)
def test_lines_are_moved_apart_where_no_size_says_their_place(
    draw: Callable[..., Figure], along: dict[str, Any], moved: bool
) -> None:
    figure = draw(shuffled(swept(**along, lr=(0.1, 0.2))))
    axes = figure.axes[0]
    lines = [one.lines[0] for one in axes.containers]
    assert len(lines) == 2
    assert all((one.get_transform() != axes.transData) == moved for one in lines)
    assert ("at the same place is drawn side by side" in text(figure)) == moved


def test_two_layouts_are_two_lines() -> None:
    small = {"conv1_filters": 12, "pool_after": "1-4"}
    px8 = [{**row, **small, "trial_id": f"px8 {row['trial_id']}"} for row in swept(sr=SR[:2])]
    axes = figure3a(shuffled(swept(sr=SR[:2]), px8)).axes[0]
    assert sorted(labels(axes)) == ["layout px16", "layout px8"]


def test_a_field_that_varies_with_another_has_no_figure() -> None:
    with pytest.raises(NoSweep, match="no two trials differ in `sr` alone: epochs varies with it"):
        figure3a(shuffled(swept(sr=(0.25,), epochs=(7,)), swept(sr=(0.5,))))


def test_lines_that_cannot_be_read_are_not_drawn() -> None:
    rows = swept(seed=(0,), sr=SR[:2], lr=[n / 100 for n in range(1, 12)])
    with pytest.raises(NoSweep, match=r"11 lines along `sr` are too many to read \(at most 10\)"):
        figure3a(shuffled(rows))
    assert len(labels(figure3a(shuffled(rows[:10] + rows[11:21])).axes[0])) == 10


def test_two_thousand_settings_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is known before the first line is built."""
    pair = pd.DataFrame(swept(seed=(0,), sr=SR[:2]))
    many = pair.loc[np.tile(pair.index, 2000)].reset_index(drop=True)
    many = many.assign(lr=many.index // 2 + 1.0, trial_id=many.index.map(str))
    monkeypatch.delattr(analysis_lines, "Line")
    with pytest.raises(NoSweep, match="2,000 lines"):
        figure3a(many)


# The paper's points ------------------------------------------------------------------------------


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
    ours, theirs = FIGURES[name](table, "").axes
    (drawn,) = theirs.lines
    assert drawn.get_ydata().tolist() == [point.top5 for point in points]
    assert drawn.get_color() not in COLOURS  # which measured lines have
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


@pytest.mark.parametrize(
    ("draw", "rows", "words"),
    [
        (figure3a, swept(sr=SR[:2], pct3x3=(0.25, 0.75)), "no line here has their pct3x3 0.5."),
        (figure3b, swept(pct3x3=PCT[:2], sr=(0.125,)), "no line here has their sr 0.5."),
        (figure3a, swept(sr=SR[:2], freq=(1,)), "no line here has their freq 2."),
        (figure3a, swept(sr=SR[:2], bypass=("simple",)), "no line here has their bypass none."),
    ],
)
def test_the_papers_points_are_shown_only_where_they_compare(
    draw: Callable[..., Figure], rows: list[dict[str, Any]], words: str
) -> None:
    figure = draw(shuffled(rows))
    assert len(figure.axes) == 1
    assert f"The paper's points are not shown: {words}" in text(figure)


def test_one_comparable_line_is_enough_for_the_papers_points() -> None:
    figure = figure3a(shuffled(swept(sr=SR[:2], pct3x3=(0.25, 0.5))))
    assert len(figure.axes) == 2
    assert "pct3x3 0.5" in figure.axes[1].get_title()
    assert "not shown" not in text(figure).lower()


# Seeds and outcomes ------------------------------------------------------------------------------


def test_top5_is_shown_from_100_classes_on(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for classes, name, more in ((99, "top-1", 0), (100, "top-5", 5)):
        facts = {"digits": replace(DATA_SETS["digits"], num_classes=classes)}
        monkeypatch.setattr(datasets, "DATA_SETS", facts)
        axes = figure3a(table).axes[0]
        rows = swept(sr=(1.0,))
        assert means(axes)[1][-1] == pytest.approx(sum(row["top1"] for row in rows) / 3 + more)
        assert name in axes.get_ylabel()


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((1,), "One run each."), ((0, 1), "Mean and each of 2 seeds.")],
)
def test_fewer_than_three_seeds_have_no_interval(seeds: tuple[int, ...], words: str) -> None:
    figure = figure3a(shuffled(swept(sr=SR[:2], seed=seeds)))
    assert not any(intervals(figure.axes[0]))
    assert words in text(figure)
    assert "interval" not in text(figure)


def test_configurations_with_fewer_seeds_have_no_interval_and_are_named() -> None:
    figure = figure3a(shuffled(swept(sr=(0.125, 0.5)), swept(sr=(0.25,), seed=(0,))))
    assert [len(ends) for ends in intervals(figure.axes[0])] == [2, 0, 2]
    assert "95% interval (from 3 seeds on) and each of 1-3 seeds" in text(figure)


def test_no_error_bar_leaves_0_to_100_percent() -> None:
    """Student's interval of 5, 0, 0 ends below 0%, that of 95, 100, 100 above 100%."""
    rows = swept(sr=SR[:2])
    for row, accuracy in zip(rows, (5.0, 95.0, 0.0, 100.0, 0.0, 100.0), strict=True):
        row["top1"] = accuracy
    ends = intervals(figure3a(pd.DataFrame(rows)).axes[0])
    assert (ends[0][0], ends[1][1]) == pytest.approx((0, 100))
    assert (ends[0][1], ends[1][0]) == pytest.approx((8.84, 91.16), abs=0.01)


def test_networks_that_did_not_learn_are_drawn_and_counted(table: pd.DataFrame) -> None:
    dead = table.copy()
    place = (dead["sr"] == 1.0) & (dead["seed"] == 2)
    dead.loc[place, ["status", "top1"]] = ["never_learned", 10.0]
    figure = figure3a(dead)
    assert means(figure.axes[0])[1][-1] == pytest.approx((80 + 82 + 10) / 3)
    assert "14 learned, 1 at chance." in text(figure)


def test_trials_without_an_accuracy_are_counted_not_averaged(table: pd.DataFrame) -> None:
    damaged = table.copy()
    damaged.loc[damaged["sr"] == 1.0, "top1"] = math.nan
    damaged.loc[(damaged["sr"] == 0.75) & (damaged["seed"] == 0), "top1"] = math.nan
    figure = figure3a(damaged)
    assert len(means(figure.axes[0])[1]) == 4
    assert [len(ends) for ends in intervals(figure.axes[0])] == [2, 2, 2, 0]
    words = "Not shown: 30 trials without another that differs in sr alone. Not shown: 4 trials "
    assert f"{words}without a value of top1." in text(figure)
    with pytest.raises(NoSweep, match="no trial has a value of top1"):
        figure3a(table.assign(top1=math.nan))


# Other figures -----------------------------------------------------------------------------------


def test_downsample_is_in_the_order_of_the_macs() -> None:
    figure = downsample(shuffled(swept(pool_after=POOLS)))
    (axes,) = figure.axes
    assert means(axes)[0] == [0, 1, 2]
    assert means(axes)[1] == pytest.approx(
        [50 + 30 * math.sqrt(0.5) + POOLS[pools] + 7 / 3 for pools in ("1-2-3", "1-4-8", "7-8-9")]
    )
    for label, pools in zip(axes.get_xticklabels(), ("1-2-3", "1-4-8", "7-8-9"), strict=True):
        name, macs = label.get_text().split("\n")
        assert name == pools
        assert float(macs) == pytest.approx(swept(pool_after=(pools,))[0]["macs"] / 1e6, rel=0.01)
    assert "MACs of one image (millions)" in axes.get_xlabel()


def test_downsample_joins_points_from_left_to_right() -> None:
    """Also where the order of the names is another one than that of the MACs."""
    pools = ("none", "1-4", "1-4-8", "3-5")
    (axes,) = downsample(shuffled(swept(pool_after=pools))).axes
    x, y = means(axes)
    assert x == [0, 1, 2, 3]
    names = [label.get_text().split("\n")[0] for label in axes.get_xticklabels()]
    assert names == sorted(pools, key=lambda one: swept(pool_after=(one,))[0]["macs"])
    for name, mean in zip(names, y, strict=True):
        rows = swept(pool_after=(name,))
        assert mean == pytest.approx(sum(row["top1"] for row in rows) / len(rows))


def test_widths_draws_a_line_for_each_growth() -> None:
    figure = widths(shuffled(swept(base_e=(8, 32), incr_e=(0, 8), freq=(2, 4))))
    (axes,) = figure.axes
    assert labels(axes) == [f"incr_e {g}, freq {f}" for g in (0, 8) for f in (2, 4)]
    for number, (growth, freq) in enumerate(itertools.product((0, 8), (2, 4))):
        rows = [swept(base_e=(b,), incr_e=(growth,), freq=(freq,)) for b in (8, 32)]
        x, y = means(axes, number)
        assert x == pytest.approx([mebibytes(row[0]["size_bytes"]) for row in rows])
        assert y == pytest.approx([sum(r["top1"] for r in row) / 3 for row in rows])
        assert y[1] - y[0] == pytest.approx(24 / 4)
    assert "along a line: base_e 8, 32" in text(figure)


def test_widths_without_some_of_its_points_draws_the_others() -> None:
    """As where trials failed: one setting has a single width, which is no line."""
    known = swept(base_e=(8, 32), incr_e=(0, 8), freq=(2,))
    figure = widths(shuffled(known, swept(base_e=(8,), incr_e=(8,), freq=(4,))))
    assert labels(figure.axes[0]) == ["incr_e 0, freq 2", "incr_e 8, freq 2"]
    assert "Not shown: 3 trials without another that differs in base_e alone" in text(figure)


def test_a_long_caption_makes_the_figure_higher_and_no_plot_lower() -> None:
    inches = []
    for rows in (CAPTION_ROWS, CAPTION_ROWS + 20):
        figure, (axes,) = panels(1, 3.4)
        caption(figure, *["x" * 80] * rows)  # a row each
        figure.draw_without_rendering()
        inches.append((figure.get_figheight(), axes.get_window_extent().height / figure.dpi))
    assert inches[0][0] == pytest.approx(3.4)
    assert inches[1][0] > 5
    assert inches[1][1] == pytest.approx(inches[0][1], abs=0.3)


# Tables without a figure -------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [*FIGURES.values(), table3])
def test_a_table_without_a_sweep_is_refused_in_words(draw: Callable[..., Any]) -> None:
    with pytest.raises(NoSweep, match="there are no trials"):
        draw(pd.DataFrame(columns=list(COLUMNS)))  # as where every trial failed
    for seeds in ((0,), (0, 1, 2)):
        with pytest.raises(
            NoSweep, match=r"has one value only|none of norm, head_relu, init varies"
        ):
            draw(pd.DataFrame(swept(seed=seeds)))


@pytest.mark.parametrize("column", ["sr", "top1", "size_bytes", "status", "seed", "data"])
def test_a_missing_column_is_named(table: pd.DataFrame, column: str) -> None:
    with pytest.raises(NoSweep, match=f"the table has no column `{column}`"):
        figure3a(table.drop(columns=column))


@pytest.mark.parametrize(
    "analysis", [figure3a, sweep, effects, fronts, lambda rows: plot(rows, "sr")]
)
def test_a_table_that_holds_a_trial_twice_is_refused(
    table: pd.DataFrame, analysis: Callable[[pd.DataFrame], object]
) -> None:
    """Its copies would count as seeds."""
    with pytest.raises(ValueError, match="the table must hold each trial once"):
        analysis(pd.concat([table, table]).assign(student="a"))
