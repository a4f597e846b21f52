"""The neighbours of a point of a space: one parameter a step along its order, or another choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Point: TypeAlias = dict[str, Any]
Space: TypeAlias = Mapping[str, BaseDistribution]


def neighbour(space: Space, point: Point, rng: np.random.Generator, width: float) -> Point:
    """Another point next to `point`: one parameter has another value, each with the same chance.

    A value that has an order (a range, or choices that are all numbers) moves by a half-normal
    step to either side, at least to the next level; `width` is the deviation as a share of the
    range, on a logarithmic scale for a logarithmic range. Any other choice may become any other.
    In a space of one point, that point.
    """
    names = [name for name, axis in space.items() if not axis.single()]
    if not names:
        return dict(point)
    name = names[int(rng.integers(len(names)))]
    axis, value = space[name], point[name]
    if isinstance(axis, CategoricalDistribution) and not _ranked(axis):
        others = [choice for choice in axis.choices if choice != value]
        return {**point, name: others[int(rng.integers(len(others)))]}
    return {**point, name: _moved(axis, value, float(rng.normal(0, width)))}


def random_point(space: Space, rng: np.random.Generator) -> Point:
    """A point drawn evenly from a space, on a logarithmic scale where a range asks for one."""
    return {name: random_value(axis, rng) for name, axis in space.items()}


def random_value(axis: BaseDistribution, rng: np.random.Generator) -> Any:
    """A value of one parameter, drawn evenly."""
    if isinstance(axis, CategoricalDistribution):
        return axis.choices[int(rng.integers(len(axis.choices)))]
    if isinstance(axis, IntDistribution | FloatDistribution) and axis.step and not axis.log:
        level = int(rng.integers(round((axis.high - axis.low) / axis.step) + 1))
        return _level(axis, level)
    return _value(axis, float(rng.random()))


def _moved(axis: BaseDistribution, value: Any, step: float) -> Any:
    """The value about `step` of the range away; the next one where that is less than a level."""
    place, step = _place(axis, value), step or 1e-9
    while True:
        for move in (step, -step):
            found = _value(axis, min(max(place + move, 0.0), 1.0))
            if found != value:
                return found
        step *= 2


def _place(axis: BaseDistribution, value: Any) -> float:
    """Where in the range a value is, 0 to 1."""
    if isinstance(axis, CategoricalDistribution):
        return _ranked(axis).index(value) / (len(axis.choices) - 1)
    low, high = _ends(axis)
    return ((math.log(value) if axis.log else value) - low) / (high - low)  # type: ignore[attr-defined]


def _value(axis: BaseDistribution, place: float) -> Any:
    """The value nearest to a place in the range, 0 to 1."""
    if isinstance(axis, CategoricalDistribution):
        return _ranked(axis)[round(place * (len(axis.choices) - 1))]
    assert isinstance(axis, IntDistribution | FloatDistribution), axis
    low, high = _ends(axis)
    value = low + place * (high - low)
    value = min(max(math.exp(value) if axis.log else value, axis.low), axis.high)
    return _level(axis, round((value - axis.low) / axis.step)) if axis.step else value


def _ends(axis: BaseDistribution) -> tuple[float, float]:
    """The ends of a range, as logarithms for a logarithmic one."""
    assert isinstance(axis, IntDistribution | FloatDistribution), axis
    return (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)


def _level(axis: IntDistribution | FloatDistribution, level: int) -> int | float:
    """A level of a range with a step, exact in decimals: 0.3, not 0.30000000000000004."""
    if isinstance(axis, IntDistribution):
        return axis.low + level * axis.step
    return float(Decimal(str(axis.low)) + level * Decimal(str(axis.step)))


def _ranked(axis: CategoricalDistribution) -> list[Any]:
    """The choices in order if all are numbers, else an empty list."""
    numbers = all(isinstance(c, int | float) and not isinstance(c, bool) for c in axis.choices)
    return sorted(axis.choices) if numbers else []
