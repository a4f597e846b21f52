"""What the networks with one value of an axis reach within each budget of a cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, configurations, require
from dse.analysis.front import by_seed, pareto
from dse.analysis.statistics import Floats, interval
from dse.trial.datasets import num_classes

WHOLE = "all"
"""The value that stands for the whole space."""


def reached(found: Sweep, column: str, cost: str = "size_bytes") -> pd.DataFrame:
    """What each sub-space with one value of an axis reaches, and the whole space.

    A budget is the most that a network may cost. Of those within it the one with the highest mean
    validation accuracy is chosen, and its accuracy on the test set counts; guessing, where a
    sub-space has none. `mean` is the mean of that accuracy over all budgets from the cheapest to
    the dearest network of the space, equally spaced in their logarithm: the hypervolume between the
    front and guessing, divided by its width, plus guessing. `low` and `high` are its 95 % interval
    over the seeds, the choice being kept.

    Columns: the axis (`WHOLE` for the whole space, last), `networks`, `front` (how many of them
    are on the front of the whole space), `mean`, `low`, `high` (percent). Raises `NoSweep` where
    `column` is not an axis or all networks cost the same.
    """
    axis, points = found.axis(column), configurations(found)
    rows, whole = [], _front(points, cost)
    for value in (*axis.values, WHOLE):
        some = points if value is WHOLE else points[points[axis.name] == value]
        reach = interval(_reach(found, points, some, cost).tolist(), within=(0.0, 100.0))
        on_front = whole.index.isin(some.index).sum()
        rows.append((value, len(some), on_front, reach.mean, reach.low, reach.high))
    return pd.DataFrame(rows, columns=[axis.name, "networks", "front", "mean", "low", "high"])


def front_of(found: Sweep, column: str, value: object, cost: str) -> pd.DataFrame:
    """The front of the networks with one value of an axis, or of `WHOLE`: the cheapest first.

    The rows are `configurations`; it is chosen by `val_top1`.
    """
    points = configurations(found)
    name = found.axis(column).name
    return _front(points if value is WHOLE else points[points[name] == value], cost)


def _front(points: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Those on the front of validation accuracy against cost, each cost once."""
    require(points, "val_top1", cost)
    on_front = pareto(points[cost].to_numpy(float), points["val_top1"].to_numpy()[None])[0]
    chosen: pd.DataFrame = points[on_front].sort_values(cost, kind="stable").drop_duplicates(cost)
    return chosen


def _reach(found: Sweep, points: pd.DataFrame, some: pd.DataFrame, cost: str) -> Floats:
    """The mean accuracy on the test set over all budgets, for each seed."""
    ends = np.log2([points[cost].min(), points[cost].max()])
    if ends[0] == ends[1]:
        raise NoSweep(f"all networks have the same {cost}")
    chosen = _front(some, cost)
    tested = replace(found, rows=found.rows.assign(val_top1=found.rows[found.answer]))
    above = by_seed(tested, chosen) - _guess(found)
    widths = np.diff(np.append(np.log2(chosen[cost].to_numpy(float)), ends[1]))
    above = above[:, ~np.isnan(above).any(axis=0)]
    result: Floats = _guess(found) + widths @ above / (ends[1] - ends[0])
    return result


def _guess(found: Sweep) -> float:
    """The accuracy of guessing, percent: of top-1."""
    facts = found.rows[["data", "manifest"]].drop_duplicates()
    if len(facts) > 1:
        raise NoSweep("accuracies on several data sets cannot be compared")
    return 100 / num_classes(*facts.iloc[0])
