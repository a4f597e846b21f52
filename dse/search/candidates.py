"""The points of a space that are within the limits and have not been tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna.samplers import RandomSampler

from dse.search.limits import MOST, mask
from dse.search.question import Question
from dse.search.samplers import distributions
from dse.search.space import levels

DRAWS = 1000
"""Points of a space that is too large to be listed, drawn to find a new one."""

Point = Mapping[str, Any]


class Candidates:
    """The points that a study may still try. Those of a space of at most `MOST` points are listed,
    in the order of `Space.points`; a larger one is drawn from, whatever was tried."""

    def __init__(self, question: Question) -> None:
        self._space, self._limited = question.space, bool(question.limits)
        self.listed = question.space.size <= MOST
        if self.listed:
            self._levels = [levels(axis) for axis in question.space.axes]
            self._shape = [len(values) for values in self._levels]
            self._within = mask(question.space, question.trial_with, question.limits)
            self.reset()

    def reset(self) -> None:
        """Forget what was tried."""
        if self.listed:
            self._left = self._within.copy()

    @property
    def count(self) -> float:
        """How many points are left; infinite where they are not listed."""
        return int(self._left.sum()) if self.listed else float("inf")

    @property
    def none_left(self) -> str:
        """Why a study ends that finds no new point."""
        if self.listed:
            count = int(self._within.sum())
            where = "within the limits" if self._limited else "of the space"
            some = f"all {count:,} points" if count > 1 else "the only point"
            return f"{some} {where} {'have' if count > 1 else 'has'} been tried"
        return f"no new point was found in {DRAWS:,} draws"

    def mark(self, point: Point) -> None:
        """Note that a point has been tried."""
        if self.listed:
            named = zip(self._levels, self._space.axes, strict=True)
            places = [values.index(point[axis.name]) for values, axis in named]
            self._left[np.ravel_multi_index(places, self._shape)] = False

    def first(self) -> Iterator[Point]:
        """The points in their order; of a space that is listed."""
        while (left := np.flatnonzero(self._left)).size:
            yield self._point(int(left[0]))

    def drawn(self, rng: np.random.Generator) -> Iterator[Point]:
        """Random points: all, or `DRAWS` of a space that is not listed, some of which may have been
        tried or exceed a limit. Those of a space that is listed must be marked in between."""
        while self.listed and (left := np.flatnonzero(self._left)).size:
            yield self._point(int(rng.choice(left)))
        unused: Any = None
        for _ in range(0 if self.listed else DRAWS):
            draw = RandomSampler(seed=int(rng.integers(2**32))).sample_independent
            own = distributions(self._space)
            yield self._space.point({name: draw(unused, unused, name, own[name]) for name in own})

    def _point(self, number: int) -> Point:
        """The point of a number."""
        places = np.unravel_index(number, self._shape)
        named = zip(self._space.axes, self._levels, places, strict=True)
        return {axis.name: values[place] for axis, values, place in named}
