"""The Pareto front of accuracy against a cost, how sure it is who is on it, and its hypervolume."""

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

    The columns are those of `configurations`, and three more: `on_front`, whether no other
    configuration on the same data has a mean validation accuracy at least as high at no more cost,
    one of them better; and `front_share`, the share of `RESAMPLES` resamples of the seeds in which
    it is on the front, NaN below `INTERVAL_SEEDS` seeds; and `front_seeds`, how many seeds
    `val_top1` is over: those that all configurations on the data have (NaN: it is not compared), or
    0 where these are too few (see `shared`), and each mean is over its own. Resamples are paired:
    all configurations get the same seeds. A configuration that did not learn with any seed is not
    on the front: see `learned`. The front is chosen by `val_top1`; the accuracy to show is `mean`,
    of the test set. `cost` is a column of numbers that is no accuracy or loss. One that differs
    between seeds, such as `seconds`, is their mean and is not resampled.

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
    costs, seeds = result[cost].to_numpy(float), np.full(len(result), np.nan)
    on_front, share = np.zeros(len(result), dtype=bool), np.where(able, np.nan, 0.0)
    for some in _by_data(result, usable):
        both = shared(values[some])
        seeds[some] = both.sum()
        compared = values[some][:, both] if both.any() else values[some]
        means = np.nanmean(compared, axis=1)
        result.loc[some, "val_top1"] = means
        on_front[some] = pareto(costs[some], means[None])[0]
        draws = resamples(compared.shape[1])
        chunks = np.array_split(draws, max(1, len(draws) * len(some) // CHUNK))
        drawn = (resampled_means(compared, chunk) for chunk in chunks)
        share[some] = sum(pareto(costs[some], one).sum(axis=0) for one in drawn) / len(draws)
    share[known < INTERVAL_SEEDS] = np.nan
    return result.assign(on_front=on_front, front_share=share, front_seeds=seeds)


def shared(values: Floats) -> npt.NDArray[np.bool_]:
    """The seeds that all configurations have: (configurations, seeds), NaN: lacking -> (seeds).

    None where some lack seeds and these are fewer than `INTERVAL_SEEDS`, or than half of the most
    that one has: too much would be left out.

    >>> shared(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, np.nan]])).tolist()
    [True, True, True, False]
    """
    known = ~np.isnan(values)
    every, most = known.all(axis=0), known.sum(axis=1).max()
    result: npt.NDArray[np.bool_] = every & (
        every.sum() >= min(most, max(INTERVAL_SEEDS, most / 2))
    )
    return result


def seeds_compared(points: pd.DataFrame) -> str:
    """A sentence where configurations have different seeds: by which a front compares them."""
    counts = points.loc[points["front_seeds"] < points["count"], "front_seeds"].astype(int).unique()
    if not len(counts):
        return ""
    if 0 in counts:
        means = "each is compared by the mean over its own, and what seeds share does not cancel"
        return f"Configurations have different seeds: {means}."
    numbers = " or ".join(map(str, sorted(counts)))
    return (
        "Configurations have different seeds: validation accuracies are means over the "
        f"{numbers} that all have, those on the test set over each one's own."
    )


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


def hypervolume(
    costs: npt.ArrayLike, values: npt.ArrayLike, reference: tuple[float, float]
) -> float:
    """The area between a reference (cost, value) and the front: costs (n), values (n).

    It is the area of all (cost, value) up to the reference that some network dominates, with no
    more cost and at least that value, in units of cost times units of value. Networks beyond the
    reference add nothing. Scale the costs first, for example by a logarithm, if cheap networks
    should count.

    >>> hypervolume([1.0, 2.0, 3.0], [60.0, 70.0, 65.0], reference=(4.0, 10.0))
    170.0
    """
    cost, value = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    inside = (cost < reference[0]) & (value > reference[1])
    order = np.lexsort((-value[inside], cost[inside]))
    cost, value = cost[inside][order], np.maximum.accumulate(value[inside][order])
    widths = np.diff(np.append(cost, reference[0]))
    return float(widths @ (value - reference[1]))
