"""A sweep of which every point was trained: all its answers as one array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dse.analysis.axes import Axis, NoSweep, Sweep, require
from dse.analysis.statistics import Floats, Interval, interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The answers of every point with every seed: `cells` is (seeds, values of each axis)."""

    answer: str
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    cells: Floats

    @property
    def networks(self) -> int:
        """How many networks there are."""
        return int(self.cells[0].size)

    def place(self, name: str) -> int:
        """The number of the axis with this name, from 0; raises `NoSweep` where there is none."""
        for place, axis in enumerate(self.axes):
            if name == axis.name:
                return place
        raise NoSweep(f"`{name}` is not one of the axes: {', '.join(a.name for a in self.axes)}")

    def means(self, *places: int) -> Floats:
        """Means over all axes but some: (seeds, values of each of these, in their order)."""
        others = [n + 1 for n in range(len(self.axes)) if n not in places]
        result: Floats = self.cells.mean(axis=tuple(others))
        return result


def complete(found: Sweep) -> Grid:
    """The accuracies of a complete grid, percent.

    Only the seeds with which every point was trained count. Raises `NoSweep` where nothing varies,
    or there is no such seed.
    """
    answer = found.answer
    require(found.rows, answer)
    if not found.axes:
        raise NoSweep("there is one configuration only")
    shape = tuple(len(axis.values) for axis in found.axes)
    rows = found.rows.dropna(subset=[answer])
    places = np.ravel_multi_index([axis.places(rows).to_numpy() for axis in found.axes], shape)
    frame = rows.assign(place=places).pivot(index="seed", columns="place", values=answer)
    whole = frame.reindex(columns=range(math.prod(shape))).dropna()
    if whole.empty:
        most, size = int(frame.notna().sum(axis=1).max()), math.prod(shape)
        raise NoSweep(
            f"no seed has all {size:,} points of the grid, at most {most:,}: select values by "
            "key=value that were trained in all combinations"
        )
    cells = whole.to_numpy(float).reshape(len(whole), *shape)
    seeds = tuple(int(seed) for seed in whole.index)
    return Grid(answer=answer, axes=found.axes, seeds=seeds, cells=cells)


def over_seeds(values: Floats) -> list[Interval]:
    """The mean and interval over the seeds of each column: (seeds, n) -> n."""
    return [interval(column.tolist()) for column in values.T]


def noise(cells: Floats) -> float:
    """The standard deviation that the seeds alone give one training, in the unit of `cells`.

    What all trainings of a seed share, such as an easier split, is not counted. NaN for one seed.

    >>> noise(np.array([[1.0, 2.0], [5.0, 6.0]]))
    0.0
    """
    seeds, count = len(cells), cells[0].size
    if seeds < 2:
        return math.nan
    flat = cells.reshape(seeds, count)
    left = flat - flat.mean(axis=1, keepdims=True) - flat.mean(axis=0) + flat.mean()
    return float(np.sqrt((left**2).sum() / ((seeds - 1) * (count - 1))))


def names(axes: Sequence[Axis]) -> str:
    """The names of axes, as in "sr x bypass"."""
    return " x ".join(axis.name for axis in axes)
