"""Shares at chance, Pareto fronts and forest plots show what was planted in made-up records."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest
from drawn import crowded, text
from matplotlib.colors import to_hex
from swept import PCT, SR, WIRES, made, swept

from dse.analysis.axes import NoSweep, TooMany, sweep
from dse.analysis.compare import compare, comparisons
from dse.analysis.statistics import share
from dse.figures.chance import at_chance, shares
from dse.figures.effects import effects
from dse.figures.forest import forest
from dse.figures.fronts import fronts
from dse.figures.paper import figure3a
from dse.figures.plots import line_plot
from dse.report.sections import pareto


def test_shares_at_chance_are_those_of_the_trials() -> None:
    table = made(swept(sr=SR[:3], bypass=WIRES))
    dead = (table["bypass"] == "none") & (table["seed"] < 2)
    table.loc[dead, "status"] = "never_learned"
    table.loc[(table["bypass"] == "complex") & (table["seed"] == 0), "status"] = "diverged"
    found = shares(sweep(table), ["bypass"])
    assert found["bypass"].tolist() == list(WIRES)
    assert found["count"].tolist() == [9, 9, 9]
    assert found["never_learned"].tolist() == pytest.approx([6 / 9, 0, 0])
    wilson = share(6, 9)
    assert (found["never_learned_low"][0], found["never_learned_high"][0]) == (
        wilson.low,
        wilson.high,
    )
    assert found["diverged"].tolist() == pytest.approx([0, 0, 3 / 9])
    by_configuration = shares(sweep(table))
    assert len(by_configuration) == 9
    assert set(by_configuration["count"]) == {3}


def test_the_figure_of_shares_has_a_mark_for_each_outcome_that_occurs() -> None:
    table = made(swept(sr=SR[:3], bypass=WIRES))
    table.loc[table["bypass"] == "none", "status"] = "never_learned"
    figure = at_chance(sweep(table), ["bypass"])
    axes = figure.axes[0]
    (drawn,) = axes.containers
    assert drawn.lines[0].get_xdata().tolist() == [100, 0, 0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is at the top
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"bypass {w}" for w in WIRES]
    assert "Over all trials, whatever their sr." in text(figure)
    table.loc[table["sr"] == SR[0], "status"] = "partly_dead"
    more = at_chance(table)
    assert len(more.axes[0].containers) == 2
    assert crowded(more) == []
    values = [round(0.015 * n, 3) for n in range(1, 52)]
    with pytest.raises(TooMany, match="51 rows, and at most 50"):
        at_chance(sweep(made(swept(pct3x3=values, seed=(0,)))))


def test_a_front_joins_the_planted_networks() -> None:
    """More 3x3 filters than half cost more and are worse: no front may have them."""
    found = sweep(made(swept(pct3x3=PCT)))
    figure = fronts(found)
    labels = [axes.get_xlabel().replace("\n", " ") for axes in figure.axes[:4]]
    for words, one in zip(("weights", "multiply", "outputs", "time"), labels, strict=True):
        assert words in one
    for axes in figure.axes[:2]:
        line, trials = axes.lines
        assert line.get_drawstyle() == "steps-post"  # no network is between
        assert trials.get_zorder() < min(marks.get_zorder() for marks in axes.collections)
        assert len(trials.get_xdata()) == 3 * 5
        x, y = line.get_data()
        assert len(x) == PCT.index(0.5) + 1
        assert list(y) == sorted(y)
        assert list(x) == sorted(x)
        assert {one.get_text() for one in axes.texts} == {str(n) for n in range(1, 6)}
    words = text(figure)
    assert "(1) pct3x3 0.01." in words
    assert "(5) pct3x3 0.5." in words
    assert "pct3x3 0.99" not in words
    assert crowded(figure) == []


def test_a_front_needs_two_networks() -> None:
    with pytest.raises(NoSweep, match="one configuration"):
        fronts(sweep(made(swept())))
    table = made(swept(sr=SR[:2]))
    two = pd.concat([table, table.assign(data="mnist", trial_id="m" + table["trial_id"])])
    with pytest.raises(TooMany, match="accuracies on digits and mnist cannot be compared"):
        fronts(sweep(two))
    folders = [
        table.assign(data="image_folder", manifest=f"2-9-9-{n}", trial_id=n + table["trial_id"])
        for n in "ab"
    ]
    with pytest.raises(TooMany, match="image_folder:a and image_folder:b cannot be compared"):
        fronts(sweep(pd.concat(folders)))


@pytest.mark.parametrize("column", ["device", "threads", "machine", "torch"])
def test_times_on_different_devices_are_not_compared(column: str) -> None:
    table = made(swept(sr=SR[:3]), device="cpu", threads=1)
    table["machine"], table["versions"] = "x86_64", "dse=" + table["seed"].astype(str) + " torch=2"
    assert "time of one trial" in text(fronts(sweep(table)))
    values = table["seed"].map({0: 2, 1: 1, 2: 1})
    if column == "torch":
        table["versions"] = "dse=1 torch=2." + values.astype(str)
    else:
        table[column] = values
    words = text(fronts(sweep(table)))
    assert "time of one trial" not in words
    reason = "Times are not compared: devices, machines, threads or versions of torch differ."
    assert reason in words
    with pytest.raises(NoSweep, match=reason):
        fronts(sweep(table), ["seconds"])


def test_a_front_may_be_of_one_cost() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    (axes, _bar) = fronts(table, ["macs"]).axes
    assert axes.get_xlabel().startswith("multiply-accumulates")
    timed = table.assign(latency_ms=table["macs"] / 1000 + table["seed"])
    axes, other, _bar = fronts(timed, ["latency_ms", "sr"]).axes
    assert (axes.get_xlabel(), other.get_xlabel()[-4:]) == ("latency_ms", "(sr)")
    with pytest.raises(ValueError, match=r"`cost` must be a column of numbers .*, got bypass"):
        fronts(table, ["bypass"])
    timed.loc[timed["sr"] == SR[0], "latency_ms"] = math.nan
    words = text(fronts(timed, ["latency_ms"]))
    assert "Not shown: 9 trials without a value of latency_ms." in words
    with pytest.raises(NoSweep, match="no trial has a value of latency_ms"):
        fronts(timed.assign(latency_ms=math.nan), ["latency_ms"])


def test_a_front_says_how_trainings_ended_and_what_it_leaves_out() -> None:
    """Values that are missing do not count as accuracies, nor for the choice."""
    table = made(swept(sr=SR[:3]))
    table.loc[table["sr"] == SR[0], "status"] = "diverged"
    table.loc[(table["sr"] == SR[1]) & (table["seed"] == 0), ["top1", "val_top1"]] = [math.nan, 0]
    words = text(fronts(table))
    assert "(1) sr 0.25. (2) sr 0.5. 5 learned, 3 with a non-finite loss or gradient." in words
    assert "A network that did not learn with any seed is not on the front." in words
    assert "Not shown: 1 trial without a value of top1." in words
    section = pareto(sweep(table))
    assert words.partition("5 learned")[2] in " ".join(section.text)
    assert section.tables[0].frame["seeds"].tolist() == [2, 3]
    assert "With 3 to 5 seeds" in section.text[0]
    more = table.assign(seed=table["seed"] + 3, trial_id=table["trial_id"] + "0")
    section = pareto(sweep(pd.concat([table, more], ignore_index=True)))
    assert "With 3 to 5 seeds" not in section.text[0]
    assert pareto(sweep(table.assign(status="diverged"))).text == ["No network learned."]
    with pytest.raises(NoSweep, match="no network learned: there is no front"):
        fronts(table.assign(status="diverged"))


def test_a_share_that_is_unknown_is_white() -> None:
    table = made(swept(sr=SR[:3]))
    figure = fronts(sweep(table[(table["sr"] < 0.5) | (table["seed"] == 0)]))
    best = figure.axes[0].collections[-1]
    faces = dict(zip(best.get_offsets()[:, 1], map(to_hex, best.get_facecolor()), strict=True))
    assert [face == "#ffffff" for _, face in sorted(faces.items())] == [False, False, True]
    assert "White: fewer than 3 seeds." in text(figure)


def test_a_forest_plot_marks_what_is_decided_and_its_direction() -> None:
    table = pd.concat(
        [made(swept(sr=(0.125, 0.25), bypass=("none", "complex"))).assign(
            seed=lambda one, n=n: one["seed"] + 3 * n,
            trial_id=lambda one, n=n: one["trial_id"] + str(n)) for n in range(4)]
    )  # fmt: skip
    table["top1"] += table["seed"] % 5 * 0.01 * (table["bypass"] == "complex")
    found = sweep(table)
    known = comparisons(table)
    figure = forest(found, known)
    axes = figure.axes[0]
    rows = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.containers, strict=True))
    names = ["sr 0.25 vs 0.125", "bypass complex vs none"]
    assert [" ".join(row.split()) for row in rows] == [f"{n}, mean over 2 settings" for n in names]
    rise, fall = (one.lines[0] for one in rows.values())
    assert rise.get_xdata()[0] == pytest.approx(30 * (0.5 - 0.125**0.5))
    assert fall.get_xdata()[0] < 0
    for mark, one in zip((rise, fall), known, strict=True):
        assert (to_hex(mark.get_markerfacecolor()) != "#ffffff") is one.decided
    assert any(one.decided for one in known)
    assert "p < 0.001" in text(figure)
    assert "too few seeds" not in text(figure)
    assert "Not shown" not in text(figure)
    assert crowded(figure) == []


def test_a_forest_plot_says_which_rows_are_means() -> None:
    table = made(swept(sr=SR[:2], bypass=("none", "simple")), swept(sr=SR[:1], bypass=("complex",)))
    figure = forest(found := sweep(table), comparisons(table))
    assert [" ".join(t.get_text().split()) for t in figure.axes[0].get_yticklabels()] == [
        "sr 0.25 vs 0.125, mean over 2 settings",
        "bypass simple vs none, mean over 2 settings",
        "bypass complex vs none, sr 0.125",
    ]
    assert "settings" not in figure.remarks
    lost = (table["bypass"] == "simple") & (table["sr"] == SR[1]) & (table["seed"] < 2)
    words = text(forest(found, comparisons(table[~lost])))
    assert "bypass simple vs none, sr 0.125, 1 of 2 settings" in words
    assert "settings that not all seeds have are left out" in words


def test_few_seeds_decide_nothing() -> None:
    table = made(swept(sr=SR))
    figure = forest(table, comparisons(table))
    for one in figure.axes[0].containers:
        assert to_hex(one.lines[0].get_markerfacecolor()) == "#ffffff"
    assert "not decided" in text(figure)
    assert "it takes at least 8 seeds to decide any" in " ".join(text(figure).split())
    assert text(figure).count("too few seeds") == 4
    assert "p = " not in text(figure)
    with pytest.raises(NoSweep, match="nothing is compared"):
        forest(sweep(table), [])


def test_a_forest_plot_counts_trials_without_a_partner() -> None:
    """One lacks the other value with its seed, three lack any network that differs in one axis."""
    table = made(swept(sr=SR[:2]))
    one = (table["sr"] == SR[0]) & (table["seed"] == 0)
    lonely = made(swept(pct3x3=PCT[:1], sr=(0.5,), freq=(1,)))
    found = sweep(pd.concat([table[~one], lonely], ignore_index=True))
    words = " ".join(text(forest(found, comparisons(found.rows))).split())
    assert "Not shown: 4 trials in no comparison with the first value of an axis." in words


def test_where_all_values_are_compared_partners_need_not_have_the_first() -> None:
    """Four trials with sr 0.5 and 1 are partners: in no comparison with sr 0.125, but in one."""
    table = made(swept(sr=(0.125, 0.5, 1.0)))
    found = sweep(table[(table["sr"] != 0.125) | (table["seed"] == 0)])
    alone = 2 * (table["seed"].nunique() - 1)
    words = " ".join(text(forest(found, comparisons(found.rows))).split())
    assert f"Not shown: {alone} trials in no comparison with the first value of an axis." in words
    assert "Not shown" not in text(forest(found, compare(found.rows, "sr")))


def test_a_title_of_two_folders_fits() -> None:
    table = made(swept(sr=SR[:2]))
    folders = [table.assign(data="image_folder", manifest=f"9-20-5-{n * 20}") for n in "ab"]
    folders[1]["trial_id"] = folders[1]["trial_id"].str[::-1]
    first, second = figure3a(pd.concat(folders)).axes[0].get_title().splitlines()
    assert first == "Figure 3(a), measured: image_folder:aaaaaaaa and"
    assert second.startswith("image_folder:bbbbbbbb, ")


@pytest.mark.parametrize(
    "draw",
    [
        lambda table: figure3a(table).axes[0].get_title(),
        lambda table: effects(sweep(table)).get_suptitle(),
        lambda table: line_plot(sweep(table), "sr").axes[0].get_title(),
        lambda table: forest(sweep(table), comparisons(table)).axes[0].get_title(),
    ],
)
def test_a_title_names_what_is_drawn(draw: Callable[[pd.DataFrame], str]) -> None:
    """Of the digits there is one network, on no line and in no pair."""
    table = made(swept(sr=SR, data=("cifar10",), epochs=(1,)), swept())
    assert draw(table).removeprefix("Figure 3(a), measured: ") == "cifar10, 1 epoch"
