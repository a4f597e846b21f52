"""The border: a page of `sweeps/` and Hydra's overrides -> checked `Trial`s.

Nothing below this module sees a `DictConfig`. Every value is checked by its own rule, every
point as a whole, and all mistakes are listed at once, before torch is imported.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
)
from omegaconf import OmegaConf

from dse.data import folder as image_folder
from dse.data import published as archives
from dse.data.published import DEFAULT, Store
from dse.results.files import is_results
from dse.runner.engine import ENGINES
from dse.runner.ray import Cluster
from dse.runner.remote import require
from dse.runner.runner import Workers
from dse.runner.submitit import Jobs
from dse.space.architecture import Layout, Metaparameters
from dse.space.rules import Rule, duration, flag, integer, one_of, path, real
from dse.trial.protocol import Protocol, check_held_out
from dse.trial.question import Trial, trial_from
from dse.trial.recipe import Recipe

GROUPS = ("layout", "recipe", "protocol")
MOST_POINTS = 1_000_000
MOST_LINES, LONGEST_LINE = 30, 400


class Mistakes(ValueError):
    """A request that cannot be carried out: its mistakes, a printable line of some length each."""

    def __init__(self, lines: Sequence[str]) -> None:
        distinct = tuple(dict.fromkeys(_printable(line) for line in lines))
        more = len(distinct) - MOST_LINES
        self.lines = distinct if more <= 0 else (*distinct[:MOST_LINES], f"and {more:,} more")
        super().__init__("\n".join(self.lines))


def _printable(line: str) -> str:
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    half = LONGEST_LINE // 2
    return shown if len(shown) <= LONGEST_LINE else f"{shown[:half]} ... {shown[-half:]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a command was asked to do: distinct trials in the order asked, and the settings.

    `budget` is in seconds, infinite where none was given.
    """

    trials: tuple[Trial, ...]
    folder: Path
    store: Store
    workers: Workers
    plan: bool
    budget: float


def _file_name() -> Rule:
    def read(value: Any) -> str:
        text = str(value)
        plain = text.replace("-", "").replace("_", "").replace(".", "")
        if isinstance(value, (bool, float)) or value is None or len(text) > 100:
            raise ValueError
        if not (plain.isascii() and plain.isalnum() and text[0].isalnum()):
            raise ValueError
        return text

    return Rule("a name of at most 100 letters, digits, '.', '_' and '-'", read)


def cores() -> int:
    """The cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that is no part of the question: it changes how, never what, is answered."""

    default: Any
    rule: Rule
    meaning: str


ENGINE_SETTINGS: Mapping[str, type] = {"submitit": Jobs, "ray": Cluster}

SETTINGS: Mapping[str, Setting] = {
    "name": Setting("", _file_name(), "results go to <results.root>/<name> (default: the page)"),
    "plan": Setting(
        False, flag(), "print what would run, its exact sizes and the bill; write no results"
    ),
    "budget": Setting(math.inf, duration(), "train the first part of the grid that fits in it"),
    "limit": Setting(10_000, integer(1, MOST_POINTS), "refuse a grid of more points"),
    "results.root": Setting(Path("results"), path(), "folder that holds the results folders"),
    "data.root": Setting(DEFAULT.root, path(), "folder that holds the data sets"),
    "data.cache": Setting(DEFAULT.cache, path(), "folder for arrays that processes share"),
    "data.download": Setting(DEFAULT.download, flag(), "fetch published files that are not there"),
    "data.loaders": Setting(
        DEFAULT.loaders,
        integer(0, 64),
        "processes that decode the pictures of a large set (0: the trial's own)",
    ),
    "runner.workers": Setting(
        cores(), integer(1, 1024), "trials at a time, one thread each (default: the cores here)"
    ),
    "runner.engine": Setting("local", one_of(*ENGINES), "where trials run: here, SLURM, Ray"),
    "runner.retries": Setting(2, integer(0, 1000), "how often a trial that died is tried again"),
    "runner.patience": Setting(
        3600.0, real(0, 1e9), "seconds without a batch after which a trial hangs (0: wait for ever)"
    ),
    **{
        f"{engine}.{item.name}": Setting(
            item.default, item.metadata["rule"], item.metadata["meaning"]
        )
        for engine, kind in ENGINE_SETTINGS.items()
        for item in fields(kind)
    },
}

