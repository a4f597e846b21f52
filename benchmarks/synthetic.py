"""A made-up answer for every network of a space like ours, so that the best ones are known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from simulate import Known

from dse.search.space import Choice, Space
from dse.space.architecture import Layout
from dse.space.grid import cost_grid

Floats = npt.NDArray[np.float64]

CHOICES: Mapping[str, Sequence[Any]] = {
    "base_e": (8, 16, 24, 32, 48),
    "pct3x3": (0.01, 0.25, 0.5, 0.75, 0.99),
    "sr": (0.125, 0.25, 0.375, 0.5, 0.75, 1.0),
    "bypass": ("none", "simple", "complex"),
    "pool_after": ("1-2-3", "1-3-5", "1-3-8", "1-4-8", "2-5-8", "3-6-8"),
}
"""2,700 networks."""
NOISE = 0.5
"""Deviation of the noise of one seed, in percentage points of accuracy."""


def synthetic(seed: int) -> tuple[Known, Floats]:
    """A space with made-up accuracies, and each network's accuracy without noise (2700), percent.

    Accuracy is logistic in a sum of main effects (those of numbers rise and level off, those of
    `bypass` and `pool_after` are drawn) and of interactions of all pairs, drawn again for each
    seed; and a seed's noise. Cost is the exact `size_bytes`. Curves have one epoch.
    """
    rng = np.random.default_rng(seed)
    counts = [len(values) for values in CHOICES.values()]
    places = np.array(list(itertools.product(*map(range, counts))))
    score = np.full(len(places), 1.5)
    for place, values in zip(places.T, CHOICES.values(), strict=True):
        score += _main_effect(values, rng)[place]
    for (a, first), (b, second) in itertools.combinations(enumerate(counts), 2):
        score += rng.normal(0, 0.25, (first, second))[places[:, a], places[:, b]]
    true = 10 + 88 / (1 + np.exp(-score))
    space = Space(axes=tuple(Choice(name=n, values=tuple(v)) for n, v in CHOICES.items()))
    points = list(space.points())
    known = Known(
        space=space,
        points=points,
        costs=_sizes(points),
        curves=(true + rng.normal(0, NOISE, len(true)))[:, None],
    )
    return known, true


def _main_effect(values: Sequence[Any], rng: np.random.Generator) -> Floats:
    """The effect of each value, with mean 0."""
    if isinstance(values[0], str):
        effect = rng.normal(0, 0.9, len(values))
    else:
        place = np.linspace(-1, 1, len(values))
        effect = rng.uniform(0.3, 1.2) * place - rng.uniform(0, 0.6) * (place - rng.uniform()) ** 2
    centred: Floats = effect - effect.mean()
    return centred


def _sizes(points: Sequence[Mapping[str, Any]]) -> Floats:
    """The exact `size_bytes` of each network, for images of 12 pixels in ten classes."""
    sizes = np.empty(len(points))
    for pool_after in CHOICES["pool_after"]:
        rows = [n for n, point in enumerate(points) if point["pool_after"] == pool_after]
        layout = Layout(
            conv1_filters=16, conv1_kernel=3, conv1_stride=1, conv1_padding=1, pool_after=pool_after
        )
        columns = {
            name: np.array([points[n][name] for n in rows])
            for name in CHOICES
            if name != "pool_after"
        }
        grid = cost_grid(layout, 12, num_classes=10, in_channels=1, incr_e=8, **columns)
        sizes[rows] = grid.size_bytes
    return sizes
