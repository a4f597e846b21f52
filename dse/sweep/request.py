"""A command's arguments -> a `Request`: the distinct trials of a grid, checked, and settings.

Every value is checked by its own rule and every point of the grid as a whole, before torch is
imported; all mistakes are reported at once. The code below this module sees no configuration,
only trials and settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.data import folder as image_folder
from dse.data.store import Store
from dse.runner.remote import require
from dse.runner.runner import Workers
from dse.space.architecture import field_names
from dse.sweep import hints, pages
from dse.sweep.devices import placed, unshareable
from dse.sweep.errors import RequestError
from dse.sweep.help import parser
from dse.sweep.keys import ENGINE_SETTINGS, RULES, SETTINGS, Setting, accepted, check_distinct
from dse.sweep.no_effect import off, without_effect
from dse.sweep.overrides import parse_overrides
from dse.sweep.yaml_pages import configuration
from dse.trial.datasets import DATA_SETS
from dse.trial.names import written
from dse.trial.protocol import check_held_out
from dse.trial.question import Trial, trial_from

IMAGENET = f"1000-1281167-50000-{'0' * 20}"
"""A manifest of ImageNet's size, for `--cfg` where there are no images."""
Values = Mapping[str, Sequence[Any]]
"""The values of each key; those of the question's keys are the axes of a grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a command was asked to do: distinct trials, in the order of the grid, and settings.

    `budget` is in seconds, infinite if none was given. `remarks` are lines for the user, on values
    that were likely meant otherwise. `configuration` is what `--cfg` prints, "" without it.
    """

    trials: tuple[Trial, ...]
    folder: Path
    store: Store
    workers: Workers
    plan: bool
    budget: float
    remarks: tuple[str, ...] = ()
    configuration: str = ""


def read_request(program: str, description: str, arguments: Sequence[str], page: str) -> Request:
    """The request in the arguments of the command `dse.<program>`, whose default page is `page`.

    Raises `RequestError` with all of its mistakes. `--help` prints and exits.
    """
    options = parser(program, description, page, arguments).parse_intermixed_args(arguments)
    cfg = getattr(options, "cfg", None)
    options.overrides[:0] = [one for one in cfg or () if one != "job"]  # as in `--cfg sr=0.5`
    errors: list[str] = []
    named = pages.named(pages.searched(options.config_dir))
    overrides = parse_overrides(options.overrides, errors, named=named)
    given, asked = set(overrides), dict(overrides)
    choices = pages.choices(pages.searched(options.config_dir), options.config_name, asked, [])
    varied = {key for key, values in overrides.items() if len(values) > 1} - {"seed"}
    grids = read_grids(options.config_name, options.config_dir, overrides, errors)
    settings = read_settings(grids, errors)
    axes = [checked_axes(grid, settings["limit"], errors) for grid in grids]
    workers = read_workers(grids, settings, errors)
    store = read_store(settings)
    if not errors:
        errors += _size_error(axes, settings["limit"])
    if errors:
        raise RequestError(errors)
    trials = _trials(axes, _manifest(axes, store, needed=not cfg), given)
    if errors := unshareable(trials, workers.processes):
        raise RequestError(errors)
    of_page = _resized(trials, given)
    if varied and options.config_name == page:  # nobody asked for what this page varies
        of_page += _also_varied(page, axes, trials, given)
    shown = [{**grid, **checked} for grid, checked in zip(grids, axes, strict=True)]
    return Request(
        trials=trials,
        folder=settings["results.root"] / settings["name"],
        store=store,
        workers=workers,
        plan=settings["plan"],
        budget=settings["budget"],
        remarks=tuple(
            dict.fromkeys([*of_page, *itertools.chain.from_iterable(map(remarks, axes))])
        ),
        configuration=configuration(options, choices, shown) if cfg else "",
    )


def read_grids(
    page: str,
    own: str,
    overrides: dict[str, list[Any]],
    errors: list[str],
    known: Mapping[str, Setting] = SETTINGS,
) -> list[Values]:
    """A grid for each combination of groups; after mistakes in pages, the command line alone.

    `known` are the settings that a page may have.
    """
    folders = pages.searched(own)
    if own and len(folders) == 1:
        errors.append(f"`--config-dir` must be an existing folder, got {own!r}")
    choices = pages.choices(folders, page, overrides, errors)
    composed = [pages.composed(folders, page, choice, errors, known) for choice in choices]
    return [{"name": [page], **values, **overrides} for values in composed] or [overrides]


def read_settings(
    grids: Sequence[Values], errors: list[str], known: Mapping[str, Setting] = SETTINGS
) -> dict[str, Any]:
    """The value of each `known` setting; the default where there is none, or a mistake."""
    settings = {name: setting.default for name, setting in known.items()}
    for key, values in itertools.chain.from_iterable(grid.items() for grid in grids):
        if key not in known:
            continue
        if len(values) != 1:
            errors.append(f"`{key}` must have one value, got {len(values):,}")
            continue
        value = accepted(key, values[0], known[key].rule, errors)
        if key == "data.root" and value is not None and not value.is_dir():
            errors.append(f"`{key}` must be an existing folder, got {str(value)!r}")
        elif value is not None:
            settings[key] = value
    return settings


def read_store(settings: Mapping[str, Any]) -> Store:
    """Where the data are, by the settings `data.*`."""
    return Store(**{name: settings[f"data.{name}"] for name in field_names(Store)})