RULES: Mapping[str, tuple[Rule, str]] = {
    item.name: (item.metadata["rule"], item.metadata["meaning"])
    for kind in (Metaparameters, Layout, Protocol, Recipe, Trial)
    for item in fields(kind)
    if "rule" in item.metadata and item.name != "semantics"  # nobody trains as it was
}


def pages() -> Path:
    """The folder of pages: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside, beside = package / "sweeps", package.parent / "sweeps"
    return inside if inside.is_dir() else beside


def read(program: str, meaning: str, arguments: Sequence[str], page: str) -> Request:
    """The request in the arguments of the command `dse.<program>`, whose default page is `page`.

    Raises `Mistakes` with all that is wrong with it. `--help` prints and exits.
    """
    options = _parser(program, meaning, page).parse_intermixed_args(arguments)
    mistakes: list[str] = []
    given = _given(options.overrides, mistakes)
    folders = [pages()]
    if options.config_dir and Path(options.config_dir).is_dir():
        folders.insert(0, Path(options.config_dir).resolve())
    elif options.config_dir:
        mistakes.append(f"`--config-dir` must be a folder that exists, got {options.config_dir!a}")

    choices = _choices(folders, options.config_name, given, mistakes)
    composed = [_composed(folders, options.config_name, choice, mistakes) for choice in choices]
    name = {"name": [options.config_name]}
    grids = [{**name, **values, **given} for values in composed] or [given]
    settings = _settings(grids, mistakes)
    axes = [_axes(grid, settings["limit"], mistakes) for grid in grids]
    store = Store(
        root=settings["data.root"],
        cache=settings["data.cache"],
        download=settings["data.download"],
        loaders=settings["data.loaders"],
    )
    workers = _workers(grids, settings, mistakes)
    if not mistakes:
        mistakes += _too_many(axes, settings["limit"])
    manifest = "none" if mistakes else _manifest(axes, store, mistakes)
    if mistakes:
        raise Mistakes(mistakes)
    return Request(
        trials=_trials(axes, manifest),
        folder=settings["results.root"] / settings["name"],
        store=store,
        workers=workers,
        plan=settings["plan"],
        budget=settings["budget"],
    )


class _Parser(argparse.ArgumentParser):
    """Arguments, whose mistakes are told like any other."""

    def error(self, message: str) -> NoReturn:
        raise Mistakes([f"{message}; see --help"])


def _parser(program: str, meaning: str, page: str) -> argparse.ArgumentParser:
    width = max(map(len, (*RULES, *SETTINGS)))
    keys = [f"  {n:<{width}} {meaning}; {rule.text}" for n, (rule, meaning) in RULES.items()]
    keys += [f"  {n:<{width}} {s.meaning}; {s.rule.text}" for n, s in SETTINGS.items()]
    groups = [f"  {group:<{width}} {', '.join(_names([pages()], group))}" for group in GROUPS]
    parser = _Parser(
        prog=f"python -m dse.{program}",
        description=meaning,
        epilog="\n".join(["groups:", *groups, "", "keys:", *keys]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Hydra's grammar; sr=0.125,0.25 is a grid"
    )
    parser.add_argument("-cn", "--config-name", default=page, help=f"page (default: {page})")
    parser.add_argument("-cd", "--config-dir", default="", help="a folder of your own pages")
    parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return parser


# The command line -> values -----------------------------------------------------------------


def _given(texts: Sequence[str], mistakes: list[str]) -> dict[str, list[Any]]:
    """Each known key's values on the command line."""
    parser = OverridesParser.create()
    values: dict[str, list[Any]] = {}
    for text in texts:
        try:
            override = parser.parse_override(text)
        except Exception as error:  # of several kinds, whatever is not Hydra's grammar
            line = f"`{text}` must be key=value in Hydra's grammar: {_reason(error)}"
            mistakes.append(line.encode("ascii", "backslashreplace").decode())
            continue
        key = override.key_or_group
        if override.type is not OverrideType.CHANGE or override.package:
            mistakes.append(f"`{text}` must be key=value: no key can be added or removed")
        elif not (key in RULES or key in SETTINGS or key in GROUPS):
            mistakes.append(_unknown(key))
        elif key in values:
            mistakes.append(f"`{key}` must be given once, got {text!a} too")
        else:
            try:
                values[key] = _values(key, override.value())
            except ValueError as error:
                mistakes.append(f"{error}, got {text.partition('=')[2]}")
    return values


