"""The space that a study searches: for each key that varies, its choices or its interval.

A point is a value for each of these keys. A sampler sees it as `params`: a choice that has an order
is its place among the sorted values, so that a sampler knows which values are near each other;
everything else is the value itself.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dse.trial.names import written

DIGITS = 4
"""Significant digits of a value from an interval of real numbers."""
SAMPLE = 64
"""Random points that are tried to find values which fit together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A key that has one of some values; numbers are sorted, because they have an order."""

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"`{self.name}` must have a value")
        distinct = tuple(dict.fromkeys(self.values))
        ordered = _are_numbers(distinct)
        object.__setattr__(self, "values", tuple(sorted(distinct)) if ordered else distinct)

    @property
    def ordered(self) -> bool:
        """Whether the values have an order."""
        return _are_numbers(self.values)

    def has(self, value: Any) -> bool:
        """Whether it is one of the values."""
        return value in self.values

    def value(self, param: Any) -> Any:
        """The value that a sampler's `param` stands for."""
        return self.values[param] if self.ordered else param

    def param(self, value: Any) -> Any:
        """A value as a sampler sees it."""
        return self.values.index(value) if self.ordered else value


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A key that has any number from `low` to `high`: a whole one, or one of `DIGITS` digits.

    `log`: its logarithm is sampled evenly.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"`{self.name}` must be an interval whose low end is below its high one, "
                f"got interval({self.low:g},{self.high:g})"
            )
        if self.log and self.low <= 0:
            raise ValueError(
                f"`{self.name}` must be above 0 where its logarithm is sampled, got {self.low:g}"
            )

    def has(self, value: Any) -> bool:
        """Whether it is in the interval, and has no more digits than its values."""
        return bool(self.low <= value <= self.high and self.value(value) == value)

    def value(self, param: Any) -> Any:
        """The value that a sampler's `param` stands for."""
        if self.whole:
            return int(param)
        return min(max(float(f"{param:.{DIGITS}g}"), self.low), self.high)

    def param(self, value: Any) -> Any:
        """A value as a sampler sees it."""
        return value


Axis: TypeAlias = Choice | Interval
Params: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All keys that vary, in order. Raises `ValueError` where there is none."""

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("a search must have a key with several values, got none")

    @property
    def size(self) -> float:
        """The number of points; infinite with an interval of real numbers."""
        return math.prod(map(count, self.axes))

    def point(self, params: Params) -> dict[str, Any]:
        """The values that a sampler's parameters stand for.

        >>> sr = Choice(name="sr", values=(0.5, 0.125))
        >>> Space(axes=(sr,)).point({"sr": 0})
        {'sr': 0.125}
        """
        return {axis.name: axis.value(params[axis.name]) for axis in self.axes}

    def params(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point as a sampler sees it."""
        return {axis.name: axis.param(point[axis.name]) for axis in self.axes}

    def points(self) -> Iterator[dict[str, Any]]:
        """All points, the last key varying fastest; only of a finite space."""
        names = [axis.name for axis in self.axes]
        for values in itertools.product(*map(levels, self.axes)):
            yield dict(zip(names, values, strict=True))


@functools.cache
def sample(space: Space) -> tuple[dict[str, Any], ...]:
    """`SAMPLE` random points, always the same."""
    rng = random.Random(0)

    def value(axis: Axis) -> Any:
        if isinstance(axis, Choice):
            return rng.choice(axis.values)
        if axis.whole:
            return rng.randint(int(axis.low), int(axis.high))
        return axis.value(rng.uniform(axis.low, axis.high))

    return tuple({axis.name: value(axis) for axis in space.axes} for _ in range(SAMPLE))


def named(point: Mapping[str, Any]) -> str:
    """A point as on the command line."""
    return " ".join(f"{key}={written(value)}" for key, value in point.items())


def count(axis: Axis) -> float:
    """The number of values of an axis."""
    if isinstance(axis, Choice):
        return len(axis.values)
    return axis.high - axis.low + 1 if axis.whole else math.inf


def levels(axis: Axis) -> list[Any]:
    """The values of an axis that has finitely many."""
    if isinstance(axis, Choice):
        return list(axis.values)
    return list(range(int(axis.low), int(axis.high) + 1))


def ends(axis: Axis) -> tuple[Any, ...]:
    """Values of an axis: all of a choice's, and the ends of an interval."""
    if isinstance(axis, Choice):
        return axis.values
    return axis.value(axis.low), axis.value(axis.high)


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
