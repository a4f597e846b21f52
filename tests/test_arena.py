"""How searches of SqueezeBench are judged: ties, orders that need no training, and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from arena_judge import Judge, layers
from arena_tables import BUDGETS, Searches, differences, means

JUDGE = Judge(
    seen=np.array([80.0, 90.0, 90.0, 70.0]),
    true=np.array([85.0, 80.0, 90.0, 94.0]),
    sizes=np.arange(4.0),
    epochs=2,
    free={},
)


def test_networks_that_are_tied_for_the_best_count_alike() -> None:
    """Whichever of them was found first."""
    whole = np.full(4, 2)
    for order, regrets in (([0, 1, 2, 3], [9, 14, 9, 9]), ([3, 2, 1, 0], [0, 4, 9, 9])):
        found = JUDGE.quality(np.array(order), whole, "accuracy")
        assert found.tolist() == regrets
    stopped = JUDGE.quality(np.arange(4), np.array([1, 2, 1, 2]), "accuracy")
    assert stopped.tolist() == pytest.approx([np.nan, 14, 14, 14], nan_ok=True)


def test_layers_are_the_fronts_of_macs_against_size() -> None:
    sizes, macs = np.array([1.0, 1.0, 2.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0, 6.0, 7.0])
    assert layers(sizes, macs, 5).tolist() == [1, 0, 0, 1, 1]
    assert layers(sizes, macs, 2).tolist() == [np.inf, 0, 0, np.inf, np.inf]


def test_intervals_are_those_of_the_searches_and_not_of_the_seeds() -> None:
    """Seeds differ by 10 points, searches of a seed by 1."""
    rng, seeds = np.random.default_rng(0), np.arange(60) % 3
    level = np.repeat(10.0 * seeds[:, None] + rng.normal(size=(60, 1)), BUDGETS[-1], axis=1)
    some = Searches(seeds, level)
    better = Searches(seeds, level[::-1] - 10.0 * (seeds[::-1] - seeds)[:, None] - 2.0)
    runs = {("random", "accuracy", "none"): some, ("tpe", "accuracy", "none"): better}
    assert _interval(means(runs, "accuracy", "none", ()).splitlines()[2]) < 1
    line = differences(runs, "accuracy", "random").splitlines()[2]
    assert "| -2.00 (-2." in line
    assert 0.3 < _interval(line) < 1
    by_seed = means(runs, "accuracy", "none", seeds_of=("random",)).splitlines()[2]
    assert by_seed.split("(")[1].startswith(
        ", ".join(f"{level[n::3, 0].mean():.2f}" for n in range(3))
    )


def _interval(line: str) -> float:
    """The width of the first interval of a line of a table."""
    low, high = line.split("(")[1].split(")")[0].split(" to ")
    return float(high) - float(low)
