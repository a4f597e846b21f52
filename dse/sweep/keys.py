"""The keys of the command line: their rules, what they mean, and the defaults of the settings.

The keys in `RULES` are the fields of a trial, so they decide what is trained; their values come
from the pages of `sweeps/`. The keys in `SETTINGS` decide only how and where it is done.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from dse.data.store import DEFAULT
from dse.runner.engine import ENGINES
from dse.runner.ray import Cluster
from dse.runner.submitit import Jobs
from dse.space.architecture import Layout, Metaparameters
from dse.space.rules import Rule, duration, escaped, flag, integer, one_of, path, real
from dse.sweep import hints
from dse.trial.names import written
from dse.trial.protocol import Protocol
from dse.trial.question import Trial
from dse.trial.recipe import Recipe

GROUPS = ("layout", "recipe", "protocol")
"""Keys whose values are pages, each of which sets several other keys."""

MAX_POINTS = 1_000_000
ENGINE_SETTINGS: Mapping[str, type] = {"submitit": Jobs, "ray": Cluster}
PARTS: Mapping[str, tuple[type, ...]] = {
    "network": (Metaparameters,),
    "layout": (Layout,),
    "data": (Protocol,),
    "training": (Recipe,),
    "trial": (Trial,),
}
"""The parts of a question, and the types whose fields are its keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key's rule, and its meaning in a line, with the unit."""

    rule: Rule
    meaning: str


@dataclass(frozen=True, slots=True)
class Setting(Key):
    """A key that does not change the results, and its default."""

    default: Any


def _file_name() -> Rule:
    def read(value: Any) -> str:
        if not (isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", value, re.A)):
            raise ValueError
        return value

    letters = "a name of at most 100 ASCII letters, digits, '.', '_' and '-'"
    return Rule(f"{letters}, the first a letter or digit", read)


def knobs(*kinds: type) -> dict[str, Field[Any]]:
    """The fields of dataclasses that have a rule, except `semantics`, which cannot be chosen."""
    every = [item for kind in kinds for item in fields(kind) if "rule" in item.metadata]
    return {item.name: item for item in every if item.name != "semantics"}


RULES: Mapping[str, Key] = {
    name: Key(knob.metadata["rule"], knob.metadata["meaning"])
    for kinds in PARTS.values()
    for name, knob in knobs(*kinds).items()
}

SETTINGS: Mapping[str, Setting] = {
    "name": Setting(_file_name(), "results are written to <results.root>/<name>", ""),
    "plan": Setting(
        flag(),
        "print the trials, their exact sizes and an estimate; leave no results",
        False,
    ),
    "budget": Setting(duration(), "train only the first trials that fit in this time", math.inf),
    "limit": Setting(integer(1, MAX_POINTS), "maximum size of the grid", 10_000),
    "results.root": Setting(path(), "folder that holds the results folders", Path("results")),
    "data.root": Setting(path(), "folder that holds the data sets", DEFAULT.root),
    "data.cache": Setting(path(), "folder for decoded data, shared by all sweeps", DEFAULT.cache),
    "data.download": Setting(
        flag(), "download missing files of a published data set", DEFAULT.download
    ),
    "data.loaders": Setting(
        integer(0, 64),
        "loader processes per training process, for folders of images (0: load in that process)",
        DEFAULT.loaders,
    ),
    "runner.device": Setting(
        one_of("auto", "cpu", "cuda"), "where to train (auto: all GPUs, else the CPU)", "auto"
    ),
    "runner.per_gpu": Setting(integer(1, 256), "concurrent trials per GPU", 1),
    "runner.mps": Setting(
        flag(), "start NVIDIA's MPS, with which up to 48 trials run concurrently on a GPU", True
    ),
    "runner.processes_per_trial": Setting(
        integer(1, 1024), "processes per trial (data parallel), one core or GPU each", 1
    ),
    "runner.workers": Setting(
        integer(1, 1024),
        "trials at a time (default: one per core of this machine, or runner.per_gpu per GPU)",
        0,
    ),
    "runner.engine": Setting(
        one_of(*ENGINES), "where trials run: this machine, SLURM (submitit) or Ray", "local"
    ),
    "runner.retries": Setting(
        integer(0, 1000), "how often a trial whose process died is retried", 2
    ),
    "runner.patience": Setting(
        real(0, 1e9), "seconds without a batch after which a trial is killed (0: never)", 3600.0
    ),
    **{
        f"{engine}.{name}": Setting(knob.metadata["rule"], knob.metadata["meaning"], knob.default)
        for engine, kind in ENGINE_SETTINGS.items()
        for name, knob in knobs(kind).items()
    },
}


KEYS = (*RULES, *SETTINGS, *GROUPS)
"""All keys of a sweep's command line."""

TEXT = {*GROUPS, *(key for key, own in {**RULES, **SETTINGS}.items() if own.rule.kind != "number")}
"""Keys whose values are taken as they were written, not as numbers, booleans or null."""

PATHS = {key for key, setting in SETTINGS.items() if setting.rule.kind == "path"}
"""Keys whose value is one path, which may hold commas, brackets or quotes."""


def unknown(key: str, known: Collection[str] = KEYS) -> str:
    """The message for a key that does not exist, with the nearest one that does."""
    group, _, rest = key.partition(".")
    if key in GROUPS and known is KEYS:
        return f"`{key}` must be chosen in the defaults list: `- override /{key}: NAME`"
    if group in GROUPS and rest in RULES:
        page = "a page of a group begins with `# @package _global_`"
        return f"`{key}` must be written `{rest}`; {page}"
    if key.startswith("max.") and known is KEYS:
        limits = "limits are keys of dse.search; with sampler=grid it takes the points in order"
        return f"unknown key `{escaped(key)}`; {limits}"
    near = [own for own in known if own.endswith(f".{key.lower()}")]
    near = near or difflib.get_close_matches(key.lower(), known, 1, cutoff=0.65)
    hint = f"did you mean `{'` or `'.join(near)}`?" if near else "see --help"
    return f"unknown key `{escaped(key)}`; {hint}"


def check_distinct(key: str, values: Sequence[Any], errors: list[str]) -> None:
    """Add a line to `errors` if one of a key's values is given twice."""
    if len(set(values)) < len(values):
        errors.append(f"the values of `{key}` must differ, got {','.join(map(written, values))}")


def accepted(key: str, value: Any, rule: Rule, errors: list[str]) -> Any:
    """The value in its rule's type; None, and a line in `errors`, if it breaks the rule."""
    try:
        if isinstance(value, str) and "${" in value:
            raise ValueError(
                f"`{key}` must be a value, not an interpolation, got {escaped(repr(value))}"
            )
        return rule.accept(key, value)
    except ValueError as error:
        errors.append(f"{error}{hints.of_value(value, rule, grid=key in RULES)}")
        return None
