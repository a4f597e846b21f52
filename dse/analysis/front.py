"""The Pareto front of accuracy against a cost, and how sure it is that a network is on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dse.analysis.axes import SIZES, Sweep, configurations, require, sweep
from dse.analysis.known import learned
from dse.analysis.labels import ACCURACIES, is_numeric
from dse.analysis.statistics import INTERVAL_SEEDS, Floats, resampled_means, resamples

COSTS = (*SIZES, "seconds", "file_bytes")
NO_COSTS = (*ACCURACIES, "loss", "val_loss", "train_loss", "seed", "count", "mean", "low", "high")
"""Columns of numbers that are no cost: results, and what `configurations` has of its own."""
CHUNK = 4_000_000
"""The most means that are held at a time."""


def front(table: pd.DataFrame, cost: str = "size_bytes") -> pd.DataFrame:
    """The configurations of a table, and which are on the front of accuracy against `cost`.

    The columns are those of `configurations`, and two more: `on_front`, whether no other
    configuration on the same data has a mean validation accuracy at least as high at no more cost,
    one of them better; and `front_share`, the share of `RESAMPLES` resamples of the seeds in which
    it is on the front, NaN below `INTERVAL_SEEDS` seeds. Resamples are paired: all configurations
    get the same seeds. A configuration that did not learn with any seed is not on the front: see
    `learned`. The front is chosen by `val_top1`; the accuracy to show is `mean`, of the test set.
    `cost` is a column of numbers that is no accuracy or loss. One that differs between seeds, such
    as `seconds`, is their mean and is not resampled.

    Raises `ValueError` for a table that is empty, holds a trial twice, or has no such cost.
    """
    found = sweep(table)
    if cost in NO_COSTS or cost not in table or not is_numeric(table[cost]):
        rule = "must be a column of numbers other than an accuracy or a loss, such as size_bytes"
        raise ValueError(f"`cost` {rule}, got {cost}")
    require(table, "val_top1")
    result = configurations(found)
    values = by_seed(found, result)
    if cost not in COSTS:
        own = found.rows.assign(_cost=found.blank(found.rows)[cost].astype(float))
        result[cost] = configurations(replace(found, rows=own), "_cost")["mean"]
    known = (~np.isnan(values)).sum(axis=1)
    rows = found.rows.assign(_learned=learned(found).astype(float))
    able = configurations(replace(found, rows=rows), "_learned")["mean"].to_numpy() > 0
    usable = (known > 0) & able & result[cost].notna().to_numpy()
    costs, draws = result[cost].to_numpy(float), resamples(values.shape[1])
    on_front, share = np.zeros(len(result), dtype=bool), np.where(able, np.nan, 0.0)
    for some in _by_data(result, usable):
        on_front[some] = pareto(costs[some], np.nanmean(values[some], axis=1)[None])[0]
        chunks = np.array_split(draws, max(1, len(draws) * len(some) // CHUNK))
        means = (resampled_means(values[some], chunk) for chunk in chunks)
        share[some] = sum(pareto(costs[some], one).sum(axis=0) for one in means) / len(draws)
    share[known < INTERVAL_SEEDS] = np.nan
    return result.assign(on_front=on_front, front_share=share)


def _by_data(points: pd.DataFrame, usable: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """The places of the usable points of each data set: accuracies on two cannot be compared."""
    sets = [name for name in ("data", "manifest") if name in points]
    codes = points.groupby(sets).ngroup().to_numpy() if sets else np.zeros(len(points))
    return [np.flatnonzero(usable & (codes == code)) for code in np.unique(codes[usable])]


def by_seed(found: Sweep, points: pd.DataFrame) -> Floats:
    """Validation accuracy of each of the configurations `points`: (configurations, seeds).

    NaN where a configuration lacks a seed.
    """
    names: Any = [axis.name for axis in found.axes]
    if not names:
        return found.rows["val_top1"].to_numpy(float)[None]
    frame = found.rows.pivot(index=names, columns="seed", values="val_top1")
    order = pd.MultiIndex.from_frame(points[names]) if len(names) > 1 else points[names[0]]
    return frame.reindex(order).to_numpy(float)


def pareto(costs: Floats, values: Floats) -> npt.NDArray[np.bool_]:
    """Which are on the front, row by row: costs (n), values (rows, n) -> (rows, n).

    One is on the front unless another has at least its value at no more cost, and is better in one
    of the two.

    >>> pareto(np.array([1.0, 2.0, 3.0, 3.0]), np.array([[60.0, 50.0, 70.0, 65.0]])).tolist()
    [[True, False, True, False]]
    """
    order = np.argsort(costs, kind="stable")
    distinct, starts, groups = np.unique(costs[order], return_index=True, return_inverse=True)
    ordered = values[:, order]
    best = np.maximum.reduceat(ordered, starts, axis=1)  # of each distinct cost
    cheaper = np.full_like(best, -np.inf)
    cheaper[:, 1:] = np.maximum.accumulate(best, axis=1)[:, : len(distinct) - 1]
    result = np.empty(values.shape, dtype=bool)
    result[:, order] = (ordered == best[:, groups]) & (ordered > cheaper[:, groups])
    return result
