"""Error distribution functions: the share of a space's networks whose error is below each error.

As Radosavovic et al. compare design spaces (arXiv:1905.13214): a space is better where its curve is
higher, for then more of its networks are good.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dse.analysis.axes import configurations, sweep
from dse.analysis.statistics import Floats, share

POINTS = 200
"""Errors at which the functions are computed."""


def distributions(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The error distribution function of each sub-space with one value of an axis.

    An error is 100 minus the network's mean accuracy on the test set over its seeds, percent. A row
    for each value and each of `POINTS` errors: the axis, `error`, `share` (of the networks that
    have at most this error, 0 to 1), and the ends `low` and `high` of its 95% band: Wilson's
    interval of the share at each error by itself. So the band shows how far a sub-space of other
    networks like these may differ, and not the noise of the seeds.

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
    """The ends of the 95% interval of `below` at each of `at`, by itself: see `statistics.share`.

    It has a width at both ends too, where resamples of the errors would all be equal.
    """
    counts = np.searchsorted(np.sort(errors), at, side="right")
    known = [share(int(count), len(errors)) for count in counts]
    return np.array([one.low for one in known]), np.array([one.high for one in known])
