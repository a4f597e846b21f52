"""The figure of the layers' sensitivity shows planted losses, and can be read."""

from __future__ import annotations

import pandas as pd
import pytest
from drawn import crowded, text

from dse.analysis.axes import NoSweep
from dse.figures.sensitivity import sensitivity

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
