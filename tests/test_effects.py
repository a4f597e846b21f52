"""The effect of each axis is the planted one, whatever the other axes and the seeds do."""

from __future__ import annotations

import math
import random

import pandas as pd
import pytest
from drawn import crowded, intervals, means, text
from swept import PCT, SR, WIRES, made, swept

from dse.analysis.axes import NoSweep, sweep
from dse.figures.effects import effects, main_effects


def test_planted_effects_are_found_the_widest_first() -> None:
    table = made(swept(sr=SR, pct3x3=PCT[:5], bypass=WIRES))
    found = main_effects(sweep(table))
    assert list(found) == ["sr", "pct3x3", "bypass"]
    roots = [30 * math.sqrt(sr) for sr in SR]
    mean = sum(roots) / len(SR)
    assert found["sr"]["value"].tolist() == list(SR)
    assert found["sr"]["effect"].tolist() == pytest.approx([root - mean for root in roots])
    wires = {"none": -0.25 / 3, "simple": 0.5 - 0.25 / 3, "complex": -0.25 - 0.25 / 3}
    assert found["bypass"]["effect"].tolist() == pytest.approx(list(wires.values()))
    assert set(found["bypass"]["blocks"]) == {3 * len(SR) * 5}


def test_intervals_are_paired_by_seed() -> None:
    """Seeds differ by 5 points, and yet each shows the same effect of sr."""
    found = main_effects(made(swept(sr=SR, bypass=WIRES)))
    assert (found["sr"]["high"] - found["sr"]["low"]).max() < 1e-9
    simple = found["bypass"].iloc[1]  # gains 0.1 more from seed to seed
    assert simple["low"] < simple["effect"] - 0.01
    assert simple["low"] < 0.5 - 0.25 / 3 < simple["high"]
    assert math.isnan(main_effects(sweep(made(swept(sr=SR, seed=(0, 1)))))["sr"]["low"].iloc[0])


def test_a_sweep_that_is_no_grid_does_not_mix_effects() -> None:
    """Simple bypass was tried at a low sr mostly: its plain mean is lower, its effect is not."""
    table = made(
        swept(sr=SR, bypass=("none",)), swept(sr=SR[:2], bypass=("simple",)), swept(freq=(4,))
    )
    plain = table.groupby("bypass")["top1"].mean()
    assert plain["simple"] < plain["none"]
    found = main_effects(sweep(table))["bypass"]
    assert found["effect"].tolist() == pytest.approx([-0.25, 0.25])
    assert found["blocks"].tolist() == [6, 6]


def test_each_seed_has_the_same_settings() -> None:
    """Simple bypass gains at the one setting that has the last seed, and loses at the others."""
    table = made(swept(sr=SR[:3], bypass=WIRES))
    table["top1"] = 50 + (table["bypass"] == "simple") * table["sr"].map({0.25: 3}).fillna(-3)
    found = sweep(table[(table["sr"] == 0.25) | (table["seed"] < 2)])
    simple = main_effects(found)["bypass"].iloc[1]
    assert simple[["effect", "seeds", "blocks", "left_out"]].tolist() == [-2 / 3, 2, 6, 1]
    assert "up to 1 comparison left out" in " ".join(text(effects(found)).split())


def test_effects_do_not_depend_on_the_order_of_values_or_rows() -> None:
    """An effect that falls is drawn as falling."""
    table = made(swept(sr=SR, freq=(1, 2, 4)))
    found = main_effects(sweep(table))["freq"]
    assert found["effect"].tolist() == pytest.approx([4 / 3, 1 / 3, -5 / 3])
    random.seed(0)
    again = main_effects(sweep(table.sample(frac=1, random_state=3)))["freq"]
    pd.testing.assert_frame_equal(found, again)


def test_noise_has_no_effect() -> None:
    random.seed(1)
    table = made(swept(sr=SR, bypass=WIRES))
    table["top1"] = [50 + random.gauss(0, 1) for _ in range(len(table))]
    found = main_effects(sweep(table))
    covered = [
        low <= 0 <= high
        for one in found.values()
        for low, high in zip(one.low, one.high, strict=True)
    ]
    assert sum(covered) >= len(covered) - 1


def test_the_figure_has_a_panel_for_each_axis_on_one_scale() -> None:
    table = made(swept(sr=SR, pct3x3=PCT[:5], bypass=WIRES, freq=(1, 2)))
    found = sweep(table)
    figure = effects(found, note="Fixed: dropout 0.5.")
    panels = [axes for axes in figure.axes if axes.containers]
    for axes, (name, expected) in zip(panels, main_effects(found).items(), strict=True):
        assert name in axes.get_xlabel()
        _, y = means(axes)
        assert y == pytest.approx(expected["effect"])
        ends = [end for low, high in intervals(axes) for end in (low, high)]
        assert ends[0] == pytest.approx(expected["low"].iloc[0])
        assert axes.get_ylim() == panels[0].get_ylim()
    assert "points" in text(figure)
    assert "Fixed: dropout 0.5." in text(figure)


def test_a_full_grid_has_all_trials_in_each_panel() -> None:
    words = text(effects(sweep(made(swept(sr=SR, bypass=WIRES)))))
    assert "Each panel is from all 45 trials." in words
    assert "Not shown" not in words


def test_pairs_are_said_of_each_panel() -> None:
    table = made(swept(sr=SR[:3]), swept(sr=SR[:2], bypass=("simple",)))
    words = text(effects(sweep(table)))
    assert "Panels: sr from 3 comparisons, 9 of 15 trials; bypass from 6 pairs, 12 of 15" in words
    assert "Not shown" not in words


def test_axes_without_an_effect_to_know_are_named() -> None:
    table = made(swept(sr=SR), swept(freq=(1, 4), pct3x3=(0.1,)))
    figure = effects(table)
    words = text(figure)
    assert "Panels: sr from 3 comparisons, 15 of 21 trials." in words
    assert "Not shown: 6 trials in no comparison." in words
    assert "No effect of freq, pct3x3: not all values were tried with all else equal." in words
    with pytest.raises(NoSweep, match="no axis has all its values tried"):
        effects(sweep(made(swept(freq=(2, 4)), swept(freq=(1,), sr=(0.25,)))))


def test_an_axis_of_too_many_texts_is_named() -> None:
    pools = [f"{a}-{b}" for a in range(1, 5) for b in range(5, 9)]
    words = text(effects(sweep(made(swept(sr=SR[:2], pool_after=pools, seed=(0,))))))
    assert "No effect of pool_after: more than 12 texts do not fit." in words
    assert "not all values" not in words


def test_every_squeeze_ratio_of_the_paper_has_its_tick() -> None:
    figure = effects(sweep(made(swept(sr=SR, bypass=WIRES))))
    ticks = [tick.get_text() for axes in figure.axes for tick in axes.get_xticklabels()]
    assert {f"{value:g}" for value in SR} <= {*ticks}
    assert crowded(figure) == []


def test_data_sets_are_not_compared() -> None:
    one = made(swept(sr=SR, freq=(1, 2)))
    other = one.assign(data="cifar10", trial_id=one["trial_id"] + "c", top1=one["top1"] - 20)
    found = sweep(pd.concat([one, other]))
    assert list(main_effects(found)) == ["sr", "freq"]
    assert "Data sets are not compared." in text(effects(found))
