"""How much of a complete grid's variance each axis explains alone, and each two of them together.

On a complete grid these parts add up exactly: an axis's main effect is its mean over all else, an
interaction of two is what the means of their pairs of values have beyond both main effects.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from dse.analysis.complete import Grid, names, noise, over_seeds
from dse.analysis.statistics import Floats

REST = "three or more axes"


def shares(grid: Grid) -> pd.DataFrame:
    """The share of the variance of the networks' means over the seeds, by source.

    Columns: `source` (an axis, two axes as "sr x bypass", and `REST`), `share` (percent of the
    variance; they add up to 100), and `deviation`, the standard deviation of the part in the unit
    of the answer. The largest first, `REST` last. Noise of the seeds is in every one, more where
    there are more combinations of values: see `noise_share`.
    """
    means = grid.cells.mean(axis=0)
    whole = float(means.var())
    places = range(len(grid.axes))
    parts = {names([grid.axes[n]]): main(grid, n).mean(axis=0) for n in places}
    for one, two in combinations(places, 2):
        parts[names([grid.axes[one], grid.axes[two]])] = pair(grid, one, two).mean(axis=0)
    variances = {source: float((part**2).mean()) for source, part in parts.items()}
    ranked = dict(sorted(variances.items(), key=lambda item: -item[1]))
    ranked[REST] = max(whole - sum(variances.values()), 0.0)
    table = pd.DataFrame({"source": list(ranked), "variance": list(ranked.values())})
    table["share"] = 100 * table["variance"] / whole if whole else np.nan
    table["deviation"] = np.sqrt(table["variance"])
    return table[["source", "share", "deviation"]]


def noise_share(grid: Grid) -> float:
    """The part of all shares together that is noise of the seeds, percent; NaN for one seed."""
    whole = float(grid.cells.mean(axis=0).var())
    return 100 * noise(grid.cells) ** 2 / len(grid.seeds) / whole if whole else float("nan")


def main(grid: Grid, place: int) -> Floats:
    """The main effect of an axis for each seed: (seeds, values), the mean over values 0."""
    means = grid.means(place)
    result: Floats = means - means.mean(axis=1, keepdims=True)
    return result


def pair(grid: Grid, one: int, two: int) -> Floats:
    """What two axes do beyond their main effects, for each seed: (seeds, values, values)."""
    means = grid.means(one, two) if one < two else grid.means(one, two).swapaxes(1, 2)
    rows, columns = means.mean(axis=2, keepdims=True), means.mean(axis=1, keepdims=True)
    result: Floats = means - rows - columns + means.mean(axis=(1, 2), keepdims=True)
    return result


def together(grid: Grid, first: str, second: str) -> pd.DataFrame:
    """The mean answer for each two values of two axes, over all else.

    Columns: the two axes, `mean`, `low` and `high` (its 95% interval over the seeds), and
    `beyond`, the part that is beyond both main effects.
    """
    one, two = grid.place(first), grid.place(second)
    means = grid.means(one, two) if one < two else grid.means(one, two).swapaxes(1, 2)
    known = over_seeds(means.reshape(len(means), -1))
    values = [(a, b) for a in grid.axes[one].values for b in grid.axes[two].values]
    table = pd.DataFrame(values, columns=[first, second])
    table["mean"] = [each.mean for each in known]
    table["low"], table["high"] = [each.low for each in known], [each.high for each in known]
    table["beyond"] = pair(grid, one, two).mean(axis=0).ravel()
    return table
