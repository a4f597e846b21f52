"""The neighbours of a point of a space: one parameter a step along its order, or another choice.

The parameters are those of `dse.search.samplers.distributions`, each of several values: choices
without an order, whole numbers, and numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
Range: TypeAlias = IntDistribution | FloatDistribution


def neighbour(space: Space, point: Point, rng: np.random.Generator, width: float) -> Point:
    """Another point next to `point`: one parameter has another value, each with the same chance.

    A number moves by a half-normal step to either side, at least to the next one; `width` is the
    deviation as a share of the range, on a logarithmic scale for a logarithmic range. A choice may
    become any other.
    """
    names = list(space)
    name = names[int(rng.integers(len(names)))]
    axis, value = space[name], point[name]
    if isinstance(axis, CategoricalDistribution):
        others = [choice for choice in axis.choices if choice != value]
        return {**point, name: others[int(rng.integers(len(others)))]}
    assert isinstance(axis, Range), axis
    return {**point, name: _moved(axis, value, float(rng.normal(0, width)))}


def random_point(space: Space, rng: np.random.Generator) -> Point:
    """A point drawn evenly from a space, on a logarithmic scale where a range asks for one."""
    return {name: random_value(axis, rng) for name, axis in space.items()}


def random_value(axis: BaseDistribution, rng: np.random.Generator) -> Any:
    """A value of one parameter, drawn evenly."""
    if isinstance(axis, CategoricalDistribution):
        return axis.choices[int(rng.integers(len(axis.choices)))]
    assert isinstance(axis, Range), axis
    if isinstance(axis, IntDistribution) and not axis.log:
        return axis.low + int(rng.integers(axis.high - axis.low + 1))
    return _value(axis, float(rng.random()))


def _moved(axis: Range, value: Any, step: float) -> Any:
    """The value about `step` of the range away; the next one where that is less than a level."""
    place, step = _place(axis, value), step or 1e-9
    while True:
        for move in (step, -step):
            found = _value(axis, min(max(place + move, 0.0), 1.0))
            if found != value:
                return found
        step *= 2


def _place(axis: Range, value: Any) -> float:
    """Where in the range a value is, 0 to 1."""
    low, high = _ends(axis)
    return ((math.log(value) if axis.log else value) - low) / (high - low)


def _value(axis: Range, place: float) -> Any:
    """The value nearest to a place in the range, 0 to 1."""
    low, high = _ends(axis)
    value = low + place * (high - low)
    value = min(max(math.exp(value) if axis.log else value, axis.low), axis.high)
    return axis.low + round(value - axis.low) if isinstance(axis, IntDistribution) else value


def _ends(axis: Range) -> tuple[float, float]:
    """The ends of a range, as logarithms for a logarithmic one."""
    return (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
