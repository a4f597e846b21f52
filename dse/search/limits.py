"""Hard limits on the cost of a network, which is exact before anything is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dse.search.keys import COSTS, ON_CHIP
from dse.search.space import Axis, Choice, Interval, Space, count, ends, levels
from dse.space.architecture import Layout, Metaparameters, field_names
from dse.space.grid import cost_grid
from dse.sweep.timing import size_of
from dse.trial.question import Trial

MOST = 1_000_000
"""The most points whose costs are computed before a study begins."""

FIRES = field_names(Metaparameters)
FREE = ("dropout", "head_relu")
PRICED = {*FIRES, *field_names(Layout), "network", "data", "image_size", "manifest"} - {*FREE}
"""The keys that a network's cost may depend on."""

TrialOf = Callable[[Mapping[str, Any]], Trial]
Bools = npt.NDArray[np.bool_]


def costs_of(trial: Trial) -> dict[str, int]:
    """What a trial's network costs, for each of `COSTS`."""
    return _by_name(size_of(trial))


def exceeded(costs: Mapping[str, int], limits: Mapping[str, int]) -> list[str]:
    """The limits that some costs exceed."""
    return [name for name, most in limits.items() if costs[name] > most]


def refusals(space: Space, trial_of: TrialOf, limits: Mapping[str, int]) -> list[str]:
    """A line for each limit that no point of a space meets, with the smallest value there is;
    where each is met by some point but none meets all, a line that says so.

    The smallest value is exact, unless the line says that it is the smallest that was found.
    """
    costs, exact = _costs(_smallest_axes(space, trial_of), trial_of)
    known = costs["params"] >= 0
    if not known.any():
        return []
    word = "the smallest" if exact else "the smallest that was found"
    least = {name: int(costs[name][known].min()) for name in limits}
    lines = [
        f"`max.{name}` must be at least {least[name]:,}, {word} in this space, got {most:,}"
        for name, most in limits.items()
        if least[name] > most
    ]
    meets = {name: known & (costs[name] <= most) for name, most in limits.items()}
    if lines or not limits or np.logical_and.reduce([*meets.values()]).any():
        return lines
    return [_together(costs, meets, limits, known, word)]


def _together(
    costs: Mapping[str, Any],
    meets: Mapping[str, Bools],
    limits: Mapping[str, int],
    known: Bools,
    word: str,
) -> str:
    """The message where no point meets all limits: what one must be for the others to hold."""
    for name, most in limits.items():
        others = np.logical_and.reduce([known, *(m for n, m in meets.items() if n != name)])
        if others.any():
            rest = ", ".join(f"max.{n}={limits[n]:,}" for n in limits if n != name)
            least = int(costs[name][others].min())
            return (
                f"`max.{name}` must be at least {least:,}, {word} in this space with {rest}, "
                f"got {most:,}"
            )
    return "no point of this space meets " + ", ".join(f"max.{n}={v:,}" for n, v in limits.items())


def mask(space: Space, trial_of: TrialOf, limits: Mapping[str, int]) -> Bools:
    """Whether each point of a space of at most `MOST` points is within limits, and can be trained:
    in the order of `Space.points`."""
    priced = tuple(axis for axis in space.axes if axis.name in PRICED)
    costs, _ = _costs(priced, trial_of)
    within = costs["params"] >= 0
    for name, most in limits.items():
        within &= costs[name] <= most
    shape = [len(levels(axis)) if axis in priced else 1 for axis in space.axes]
    whole = [len(levels(axis)) for axis in space.axes]
    return np.broadcast_to(within.reshape(shape), whole).reshape(-1).copy()


