"""The pages of `sweeps/`, and of a user's own folder: what there is, and the values in them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Glob, Quote, QuotedString
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from dse.space.rules import one_of, printable
from dse.sweep.arguments import of_own
from dse.sweep.keys import GROUPS, KEYS, RULES, SETTINGS, accepted, check_distinct, unknown
from dse.sweep.yaml_pages import Source, read, values


def bundled() -> Path:
    """The folder of this project's pages: in an installed package, or next to it in a checkout."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "sweeps", package.parent / "sweeps"
    return installed if installed.is_dir() else checkout


def names(folders: Sequence[Path], group: str = "") -> list[str]:
    """The names of the pages in `folders`, of a group if one is given."""
    return sorted({p.stem for folder in folders for p in (folder / group).glob("*.yaml")})


def searched(own: str) -> list[Path]:
    """The folders of pages: a user's own, if it is a folder, then this project's."""
    return [*([Path(own).resolve()] if own and Path(own).is_dir() else []), bundled()]


def named(folders: Sequence[Path]) -> dict[str, str]:
    """The argument that chooses each page, by the page's name."""
    of_groups = {name: f"{group}={name}" for group in GROUPS for name in names(folders, group)}
    return of_groups | {name: f"--config-name {name}" for name in names(folders)}


def summary(page: Path) -> str:
    """The first line of a page's comments."""
    try:
        lines = [line for line in read(page).splitlines() if "@package" not in line]
    except (OSError, ValueError) as error:
        return printable(str(error))
    comments = (line.strip("# ") for line in lines if line.startswith("#"))
    return printable(next(filter(None, comments), "no comment"))


def defaults() -> dict[str, Any]:
    """The value of each key of the question on the page `squeezenet`, which sets them all."""
    page = _own(bundled(), "squeezenet")
    return {key: page[key] for key in RULES}


def protocols() -> dict[str, str]:
    """Each data set that has a page in `sweeps/protocol`, and the first such page."""
    folder = bundled() / "protocol"
    every = {name: _own(folder, name) for name in names([bundled()], "protocol")}
    return {page["data"]: name for name, page in reversed(every.items())}


def _own(folder: Path, name: str) -> Any:
    """What a page holds itself."""
    path = folder / f"{name}.yaml"
    return values(read(path), str(path))


def choices(
    folders: Sequence[Path], page: str, overrides: dict[str, list[Any]], errors: list[str]
) -> list[dict[str, str]]:
    """Every combination of the groups' pages in `overrides`; none if there is a mistake.

    The groups are removed from `overrides`.
    """
    before = len(errors)
    errors += _taken(folders)
    known = names(folders)
    if accepted("--config-name", page, one_of(*known), errors) is None:
        errors[-1] += _meant(page, known, () if before else folders)
    axes = []
    for group in [group for group in GROUPS if group in overrides]:
        known, given = names(folders, group), overrides.pop(group)
        check_distinct(group, [str(v) for v in given if not isinstance(v, Glob)], errors)
        chosen = [
            name
            for value in given
            for name in (value.filter(known) if isinstance(value, Glob) else [str(value)])
        ]
        for name in chosen:
            accepted(group, name, one_of(*known), errors)
        if not chosen:
            errors.append(f"`{group}` must have a value")
        axes.append([(group, name) for name in dict.fromkeys(chosen)])
    if len(errors) > before:
        return []
    return [dict(choice) for choice in itertools.product(*axes)]


def _meant(page: str, known: Collection[str], folders: Sequence[Path]) -> str:
    """What to add to the message for a page that is not known."""
    path = Path(page)
    is_path = path.suffix == ".yaml" or path.name not in ("", page)
    if is_path and (path.is_file() or path.stem not in known):
        return f"; did you mean `{of_own(path)}`?"
    if path.stem in known:
        return f"; did you mean `{path.stem}`?"
    return "; pages of your own need --config-dir DIR" if folders == [bundled()] else ""


def _taken(folders: Sequence[Path]) -> list[str]:
    """A line for each of a user's pages of a group that replaces one of this project's, by which
    other pages are made."""
    return [
        f"`{name}` is a shipped {group} too: give your page another name"
        for group in GROUPS
        for name in names(folders[:-1], group)
        if (shipped := bundled() / group / f"{name}.yaml").exists()
        if shipped.read_bytes() != (folders[0] / group / f"{name}.yaml").read_bytes()
    ]


def composed(
    folders: Sequence[Path],
    page: str,
    choice: Mapping[str, str],
    errors: list[str],
    settings: Collection[str] = SETTINGS,
) -> dict[str, list[Any]]:
    """The values of each key on a page, with the pages of the groups in `choice`.

    `settings` are the keys that a page may have apart from those of the question. Groups are
    searched in the page's own folder first, then in the others.
    """
    home, *others = sorted(folders, key=lambda folder: page not in names([folder]))
    overrides = [f"{group}={_quoted(name)}" for group, name in choice.items()]
    overrides += [f"hydra.searchpath=[{_quoted(_address(folder))}]" for folder in others]
    GlobalHydra.instance().clear()
    Plugins.instance().register(Source)
    try:
        own = _own(home, page)
        if not isinstance(own, dict):
            raise ValueError("it must hold keys with values, as in sr: 0.25")
        with warnings.catch_warnings(), initialize_config_dir(_address(home), version_base="1.3"):
            warnings.simplefilter("ignore")  # a page without `_self_` is read as if it came last
            whole: Any = OmegaConf.to_container(compose(page, overrides), resolve=False)
    except Exception as error:  # many types, whatever the page holds
        line = f"page `{page}` cannot be read: {_reason(error)}"
        for group in (one for one in choice if f"override '{one}'. No match" in str(error)):
            line = (
                f"page `{page}` has no {group} in its `defaults`: begin it with `defaults: "
                f"[squeezenet, _self_]` and remove its keys of a {group}, or give these keys "
                f"instead of {group}="
            )
        errors += [line] if line not in errors else []
        return {}
    found = dict(_flat(whole))
    if home != bundled():
        errors += _lost(page, dict(_flat(own)), found)
    keys = [*found, "hydra"] if "hydra" in own else found  # compose() takes `hydra` out
    known = KEYS if settings is SETTINGS else (*RULES, *settings, *GROUPS)
    errors += [unknown(k, known) for k in keys if k not in RULES and k not in settings]
    missing = [key for key in RULES if key not in found]
    if missing:
        errors.append(
            f"page `{page}` must begin with `defaults: [squeezenet, _self_]` or set every key, "
            f"got no {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    return {key: _listed(value) for key, value in found.items()}


def _lost(page: str, own: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """A line for each value of a page that a page after `_self_` in its `defaults` replaces."""
    return [
        f"`{key}` of page `{page}` is replaced by a page after `_self_` in its `defaults`: "
        "`_self_` must come last"
        for key, value in own.items()
        if key in found and _listed(found[key]) != _listed(value)
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _reason(error: Exception) -> str:
    """The line that says most in an error of Hydra, OmegaConf or YAML."""
    if isinstance(error, RecursionError):
        return "a page in its defaults list leads back to itself"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", "")
        if problem == "but found another document":
            return f"{mark.name} holds several pages; save each in a file of its own"
        return f"{mark.name}, line {mark.line + 1}: {problem}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _address(folder: Path) -> str:
    return f"{Source.scheme()}://{folder}"


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys as dotted ones."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