def read_workers(
    grids: Sequence[Values], settings: Mapping[str, Any], errors: list[str]
) -> Workers:
    """The workers that run the trials; an engine's settings are for that engine only."""
    chosen = settings["runner.engine"]
    known = not any(line.startswith("`runner.engine`") for line in errors)
    given = {key: values[0] for grid in grids for key, values in grid.items() if values}
    own = {}
    for key in [key for key in given if key in SETTINGS]:
        engine, _, name = key.partition(".")
        if engine == chosen:
            own[name] = settings[key]
        elif engine in ENGINE_SETTINGS and known:
            rule = f"must be left out where `runner.engine` is {chosen}"
            errors.append(f"`{key}` {rule}, got {given[key]}")
    engine_settings: Any = None
    if chosen in ENGINE_SETTINGS:
        try:
            require(chosen)
            engine_settings = ENGINE_SETTINGS[chosen](**own)
        except ValueError as error:
            errors += str(error).splitlines()
            return Workers()
    workers = Workers(
        engine=chosen,
        settings=engine_settings,
        retries=settings["runner.retries"],
        patience=settings["runner.patience"],
    )
    try:
        return placed(workers, settings, given)
    except ValueError as error:
        errors.append(str(error))
        return workers


def checked_axes(grid: Values, limit: int, errors: list[str]) -> Values:
    """The axes of one grid, each value checked; an axis that exceeds the limit is not."""
    axes: dict[str, Sequence[Any]] = {}
    for key in [key for key in grid if key in RULES]:
        values, rule = grid[key], RULES[key].rule
        if not values:
            errors.append(f"`{key}` must have a value")
        few = len(values) <= limit
        mistakes: list[str] = []
        axes[key] = [accepted(key, v, rule, mistakes) for v in values] if few else values
        if len(mistakes) == len(values) and (one := hints.joined(values, rule)):
            mistakes = [f"`{key}` must be {rule.text}, got {','.join(values)}; write {one}"]
        if few and not mistakes:
            check_distinct(key, axes[key], mistakes)
        errors += mistakes
    return axes


def remarks(axes: Values) -> Iterator[str]:
    """A line for each axis whose values may have been meant as one value that joins them."""
    for key, values in axes.items():
        if one := hints.joined(values, RULES[key].rule):
            several = f"`{key}={','.join(values)}` is a grid of {len(values)} values"
            yield f"{several}; one value that joins them is written {key}={one}"


def _size_error(axes: Sequence[Values], limit: int) -> list[str]:
    points = sum(math.prod(len(values) for values in grid.values()) for grid in axes)
    if points <= limit:
        return []
    return [f"`limit` must be at least the {points:,} points of the grid, got {limit:,}"]


def _manifest(axes: Sequence[Values], store: Store, *, needed: bool) -> str:
    """The contents of the folder of images, if a grid uses one and does not state them; ImageNet's
    where it cannot be read and is not `needed`."""
    if not any("image_folder" in grid["data"] and "none" in grid["manifest"] for grid in axes):
        return "none"
    try:
        return manifest(store)
    except RequestError:
        if needed:
            raise
        return IMAGENET


def manifest(store: Store) -> str:
    """The contents of the folder of images; raises `RequestError` where it cannot be read."""
    try:
        return image_folder.read(store.root, store.cache).text
    except ValueError as error:
        raise RequestError(str(error).splitlines()) from None


def _resized(trials: Sequence[Trial], given: Collection[str]) -> list[str]:
    """A line for each data set on the command line whose images the page's protocol resizes."""
    if "data" not in given or {"protocol", "image_size"} & set(given):
        return []
    page_of = pages.protocols()
    lines = []
    for data, size in sorted({(t.protocol.data, t.protocol.image_size) for t in trials}):
        kept = f"`data={data}` keeps the page's recipe, and its images are"
        if data == "image_folder":
            change = "such as image_size=64 layout=px64"
            lines.append(f"{kept} resized to {size}x{size} pixels; give another size, {change}")
        elif data != "digits" and (own := DATA_SETS[data].image_size) != size:
            recipe = f"`protocol={page_of[data]}` has a recipe for them"
            lines.append(f"{kept} resized from {own} to {size} pixels; {recipe}")
    return lines


def _also_varied(
    page: str, axes: Sequence[Values], trials: Sequence[Trial], given: Collection[str]
) -> list[str]:
    """A line for each key that a page varies, next to those that are varied on the command line."""
    values = {key: some for grid in axes for key, some in grid.items() if key not in given}
    return [
        f"the page {page} also varies `{key}`: {', '.join(map(written, some))}"
        for key, some in values.items()
        if len(some) > 1 and len({trial.question[key] for trial in trials}) > 1
    ]


def _trials(axes: Sequence[Values], manifest: str, given: Collection[str]) -> tuple[Trial, ...]:
    """The distinct trials of the grids, in order.

    `manifest` is that of the folder of images, for points that use one and do not state it;
    `given` are the keys on the command line. Raises `RequestError` for points whose values do not
    fit together, and for fields without effect.
    """
    trials: dict[str, Trial] = {}
    errors: list[str] = []
    for grid in axes:
        for point in itertools.product(*grid.values()):
            values = off(dict(zip(grid, point, strict=True)), given)
            if values["data"] == "image_folder" and values["manifest"] == "none":
                values["manifest"] = manifest
            try:
                trial = trial_from(values)
                check_held_out(trial.protocol)
                trials.setdefault(trial.trial_id, trial)
            except ValueError as error:
                errors += str(error).splitlines()
    errors = errors or without_effect(trials.values(), axes, given)
    if errors:
        raise RequestError(errors)
    return tuple(trials.values())
