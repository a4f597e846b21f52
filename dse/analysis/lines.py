"""Lines along an axis of a sweep: configurations that differ in nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, configurations
from dse.trial.names import written

MOST_LINES = 10
"""More lines than this cannot be read in one figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Configurations that differ along one axis only.

    `setting` is the values of the other axes; `points` are rows of `configurations`, in the order
    of the axis, and `trials` their rows of the sweep.
    """

    setting: Mapping[str, Any]
    points: pd.DataFrame
    trials: pd.DataFrame

    @property
    def label(self) -> str:
        """The setting in words, such as "pct3x3 0.25, bypass simple"."""
        return ", ".join(f"{name} {written(value)}" for name, value in self.setting.items())


def lines(found: Sweep, name: str, answer: str = "", most: float = math.inf) -> tuple[Line, ...]:
    """The lines along the axis with this name or field: one for each setting of the others.

    A setting with a single value of the axis gives no line: `left_out` counts such trials, and
    those without a value of `answer`. Raises `NoSweep` where there is no line, and `TooMany` where
    there are more than `most`.
    """
    axis = found.axis(name)
    others = [other.name for other in found.axes if other is not axis]
    answer = answer or found.answer
    points = configurations(found, answer)
    points = points[points["mean"].notna()]
    if points.empty:
        raise NoSweep(f"no trial has a value of `{answer}`")
    sizes = points.groupby(others or np.zeros(len(points)), sort=False)[axis.name].transform("size")
    points = points[sizes > 1]
    count = len(points[others].drop_duplicates()) if others else min(len(points), 1)
    if not count:
        raise NoSweep(f"no two values of `{axis.name}` have all else equal")
    if count > most:
        raise TooMany(
            f"{count:,} lines along `{axis.name}` are too many to read (at most {most}); select "
            "some with key=value in `python -m dse.plot`"
        )
    rows = found.rows[found.rows[answer].notna()]
    if not others:
        return (Line(setting={}, points=points, trials=rows),)
    trials = rows.groupby(others)
    places = [other.places(points) for other in found.axes if other is not axis]
    points = points.iloc[np.lexsort(places[::-1])]
    return tuple(
        Line(
            setting=dict(zip(others, key, strict=True)),
            points=chosen,
            trials=trials.get_group(key),
        )
        for key, chosen in points.groupby(others, sort=False)
    )


def left_out(found: Sweep, drawn: Sequence[Line]) -> int:
    """How many trials of the sweep are not on the lines drawn."""
    return len(found.rows) - sum(len(line.trials) for line in drawn)
