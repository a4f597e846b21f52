"""The figure of the layers' sensitivity shows planted losses, and can be read."""

from __future__ import annotations

import pandas as pd
import pytest
from drawn import crowded, text

from dse.analysis import sensitivity as summary
from dse.analysis.axes import NoSweep
from dse.figures.sensitivity import sensitivity
from dse.trial.compression import Settings
from dse.trial.densities import joined

FIRES = [f"fire{n}.{part}" for n in range(2, 10) for part in ("squeeze", "expand1x1", "expand3x3")]
LAYERS = ["conv1", *FIRES, "conv10"]
FRAGILE = {"conv1", "fire2.squeeze"}


def planted(seeds: int) -> pd.DataFrame:
    """Fragile layers lose half of what is pruned of them, in points; seeds differ by 10 points."""
    rows = [
        {"layer": layer, "density": density, "seed": seed}
        | {"val_top1": 80 + 10 * seed - (50 * (1 - density) + seed) * (layer in FRAGILE)}
        for layer in LAYERS
        for density in (1.0, 0.5, 0.1)
        for seed in range(seeds)
    ]
    table = pd.DataFrame(rows)
    whole = table["density"] == 1
    table.loc[whole, "val_top1"] = 80 + 10 * table["seed"][whole]
    return table


def test_each_module_has_a_panel_with_the_planted_losses() -> None:
    figure = sensitivity(planted(3), "As planted.")
    assert len(figure.axes) == 9
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata())]
        named = {line.get_label(): list(line.get_ydata()) for line in lines}
        fragile = axes.get_title() in ("fire2", "outside of Fire modules")
        lost = sorted(named.values())
        assert lost[0] == pytest.approx([-46, -26, 0] if fragile else [0, 0, 0])
        assert lost[-1] == pytest.approx([0, 0, 0])
    words = text(figure)
    for part in ("conv1", "conv10", "squeeze", "expand1x1", "expand3x3", "change (points)"):
        assert part in words
    assert "Means of 3 seeds, paired, with 95% intervals. As planted." in words
    assert not crowded(figure)


def test_the_axis_fits_the_means_where_seeds_differ_much() -> None:
    table = planted(3)
    table.loc[(table["density"] == 0.1) & (table["seed"] == 2), "val_top1"] = 0.0
    figure = sensitivity(table)
    lines = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata())]
    low = min(min(line.get_ydata()) for line in lines)
    assert figure.axes[0].get_ylim() == pytest.approx((low + 0.06 * low, -0.06 * low))
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["10", "50", "100"]


def test_one_network_and_one_layer_are_drawn_and_none_is_refused() -> None:
    one = planted(1).drop(columns="seed")
    assert "intervals" not in text(sensitivity(one))
    alone = sensitivity(one[one["layer"] == "conv1"])
    assert not crowded(alone)
    for empty in (one[:0], one[one["density"] < 1]):
        with pytest.raises(NoSweep, match="at density 1"):
            sensitivity(empty)


def test_the_summary_has_the_fragile_layers_first_and_densities_within_a_margin() -> None:
    head, header, first, second, third, *rest, last = summary.text(planted(3), 26)
    assert header.split() == ["layer", "0.5", "0.1", "within"]
    assert first.split() == ["conv1", "-26.0", "-46.0", "0.5"]
    assert second.split() == ["fire2.squeeze", "-26.0", "-46.0", "0.5"]
    assert third.split()[1:] == ["+0.0", "+0.0", "0.1"]
    assert max(map(len, [head, header, first, *rest])) <= 80
    kept = {layer: 0.5 if layer in FRAGILE else 0.1 for layer in LAYERS}
    assert Settings(densities=last.removeprefix("densities=")).densities == joined(kept)
    assert summary.within(planted(3), 25.9)["conv1"] == 1
    assert set(summary.within(planted(3), 46).values()) == {0.1}


def test_rounding_decides_no_order() -> None:
    table = planted(3)
    rounded = table.assign(val_top1=table["val_top1"] + [1e-12 * (n % 7) for n in table.index])
    assert summary.text(rounded, 26) == summary.text(table, 26)


def test_a_density_below_one_that_loses_too_much_is_not_within_the_margin() -> None:
    table = planted(1)
    table.loc[(table["layer"] == "conv10") & (table["density"] == 0.5), "val_top1"] -= 2
    assert summary.within(table, 1)["conv10"] == 1


def test_many_densities_fit_in_80_columns() -> None:
    table = planted(1)[lambda one: one["density"] != 0.5]
    more = [table[table["density"] < 1].assign(density=n / 16) for n in range(2, 16)]
    lines = summary.text(pd.concat([table, *more]), 1)
    assert lines[1].split() == ["layer", *lines[1].split()[1:8], "within"]
    assert lines[1].split()[1::6] == ["0.9375", "0.1"]
    assert max(map(len, lines[:-1])) <= 80
