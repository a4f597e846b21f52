"""The arguments of `python -m dse.search` -> a `Request`: a space, what is sought, and settings.

Every value is checked by its key's rule before anything runs, and the limits are compared with the
exact costs of the space; all mistakes are reported at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.data.store import Store
from dse.runner.runner import Workers
from dse.search.check import check, storage_errors
from dse.search.compression import read_compression
from dse.search.help import parser
from dse.search.keys import ACCURACY, COSTS, KEYS, OWN_TEXT, SETTINGS
from dse.search.question import Question
from dse.search.space import Axis, Choice, Space
from dse.search.space import Interval as Range
from dse.sweep.errors import RequestError
from dse.sweep.keys import RULES, TEXT, accepted, check_distinct
from dse.sweep.overrides import Interval, parse_overrides
from dse.sweep.request import manifest, read_grids, read_settings, read_store, read_workers
from dse.trial.compression import Settings

PAGE = "search"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the command was asked to do. `study` is the study's name, `storage` a URL or "", and
    `timeout` is in seconds, infinite if none was given. `warm_start`: the study begins with the
    networks of its space that the folder has."""

    question: Question
    n_trials: int
    warm_start: bool
    timeout: float
    study: str
    storage: str
    folder: Path
    store: Store
    workers: Workers
    plan: bool


def read_request(arguments: Sequence[str]) -> Request:
    """The request in the arguments; raises `RequestError` with all of its mistakes.

    `--help` prints and exits.
    """
    options = parser(PAGE).parse_intermixed_args(arguments)
    errors: list[str] = []
    overrides = read_overrides(options.overrides, errors)
    given = frozenset(overrides)
    grid = _grid(options, overrides, errors)
    objectives = _objectives(grid.pop("objective", [ACCURACY]), errors)
    settings = read_settings([grid], errors, SETTINGS)
    workers = read_workers([grid], settings, errors)
    compression = read_compression(settings, grid, objectives, errors)
    values = _values(grid, errors)
    errors += storage_errors(settings["storage"])
    if errors:
        raise RequestError(errors)
    store = read_store(settings)
    question = _question(values, given, objectives, settings, compression, store)
    check(question)
    return Request(
        question=question,
        n_trials=settings["n_trials"],
        warm_start=settings["warm_start"],
        timeout=settings["timeout"],
        study=settings["study"] or settings["sampler"],
        storage=settings["storage"],
        folder=settings["results.root"] / settings["name"],
        store=store,
        workers=workers,
        plan=settings["plan"],
    )


def read_overrides(texts: Sequence[str], errors: list[str]) -> dict[str, list[Any]]:
    """The values of each key in `key=value`; an interval is one of them."""
    return parse_overrides(texts, errors, KEYS, {*TEXT, *OWN_TEXT}, intervals=True)


def _grid(options: Any, overrides: dict[str, list[Any]], errors: list[str]) -> dict[str, list[Any]]:
    """The values of each key on the page and the command line."""
    grids = read_grids(options.config_name, options.config_dir, overrides, errors, SETTINGS)
    if len(grids) > 1:
        errors.append("`layout`, `recipe` and `protocol` must each have one value in a search")
    grid = {key: list(values) for key, values in grids[0].items()}
    for key, values in grid.items():
        if key in RULES and key not in overrides:
            grid[key] = [read for value in values for read in _written(key, value, errors)]
    return grid


def _written(key: str, value: Any, errors: list[str]) -> list[Any]:
    """A value on a page: one that is written as on the command line is read in the same way."""
    if isinstance(value, str) and value.endswith(")") and "${" not in value:
        return read_overrides([f"{key}={value}"], errors).get(key, [])
    return [value]


def _objectives(names: Sequence[Any], errors: list[str]) -> tuple[str, ...]:
    """The objectives, of two the cost first."""
    read = [accepted("objective", name, SETTINGS["objective"].rule, errors) for name in names]
    if None in read:
        return (ACCURACY,)
    costs = [name for name in read if name != ACCURACY]
    if ACCURACY not in read or len(costs) > 1 or len(read) > 1 + len(costs):
        shown = ",".join(map(str, names))
        errors.append(f"`objective` must be {ACCURACY}, or a cost and {ACCURACY}, got {shown}")
    return (*costs[:1], ACCURACY)


def _values(grid: Mapping[str, Sequence[Any]], errors: list[str]) -> dict[str, list[Any]]:
    """The values of each key of a trial, or its interval, checked by the key's rule."""
    result: dict[str, list[Any]] = {}
    for key in [key for key in grid if key in RULES]:
        rule = RULES[key].rule
        both = [(v.low, v.high) if isinstance(v, Interval) else (v,) for v in grid[key]]
        if len(both) > 1 and any(len(pair) > 1 for pair in both):
            errors.append(f"`{key}` must be values, or one interval")
            continue
        read = [accepted(key, end, rule, errors) for pair in both for end in pair]
        if not read:
            errors.append(f"`{key}` must have a value")
        if None not in read and len(both) == len(read):
            check_distinct(key, read, errors)
        if not any(isinstance(value, Interval) for value in grid[key]):
            result[key] = read
        elif all(isinstance(end, (int, float)) for end in read) and key != "seed":
            (value,) = grid[key]
            result[key] = [Interval(read[0], read[1], value.log)]
        elif None not in read:
            errors.append(f"`{key}` must be values, not an interval")
    return result


def _question(
    values: Mapping[str, Sequence[Any]],
    given: frozenset[str],
    objectives: tuple[str, ...],
    settings: Mapping[str, Any],
    compression: Settings | None,
    store: Store,
) -> Question:
    """The question of checked values; raises `RequestError` for an empty space or interval."""
    varying = {k: some for k, some in values.items() if k != "seed" and _varies(some)}
    try:
        axes = [_axis(key, some) for key, some in varying.items()]
        space = Space(axes=tuple(axes))
    except ValueError as error:
        raise RequestError([str(error)]) from None
    first = {key: some[0] for key, some in values.items()}
    base = {k: v.low if isinstance(v, Interval) else v for k, v in first.items()}
    data = [v for v in values["data"] if isinstance(v, str)]
    if "image_folder" in data and base["manifest"] == "none":
        base["manifest"] = manifest(store)
    return Question(
        space=space,
        base=base,
        seeds=tuple(values["seed"]),
        given=given,
        objectives=objectives,
        limits={name: settings[f"max.{name}"] for name in COSTS if settings[f"max.{name}"]},
        sampler=settings["sampler"],
        study_seed=settings["study_seed"],
        stopping=settings["stopping"],
        compression=compression,
    )


def _varies(values: Collection[Any]) -> bool:
    return len(values) > 1 or any(isinstance(value, Interval) for value in values)


def _axis(key: str, values: Sequence[Any]) -> Axis:
    value = values[0]
    if not isinstance(value, Interval):
        return Choice(name=key, values=tuple(values))
    whole = isinstance(value.low, int)
    return Range(name=key, low=value.low, high=value.high, log=value.log, whole=whole)