def _smallest_axes(space: Space, trial_of: TrialOf) -> tuple[Axis, ...]:
    """The axes that a cost depends on, of which some have only the value with the least cost.

    More squeeze or 3x3 filters cost more, whatever the others. Wider modules do without bypass:
    where there is one, modules of the same width need no convolution in it, or keep a wire.
    """
    first = trial_of({axis.name: ends(axis)[0] for axis in space.axes})
    plain = first.metaparameters.bypass == "none" and all(a.name != "bypass" for a in space.axes)
    least: dict[str, Callable[[Sequence[Any]], Any]] = {"sr": min, "pct3x3": min}
    if plain:
        least |= {"base_e": min, "incr_e": min, "conv1_filters": min, "freq": max}
    axes: list[Axis] = []
    for axis in space.axes:
        if axis.name in least:
            axes.append(Choice(name=axis.name, values=(least[axis.name](ends(axis)),)))
        elif axis.name in PRICED:
            axes.append(axis)
    return tuple(axes)


def _costs(axes: Sequence[Axis], trial_of: TrialOf) -> tuple[dict[str, Any], bool]:
    """The costs of the grid of some axes, as arrays of its shape, -1 where there is no network;
    and whether that is the whole grid.

    Of a grid of more than `MOST` points, the longest axes are thinned out.
    """
    values = [_thinned(axis, axes) for axis in axes]
    shape = [len(some) for some in values]
    names = [axis.name for axis in axes]
    inner = [i for i, name in enumerate(names) if name in FIRES]
    outer = [i for i, name in enumerate(names) if name not in FIRES]
    costs = {name: np.full(shape, -1, dtype=np.int64) for name in COSTS}
    mesh = _mesh({names[i]: values[i] for i in inner})
    for places in itertools.product(*(range(shape[i]) for i in outer)):
        chosen = {names[i]: values[i][place] for i, place in zip(outer, places, strict=True)}
        where: list[Any] = [slice(None)] * len(axes)
        for i, place in zip(outer, places, strict=True):
            where[i] = place
        for name, array in _priced(chosen, mesh, trial_of).items():
            costs[name][tuple(where)] = array
    exact = all(len(some) == count(axis) for axis, some in zip(axes, values, strict=True))
    return costs, exact


def _thinned(axis: Axis, axes: Sequence[Axis]) -> list[Any]:
    """The values of an axis: all, or as many as fit where the grid has more than `MOST` points."""
    intervals = [a for a in axes if isinstance(a, Interval)]
    if not isinstance(axis, Interval):
        return levels(axis)
    rest = math.prod(count(a) for a in axes if a not in intervals)
    most = max(2, int((MOST / rest) ** (1 / len(intervals))))
    if axis.whole and count(axis) <= most:
        return levels(axis)
    places = np.linspace(axis.low, axis.high, most)
    return list(dict.fromkeys(axis.value(float(place)) for place in places))


def _mesh(values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Arrays that are broadcast to the grid of some values."""
    arrays = np.meshgrid(*map(np.asarray, values.values()), indexing="ij", sparse=True)
    return dict(zip(values, arrays, strict=True))


def _priced(
    chosen: Mapping[str, Any], mesh: Mapping[str, Any], trial_of: TrialOf
) -> dict[str, Any]:
    """The costs of a grid of metaparameters in one layout and protocol; none where these do not
    fit together."""
    try:
        first = {name: array.reshape(-1)[0].item() for name, array in mesh.items()}
        trial = trial_of({**chosen, **first})
        if trial.network != "squeezenet":
            return costs_of(trial)
        own = {name: getattr(trial.metaparameters, name) for name in FIRES}
        facts = trial.protocol.facts
        return _by_name(
            cost_grid(
                trial.layout,
                trial.protocol.image_size,
                num_classes=facts.num_classes,
                in_channels=facts.channels,
                **{**own, **mesh},
            )
        )
    except ValueError:
        return {}


def _by_name(cost: Any) -> dict[str, Any]:
    whole = {name: getattr(cost, name) for name in COSTS if name != ON_CHIP}
    return {**whole, ON_CHIP: cost.size_bytes + cost.peak_activation_bytes}
