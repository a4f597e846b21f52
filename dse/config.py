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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dse.protocol import Protocol, Recipe
from dse.results import is_results
from dse.rules import Rule, flag, integer
from dse.space import Layout, Metaparameters
from dse.trial import QUESTION, Trial, trial_from

GROUPS = ("layout", "recipe", "protocol")
MOST_POINTS = 1_000_000
MOST_LINES = 30


class Mistakes(ValueError):
    """A request that cannot be carried out: its mistakes, a line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        distinct = tuple(dict.fromkeys(lines))
        more = len(distinct) - MOST_LINES
        self.lines = distinct if more <= 0 else (*distinct[:MOST_LINES], f"and {more:,} more")
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a command was asked to do: distinct trials in the order asked, and the settings."""

    trials: tuple[Trial, ...]
    folder: Path
    workers: int
    plan: bool


def _file_name() -> Rule:
    def read(value: Any) -> str:
        text = str(value)
        plain = text.replace("-", "").replace("_", "").replace(".", "")
        if not (plain.isascii() and plain.isalnum() and len(text) <= 100 and text[0].isalnum()):
            raise ValueError
        return text

    return Rule("a name of at most 100 letters, digits, '.', '_' and '-'", read)


def _path() -> Rule:
    def read(value: Any) -> Path:
        if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
            raise ValueError
        return Path(value)

    return Rule("a path", read)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that is no part of the question: it changes how, never what, is answered."""

    default: Any
    rule: Rule
    meaning: str


SETTINGS: Mapping[str, Setting] = {
    "name": Setting("", _file_name(), "results go to <results.root>/<name> (default: the page)"),
    "plan": Setting(False, flag(), "print what would run and its exact sizes; train nothing"),
    "limit": Setting(10_000, integer(1, MOST_POINTS), "refuse a grid of more points"),
    "results.root": Setting(Path("results"), _path(), "folder that holds the results folders"),
    "runner.workers": Setting(
        os.cpu_count() or 1, integer(1, 1024), "processes, one thread each (default: the cores)"
    ),
}

RULES: Mapping[str, tuple[Rule, str]] = {
    item.name: (item.metadata["rule"], item.metadata["meaning"])
    for kind in (Metaparameters, Layout, Protocol, Recipe, Trial)
    for item in fields(kind)
    if "rule" in item.metadata
}


def pages() -> Path:
    """The folder of pages: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside, beside = package / "sweeps", package.parent / "sweeps"
    return inside if inside.is_dir() else beside


def read(program: str, meaning: str, arguments: Sequence[str], page: str) -> Request:
    """The request in a command's arguments; raises `Mistakes` with all that is wrong with it."""
    options = _parser(program, meaning, page).parse_args(arguments)
    overrides, mistakes = _overrides(options.overrides)
    folder = Path(options.config_dir) if options.config_dir else pages()
    if not (folder / f"{options.config_name}.yaml").is_file() and folder == pages():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise Mistakes([f"`--config-name` must be one of {known}, got {options.config_name!r}"])

    settings = {name: setting.default for name, setting in SETTINGS.items()}
    settings["name"] = options.config_name
    axes: list[dict[str, Any]] = []
    chosen = {name: overrides.pop(name, []) for name in GROUPS}
    for choice in _choices(chosen):
        try:
            values = _compose(folder, options.config_name, choice)
        except Mistakes as error:
            mistakes += error.lines
            values = {}
        else:
            missing = [key for key in QUESTION if key not in values]
            mistakes += [f"`{key}` is missing from the page" for key in missing]
        axes.append(_axes({**values, **overrides}, settings, mistakes))
    if not mistakes:
        mistakes += _too_many(axes, settings["limit"])
    if mistakes:
        raise Mistakes(mistakes)
    trials = _trials(axes)
    return Request(
        trials=trials,
        folder=settings["results.root"] / settings["name"],
        workers=settings["runner.workers"],
        plan=settings["plan"],
    )