def _values(key: str, value: Any) -> list[Any]:
    """The values of one override; a list is a grid like its values with commas between them.

    Raises `ValueError`, saying the rule, for what is neither values nor a range of some length.
    """
    if isinstance(value, RangeSweep):
        return _range(key, value)
    if isinstance(value, ChoiceSweep):
        return [v.text if isinstance(v, QuotedString) else v for v in value.list]
    if isinstance(value, IntervalSweep) or (isinstance(value, Glob) and key not in GROUPS):
        raise ValueError(f"`{key}` must be values, or a range() of them")
    return value if isinstance(value, list) else [value]


def _range(key: str, sweep: RangeSweep) -> list[Any]:
    """The values of a range without its stop, exact on the decimals that were written."""
    ends = [end for end in (sweep.start, sweep.stop, sweep.step) if end is not None]
    if not all(math.isfinite(end) for end in ends) or not sweep.step:
        raise ValueError(f"`{key}` must be a range of finite numbers with a step")
    exact = [Fraction(str(end)) for end in ends]
    scale = math.lcm(*(end.denominator for end in exact))
    start, stop, step = (int(end * scale) for end in exact)
    if (stop - start) // step > MOST_POINTS:
        raise ValueError(f"`{key}` must be a range of at most {MOST_POINTS:,} values")
    whole = range(start, stop, step)
    return list(whole) if all(isinstance(e, int) for e in ends) else [n / scale for n in whole]


