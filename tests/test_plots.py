"""Figures of any sweep show the planted effects, average nothing but seeds, and can be read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import crowded, dots, intervals, means, text
from matplotlib.figure import Figure
from swept import PCT, SEEDS, SR, WIRES, made, swept

from dse.analysis.axes import NoSweep, TooMany, sweep
from dse.analysis.labels import scale
from dse.figures.fronts import fronts
from dse.figures.heat_map import heat_map
from dse.figures.numbered import number_marks
from dse.figures.overview import overview
from dse.figures.plots import line_plot, plot, scatter
from dse.figures.plotting import encoded
from dse.figures.scales import colours as colours_of


def colours(figure: Figure) -> list[Any]:
    return [container.lines[0].get_color() for container in figure.axes[0].containers]


def mean(table: pd.DataFrame, **values: Any) -> float:
    for name, value in values.items():
        table = table[table[name] == value]
    return float(table["top1"].mean())


def test_a_line_is_the_means_over_the_seeds_along_an_axis() -> None:
    table = made(swept(sr=SR))
    figure = line_plot(table, "sr")
    (axes,) = figure.axes
    x, y = means(axes)
    assert x == list(SR)
    assert y == pytest.approx([mean(table, sr=value) for value in SR])
    assert y == sorted(y)  # the planted effect rises
    assert sorted(dots(axes)) == sorted(zip(table["sr"], table["top1"], strict=True))
    assert all(low < high for low, high in intervals(axes))
    assert "Mean, 95% interval and each of 3 seeds." in text(figure)


def test_each_setting_of_what_else_varies_is_a_line_of_its_own() -> None:
    table = made(swept(sr=SR[:3], pct3x3=PCT[:4], bypass=WIRES))
    figure = line_plot(sweep(table), "sr", hue="bypass")
    drawn = [means(figure.axes[0], number)[1] for number in range(12)]
    expected = [
        [mean(table, sr=sr, pct3x3=pct, bypass=wire) for sr in SR[:3]]
        for wire in WIRES
        for pct in PCT[:4]
    ]
    assert sorted(drawn) == [pytest.approx(one) for one in sorted(expected)]
    by_colour = {colour: colours(figure).count(colour) for colour in colours(figure)}
    assert list(by_colour.values()) == [4, 4, 4]
    for words in (*(f"bypass {wire}" for wire in WIRES), *(f"pct3x3 {pct}" for pct in PCT[:4])):
        assert words in text(figure)


@pytest.mark.parametrize("x", ["sr", "size_bytes"])
def test_with_col_each_value_has_a_panel(x: str) -> None:
    table = made(swept(sr=SR[:3], pct3x3=PCT[:2], bypass=WIRES))
    figure = plot(table, x, "top1", hue="pct3x3", col="bypass")
    assert [axes.get_title() for axes in figure.axes] == [f"bypass {wire}" for wire in WIRES]
    for axes, wire in zip(figure.axes, WIRES, strict=True):
        rows = table[table["bypass"] == wire]
        assert sorted(y for _, y in dots(axes)) == pytest.approx(sorted(rows["top1"]))
        for number, pct in enumerate(PCT[:2]):
            expected = [mean(rows, sr=sr, pct3x3=pct) for sr in SR[:3]]
            assert means(axes, number)[1] == pytest.approx(expected)
            assert axes.containers[number].lines[0].get_color() == colours(figure)[number]
    assert len({axes.get_xlim() + axes.get_ylim() for axes in figure.axes}) == 1
    assert text(figure).count("top-1 on the test set") == 1, "the left panel alone has a label"
    assert "bypass none" not in " ".join(label.get_text() for label in figure.legends[0].texts)


@pytest.mark.parametrize("col", ["", "bypass"])
def test_a_hue_of_many_numbers_has_a_colour_bar(col: str) -> None:
    table = made(swept(sr=SR, pct3x3=PCT[:3], bypass=WIRES))
    figure = plot(table, "sr", "top1", hue="size_bytes", col=col)
    *places, bar = figure.axes
    keys = ["sr", "pct3x3", "bypass"]
    expected = table.groupby(keys, as_index=False)[["top1", "size_bytes"]].mean()
    assert len(places) == (3 if col else 1)
    for axes, wire in zip(places, WIRES, strict=False):
        rows = expected[expected["bypass"] == wire] if col else expected
        (marks,) = axes.collections
        shown = np.column_stack([marks.get_offsets(), marks.get_array() * 2**10])
        wanted = rows[["sr", "top1", "size_bytes"]].to_numpy(float)
        np.testing.assert_allclose(sorted(shown.tolist()), sorted(wanted.tolist()))
    assert bar.get_xlabel().startswith("size of the weights")
    assert f"Means over {len(SEEDS)} seeds." in text(figure)
    assert crowded(figure) == []


def test_with_a_hue_that_has_no_mean_each_mark_is_a_trial() -> None:
    table = made(swept(sr=SR, bypass=WIRES, seed=[0, 1]))
    figure = plot(table.assign(seed=range(len(table))), "top1", "seconds", hue="seed")
    assert len(figure.axes[0].collections[0].get_offsets()) == len(table)
    assert "Each mark is a trial." in text(figure)


def test_trials_without_a_value_of_col_are_counted() -> None:
    table = made(swept(sr=SR[:2], bypass=WIRES))
    other = table[(table["bypass"] == "none") & (table["sr"] == SR[0])]
    other = other.assign(network="alexnet", trial_id=other["trial_id"] + "a")
    figure = plot(pd.concat([table, other], ignore_index=True), "size_bytes", col="bypass")
    assert sum(len(dots(axes)) for axes in figure.axes) == len(table)
    assert "Not shown: 3 trials without a value of bypass." in text(figure)


def test_col_is_an_axis_of_its_own_with_few_values() -> None:
    table = made(swept(sr=[n / 20 for n in range(1, 11)], bypass=WIRES, seed=[0]))
    for col, message in [
        ("bypass", "must be another axis than `x` and `hue`"),
        ("sr", "`sr` has 10 values, and at most 9 panels can be read"),
        ("top1", "`top1` is not one of the axes: sr, bypass"),
    ]:
        with pytest.raises(NoSweep, match=message):
            plot(table, "macs", hue="bypass", col=col)


def test_over_sizes_a_line_follows_the_axis_that_changes_them() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    figure = plot(sweep(table), "size_bytes", "top1", "bypass")
    for number, wire in enumerate(WIRES):
        x, y = means(figure.axes[0], number)
        rows = table[(table["bypass"] == wire) & (table["seed"] == 0)].sort_values("sr")
        assert x == pytest.approx(list(rows["size_bytes"] / 2**10))
        assert y == pytest.approx([mean(table, sr=sr, bypass=wire) for sr in SR])
    assert "KB of 2" in figure.axes[0].get_xlabel()
    assert figure.axes[0].get_xscale() == "log"
    assert "Along a line: sr 0.125, 0.25, 0.5, 0.75, 1." in text(figure)


def test_fields_that_vary_together_are_followed_as_one() -> None:
    table = made([*swept(lr=(0.1,), epochs=(20,)), *swept(lr=(0.05,), epochs=(40,))])
    shown = text(plot(sweep(table), "epochs"))
    assert "Along a line: epochs, lr 20, 0.1; 40, 0.05." in shown


def test_over_sizes_that_two_axes_change_there_are_points() -> None:
    table = made(swept(sr=SR[:3], pct3x3=PCT[2:5], bypass=WIRES))
    figure = plot(sweep(table), "size_bytes", "top1", "bypass")
    assert "-" not in {one.lines[0].get_linestyle() for one in figure.axes[0].containers}
    for number, wire in enumerate(WIRES):
        expected = [
            mean(table, sr=sr, pct3x3=pct, bypass=wire) for sr in SR[:3] for pct in PCT[2:5]
        ]
        assert sorted(means(figure.axes[0], number)[1]) == pytest.approx(sorted(expected))
    assert "Also varying: pct3x3, sr." in text(figure)


def test_a_column_that_differs_between_seeds_has_its_mean_and_each_trial() -> None:
    table = made(swept(sr=SR))
    figure = scatter(table, "seconds", "top1")
    x = [place for number in range(len(SR)) for place in means(figure.axes[0], number)[0]]
    assert x == pytest.approx(table.groupby("sr")["seconds"].mean().tolist())
    assert len(dots(figure.axes[0])) == len(table)
    seeds = plot(sweep(table), "seed", "top1").axes[0]
    assert not seeds.containers  # the mean of a seed means nothing
    assert sorted(dots(seeds)) == sorted(zip(table["seed"], table["top1"], strict=True))
    keys = [line for line in seeds.lines if not line.get_label().startswith("_")]
    marks = [line for line in seeds.lines if line.get_alpha()]
    assert [line.get_marker() for line in keys] == [line.get_marker() for line in marks]
    assert {line.get_linestyle() for line in keys} == {"None"}  # as it is drawn
    assert {line.get_alpha() for line in marks} == {0.9}  # pale dots are next to a mean


def test_the_lightest_colour_of_numbers_is_seen_on_white() -> None:
    axis = sweep(made(swept(sr=SR))).axes[0]
    red, green, blue, _ = colours_of(axis)[SR[-1]]
    assert 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.45


def test_captions_of_one_seed_name_no_mean_and_no_interval() -> None:
    one = sweep(made(swept(sr=SR, bypass=WIRES, seed=[0])))
    for figure in (heat_map(one, "sr", "bypass"), fronts(one)):
        words = text(figure)
        assert "One run each." in words
        assert "ean" not in words
        assert "interval" not in words


def test_categories_are_in_order_and_their_points_do_not_cover_each_other() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    (axes,) = line_plot(sweep(table), "bypass").axes
    places = [means(axes, number) for number in range(len(SR))]
    xs = [x for xs, _ in places for x in xs]
    assert len(set(xs)) == len(xs)
    for (x, y), sr in zip(places, SR, strict=True):
        assert [round(place) for place in x] == [0, 1, 2]
        assert y == pytest.approx([mean(table, sr=sr, bypass=wire) for wire in WIRES])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(WIRES)


def test_text_on_the_y_axis_is_counted() -> None:
    table = made(swept(sr=SR[:2]))
    table.loc[table["sr"] == SR[0], "status"] = "never_learned"
    figure = plot(sweep(table), "sr", "status")
    (axes,) = figure.axes
    numbers = {one.xy if hasattr(one, "xy") else one.get_position() for one in axes.texts}
    assert numbers == {(SR[0], 1.0), (SR[1], 0.0)}
    assert {one.get_text() for one in axes.texts} == {"3"}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["learned", "at chance"]


def test_trials_that_are_on_no_line_are_counted() -> None:
    table = made(swept(sr=SR), swept(pct3x3=PCT[:2], sr=(0.25,)))
    figure = line_plot(sweep(table), "sr")
    assert len(figure.axes[0].containers) == 1
    assert len(dots(figure.axes[0])) == len(SR) * len(SEEDS)
    assert "Not shown: 6 trials without a second value of sr. Shown: pct3x3 0.5." in text(figure)


def test_a_network_without_the_axis_is_named() -> None:
    other = made(swept(sr=SR[:1]))
    other = other.assign(network="alexnet", trial_id=other["trial_id"] + "a")
    more = made(swept(pct3x3=PCT[:1], sr=(0.25,)))
    words = text(line_plot(sweep(pd.concat([made(swept(sr=SR)), other, more])), "sr"))
    assert "Not shown: 3 trials of AlexNet, which has no sr." in words
    assert "Not shown: 3 trials without a second value of sr." in words


def test_devices_are_counted_over_what_is_drawn() -> None:
    line = made(swept(sr=SR), device="cpu")
    line.loc[:3, "device"] = "NVIDIA H200"
    others = made(swept(pct3x3=PCT[:2], sr=(0.25,)), device="NVIDIA H200")
    words = text(line_plot(sweep(pd.concat([line, others])), "sr"))
    assert "Trained on different devices: cpu (11 trials), NVIDIA H200 (4 trials)." in words


def test_the_pale_dots_of_many_means_are_explained() -> None:
    table = made(swept(sr=SR, pct3x3=PCT, bypass=WIRES, freq=(1, 2)))
    words = text(scatter(sweep(table), "macs", hue="bypass"))
    assert "a pale dot a single trial; the intervals of 270 means are not drawn." in words


def test_over_sizes_every_trial_is_shown() -> None:
    """Two trials differ in sr alone; the others in several axes at once."""
    table = made(
        swept(sr=SR[:2]), swept(base_e=(24,), bypass=("simple",)),
        swept(incr_e=(24,), bypass=("complex",), pct3x3=(0.75,)),
    )  # fmt: skip
    figure = plot(sweep(table), "size_bytes")
    assert len(dots(figure.axes[0])) == len(table)
    assert "Not shown" not in text(figure)


def test_every_value_of_the_hue_is_shown() -> None:
    """Bypass was tried at one sr only: its points are on no line."""
    table = made(swept(sr=SR), swept(sr=[0.125], bypass=list(WIRES)[1:]))
    figure = plot(sweep(table), "sr", hue="bypass")
    assert all(f"bypass {wire}" in text(figure) for wire in WIRES)
    assert "Not shown" not in text(figure)
    assert len(dots(figure.axes[0])) == len(table)


def test_every_trial_of_a_search_is_shown() -> None:
    """Some of them are on lines, as chance has it."""
    table = made(swept(sr=SR), swept(pct3x3=PCT[:2], sr=(0.25,))).assign(study="tpe")
    for hue in ("", "pct3x3"):
        figure = plot(table, "sr", hue=hue)
        assert len(dots(figure.axes[0])) == len(table)
        assert "Not shown" not in text(figure)
    assert "lines" not in overview(sweep(table))
    grid = made(swept(sr=SR[:2], bypass=WIRES)).assign(study="grid")
    assert len(plot(grid, "sr").axes[0].containers) == len(WIRES), "lines"


def test_the_y_axis_is_not_said_to_vary_too() -> None:
    table = made(swept(sr=SR[:2], pct3x3=PCT[:2], bypass=WIRES, seed=[0]))
    assert "Also varying: bypass." in text(scatter(table, "sr", "pct3x3", "top1"))


def test_losses_that_are_not_finite_are_counted_and_not_averaged() -> None:
    table = made(swept(sr=SR))
    table.loc[(table["sr"] == 1.0) & (table["seed"] < 2), "loss"] = math.nan
    figure = plot(sweep(table), "sr", "loss")
    _, y = means(figure.axes[0])
    assert y[-1] == pytest.approx(3 - table.query("sr == 1 and seed == 2")["top1"].item() / 50)
    assert "Not shown: 2 trials without a value of loss." in text(figure)
    trained = plot(sweep(table.assign(train_loss=2.0)), "sr", "train_loss")
    assert "training loss over the last epoch (nats per image)" in text(trained)
    with pytest.raises(NoSweep, match="no trial has a value of loss"):
        plot(sweep(table.assign(loss=math.nan)), "sr", "loss")


def test_trials_without_a_value_of_the_hue_are_grey() -> None:
    table = made(swept(sr=SR[:2]))
    table["val_loss"] = [math.nan, *[1.0] * 3, *[2.0] * 2]
    figure = scatter(sweep(table), "val_top1", hue="val_loss")
    assert len(dots(figure.axes[0])) == len(table)
    assert "val_loss 1 val_loss 2 no value of val_loss" in text(figure)
    table["study_trial"] = pd.array([None, *[1] * 3, *[2] * 2], dtype="Int64")
    figure = scatter(sweep(table), "val_top1", hue="study_trial")
    assert "study_trial 1 study_trial 2 no value of study_trial" in text(figure)


def test_a_step_that_did_not_happen_is_no_number() -> None:
    """It is -1 in a record."""
    table = made(swept(sr=SR), diverged_step=-1)
    table.loc[(table["sr"] == 0.5), "diverged_step"] = 40
    figure = plot(sweep(table), "sr", "diverged_step")
    assert means(figure.axes[0]) == ([0.5], [40])
    assert "Not shown: 12 trials without a value of diverged_step." in text(figure)


def test_a_long_name_fits() -> None:
    """Fields that vary together have one axis, named after all of them."""
    table = made(swept(sr=(0.5,)), swept(sr=(0.25,), pct3x3=(0.1,), freq=(4,), base_e=(32,),
                 incr_e=(8,), dropout=(0.3,), epochs=(7,), batch_size=(48,)))  # fmt: skip
    (axis,) = sweep(table).axes
    assert len(axis.name) > 50
    assert crowded(plot(sweep(table), axis.name)) == []


def test_logarithmic_axes_are_as_asked_for() -> None:
    found = sweep(made(swept(sr=SR, dropout=(0.0, 0.5))))
    assert line_plot(found, "sr").axes[0].get_xscale() == "linear"
    drawn = line_plot(found, "sr", log=("x", "y")).axes[0]
    assert (drawn.get_xscale(), drawn.get_yscale()) == ("log", "log")
    assert plot(found, "size_bytes", log=("none",)).axes[0].get_xscale() == "linear"
    with pytest.raises(NoSweep, match="`log=x` needs `dropout` above 0, got 0"):
        line_plot(found, "dropout", log=("x",))


def test_few_values_are_the_ticks_of_a_logarithmic_axis() -> None:
    (axes,) = plot(sweep(made(swept(pct3x3=(0.25, 0.75)))), "pct3x3", log=("x", "y")).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.25", "0.75"]
    assert all(float(tick.get_text()) % 2 == 0 for tick in axes.get_yticklabels())


def test_a_number_is_near_its_mark_and_no_other() -> None:
    axes = Figure().subplots()
    x, y = [0.0, 0.01, 0.02, 1.0], [0.5, 0.5, 0.5, 1.0]
    axes.plot(x, y, "o")
    number_marks(axes, x, y, range(4))
    scale = 72 / axes.figure.dpi
    marks = axes.transData.transform(list(zip(x, y, strict=True))) * scale
    places = marks + [one.get_position() for one in axes.texts]
    for number, place in enumerate(places):
        rest = [*np.delete(places, number, 0), *np.delete(marks, number, 0)]
        assert min(np.hypot(*(place - one)) for one in rest) > 6
    assert axes.texts[3].get_position()[1] <= 0  # above, it would leave the axes


def test_a_number_that_is_nearer_to_another_mark_has_a_line_to_its_own() -> None:
    axes = Figure().subplots()
    x, y = zip(*[(0.5 + i / 40, 0.5 + j / 40) for i in (0, 1, 2) for j in (0, 1, 2)], strict=True)
    axes.plot([*x, 0.0, 1.0], [*y, 0.0, 1.0], "o")
    number_marks(axes, x, y, range(9))
    scale = 72 / axes.figure.dpi
    marks = axes.transData.transform(list(zip(x, y, strict=True))) * scale
    for number, one in enumerate(axes.texts):
        distances = np.hypot(*(marks - (marks[number] + one.get_position())).T)
        assert one.arrow_patch is not None or distances.argmin() == number
    assert 0 < sum(one.arrow_patch is not None for one in axes.texts) < 9


def test_what_cannot_be_drawn_is_said() -> None:
    found = sweep(made(swept(sr=SR)))
    with pytest.raises(NoSweep, match=r"`pct3x3` has one value only: 0\.5"):
        plot(found, "pct3x3")
    with pytest.raises(NoSweep, match="the table has no column `nope`"):
        plot(found, "sr", "nope")
    with pytest.raises(NoSweep, match="`hue` must be another axis than `x`"):
        plot(found, "sr", hue="sr")
    values = np.linspace(0.01, 0.99, 31).round(2).tolist()
    many = sweep(made(swept(sr=SR[:2], pct3x3=values, seed=(0,))))
    with pytest.raises(TooMany, match="31 lines, and at most 30 can be read"):
        line_plot(many, "sr")
    figure = plot(many, "sr")
    assert "Too many lines to read, so points are drawn." in text(figure)
    assert len(dots(figure.axes[0])) == 62
    with pytest.raises(TooMany, match="`trial_id` has 31 values, and at most 10 colours"):
        plot(sweep(made(swept(pct3x3=values, seed=(0,)))), "seconds", hue="trial_id")


def test_the_unit_of_sizes_suits_the_small_ones_too() -> None:
    assert "KB" in scale("file_bytes", [4_000, 5_000_000]).label
    assert "MB" in scale("file_bytes", [400_000, 5_000_000]).label


def test_a_heat_map_has_the_means_at_their_values_and_gaps() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    table = table[(table["sr"] != 0.25) | (table["bypass"] != "simple")]
    figure = heat_map(table, "sr", "bypass")
    assert "Crossed: no trial." in text(figure)
    axes = figure.axes[0]
    (mesh,) = axes.collections
    cells = np.ma.filled(mesh.get_array(), np.nan).reshape(len(WIRES), len(SR))
    for row, wire in enumerate(WIRES):
        for column, sr in enumerate(SR):
            expected = mean(table, sr=sr, bypass=wire)
            assert cells[row, column] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(cells).sum() == 1
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(WIRES)
    low, high = axes.get_ylim()
    assert low < high  # values rise upwards


def test_a_heat_map_may_be_a_cross() -> None:
    table = made(swept(sr=SR, seed=[0]), swept(sr=[0.5], pct3x3=PCT[:4], seed=[0]))
    assert "Crossed: no trial." in text(heat_map(table, "sr", "pct3x3"))


def test_a_heat_map_of_a_grid_may_lack_most_values() -> None:
    table = made(swept(sr=SR, pct3x3=PCT, seed=[0]))
    table["dead_step"] = [100, *[-1] * 8] * 5
    words = text(heat_map(table, "sr", "pct3x3", "dead_step"))
    assert "Crossed: no trial with a value. Not shown: 40 trials without" in words
    sample = table[table["sr"] * 8 == table.index % 9]
    with pytest.raises(NoSweep, match="mostly empty"):
        heat_map(sample, "sr", "pct3x3")


def test_a_heat_map_says_how_trainings_ended() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    assert "learned" not in text(heat_map(sweep(table), "sr", "bypass"))
    table.loc[:1, "status"] = "partly_dead"
    words = text(heat_map(sweep(table), "sr", "bypass"))
    assert "43 learned, 2 never predicted some class." in words


def test_a_table_is_drawn_as_its_sweep_is() -> None:
    table = made(swept(sr=SR, bypass=WIRES))
    assert means(plot(table, "sr", "top1").axes[0]) == means(plot(sweep(table), "sr").axes[0])


def test_lines_with_the_same_places_are_drawn_side_by_side() -> None:
    found = sweep(made(swept(sr=SR, bypass=WIRES)))
    figure = line_plot(found, "sr")
    shown = {
        c.lines[0].get_transform().transform((SR[0], 50.0))[0] for c in figure.axes[0].containers
    }
    assert len(shown) == len(WIRES)
    assert "is drawn side by side" in text(figure)
    assert "side by side" in text(scatter(found, "sr", hue="bypass"))
    assert "side by side" not in text(line_plot(sweep(made(swept(sr=SR))), "sr"))


def test_points_are_moved_only_where_groups_meet() -> None:
    table = made(swept(sr=SR), swept(sr=SR[:1], bypass=["simple"]))
    figure = scatter(sweep(table), "sr", hue="bypass")
    (axes,) = figure.axes
    drawn = [one.lines[0] for one in axes.containers]
    moved = {
        (x, line.get_color())
        for line in drawn
        for x in line.get_xdata()
        if line.get_transform() != axes.transData
    }
    assert {x for x, _ in moved} == {SR[0]}
    assert len(moved) == 2
    assert sorted(x for line in drawn for x in line.get_xdata()) == sorted([*SR, SR[0]])


def test_no_group_of_many_points_hides_the_others() -> None:
    table = made(swept(sr=SR, pct3x3=PCT, bypass=WIRES, freq=(1, 2), seed=(0,)))
    figure = scatter(sweep(table), "macs", hue="bypass")
    (axes,) = figure.axes
    marks = [line for line in axes.lines if line.get_alpha() is None and len(line.get_xdata())]
    order = [line.get_color() for line in marks]
    assert order[:3] == order[-3:]  # each in turn, the others in between
    assert len(order) > 20 * len(set(order)) == 60
    below, above = (
        [line.get_zorder() for line in axes.lines if bool(line.get_alpha()) is dot]
        for dot in (True, False)
    )
    assert max(below) < min(above)
    assert sorted(y for line in marks for y in line.get_ydata()) == pytest.approx(
        sorted(table.groupby(["sr", "pct3x3", "bypass", "freq"])["top1"].mean())
    )
    assert encoded(figure, "svg") == encoded(scatter(sweep(table), "macs", hue="bypass"), "svg")


def test_exact_numbers_stay_where_they_are() -> None:
    """Sizes are equal with any bypass; nor are many values of a key moved."""
    sizes = sweep(made(swept(sr=SR, bypass=("none", "simple"))))
    many = sweep(made(swept(sr=[n / 100 for n in range(1, 14)], bypass=("none", "simple"))))
    for found, x in ((sizes, "size_bytes"), (many, "sr")):
        figure = line_plot(found, x, hue="bypass")
        (axes,) = figure.axes
        lines = [one.lines[0] for one in axes.containers]
        assert len(lines) == 2
        assert all(one.get_transform() == axes.transData for one in lines)
        assert "side by side" not in text(figure)


def test_a_heat_map_has_a_panel_for_each_setting() -> None:
    table = made(swept(sr=SR, pct3x3=PCT[:3], bypass=WIRES), swept(sr=SR, pct3x3=PCT[5:6]))
    figure = heat_map(sweep(table), "sr", "pct3x3")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == [f"bypass {wire}" for wire in WIRES]
    lone = made(swept(sr=SR[:1], pct3x3=PCT[:1], freq=(1,)), swept(sr=SR, freq=(4,)))
    words = " ".join(text(heat_map(sweep(pd.concat([table, lone])), "sr", "pct3x3")).split())
    assert f"Not shown: {len(lone)} trials where not both axes vary." in words
    values = np.linspace(0.01, 0.5, 10).round(2).tolist()
    with pytest.raises(TooMany, match="10 panels"):
        heat_map(sweep(made(swept(sr=SR, bypass=WIRES, dropout=values, seed=(0,)))), "sr", "bypass")


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ({"sr": SR}, ["lines"]),
        ({"sr": SR, "bypass": WIRES}, ["lines", "heat_map"]),
        ({"sr": SR, "pct3x3": PCT[:3], "bypass": WIRES}, ["effects"]),
    ],
)
def test_what_is_drawn_follows_from_the_axes(axes: dict[str, Any], names: list[str]) -> None:
    figures = overview(sweep(made(swept(**axes))), "Fixed: nothing.")
    assert list(figures) == names
    for figure in figures.values():
        assert "Fixed: nothing." in text(figure)


def test_a_random_sample_is_drawn_as_points() -> None:
    """In a sample no two values of sr have all else equal, and a heat map has no second cell in a
    row or column."""
    for turn, count in (
        (1, 14),
        (5, 6),
        (5, 14),
    ):  # with 1, pct3x3 falls where sr rises: then they are one axis
        points = [(round(0.1 + 0.06 * n, 2), round(0.9 - 0.05 * (turn * n % count), 2))
                  for n in range(count)]  # fmt: skip
        table = made(*(swept(sr=[sr], pct3x3=[pct], seed=(0,)) for sr, pct in points))
        assert len(sweep(table).axes) == 1 + (turn > 1)
        assert list(overview(sweep(table))) == ["points"]
        if turn > 1:
            hint = "draw points, as in x=sr y=pct3x3 hue=loss"
            with pytest.raises(NoSweep, match=f"the heat map would be mostly empty, .*: {hint}"):
                heat_map(table, "sr", "pct3x3", "loss")
    wires = [*WIRES] * 3
    table = made(
        *(swept(sr=[sr], pct3x3=[pct], bypass=[wire], freq=[1 + n % 2], seed=(0,))
          for n, ((sr, pct), wire) in enumerate(zip(points, wires, strict=False)))
    )  # fmt: skip
    (figure,) = overview(sweep(table)).values()
    assert len(dots(figure.axes[0])) == len(wires)
    figure = plot(sweep(table), "freq")
    assert sorted(x for x, _ in dots(figure.axes[0])) == sorted(table["freq"])


def test_seeds_alone_are_nothing_to_draw() -> None:
    with pytest.raises(NoSweep, match="there is only one configuration"):
        overview(sweep(made(swept())))
