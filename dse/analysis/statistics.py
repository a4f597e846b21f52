"""Means, shares and their intervals over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
INTERVAL_SEEDS = 3
"""Intervals are shown from this many seeds on: that of two is 13 times as wide as their range."""
PERCENT = (0.0, 100.0)
"""The ends of an accuracy."""
POINTS = (-100.0, 100.0)
"""The ends of a difference of two accuracies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean of `count` values and the ends of its 95 % confidence interval, in their unit.

    The ends of fewer than `INTERVAL_SEEDS` values are NaN: too few seeds for an interval.
    """

    mean: float
    low: float
    high: float
    count: int


def interval(
    values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Student's t interval of the mean, its ends clipped to `within`, the range of a mean.

    The ends are NaN where the mean is, and below `INTERVAL_SEEDS` values. Raises `ValueError` for
    no values.

    >>> interval([99.0, 100.0, 100.0], within=PERCENT).high
    100.0
    """
    if not len(values):
        raise ValueError("`values` must hold at least one value, got none")
    data = np.asarray(values, dtype=float)
    mean, count = float(data.mean()), len(data)
    if count < INTERVAL_SEEDS:
        return Interval(mean=mean, low=math.nan, high=math.nan, count=count)
    half = stdtrit(count - 1, (1 + CONFIDENCE) / 2) * data.std(ddof=1) / np.sqrt(count)
    low, high = np.clip([mean - half, mean + half], *within).tolist()
    return Interval(mean=mean, low=low, high=high, count=count)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """The interval of `ours - theirs`, in points, over the seeds that both have (keys are seeds).

    Equal seeds share their initial weights where layers agree, their order of pictures and
    their augmentation, so that their differences vary less than either does.

    Raises `ValueError` where no seed is shared.
    """
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise ValueError("`ours` and `theirs` must share a seed, got none")
    return interval([ours[seed] - theirs[seed] for seed in shared], within=POINTS)


def share(hits: int, count: int) -> Interval:
    """The share `hits` of `count` (at least 1), 0 to 1, with Wilson's score interval (1927).

    Raises `ValueError` unless 0 <= hits <= count and count is at least 1.

    >>> share(0, 300).high < 0.013
    True
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"`hits` must be in 0 .. `count`, at least 1, got {hits} of {count}")
    z = float(ndtri((1 + CONFIDENCE) / 2))
    observed, wide = hits / count, z**2 / count
    middle = (observed + wide / 2) / (1 + wide)
    half = z / (1 + wide) * (observed * (1 - observed) / count + wide / (4 * count)) ** 0.5
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Interval(
        mean=observed,
        low=0.0 if hits == 0 else low,
        high=1.0 if hits == count else high,
        count=count,
    )