def _reason(error: Exception) -> str:
    """The line of an error of Hydra, OmegaConf or YAML that says most."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or its defaults lead back to it"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{mark.name}, line {mark.line + 1}: {getattr(error, 'problem', '')}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(" expecting {")[0]


def _unknown(key: str) -> str:
    group, _, rest = key.partition(".")
    if key in GROUPS:
        return f"`{key}` must be chosen among the defaults: `- override /{key}: NAME`"
    if group in GROUPS and rest in RULES:
        return f"`{key}` must be `{rest}`: a page of a group begins with `# @package _global_`"
    near = difflib.get_close_matches(key.lower(), [*RULES, *SETTINGS, *GROUPS], 1)
    hint = f"; did you mean `{near[0]}`?" if near else "; see --help"
    return f"`{ascii(key)[1:-1]}` is no key{hint}"


# A page -> values ---------------------------------------------------------------------------


def _names(folders: Sequence[Path], group: str = "") -> list[str]:
    """The pages of a group ("": of no group) in `folders`."""
    return sorted({p.stem for folder in folders for p in (folder / group).glob("*.yaml")})


def _choices(
    folders: Sequence[Path], page: str, given: dict[str, list[Any]], mistakes: list[str]
) -> list[dict[str, str]]:
    """Each combination of the groups that the command line chooses; none where there is a mistake.

    The groups are taken out of `given`.
    """
    before = len(mistakes)
    _accepted("--config-name", page, one_of(*_names(folders)), mistakes)
    axes = []
    for group in [group for group in GROUPS if group in given]:
        known = _names(folders, group)
        names = [
            name
            for value in given.pop(group)
            for name in (value.filter(known) if isinstance(value, Glob) else [str(value)])
        ]
        for name in names:
            _accepted(group, name, one_of(*known), mistakes)
        if not names:
            mistakes.append(f"`{group}` must have a value")
        axes.append([(group, name) for name in dict.fromkeys(names)])
    if len(mistakes) > before:
        return []
    return [dict(choice) for choice in itertools.product(*axes)]


def _composed(
    folders: Sequence[Path], page: str, choice: Mapping[str, str], mistakes: list[str]
) -> dict[str, list[Any]]:
    """A page's keys and lists of values, with the groups of `choice`.

    Groups are looked up where the page stands first, then in the other folders.
    """
    home, *others = sorted(folders, key=lambda folder: page not in _names([folder]))
    overrides = [f"{group}={_quoted(name)}" for group, name in choice.items()]
    overrides += [f"hydra.searchpath=[{_quoted(f'file://{folder}')}]" for folder in others]
    GlobalHydra.instance().clear()
    try:
        own = OmegaConf.load(home / f"{page}.yaml")
        with warnings.catch_warnings(), initialize_config_dir(str(home), version_base="1.3"):
            warnings.simplefilter("ignore")  # a page without `_self_` is read as if it came last
            composed: Any = OmegaConf.to_container(compose(page, overrides), resolve=False)
    except Exception as error:  # of many kinds, whatever a page may hold
        mistakes.append(f"`--config-name` {page} must be a page: {_reason(error)}")
        return {}
    values = dict(_flat(composed))
    lost = ["hydra"] if "hydra" in own else []
    mistakes += [_unknown(key) for key in [*lost, *values] if not (key in RULES or key in SETTINGS)]
    missing = [key for key in RULES if key not in values]
    if missing:
        mistakes.append(
            f"`--config-name` {page} must begin with `defaults: [squeezenet, _self_]` or set every "
            f"key, got no {', '.join(missing)}"
        )
    return {key: value if isinstance(value, list) else [value] for key, value in values.items()}


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# From values to trials ----------------------------------------------------------------------


def _accepted(key: str, value: Any, rule: Rule, mistakes: list[str]) -> Any:
    """The value in its rule's kind; None where it is a mistake."""
    try:
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"`{key}` must be a value, not an interpolation, got {value!a}")
        return rule.accept(key, value)
    except ValueError as error:
        mistakes.append(str(error))
        return None


def _settings(grids: Sequence[Mapping[str, list[Any]]], mistakes: list[str]) -> dict[str, Any]:
    """The settings in the grids; the default where there is none, or a mistake."""
    settings = {name: setting.default for name, setting in SETTINGS.items()}
    for key, values in itertools.chain.from_iterable(grid.items() for grid in grids):
        if key not in SETTINGS:
            continue
        if len(values) != 1:
            mistakes.append(f"`{key}` must be one value, got {len(values):,}")
            continue
        value = _accepted(key, values[0], SETTINGS[key].rule, mistakes)
        if key == "data.root" and value is not None and not value.is_dir():
            mistakes.append(f"`{key}` must be a folder that exists, got {str(value)!a}")
        elif value is not None:
            settings[key] = value
    return settings


def _workers(
    grids: Sequence[Mapping[str, list[Any]]], settings: Mapping[str, Any], mistakes: list[str]
) -> Workers:
    """Who carries the trials out; an engine's settings are for that engine alone."""
    chosen = settings["runner.engine"]
    known = not any(line.startswith("`runner.engine`") for line in mistakes)
    given = {key: values[0] for grid in grids for key, values in grid.items() if values}
    own = {}
    for key in [key for key in given if key in SETTINGS]:
        engine, _, name = key.partition(".")
        if engine == chosen:
            own[name] = settings[key]
        elif engine in ENGINE_SETTINGS and known:
            rule = f"must be left out where `runner.engine` is {chosen}"
            mistakes.append(f"`{key}` {rule}, got {given[key]}")
    if chosen in ENGINE_SETTINGS:
        try:
            require(chosen)
            ENGINE_SETTINGS[chosen](**own)
        except ValueError as error:
            mistakes += str(error).splitlines()
    return Workers(
        count=settings["runner.workers"],
        engine=chosen,
        settings=own,
        retries=settings["runner.retries"],
        patience=settings["runner.patience"],
    )


