"""Planted main effects, interactions, contrasts and sub-spaces are found, with their direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import crowded, labels, means, text
from planted import planted
from scipy import stats

from dse.analysis.axes import NoSweep, TooMany, sweep
from dse.analysis.complete import complete, noise
from dse.analysis.contrasts import contrast
from dse.analysis.distributions import band, below, distributions
from dse.analysis.interactions import REST, main, noise_share, shares, together
from dse.analysis.statistics import Floats
from dse.analysis.subspaces import front_of, reached
from dse.figures.contrasts import contrasts
from dse.figures.distributions import error_distributions
from dse.figures.interactions import explained, interactions
from dse.figures.subspaces import subspace_fronts

SR, PCT, WIRES = (0.125, 0.5, 1.0), (0.25, 0.5, 0.75), ("none", "simple", "complex")
AXES: dict[str, Any] = {"sr": SR, "pct3x3": PCT, "bypass": WIRES}


def accuracy(row: Mapping[str, Any]) -> float:
    """sr gains 8 points a unit, complex bypass 5, but only half of sr's gain with complex."""
    gain = 8 * (row["sr"] - 0.5)
    gain *= 0.5 if row["bypass"] == "complex" else 1.0
    return 60 + gain + 5 * (row["bypass"] == "complex")


EXACT = planted(accuracy, seeds=range(3), spread=0.0, **AXES)
NOISY = planted(accuracy, seeds=range(3), spread=0.5, **AXES)


def variance(values: Floats) -> float:
    return float(np.var(values))


def test_shares_of_the_variance_are_those_planted() -> None:
    grid = complete(sweep(EXACT))
    table = shares(grid).set_index("source")["share"]
    assert table.sum() == pytest.approx(100)
    cells = np.array([[accuracy({"sr": s, "bypass": b}) for b in WIRES] for s in SR])
    effects = {"sr": cells.mean(axis=1), "bypass": cells.mean(axis=0)}
    for name, values in effects.items():
        assert table[name] == pytest.approx(100 * variance(values) / variance(cells))
    crossed = cells - effects["sr"][:, None] - effects["bypass"] + cells.mean()
    assert table["sr x bypass"] == pytest.approx(100 * variance(crossed) / variance(cells))
    assert table[["pct3x3", "pct3x3 x bypass", REST]].abs().max() < 1e-9
    assert shares(grid)["source"].tolist()[:3] == ["sr", "bypass", "sr x bypass"]


def test_main_effects_have_their_direction_and_pairs_their_order() -> None:
    grid = complete(sweep(EXACT))
    effect = main(grid, grid.place("sr")).mean(axis=0)
    assert np.all(np.diff(effect) > 0)
    assert effect.sum() == pytest.approx(0)
    for names in (("sr", "bypass"), ("bypass", "sr")):
        table = together(grid, *names).set_index(list(names)).sort_index()
        for (one, two), row in table.iterrows():  # type: ignore[misc]
            planted_at = accuracy({names[0]: one, names[1]: two})
            assert row["mean"] - table["mean"].mean() == pytest.approx(
                planted_at - np.mean([accuracy({"sr": s, "bypass": b}) for s in SR for b in WIRES])
            )
        complex_gain = table.xs("complex", level="bypass")["beyond"]
        assert complex_gain.loc[0.125] > 0 > complex_gain.loc[1.0]


def test_noise_of_the_seeds_is_not_taken_for_an_interaction() -> None:
    """What all trainings of a seed share is no noise, and the rest is what was planted."""
    grid = complete(sweep(NOISY))
    assert noise(grid.cells) == pytest.approx(0.5, rel=0.25)
    rest = shares(grid).set_index("source")["share"]
    pairs = sum(share for source, share in rest.items() if "pct3x3" in str(source))
    assert pairs + rest[REST] < 4 * noise_share(grid)
    assert noise(complete(sweep(EXACT)).cells) == pytest.approx(0, abs=1e-9)
    assert math.isnan(noise(grid.cells[:1]))


def test_a_contrast_is_the_planted_difference_and_says_where_it_does_not_hold() -> None:
    one = contrast(complete(sweep(EXACT)), "sr", 0.125, 1.0)
    full = 8 * (1.0 - 0.125)
    assert one.difference.mean == pytest.approx((full + full + full / 2) / 3)
    assert (one.settings, one.higher, one.difference.count) == (9, 1.0, 3)
    by = one.by.set_index(["axis", "value"])["mean"]
    assert by[("bypass", "none")] == pytest.approx(full)
    assert by[("bypass", "complex")] == pytest.approx(full / 2)
    assert by["pct3x3"].std() < 1e-9
    assert "sr 0.125 to 1: +5.8 points [5.8, 5.8]" in one.sentence
    assert "Least for bypass complex (+3.5), most for bypass" in one.sentence
    back = contrast(complete(sweep(EXACT)), "sr", 1.0, 0.125)
    assert (back.difference.mean, back.higher) == (pytest.approx(-one.difference.mean), 0.0)
    wires = contrast(complete(sweep(EXACT)), "bypass", "none", "simple")
    assert wires.difference.mean == pytest.approx(0, abs=1e-9)


