"""What the networks with one value of an axis reach within each budget of a cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from dse.analysis.axes import Sweep, configurations, require
from dse.analysis.front import by_seed, pareto, shared
from dse.analysis.statistics import PERCENT, Floats, interval

WHOLE = "all"
"""The value that stands for the whole space."""


def reached(found: Sweep, column: str, cost: str = "size_bytes") -> pd.DataFrame:
    """What each sub-space with one value of an axis reaches, and the whole space.

    A budget is the most that a network may cost. Of those within it the one with the highest mean
    validation accuracy is chosen, and its accuracy on the test set counts. `mean` is the mean of
    that over all budgets within which each value of the axis has a network, equally spaced in their
    logarithm: the hypervolume below the front, divided by its width. `low` and `high` are its 95%
    interval over the seeds, the choice being kept. The trainings that choose are those that are
    tested, so that all of these are somewhat too high.

    Columns: the axis (`WHOLE` for the whole space, last), `networks`, `front` (how many of them
    are on the front of the whole space), `mean`, `low` and `high` (percent). Only seeds that all
    chosen networks have count; they are chosen by the seeds that all networks have, as in `front`.
    Raises `NoSweep` where `column` is not an axis.
    """
    axis, points = found.axis(column), compared(found)
    parts = [points[points[axis.name] == value] for value in axis.values]
    ends = max(part[cost].min() for part in parts), points[cost].max()
    reach = np.array([_reach(found, some, cost, ends) for some in (*parts, points)])
    by_seeds = reach[:, ~np.isnan(reach).any(axis=0)]
    whole = _front(points, cost).index
    rows = []
    for value, some, seeds in zip((*axis.values, WHOLE), (*parts, points), by_seeds, strict=True):
        known = interval(seeds.tolist(), within=PERCENT)
        counts = len(some), int(whole.isin(some.index).sum())
        rows.append((value, *counts, known.mean, known.low, known.high))
    columns = ["networks", "front", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=[axis.name, *columns])


def front_of(found: Sweep, column: str, value: object, cost: str) -> pd.DataFrame:
    """The front of the networks with one value of an axis, or of `WHOLE`: the cheapest first.

    The rows are those of `configurations`; it is chosen by `val_top1`, over the seeds that `front`
    compares by.
    """
    points = compared(found)
    name = found.axis(column).name
    return _front(points if value is WHOLE else points[points[name] == value], cost)


def compared(found: Sweep) -> pd.DataFrame:
    """`configurations`, with `val_top1` over the `front_seeds` that all have, as in `front`."""
    require(found.rows, "val_top1")
    points = configurations(found)
    values = by_seed(found, points)
    both = shared(values)
    if both.any() and not both.all():  # else the means stay as they are, ties too
        points["val_top1"] = values[:, both].mean(axis=1)
    return points.assign(front_seeds=both.sum())


def _front(points: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Those on the front of validation accuracy against cost, each cost once."""
    require(points, cost)
    on_front = pareto(points[cost].to_numpy(float), points["val_top1"].to_numpy()[None])[0]
    chosen: pd.DataFrame = points[on_front].sort_values(cost, kind="stable").drop_duplicates(cost)
    return chosen


def _reach(found: Sweep, some: pd.DataFrame, cost: str, ends: tuple[float, float]) -> Floats:
    """The mean accuracy on the test set over the budgets from end to end, for each seed.

    NaN for a seed that a chosen network lacks.
    """
    chosen = _front(some, cost)
    tested = replace(found, rows=found.rows.assign(val_top1=found.rows[found.answer]))
    budgets = np.log2(np.clip([*chosen[cost], ends[1]], *ends))
    widths = np.diff(budgets)
    if not widths.any():
        widths[-1] = 1.0  # a single budget
    result: Floats = widths @ by_seed(tested, chosen) / widths.sum()
    return result