def _axes(
    grid: Mapping[str, list[Any]], limit: int, mistakes: list[str]
) -> dict[str, Sequence[Any]]:
    """The axes of one grid, checked value by value, unless one alone is above the limit."""
    axes: dict[str, Sequence[Any]] = {}
    for key in [key for key in grid if key in RULES]:
        values, rule = grid[key], RULES[key][0]
        if not values:
            mistakes.append(f"`{key}` must have a value")
        few = len(values) <= limit
        axes[key] = [_accepted(key, v, rule, mistakes) for v in values] if few else values
    return axes


def _too_many(axes: Sequence[Mapping[str, Sequence[Any]]], limit: int) -> list[str]:
    total = sum(math.prod(len(values) for values in grid.values()) for grid in axes)
    if total <= limit:
        return []
    return [f"`limit` must be at least the {total:,} points of the grid, got {limit:,}"]


def _manifest(
    axes: Sequence[Mapping[str, Sequence[Any]]], store: Store, mistakes: list[str]
) -> str:
    """What the folder of pictures holds, where a grid has one and does not say; else none."""
    if not any("image_folder" in grid["data"] and "none" in grid["manifest"] for grid in axes):
        return "none"
    try:
        return image_folder.read(store.root, store.cache).text
    except ValueError as error:
        mistakes.append(str(error))
        return "none"


def _trials(axes: Sequence[Mapping[str, Sequence[Any]]], manifest: str) -> tuple[Trial, ...]:
    """The distinct trials of the grids, in order; raises `Mistakes` of points as a whole.

    `manifest` is that of the folder of pictures, for points that have one and do not say.
    """
    trials: dict[str, Trial] = {}
    mistakes: list[str] = []
    for grid in axes:
        for point in itertools.product(*grid.values()):
            try:
                values = dict(zip(grid, point, strict=True))
                if values["data"] == "image_folder" and values["manifest"] == "none":
                    values["manifest"] = manifest
                trial = trial_from(values)
                check_held_out(trial.protocol)
                trials.setdefault(trial.trial_id, trial)
            except ValueError as error:
                mistakes += str(error).splitlines()
    if mistakes:
        raise Mistakes(mistakes)
    return tuple(trials.values())


def check_folder(folder: Path) -> None:
    """Raise `Mistakes` where a results folder cannot be written, or holds something else."""
    try:
        inmost = (folder / "trials", folder, *folder.absolute().parents)
        there = next(path for path in inmost if path.exists())
        with tempfile.TemporaryDirectory(prefix=".", dir=there):
            usable = is_results(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Mistakes(
            [f"`results.root` must be a folder that can be written, got {folder}: {reason}"]
        ) from None
    if not usable:
        raise Mistakes([f"`name` must be a results folder or a new one, got {folder}"])


def check_data(
    trials: Sequence[Trial], store: Store, tell: Callable[[str], None] = lambda text: None
) -> None:
    """Make sure that the data of `trials` are there and genuine, before torch is imported.

    What takes long is told. Raises `Mistakes`, a line for each set that is not.
    """
    sizes: dict[str, set[int]] = {}
    for trial in trials:
        sizes.setdefault(trial.protocol.data, set()).add(trial.protocol.image_size)
    mistakes = []
    for name, image_sizes in sizes.items():
        try:
            archives.prepare(name, store, image_sizes, tell=tell)
        except (archives.Missing, archives.Unfit) as error:
            mistakes.append(str(error))
    folders = {t.protocol.manifest: t.protocol for t in trials if t.protocol.data == "image_folder"}
    for protocol in folders.values():
        try:
            image_folder.prepare(protocol, store)
        except archives.Unfit as error:
            mistakes.append(str(error))
    if mistakes:
        raise Mistakes(mistakes)
