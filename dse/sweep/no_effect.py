"""Fields without effect: a grid that would train one network twice, or a key that cannot matter.

A request refuses them. `Trial` accepts them, so that older records stay readable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import Any

from dse.space.architecture import LISTED, Architecture, Metaparameters, field_names
from dse.sweep.timing import architecture_of
from dse.trial.datasets import DATA_SETS
from dse.trial.names import written
from dse.trial.protocol import Protocol, epoch_steps, parts
from dse.trial.question import Trial
from dse.trial.schedule import warmup_steps
from dse.trial.unread import reason, unread

OFF: Mapping[str, tuple[str, Any]] = {
    "nesterov": ("momentum", False),
    "ladder": ("dead_after", "none"),
}
"""Fields that must be off where another one is 0, and their value when they are."""


# Fields that a trial does not read ----------------------------------------------------------


@functools.lru_cache(1024)
def _steps(protocol: Protocol) -> tuple[int, int]:
    """The steps of warm-up, and those after it."""
    recipe = protocol.recipe
    an_epoch = epoch_steps(protocol.train_images, recipe.batch_size)
    warm = warmup_steps(recipe, an_epoch)
    return warm, max(recipe.epochs * an_epoch - warm, 0)


def _incr_e(trial: Trial) -> str:
    return "`freq` is 8" if trial.metaparameters.freq == 8 else ""


def _freq(trial: Trial) -> str:
    return "" if trial.metaparameters.incr_e else "`incr_e` is 0"


def _bypass(trial: Trial) -> str:
    network = architecture_of(trial)
    if not isinstance(network, Architecture) or trial.metaparameters.bypass != "simple":
        return ""
    kept = any(fire.wire != "none" for fire in network.fires)
    return "" if kept else "no Fire module keeps its shape"


def _schedule(trial: Trial) -> str:
    recipe, (_, left) = trial.protocol.recipe, _steps(trial.protocol)
    if left > 1 or recipe.dsd_density < 1:  # every schedule begins with the peak learning rate
        return ""
    if recipe.warmup >= recipe.epochs:
        return f"`warmup` ({recipe.warmup:g}) is at least `epochs` ({recipe.epochs})"
    return f"`warmup` ({recipe.warmup:g}) leaves {left} of the steps"


def _dead_after(trial: Trial) -> str:
    lifeless, (_, left) = trial.protocol.recipe.dead_after, _steps(trial.protocol)
    if lifeless <= left:
        return ""
    warm = trial.protocol.recipe.warmup
    return f"`dead_after` ({lifeless}) exceeds the {left} steps after `warmup` ({warm:g})"


UNREAD: Mapping[str, Callable[[Trial], str]] = {
    "incr_e": _incr_e,
    "freq": _freq,
    "bypass": _bypass,
    "schedule": _schedule,
    "dead_after": _dead_after,
    "ladder": _dead_after,
}
"""Fields that some trials do not read, and the reason; "" where a trial reads it."""

NEUTRAL: Mapping[str, Any] = {
    "incr_e": 0, "bypass": "none", "dead_after": 0, "ladder": "none",
    "dsd_sparse": 0, "dsd_final": 0, "iter_size": 1,
}  # fmt: skip
"""Values that do nothing in any trial; they may always be given."""


EMBEDDED, FOLDER = {"digits"}, {"image_folder"}
READERS: Mapping[str, Set[str]] = {
    "data.root": (DATA_SETS.keys() | FOLDER) - EMBEDDED,
    "data.download": DATA_SETS.keys() - EMBEDDED,
    "data.loaders": FOLDER,
}
"""The data sets that read a setting; the others do not."""


# Different values with the same effect ------------------------------------------------------

FILTERS = (
    *(name for name in field_names(Metaparameters) if name != "bypass"),
    *("strided_fires", "squeeze_filters", "expand_filters"),
)
COUNTS = tuple(name for name in field_names(Architecture) if name not in ("layout", "bypass"))
"""What metaparameters make of a network; `bypass` is in the wires of its Fire modules."""
ALIKE: Mapping[str, str] = {
    **dict.fromkeys(FILTERS, "give every Fire module the same filters"),
    "bypass": "add the same connections",
    "conv10_multiple": "give conv10 the same filters",
    "augment": "move images by up to a pixel",
    "validation_share": "hold out the same images",
    "train_share": "train on the same images",
    "batch_size": "put all training images in one batch",
    "iter_size": "compute all training images in the same parts",
    "warmup": "are the same number of steps",
}
"""Fields of which different values may have the same effect, and that effect."""


def effect(trial: Trial, fields: Collection[str]) -> tuple[Any, ...]:
    """A key that trials share where they would train the same network; `fields` vary."""
    protocol, network = trial.protocol, architecture_of(trial)
    recipe, (warm, _) = protocol.recipe, _steps(protocol)
    made = trial.question
    made.update({f: NEUTRAL.get(f) for f in UNREAD if UNREAD[f](trial)})
    made.update(dict.fromkeys((*FILTERS, "bypass")))  # they are in `network`
    counts: tuple[object, ...] = (network,)
    if isinstance(network, Architecture):
        counts = tuple(getattr(network, name) for name in COUNTS)
        made["conv10_multiple"] = network.conv10_filters
    if made["augment"] == "crop" and protocol.image_size // 8 == 1:
        made["augment"] = "shift"
    made["validation_share"] = protocol.validation_images
    made["train_share"] = protocol.train_images
    made["batch_size"] = min(recipe.batch_size, protocol.train_images)
    made["iter_size"] = len(parts(made["batch_size"], recipe.iter_size))
    made["warmup"] = (warm, recipe.warmup if "warmup" in made["ladder"] else 0)
    return (*counts, *(made[name] for name in fields))


# What a request says ------------------------------------------------------------------------


def off(point: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """A point of a grid, with the only values that its unread fields may have; the fields of `OFF`
    that were not `given` are off where they must be, and metaparameters that were not are at their
    defaults where the layout lists its filters."""
    must = {f: v for f, (switch, v) in OFF.items() if not point[switch] and f not in given}
    replaced = {n for field, names in LISTED.items() if point[field] != "none" for n in names}
    listed = {name: getattr(Metaparameters(), name) for name in replaced.difference(given)}
    return {**point, **must, **listed, **unread(point)}


def without_effect(
    trials: Collection[Trial], axes: Sequence[Mapping[str, Sequence[Any]]], given: Collection[str]
) -> list[str]:
    """A line for each field by which trials differ that would train the same network, and for each
    field `given` on the command line that no trial reads.

    `trials` are the points of the grids `axes`, of which there is at least one.
    """
    seeds = {grid["seed"][0] for grid in axes}
    trials = [trial for trial in trials if trial.seed in seeds]  # the others differ in nothing else
    values = {field: {value for grid in axes for value in grid[field]} for field in axes[0]}
    varying = [field for field in values if len(values[field]) > 1]
    groups: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials if varying else ():
        groups.setdefault(effect(trial, varying), []).append(trial)
    repeated = [group for group in groups.values() if len(group) > 1]
    lines = [line for group in repeated for line in _repetitions(group, varying)]
    idle = {field for field in given if values.get(field) == {NEUTRAL.get(field)}}
    lines += _unread_by_all(trials, set(given) - idle)
    for field in [f for f in UNREAD if f in given and f not in varying]:
        (value,) = values[field]
        if value != NEUTRAL.get(field) and all(UNREAD[field](trial) for trial in trials):
            reason = UNREAD[field](trials[0])
            lines.append(f"`{field}` has no effect where {reason}, got {written(value)}")
    return lines


def _unread_by_all(trials: Sequence[Trial], given: Collection[str]) -> Iterator[str]:
    """A line for each field `given` on the command line that no trial reads."""
    questions = [trial.question for trial in trials]
    idle = [unread(question) for question in questions]
    for field in [field for field in given if all(field in fields for fields in idle)]:
        yield f"`{field}` has no effect where {reason(field, questions[0])}"
    if "layout" in given and all(trial.network != "squeezenet" for trial in trials):
        yield f"`layout` has no effect where `network` is {trials[0].network}"
    data = sorted({trial.protocol.data for trial in trials})
    for name in [name for name in READERS if name in given and READERS[name].isdisjoint(data)]:
        hint = "" if name == "data.download" else "; for a folder of images add data=image_folder"
        yield f"`{name}` has no effect where `data` is {' or '.join(data)}{hint}"


def _repetitions(group: Sequence[Trial], fields: Collection[str]) -> Iterator[str]:
    """A line for each field in which trials differ that would train the same network."""
    questions = [trial.question for trial in group]
    for field in fields:
        values = dict.fromkeys(question[field] for question in questions)
        if (count := len(values)) == 1:
            continue
        reasons = [UNREAD[field](trial) for trial in group] if field in UNREAD else []
        reason = next(filter(None, reasons), "")
        shown = " and ".join(map(written, values))
        why = f"has no effect where {reason}" if reason else f"{shown} {ALIKE[field]}"
        yield f"`{field}` {why}: {count} values would train the same network {count} times"
