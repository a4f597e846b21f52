"""Means, shares, their intervals and tests over several seeds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import nctdtr, ndtr, ndtri, stdtrit

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
INTERVAL_SEEDS = 3
"""Intervals are shown from this many seeds on: that of two is 13 times as wide as their range."""
PERCENT = (0.0, 100.0)
"""The ends of an accuracy."""
POINTS = (-100.0, 100.0)
"""The ends of a difference of two accuracies."""
UNBOUNDED = (-math.inf, math.inf)
"""The ends of any other."""

ALPHA = 0.05
"""The greatest p at which a difference is called decided."""
POWER = 0.8
"""The chance to decide for which seeds are counted."""
EXACT_SEEDS = 30
"""The most pairs for which p is exact."""
RANDOM_SIGNS = 10_000
"""Random choices of signs where p is not exact."""
RESAMPLES = 2_000
"""Resamples of the seeds."""
MAX_SEEDS = 10_000
"""The most seeds that are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean of `count` values and the ends of its 95% confidence interval, in their unit.

    The ends of fewer than `INTERVAL_SEEDS` values are NaN: too few seeds for an interval.
    """

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float], within: tuple[float, float] = UNBOUNDED) -> Interval:
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
    half = half_width(count, data.std(ddof=1))
    low, high = np.clip([mean - half, mean + half], *within).tolist()
    return Interval(mean=mean, low=low, high=high, count=count)


def half_width(count: Any, deviation: Any, family: int = 1) -> Any:
    """Half the width of Student's 95% interval of means, in the unit of `deviation`.

    `count` and `deviation` (of the sample) are numbers or arrays. NaN below `INTERVAL_SEEDS`.
    95% of the time all intervals of a `family` hold their means (Bonferroni).
    """
    usable = np.where(np.asarray(count) >= INTERVAL_SEEDS, count, np.nan)
    return stdtrit(usable - 1, 1 - (1 - CONFIDENCE) / 2 / family) * deviation / np.sqrt(usable)


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


# Tests of paired differences ------------------------------------------------------------------


def sign_flip_p(differences: Sequence[float], largest: float = 100.0) -> float:
    """The two-sided p of a mean difference by sign-flip permutation (Fisher 1935, section 21).

    Without an effect each difference of a pair is as likely as its opposite: p is the share of the
    2**n choices of signs whose sum is as far from 0 as the one seen, or further. It is exact up to
    `EXACT_SEEDS` pairs; above, of `RANDOM_SIGNS` random choices and the one seen (deterministic).
    `largest` is the largest absolute value of those that were subtracted: it says how far rounding
    may move their differences.

    >>> sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    0.03125
    """
    data = np.asarray(differences, dtype=float)
    # Equal sums differ by rounding: their own, and that of values, 1e-14 for one of accuracies.
    least = abs(data.sum()) - len(data) * np.spacing(max(np.abs(data).sum(), 10 * largest))
    if len(data) <= EXACT_SEEDS:
        left, right = (_signed_sums(half) for half in np.array_split(data, 2))
        as_large = right.size * left.size - np.searchsorted(np.sort(right), least - left).sum()
        return min(2 * float(as_large) / (right.size * left.size), 1.0)
    signs = np.random.default_rng(0).integers(0, 2, (RANDOM_SIGNS, len(data))) * 2 - 1
    return float(1 + (abs(signs @ data) >= least).sum()) / (RANDOM_SIGNS + 1)


def _signed_sums(values: Floats) -> Floats:
    """The sums of all 2**n choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def smallest_p(count: int) -> float:
    """The smallest p that `sign_flip_p` can give for this many pairs.

    >>> [smallest_p(count) for count in (1, 3, 6)]
    [1.0, 0.25, 0.03125]
    """
    return 2.0 ** (1 - count) if count <= EXACT_SEEDS else 1 / (RANDOM_SIGNS + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p of each test of a family.

    Rejecting where it is at most 0.05 bounds the chance of any false rejection by 5%.

    >>> holm([0.01, 0.25, 0.02])
    [0.03, 0.25, 0.04]
    """
    order = np.argsort(ps, kind="stable")
    scaled = np.asarray(ps, dtype=float)[order] * np.arange(len(ps), 0, -1)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]


def power(effect: float, count: int, level: float = ALPHA) -> float:
    """The chance that a two-sided paired t test of `count` (at least 2) pairs rejects at `level`.

    `effect` is Cohen's d_z: the mean of the differences over their standard deviation. The test's
    statistic follows the noncentral t distribution (Cohen 1988, chapter 2).
    """
    degrees, centre = count - 1, abs(effect) * math.sqrt(count)
    critical = stdtrit(degrees, 1 - level / 2)
    return float(1 - nctdtr(degrees, centre, critical) + nctdtr(degrees, centre, -critical))


def seeds_for_power(effect: float, level: float = ALPHA) -> int | None:
    """The fewest pairs with which the sign-flip test decides an effect with the chance `POWER`.

    Differences are normal. It is the number for the t test, and at least the fewest pairs that can
    decide; one more where their signs are equal, as that takes, with a smaller chance. None above
    `MAX_SEEDS`, for NaN, and where so many cannot decide: above `EXACT_SEEDS` p is at least that of
    `smallest_p`. An infinite effect takes the fewest that can decide.

    >>> seeds_for_power(0.5), seeds_for_power(1.5)
    (34, 7)
    """
    counts = range(2, MAX_SEEDS + 1)
    fewest = next((count for count in counts if smallest_p(count) <= level), None)
    if fewest is None or math.isnan(effect):
        return None
    if ndtr(abs(effect)) ** fewest >= POWER:
        return fewest
    place = bisect_left(counts, POWER, key=lambda count: power(effect, count, level))
    result = max(counts[place], fewest + 1) if place < len(counts) else None
    return result if result and smallest_p(result) <= level else None


# Resampling -----------------------------------------------------------------------------------


def resamples(seeds: int) -> Floats:
    """How often each of the seeds is drawn: (`RESAMPLES`, seeds), the same in every call.

    Each resample draws n - 1 of the n seeds with replacement: then the variance of a resampled mean
    is that of a mean of n values (Rao and Wu 1988; with n draws it is too small).
    """
    shares = np.full(seeds, 1 / seeds)
    draws = np.random.default_rng(0).multinomial(max(seeds - 1, 1), shares, RESAMPLES)
    return draws.astype(float)


def resampled_means(values: Floats, draws: Floats) -> Floats:
    """Means over resampled seeds: (configurations, seeds), (n, seeds) -> (n, configurations).

    All configurations have the same draws, so that what seeds share cancels where they are
    compared. NaN is a seed that a configuration lacks; where none of its seeds is drawn, its mean
    over all of them is taken.
    """
    known = ~np.isnan(values)
    if known.all():
        whole: Floats = draws @ values.T / draws.sum(axis=1, keepdims=True)
        return whole
    counts = draws @ known.T
    sums = draws @ np.where(known, values, 0.0).T
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nanmean(values, axis=1))
