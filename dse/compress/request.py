"""The arguments of `python -m dse.compress results/NAME ...` -> the compressions that are wanted.

Everything is checked before torch is imported, and all mistakes are reported at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.analysis.selection import parse, split, words
from dse.compress.help import KNOWN, RUN, SELECT, TEXT, parser
from dse.data.store import Store
from dse.results import compressed, files, packs, records, tables
from dse.results.files import Damaged
from dse.runner.runner import Workers
from dse.sweep.errors import RequestError
from dse.sweep.keys import accepted, check_distinct
from dse.sweep.overrides import parse_overrides
from dse.sweep.request import read_settings, read_store, read_workers
from dse.trial.compression import (
    SETTINGS,
    USES,
    Settings,
    compressed_id,
    effective,
    too_many_rounds,
    used,
)
from dse.trial.densities import layer_names, unknown_layers
from dse.trial.names import brief, trial_names, written
from dse.trial.question import Trial, trial_from
from dse.trial.record import COLUMNS

WEIGHTS = "weights.safetensors"
FILES = {"final": WEIGHTS, "sparse": "sparse.safetensors"}
"""Where a trial has the weights of each phase."""
RESULTS = {*COLUMNS, "study", "study_trial"} - {*SELECT}
"""The columns that are no keys of a sweep; they select trials too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compression:
    """A finished trial, and how its network is compressed."""

    trial: Trial
    settings: Settings

    @property
    def compressed_id(self) -> str:
        """The identity of the compressed network."""
        return compressed_id(_trial_id(self.trial), self.settings)

    @property
    def weights(self) -> str:
        """The name of the trial's file whose weights are compressed."""
        return FILES[self.settings.phase]

    @property
    def epochs(self) -> int:
        """The epochs of the compressed network in all: those of its weights, and of retraining."""
        recipe = self.trial.protocol.recipe
        left_out = recipe.dsd_final if self.settings.phase == "sparse" else 0
        return recipe.epochs - left_out + self.settings.retrain_epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the command was asked to do: distinct compressions, in order, and where they run."""

    compressions: tuple[Compression, ...]
    folder: Path
    store: Store
    workers: Workers
    plan: bool

    @property
    def names(self) -> dict[str, str]:
        """Each compression's name, by its id: what varies, as on the command line."""
        trials = trial_names({_trial_id(c.trial): c.trial for c in self.compressions}.values())
        rows = [{n: getattr(c.settings, n) for n in used(c.settings)} for c in self.compressions]
        several = {n for n in SETTINGS if len({row[n] for row in rows if n in row}) > 1}
        shown = {"method", *several}
        return {
            c.compressed_id: " ".join(
                [trials[_trial_id(c.trial)], *(f"{n}={brief(row[n])}" for n in row if n in shown)]
            )
            for c, row in zip(self.compressions, rows, strict=True)
        }


@lru_cache(2**14)
def _trial_id(trial: Trial) -> str:
    """A trial's id, which many compressions of it need."""
    return trial.trial_id


def read_request(arguments: Sequence[str]) -> Request:
    """The request in the arguments; raises `RequestError` with all of its mistakes.

    `--help` prints and exits.
    """
    options = parser().parse_intermixed_args(arguments)
    errors: list[str] = []
    conditions, others = _separated(options.overrides, errors)
    given = parse_overrides(others, errors, KNOWN, TEXT)
    run_keys = {key: values for key, values in given.items() if key in RUN}
    run = read_settings([run_keys], errors)
    workers = read_workers([run_keys], run, errors)
    axes = read_axes(given, errors)
    wanted = {key: values for key, values in given.items() if key in SELECT}
    trials = _trials(options.folder, wanted, conditions, errors)
    points = math.prod(map(len, axes.values())) * len(trials)
    if points > run["limit"]:
        rule = f"must be at least the {points:,} points of the grid"
        errors.append(f"`limit` {rule}, got {run['limit']:,}")
    if "sparse" in axes["phase"]:
        dense = sum(trial.protocol.recipe.dsd_density == 1 for trial in trials)
        some = f"{dense:,} of {counted(len(trials), 'trial')}"
        errors += [f"`phase` must be final for trials without a sparse phase, {some}"] * bool(dense)
    if not errors:
        networks = [layer_names(trial.architecture) for trial in trials]
        errors += unknown_layers(axes["densities"], networks)
    if not errors:
        errors += _missing_weights(options.folder, trials, axes["phase"])
    if not errors:
        errors += _changed_weights(options.folder, trials, axes["phase"])
    if errors:
        raise RequestError(errors)
    choices = read_choices(axes, given)
    every = (Compression(trial=trial, settings=one) for trial in trials for one in choices)
    return Request(
        compressions=tuple({one.compressed_id: one for one in every}.values()),
        folder=options.folder,
        store=read_store(run),
        workers=workers,
        plan=run["plan"],
    )


def _separated(texts: Sequence[str], errors: list[str]) -> tuple[list[str], list[str]]:
    """The conditions and values of results, which select trials, apart from the other arguments."""
    conditions, others = [], []
    for text in texts:
        key, sign, _ = split(text)
        if not sign or (sign == "=" and key not in RESULTS):
            others.append(text)
        elif key in SETTINGS or key in RUN:
            errors.append(f"`{key}` is a setting: give its values by =, got {text}")
        else:
            conditions.append(text)
    return conditions, others


