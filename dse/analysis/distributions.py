"""Error distribution functions: the share of a space's networks whose error is below each error.

As Radosavovic et al. compare design spaces (arXiv:1905.13214): a space is better where its curve is
higher, for then more of its networks are good.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dse.analysis.axes import configurations, sweep
from dse.analysis.statistics import CONFIDENCE, RESAMPLES, Floats

POINTS = 200
"""Errors at which the functions are computed."""


def distributions(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The error distribution function of each sub-space with one value of an axis.

    An error is 100 minus the network's mean accuracy on the test set over its seeds, percent. A row
    for each value and each of `POINTS` errors: the axis, `error`, `share` (of the networks that
    have at most this error, 0 to 1), and the ends `low` and `high` of its 95% band: the
    percentiles of `RESAMPLES` resamples of the networks. So the band shows how far a sub-space of
    other networks like these may differ, and not the noise of the seeds.

    Raises `NoSweep` where `column` is not an axis.
    """
    found = sweep(table)
    axis = found.axis(column)
    points = configurations(found)
    errors = 100 - points["mean"].to_numpy()
    at = np.linspace(np.nanmin(errors), np.nanmax(errors), POINTS)
    parts = []
    for value in axis.values:
        some = errors[(points[axis.name] == value).to_numpy()]
        low, high = band(some, at)
        part = {"error": at, "share": below(some, at), "low": low, "high": high}
        parts.append(pd.DataFrame(part).assign(**{axis.name: value}))
    return pd.concat(parts, ignore_index=True)


def below(errors: Floats, at: Floats) -> Floats:
    """The share of `errors` that are at most each of `at`.

    >>> below(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0.0, 2.0, 5.0])).tolist()
    [0.0, 0.75, 1.0]
    """
    return np.searchsorted(np.sort(errors), at, side="right") / len(errors)


def band(errors: Floats, at: Floats) -> tuple[Floats, Floats]:
    """The ends of the 95% band of `below` over resamples of the errors, at each of `at`.

    How many of n resampled errors are at most a given one follows a binomial distribution, so
    that nothing need be resampled one by one.
    """
    draws = np.random.default_rng(0).binomial(
        len(errors), below(errors, at), size=(RESAMPLES, len(at))
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws / len(errors), [tail, 1 - tail], axis=0)
    return low, high
