"""The whole configuration of a request as a page of one's own: what `--cfg` prints."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dse.space.rules import printable
from dse.sweep.help import default_text
from dse.sweep.keys import ENGINE_SETTINGS, GROUPS, RULES, SETTINGS
from dse.sweep.no_effect import off
from dse.trial.names import written

Values = Mapping[str, Sequence[Any]]


def configuration(
    options: Any,
    choices: Sequence[Mapping[str, str]],
    grids: Sequence[Values],
    axes: Sequence[Values],
    given: Collection[str],
) -> str:
    """Each grid as a page that sets every key of the question, with `---` between two pages.

    `options` are those of the command line, `given` its keys, `choices` the pages of the groups of
    each grid, and `axes` its checked values. Each page begins with the command that asks for it.
    """
    start = ["python", "-m", "dse.sweep", *(["-cd", own] if (own := options.config_dir) else [])]
    start += ["-cn", options.config_name]
    others = [text for text in options.overrides if text.partition("=")[0] not in GROUPS]
    parts = []
    for choice, grid, checked in zip(choices, grids, axes, strict=True):
        command = shlex.join([*start, *map("=".join, choice.items()), *others])
        named = grid["name"] != [options.config_name]
        settings = {k: v for k, v in grid.items() if k in SETTINGS and (named or k != "name")}
        lines = [f"# {printable(command)}", *_question(checked, given), *_settings(settings)]
        parts.append("\n".join(lines))
    return "\n---\n".join(parts)


def _question(axes: Values, given: Collection[str]) -> Iterator[str]:
    """A line for each key of the question; one that no network reads has the value that it has in
    the trials."""
    read: dict[str, set[Any]] = {key: set() for key in RULES}
    for point in itertools.product(*axes.values()):
        for key, value in off(dict(zip(axes, point, strict=True)), given).items():
            read[key].add(value)
    for key in RULES:
        yield f"{key}: {_value(axes[key] if len(read[key]) > 1 else [*read[key]])}"


def _settings(given: Values) -> Iterator[str]:
    """A line for each setting; those that were not `given` are comments."""
    yield from (f"{name}: {_value(values)}" for name, values in given.items())
    engine = given.get("runner.engine", ["local"])[0]
    for name in [name for name in SETTINGS if name not in given]:
        if name.partition(".")[0] not in {*ENGINE_SETTINGS} - {engine}:
            yield f"# {name}: {default_text(name)}"


def _value(values: Sequence[Any]) -> str:
    """A key's only value, or its list of values, in YAML."""
    texts = [_scalar(value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _scalar(value: Any) -> str:
    """A value in YAML; text that is not plain is in double quotes, whose escapes are JSON's and
    Python's too.

    >>> [_scalar(value) for value in (0.5, True, "1-4-8", "010", "~/my data")]
    ['0.5', 'true', '1-4-8', '010', '"~/my data"']
    """
    if isinstance(value, str) and not re.fullmatch(r"[\w/][\w/.-]*", value, re.ASCII):
        return printable(json.dumps(value, ensure_ascii=False))
    return written(value)
