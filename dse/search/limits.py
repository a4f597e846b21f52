"""Hard limits on the cost of a network, which is exact before anything is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dse.search.keys import COSTS, ON_CHIP
from dse.search.space import Axis, Space, count, ends, levels
from dse.space.architecture import Layout, Metaparameters, field_names, idle
from dse.space.grid import cost_grid
from dse.sweep.timing import size_of
from dse.trial.question import Trial

MOST = 1_000_000
"""The most points whose costs are computed before a study begins."""

LAYOUTS = 10_000
"""The most layouts, each for all metaparameters at once, that are looked at for the least cost; one
takes about a millisecond."""

FIRES = field_names(Metaparameters)
FREE = ("dropout", "head_relu")
PRICED = {*FIRES, *field_names(Layout), "network", "data", "image_size", "manifest"} - {*FREE}
"""The keys that a network's cost may depend on."""

TrialOf = Callable[[Mapping[str, Any]], Trial]
"""The trial of some values, with others that fit together with them; else raises `ValueError`."""
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
    if not limits:
        return []
    costs, exact = _costs([a for a in space.axes if a.name in PRICED], trial_of, limits)
    known = costs["params"] >= 0
    meets = {name: known & (costs[name] <= most) for name, most in limits.items()}
    if not known.any() or np.logical_and.reduce([*meets.values()]).any():
        return []
    word = "the smallest" if exact else "the smallest that was found"
    least = {name: int(costs[name][known].min()) for name in limits}
    lines = [
        f"`max.{name}` must be at least {least[name]:,}, {word} in this space, got {most:,}"
        for name, most in limits.items()
        if least[name] > most
    ]
    return lines or [_together(costs, meets, limits, known, word)]


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
    priced = [axis for axis in space.axes if axis.name in PRICED]
    costs, _ = _costs(priced, trial_of)
    shape = [len(levels(axis)) if axis in priced else 1 for axis in space.axes]
    whole = [len(levels(axis)) for axis in space.axes]
    return np.broadcast_to(_within(costs, limits).reshape(shape), whole).reshape(-1).copy()


def _costs(
    axes: Sequence[Axis], trial_of: TrialOf, enough: Mapping[str, int] | None = None
) -> tuple[dict[str, Any], bool]:
    """The costs of the grid of some axes, as arrays of its shape, -1 where there is no network;
    and whether that is the whole grid.

    With the limits `enough`, what comes after a network within them may be left out, and so may
    values of the longest axes, where there are more than `LAYOUTS` layouts. Where there are more
    than `MOST` points they are in any case.
    """
    values = _thinned(axes, LAYOUTS if enough else math.inf)
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
        found = _priced(chosen, mesh, trial_of)
        for name, array in found.items():
            costs[name][tuple(where)] = array
        if enough and found and _within(found, enough).any():
            break
    exact = all(some == _values(axis) for axis, some in zip(axes, values, strict=True))
    return costs, exact


def _within(costs: Mapping[str, Any], limits: Mapping[str, int]) -> Bools:
    """Whether there is a network, and it meets all limits."""
    met = np.asarray(costs["params"] >= 0)
    for name, most in limits.items():
        met = met & (costs[name] <= most)
    return met


def _thinned(axes: Sequence[Axis], layouts: float) -> list[list[Any]]:
    """The values of some axes: all, or of the longest ones as many as fit where the grid has more
    than `MOST` points or so many layouts; the first and the last are among them."""
    values = [_values(axis) for axis in axes]
    outer = [some for axis, some in zip(axes, values, strict=True) if axis.name not in FIRES]
    most = MOST

    def size(lists: Sequence[list[Any]]) -> int:
        return math.prod(min(len(some), most) for some in lists)

    while most > 2 and (size(values) > MOST or size(outer) > layouts):
        most = most * 99 // 100
    return [_spread(some, most) for some in values]


def _values(axis: Axis) -> list[Any]:
    """The values of an axis; of real numbers the ends: all costs rise with `sr` and `pct3x3`."""
    return [*ends(axis)] if math.isinf(count(axis)) else levels(axis)


def _spread(some: list[Any], most: int) -> list[Any]:
    """At most so many values, evenly spread."""
    if len(some) <= most:
        return some
    return [some[place] for place in np.linspace(0, len(some) - 1, most).round().astype(int)]


def _mesh(values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Arrays that are broadcast to the grid of some values."""
    arrays = np.meshgrid(*map(np.asarray, values.values()), indexing="ij", sparse=True)
    return dict(zip(values, arrays, strict=True))


def _priced(
    chosen: Mapping[str, Any], mesh: Mapping[str, Any], trial_of: TrialOf
) -> dict[str, Any]:
    """The costs of a grid of metaparameters in one layout and protocol, -1 where these do not fit
    together; none where they never do."""
    usual = {name: getattr(Metaparameters(), name) for name in mesh}
    first = {n: usual[n] if usual[n] in a else a.reshape(-1)[0].item() for n, a in mesh.items()}
    try:
        trial = trial_of({**chosen, **first})
        if trial.network != "squeezenet":
            return costs_of(trial)
        own = {name: getattr(trial.metaparameters, name) for name in FIRES}
        listed = {name: usual[name] for name in idle(trial.layout) if name in mesh}
        facts = trial.protocol.facts
        grid = cost_grid(
            trial.layout,
            trial.protocol.image_size,
            num_classes=facts.num_classes,
            in_channels=facts.channels,
            **{**own, **mesh, **listed},
        )
    except ValueError:
        return {}
    unfit = np.any(np.broadcast_arrays(False, *(mesh[n] != listed[n] for n in listed)), axis=0)
    return {name: np.where(unfit, -1, array) for name, array in _by_name(grid).items()}


def _by_name(cost: Any) -> dict[str, Any]:
    whole = {name: getattr(cost, name) for name in COSTS if name != ON_CHIP}
    return {**whole, ON_CHIP: cost.size_bytes + cost.peak_activation_bytes}