def test_the_spread_of_a_contrast_is_without_the_noise_of_the_seeds() -> None:
    none = contrast(complete(sweep(NOISY)), "pct3x3", 0.25, 0.75)
    assert none.spread < 0.4
    planted_spread = contrast(complete(sweep(EXACT)), "sr", 0.125, 1.0).spread
    seen = contrast(complete(sweep(NOISY)), "sr", 0.125, 1.0)
    assert seen.spread == pytest.approx(planted_spread, rel=0.4)
    alone = contrast(complete(sweep(NOISY[NOISY.seed == 0])), "sr", 0.125, 1.0)
    assert math.isnan(alone.spread)
    assert "points (too few seeds for an interval) on average" in alone.sentence


def test_a_grid_that_is_not_complete_is_refused_and_whole_seeds_count() -> None:
    lacking = NOISY.drop(NOISY.index[NOISY.seed == 2][0])
    assert complete(sweep(lacking)).seeds == (0, 1)
    with pytest.raises(NoSweep, match="no seed has all 27 points of the grid, at most 26"):
        complete(sweep(lacking[lacking.seed == 2]))
    for column, before, words in (
        ("seed", 0, "is not one of the axes"),
        ("sr", 0.3, "must be one of 0.125, 0.5, 1, got 0.3"),
    ):
        with pytest.raises(NoSweep, match=words):
            contrast(complete(sweep(NOISY)), column, before, 1.0)


# Distributions and sub-spaces ------------------------------------------------------------------


def test_the_better_sub_space_has_the_higher_distribution() -> None:
    table = distributions(EXACT, "sr").pivot(index="error", columns="sr", values="share")
    assert (table[1.0] >= table[0.5]).all()
    assert (table[0.5] >= table[0.125]).all()
    assert (table[1.0] > table[0.125]).any()
    assert table.iloc[-1].tolist() == [1, 1, 1]
    most = (100 - EXACT[EXACT.sr == 1.0].groupby(["pct3x3", "bypass"])["top1"].mean()).max()
    assert table[1.0][table.index >= most].eq(1).all()
    assert table[1.0][table.index < most].max() < 1


@pytest.mark.parametrize(("count", "least"), [(10, 0.895), (20, 0.917), (50, 0.931)])
def test_the_band_of_a_distribution_covers_it(count: int, least: float) -> None:
    """The chances of 0, 1, ... of so many networks below an error are binomial."""
    hits, true = np.arange(count + 1), np.linspace(0.05, 0.95, 901)[:, None]
    errors = [np.repeat([0.0, 2.0], [one, count - one]) for one in hits]
    low, high = np.concatenate([band(one, np.array([1.0])) for one in errors], axis=1)
    inside = (low <= true) & (true <= high)
    covered = (stats.binom.pmf(hits, count, true) * inside).sum(axis=1)
    assert covered.min() == pytest.approx(least, abs=0.003)
    assert covered.mean() == pytest.approx(0.954, abs=0.004)


def test_the_band_of_a_distribution_narrows_with_networks_and_is_open_at_its_ends() -> None:
    widths = {}
    for count in (20, 2000):
        errors = np.arange(count) / count
        low, high = band(errors, np.array([-1.0, 0.499, 2.0]))
        widths[count] = high - low
        assert (low[0], high[2]) == (0, 1)
        assert (widths[count] > 1 / count).all()
    assert (widths[2000] < widths[20] / 5).all()
    assert below(np.array([1.0, 2.0]), np.array([1.5])) == [0.5]


def test_a_sub_space_reaches_what_its_front_does_within_common_budgets() -> None:
    """Sizes are a million bytes times sr: budgets from 0.25 to 1 are two doublings."""
    axes: dict[str, Any] = {"sr": (0.25, 0.5, 1.0), "bypass": ("none", "simple")}
    table = planted(
        lambda row: 40 + 40 * row["sr"] - 10 * (row["bypass"] == "simple"),
        seeds=[0],
        spread=0.0,
        **axes,
    )
    found = reached(sweep(table), "bypass").set_index("bypass")
    assert found["mean"].tolist() == pytest.approx([(50 + 60) / 2, (40 + 50) / 2, (50 + 60) / 2])
    assert found["networks"].tolist() == [3, 3, 6]
    assert found["front"].tolist() == [3, 0, 3]
    larger = table[(table.bypass == "none") | (table.sr > 0.25)]
    found = reached(sweep(larger), "bypass").set_index("bypass")
    assert found["mean"].tolist() == pytest.approx([60, 50, 60])
    assert reached(sweep(table), "sr")["mean"].tolist() == pytest.approx([50, 60, 80, 80])


