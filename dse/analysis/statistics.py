"""Means, shares and their intervals over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean of `count` values and the ends of its 95 % confidence interval, in their unit.

    The ends of a single value are NaN: one seed does not show the spread.
    """

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean; raises `ValueError` for no values.

    >>> interval([1.0, 2.0, 3.0]).mean
    2.0
    """
    if not len(values):
        raise ValueError("`values` must hold at least one value, got none")
    data = np.asarray(values, dtype=float)
    mean, count = float(data.mean()), len(data)
    if count == 1:
        return Interval(mean=mean, low=np.nan, high=np.nan, count=1)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * data.std(ddof=1) / np.sqrt(count))
    return Interval(mean=mean, low=mean - half, high=mean + half, count=count)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """The interval of `ours - theirs` over the seeds that both have (keys are seeds).

    Equal seeds share their initial weights where layers agree, their order of pictures and
    their augmentation, so that their differences vary less than either does.

    Raises `ValueError` where no seed is shared.
    """
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise ValueError("`ours` and `theirs` must share a seed, got none")
    return interval([ours[seed] - theirs[seed] for seed in shared])


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
