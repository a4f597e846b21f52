"""What changing one axis from a value to another does over a whole space, and where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep
from dse.analysis.complete import Grid, noise, over_seeds
from dse.analysis.rendering import counted, signed
from dse.analysis.statistics import Floats, Interval, interval
from dse.trial.names import written


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """The differences that `column` from `before` to `after` makes, in points.

    `difference` is their mean over all settings of the other axes, with its interval over the
    seeds. `settings` counts these settings; `higher` is the share of them, 0 to 1, in which the
    mean over the seeds is above 0. `spread` is the standard deviation of the settings' true
    differences, estimated as what is left of theirs without the noise of the seeds; NaN for one
    seed. `by` has a row for each value of each other axis: `axis`, `value`, `mean`, `low`, `high`.
    """

    column: str
    before: Any
    after: Any
    difference: Interval
    settings: int
    higher: float
    spread: float
    by: pd.DataFrame

    @property
    def name(self) -> str:
        """What is changed: "sr 0.125 to 1"."""
        return f"{self.column} {written(self.before)} to {written(self.after)}"

    @property
    def sentence(self) -> str:
        """The contrast in words: as much as its numbers say."""
        least, most = self._ends()
        spread = "" if math.isnan(self.spread) else f" (true spread ±{self.spread:.1f})"
        return (
            f"{self.name}: {signed(self.difference, 'points')} on average over {self.settings:,} "
            f"settings{spread} and {counted(self.difference.count, 'seed')}; more in "
            f"{100 * self.higher:.0f}% of them. Least for {least}, most for {most}."
        )

    def _ends(self) -> tuple[str, str]:
        """The values of other axes for which the mean difference is the least, and the most."""
        rows = self.by.loc[[self.by["mean"].idxmin(), self.by["mean"].idxmax()]]
        least, most = (
            f"{row.axis} {written(row.value)} ({row.mean:+.1f})"
            for row in rows.itertuples(index=False)
        )
        return least, most


def contrast(grid: Grid, column: str, before: Any, after: Any) -> Contrast:
    """Compare two values of an axis in every setting of the others, paired by seed.

    Raises `NoSweep` where they are not values of an axis, or nothing else varies.
    """
    place = grid.place(column)
    axis = grid.axes[place]
    for value in (before, after):
        if value not in axis.values:
            known = ", ".join(map(written, axis.values))
            raise NoSweep(f"`{column}` must be one of {known}, got {written(value)}")
    if len(grid.axes) < 2:
        raise NoSweep(f"nothing but `{column}` varies")
    at = [axis.values.index(value) for value in (before, after)]
    cells = np.take(grid.cells, at[1], place + 1) - np.take(grid.cells, at[0], place + 1)
    others = [other for other in grid.axes if other is not axis]
    means = cells.mean(axis=0)
    rows = []
    for number, other in enumerate(others):
        rest = tuple(n + 1 for n in range(len(others)) if n != number)
        for value, one in zip(other.values, over_seeds(cells.mean(axis=rest)), strict=True):
            rows.append((other.name, value, one.mean, one.low, one.high))
    return Contrast(
        column=column,
        before=before,
        after=after,
        difference=interval(cells.reshape(len(cells), -1).mean(axis=1).tolist()),
        settings=means.size,
        higher=float((means > 0).mean()),
        spread=_spread(cells),
        by=pd.DataFrame(rows, columns=["axis", "value", "mean", "low", "high"]),
    )


def _spread(cells: Floats) -> float:
    """The standard deviation over the settings without the noise of the seeds: (seeds, ...)."""
    if len(cells) < 2:
        return math.nan
    seen = float(cells.mean(axis=0).var(ddof=1))
    return math.sqrt(max(seen - noise(cells) ** 2 / len(cells), 0.0))