def test_a_front_is_chosen_by_validation_and_judged_by_test() -> None:
    table = EXACT.copy()
    lucky = table.index[(table.sr == 0.125) & (table.bypass == "none") & (table.pct3x3 == 0.25)]
    before = reached(sweep(table), "bypass")["mean"].tolist()
    table.loc[lucky, "top1"] = 99.0
    table.loc[lucky, "val_top1"] = 20.0
    assert reached(sweep(table), "bypass")["mean"].tolist() == pytest.approx(before, abs=0.2)
    front = front_of(sweep(table), "bypass", "complex", "size_bytes")
    assert front["bypass"].unique().tolist() == ["complex"]
    assert front["val_top1"].is_monotonic_increasing


# Figures ---------------------------------------------------------------------------------------


def test_figures_show_what_was_found() -> None:
    found = sweep(NOISY)
    grid = complete(found)
    matrix = explained(found)
    assert f"{shares(grid).set_index('source')['share']['bypass']:.1f}" in text(matrix)
    assert "27 networks, 3 seeds" in text(matrix)
    assert f"Noise of the seeds is in every share, {noise_share(grid):.1f}% in all." in text(matrix)
    lines = interactions(NOISY)
    panel = lines.axes[0]
    assert labels(panel) == list(WIRES) or labels(panel) == ["0.125", "0.5", "1"]
    known = together(grid, "sr", "bypass")
    drawn = [y for number in range(3) for y in means(panel, number)[1]]
    assert sorted(drawn) == pytest.approx(sorted(known["mean"]))
    one = contrast(grid, "sr", 0.125, 1.0)
    points = contrasts(found, [one])
    assert means(points.axes[0])[0] == pytest.approx(one.by["mean"].iloc[:3])
    fronts = subspace_fronts(NOISY, ["bypass"])
    front = front_of(found, "bypass", "complex", "size_bytes")
    step = fronts.axes[0].lines[-1]
    assert list(step.get_ydata())[:-1] == pytest.approx(front["mean"])
    one_axis = error_distributions(NOISY, ["bypass"])
    assert len(one_axis.axes) == 1
    assert "No panel" not in one_axis.remarks
    for figure in (points, one_axis, error_distributions(found)):
        assert crowded(figure) == []


def test_figures_of_sub_spaces_say_what_they_leave_out() -> None:
    table = NOISY.copy()
    table.loc[(table.sr == 1.0) & (table.pct3x3 == 0.25) & (table.seed == 0), "top1"] = math.nan
    table.loc[(table.sr == 0.5) & (table.seed == 0), "status"] = "diverged"
    rare = table[(table.bypass != "simple") | ((table.sr == 0.5) & (table.pct3x3 == 0.5))]
    figure = error_distributions(sweep(rare), note="As planted.")
    assert len(figure.axes) == 2
    assert "No panel: bypass (few networks, or many values). Not shown: 2 trials" in figure.remarks
    fronts = subspace_fronts(sweep(table), note="As planted.")
    legends = [panel.get_legend() for panel in fronts.axes if panel.get_legend()]
    assert {one.get_title().get_text() for one in legends} == {*AXES}
    ends = "9 with a non-finite loss or gradient. Not shown: 3 trials without a value of top1."
    assert f"{ends} As planted." in fronts.remarks
    other = table[table.sr == 0.5].head(1)
    alexnet = other.assign(network="alexnet", trial_id="a", top1=60.0)
    for draw in (error_distributions, subspace_fronts):
        with pytest.raises(NoSweep, match="no effect where `network` is alexnet: select others by"):
            draw(sweep(pd.concat([table, alexnet])))
    many = planted(
        accuracy, seeds=[0], spread=0.0, **{**AXES, "sr": [n / 20 for n in range(1, 12)]}
    )
    with pytest.raises(TooMany, match="`sr` has 11 values, and at most 10 colours can be disting"):
        subspace_fronts(sweep(many), ["sr"])
    with pytest.raises(TooMany, match="`sr` has 11 values, and at most 10 colours can be disting"):
        error_distributions(many, ["sr"])
    two = pd.concat([NOISY, NOISY.assign(data="mnist", trial_id=NOISY["trial_id"] + "m")])
    for figure_of in (interactions, error_distributions, subspace_fronts):
        with pytest.raises(TooMany, match="accuracies on digits and mnist cannot be compared"):
            figure_of(sweep(two))