def _parser(program: str, meaning: str, page: str) -> argparse.ArgumentParser:
    keys = [f"  {n:<17} {meaning}; {rule.text}" for n, (rule, meaning) in RULES.items()]
    keys += [f"  {n:<17} {s.meaning}" for n, s in SETTINGS.items()]
    groups = [
        f"  {g:<17} {', '.join(sorted(p.stem for p in (pages() / g).glob('*.yaml')))}"
        for g in GROUPS
    ]
    parser = argparse.ArgumentParser(
        prog=f"python -m dse.{program}",
        description=meaning,
        epilog="\n".join(["groups:", *groups, "", "keys:", *keys]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Hydra's grammar; sr=0.125,0.25 is a grid"
    )
    parser.add_argument("-cn", "--config-name", default=page, help=f"page (default: {page})")
    parser.add_argument("-cd", "--config-dir", default="", help="a folder of your own pages")
    parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return parser


# From text to values ------------------------------------------------------------------------


def _overrides(texts: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Each key's values on the command line (a list, or a lazy range), and the mistakes."""
    parser = OverridesParser.create()
    values: dict[str, Any] = {}
    mistakes = []
    for text in texts:
        try:
            override = parser.parse_override(text)
            key, value = override.key_or_group, _values(override)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            mistakes.append(f"`{text}` must be key=value in Hydra's grammar: {reason}")
            continue
        known = key in RULES or key in SETTINGS or key in GROUPS
        if override.type is not OverrideType.CHANGE or override.package:
            mistakes.append(f"`{text}` must be key=value: no key can be added or removed")
            continue
        if not known:
            mistakes.append(_unknown(key))
        elif key in values:
            mistakes.append(f"`{key}` must be given once, got {text!r} too")
        values[key] = value
    return values, mistakes


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, [*RULES, *SETTINGS, *GROUPS], 1)
    return f"`{key}` is no key" + (f"; did you mean `{near[0]}`?" if near else "; see --help")


def _values(override: Override) -> Any:
    """A list of values; a range stays lazy until its length is known to be allowed."""
    value = override.value()
    if isinstance(value, RangeSweep):
        return value
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    return value if isinstance(value, list) else [value]


def _count(values: Any) -> int:
    if not isinstance(values, RangeSweep):
        return len(values)
    assert values.start is not None
    assert values.stop is not None
    return max(math.ceil((values.stop - values.start) / values.step), 0)


def _listed(values: Any) -> list[Any]:
    """The values of a range: floats are rounded to 12 digits, so that 0.1 + 0.2 is 0.3."""
    if not isinstance(values, RangeSweep):
        return list(values)
    return [float(f"{v:.12g}") if isinstance(v, float) else v for v in values.range()]


def _choices(chosen: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Each combination of the groups that the command line chooses."""
    axes = [
        [(group, str(v)) for v in _listed(values)] for group, values in chosen.items() if values
    ]
    return (dict(point) for point in itertools.product(*axes))


def _compose(folder: Path, page: str, choice: Mapping[str, str]) -> dict[str, Any]:
    """A page's keys and lists of values, with the groups of `choice`."""
    GlobalHydra.instance().clear()
    overrides = [f"{group}={option}" for group, option in choice.items()]
    if folder != pages():
        overrides.append(f"hydra.searchpath=[{pages().as_uri()}]")
    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            for group, option in choice.items():
                options = sorted(set(loader.get_group_options(group)) | _own(group))
                if option not in options:
                    known = ", ".join(options)
                    raise Mistakes([f"`{group}` must be one of {known}, got {option!r}"])
            composed = OmegaConf.to_container(compose(page, overrides), resolve=False)
    except (HydraException, OmegaConfBaseException, OSError) as error:
        raise Mistakes([f"`--config-name` {page}: {str(error).splitlines()[0]}"]) from None
    assert isinstance(composed, dict)
    flat = dict(_flattened(composed, ""))
    return {key: value if isinstance(value, list) else [value] for key, value in flat.items()}


def _own(group: str) -> set[str]:
    return {p.stem for p in (pages() / group).glob("*.yaml")}


def _flattened(values: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# From values to trials ----------------------------------------------------------------------


def _axes(
    values: Mapping[str, Any], settings: dict[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    """The axes of one grid, checked value by value; settings are put into `settings`."""
    for key in [key for key in values if key in SETTINGS]:
        if _count(values[key]) == 1:
            value = _listed(values[key])[0]
            settings[key] = _checked(key, value, SETTINGS[key].rule, mistakes)
        else:
            mistakes.append(f"`{key}` must be one value, got {_count(values[key]):,}")
    axes: dict[str, Any] = {}
    for key in [key for key in values if key not in SETTINGS]:
        count = _count(values[key])
        if key not in RULES:
            mistakes.append(_unknown(key))
        elif not count:
            mistakes.append(f"`{key}` must have a value")
        elif isinstance(settings["limit"], int) and count > settings["limit"]:
            axes[key] = values[key]  # stays lazy: the grid will be refused
        else:
            rule = RULES[key][0]
            axes[key] = [_checked(key, value, rule, mistakes) for value in _listed(values[key])]
    return axes


def _checked(key: str, value: Any, rule: Rule, mistakes: list[str]) -> Any:
    try:
        return rule.accept(key, value)
    except ValueError as error:
        mistakes.append(str(error))
        return value


def _too_many(axes: Sequence[Mapping[str, Any]], limit: int) -> list[str]:
    total = sum(math.prod(_count(values) for values in grid.values()) for grid in axes)
    if total <= limit:
        return []
    return [f"`limit` must be at least the {total:,} points of the grid, got {limit:,}"]


def _trials(axes: Sequence[Mapping[str, list[Any]]]) -> tuple[Trial, ...]:
    """The distinct trials of the grids, in order; raises `Mistakes` of points as a whole."""
    trials: dict[str, Trial] = {}
    mistakes: list[str] = []
    for grid in axes:
        for point in itertools.product(*grid.values()):
            try:
                trial = trial_from(dict(zip(grid, point, strict=True)))
                trials.setdefault(trial.trial_id, trial)
            except ValueError as error:
                mistakes += str(error).splitlines()
    if mistakes:
        raise Mistakes(mistakes)
    return tuple(trials.values())


def check_folder(folder: Path) -> None:
    """Raise `Mistakes` where a results folder cannot be written, or holds something else."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise Mistakes([f"`results.root` must be a folder that can be written, got {there}"])
    if not is_results(folder):
        raise Mistakes([f"`name` must be a results folder or a new one, got {folder}"])