def read_axes(given: Mapping[str, Sequence[Any]], errors: list[str]) -> dict[str, list[Any]]:
    """The values of every setting, each checked: those that are given, else the default."""
    axes: dict[str, list[Any]] = {}
    for item in fields(Settings):
        values = given.get(item.name, [item.default])
        if not values:
            errors.append(f"`{item.name}` must have a value")
        rule = item.metadata["rule"]
        axes[item.name] = [accepted(item.name, value, rule, errors) for value in values]
        if None not in axes[item.name]:
            check_distinct(item.name, axes[item.name], errors)
    return axes


def read_choices(axes: Mapping[str, Sequence[Any]], given: Collection[str]) -> tuple[Settings, ...]:
    """The distinct settings of a grid, in order.

    Raises `RequestError` for a setting that is given and that none of them reads, and for each
    point with more rounds than epochs of retraining.
    """
    points = itertools.product(*axes.values())
    every = [Settings(**dict(zip(axes, point, strict=True))) for point in points]
    read = {name for one in every for name in used(one)}
    unread = [name for name in axes if name in given and name not in read]
    if unread:
        raise RequestError(_without_effect(name, axes) for name in unread)
    if errors := [line for one in every for line in too_many_rounds(one)]:
        raise RequestError(errors)
    return tuple(dict.fromkeys(map(effective, every)))


CAUSES = {
    "density": "quality",
    "densities": "quality",
    "energy": "factors",
    "retrain_lr": "retrain_epochs",
}
"""Settings that others can make idle."""


def _without_effect(name: str, axes: Mapping[str, Sequence[Any]]) -> str:
    """The message for a setting that no point of a grid reads."""
    methods = [method for method in axes["method"] if name in USES[method]]
    where = f"`method` is {' or '.join(axes['method'])}"
    if methods:
        cause = CAUSES[name]
        where = f"`{cause}` is {' or '.join(map(written, axes[cause]))}"
    return f"`{name}` has no effect where {where}, got {', '.join(map(written, axes[name]))}"


def _trials(
    folder: Path, wanted: Mapping[str, Sequence[Any]], conditions: Sequence[str], errors: list[str]
) -> tuple[Trial, ...]:
    """The finished trials of a results folder with the wanted values; none after a mistake."""
    texts = {key: [written(value) for value in values] for key, values in wanted.items()}
    try:
        return _finished(folder, parse([*words(texts), *conditions]))
    except Damaged:
        raise
    except (ValueError, OSError) as error:
        errors += str(error).splitlines()
        return ()


def _finished(folder: Path, wanted: Mapping[str, Sequence[str]]) -> tuple[Trial, ...]:
    """The trials with the wanted values; raises `ValueError` where there are none."""
    if folder.is_file():
        raise ValueError(not_safetensors(folder))
    files.require_trials(folder)
    table = tables.with_studies(tables.load(folder), folder)
    if table.empty:
        raise ValueError(f"`folder` must have finished trials, got {folder}")
    from dse.analysis.folder import rows_of  # imports pandas: `--help` need not wait for it

    compressed.refuse(wanted, "here a condition selects trials")
    chosen = rows_of(table, wanted)
    lost = chosen[chosen["status"] == "diverged"]
    if len(lost):
        raise ValueError(
            f"`status` of a trial to compress must not be diverged, got {len(lost):,} of "
            f"{counted(len(chosen), 'trial')} ({lost['trial_id'].iloc[0]}); select others, as in "
            "status=learned"
        )
    rows: Any = chosen.to_dict("records")
    return tuple(map(trial_from, rows))


def not_safetensors(path: Path) -> str:
    """The message for weights in another kind of file."""
    rule = f"a file of weights must be .safetensors, got {path}"
    if path.suffix == ".net":
        return f"{rule}: use python -m dse.compress recode, or decode it first"
    convert = 'safetensors.torch.save_file(model.state_dict(), "NAME.safetensors")'
    return f"{rule}: write it with {convert}"


def _changed_weights(folder: Path, trials: Sequence[Trial], phases: Sequence[str]) -> list[str]:
    """A line for each file of weights that is not what its trial's record says."""
    lines = []
    for trial, phase in itertools.product(trials, phases):
        path = files.trial_folder(folder, trial.trial_id) / FILES[phase]
        try:
            records.check_file(path, path.read_bytes())
        except Damaged as error:
            lines.append(str(error))
    return lines


def _missing_weights(folder: Path, trials: Sequence[Trial], phases: Sequence[str]) -> list[str]:
    """A line for each phase whose weights some trials do not have."""
    homes, lines = [files.trial_folder(folder, trial.trial_id) for trial in trials], []
    for phase in phases:
        lacking = [home.name for home in homes if not (home / FILES[phase]).exists()]
        if lacking:
            why = ": a pack holds no weights" if packs.ids(folder) & {*lacking} else ""
            more = ", ..." if len(lacking) > 1 else ""
            have = "has" if len(lacking) == 1 else "have"
            some = f"{len(lacking):,} of {counted(len(trials), 'trial')} {have} no {FILES[phase]}"
            lines.append(
                f"`folder` must hold the trials' weights, got {folder}: {some} "
                f"({lacking[0]}{more}){why}; select others by key=value"
            )
    return lines
