"""Some rows of a table, selected by `key=value` and `key>value` as on the command line."""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dse.space.amounts import amount
from dse.space.rules import escaped, is_number
from dse.trial.densities import by_layer
from dse.trial.names import written
from dse.trial.question import QUESTION

if TYPE_CHECKING:
    import pandas as pd

LISTED = 12
"""Maximum number of values that a message lists."""
LONGEST = 120
"""Maximum number of characters of a file's name, without its extension."""


SIGNS = {">=": "ge", "<=": "le", "!=": "ne", ">": "gt", "<": "lt"}
"""What a condition may begin with, besides `=`, and its name in Python's `operator` module."""
STEPS = ("diverged_step", "dead_step")
"""Columns with -1 where that did not happen."""
IDS = ("trial_id", "compressed_id")
"""Columns of ids, which may be given by their beginning."""
TIME = "finished"
"""The column of times, which are compared as text: ISO 8601."""


def parse(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`["sr=0.125,0.25", "top1>80"]` -> `{"sr": ["0.125", "0.25"], "top1": [">80"]}`.

    A key may have several conditions: `["top1>80", "top1<=85"]` -> `{"top1": [">80", "<=85"]}`.
    Raises `ValueError` for a key whose values are given twice, and for other arguments, such as a
    range.
    """
    wanted: dict[str, list[str]] = {}
    for text in arguments:
        key, sign, values = split(text)
        texts, shown = [value.strip() for value in values.split(",")], escaped(repr(text))
        if re.match(r"range *\(", values):
            raise ValueError(f"ranges are not read here: write the values of `{key}` with commas")
        if not (key and sign and all(texts)) or any(one[0] in "<>=!" for one in texts):
            raise ValueError(
                "arguments must be key=value, key=value,value or a condition in quotes, such as "
                f"'val_top1>80', got {shown}"
            )
        if sign in ("<", ">", "<=", ">="):
            try:
                _limit(key, values)
            except ValueError as error:
                raise ValueError(f"{sign} must be followed by {error}, got {shown}") from None
        if sign != "=":
            texts = [sign + one for one in texts]
        before = wanted.get(key, [])
        if sign == "=" and plain(before):
            raise ValueError(f"`{key}` must be given once, got {shown} too")
        wanted[key] = [*before, *texts]
    return wanted


def split(text: str) -> tuple[str, str, str]:
    """Key, sign and value of an argument; without a sign, both of these are empty.

    >>> split("sr = 0.5"), split("top1>=80"), split("curves")
    (('sr', '=', '0.5'), ('top1', '>=', '80'), ('curves', '', ''))
    """
    key, sign, value = re.split(r"([<>!]=|==?|[<>]|$)", text, maxsplit=1)
    return key.strip(), "=" if sign == "==" else sign, value.strip()


def is_condition(text: str) -> bool:
    """Whether a text that `parse` gives is a condition, such as `>80`."""
    return text[:1] in ("<", ">", "!")


def plain(texts: Sequence[str]) -> list[str]:
    """Those of a key's texts that are values, not conditions."""
    return [text for text in texts if not is_condition(text)]


def select(
    table: pd.DataFrame,
    wanted: Mapping[str, Sequence[str]],
    spared: Mapping[str, pd.Series[bool]] | None = None,
) -> pd.DataFrame:
    """The rows whose columns have one of the wanted values, in the order of the table.

    Values are compared as the command line writes them; 0.50 and 5e-1 are 0.5. Of an id, its
    beginning is enough. Of conditions, such as `>80`, all hold. `spared` are the rows that a column
    does not select by. Raises `ValueError` for a column that the table does not have, for a value
    that is in none of its rows, and where no row is left.
    """
    chosen = table
    for name, texts in wanted.items():
        if name not in table:
            raise ValueError(
                f"`{name}` must be a column of the table: {', '.join(map(str, table))}"
            )
        column, others = table[name], (spared or {}).get(name, False)
        for text in filter(is_condition, texts):
            chosen = chosen[(_holds(column, text) | others)[chosen.index]]
        if values := plain(texts):
            chosen = chosen[(_equals(column, values) | others)[chosen.index]]
    if wanted and chosen.empty:
        raise ValueError(f"no trial has {' '.join(words(wanted))}")
    return chosen


def _equals(
    column: pd.Series[Any], texts: Sequence[str], *, excluded: bool = False
) -> pd.Series[bool]:
    """Where a column has one of some values, each of which must be in it; of those that are to be
    `excluded`, it need only be possible."""
    own: pd.Series[str] = column.map(written)
    found = set(own)
    if column.name in IDS:
        texts = [_whole_id(str(column.name), text, found) for text in texts]
    normal = [text if text in found else _normal(column.name, text) for text in texts]
    for text, one in zip(texts, normal, strict=True):
        if one not in found and not (excluded and _is_possible(column, text)):
            if column.dtype.kind in "iuf" and len(found) > LISTED and column.name not in QUESTION:
                inside = is_number(text) and column.min() < float(text) < column.max()
                instead = f"; select by a condition: '{column.name}>{text}'" if inside else ""
                raise ValueError(
                    f"`{column.name}` is {_ends(column)} in these trials, got {text}{instead}"
                )
            values = sorted(column.dropna().unique().tolist())
            if not values:
                raise ValueError(f"no trial has a value of {column.name}")
            known = ", ".join(map(written, values[:LISTED]))
            more = ", ..." if len(values) > LISTED else ""
            every = "every trial that has it" if column.hasnans else "every trial"
            rule = f"must be one of {known}{more}" if values[1:] else f"is {known} in {every}"
            raise ValueError(f"`{column.name}` {rule}, got {text}")
    return own.isin(normal)


def _whole_id(name: str, text: str, known: set[str]) -> str:
    """The one of some ids that begins with a text; the text itself where none does.

    Raises `ValueError` where several do.
    """
    matches = [one for one in known if one.startswith(text)]
    if text in known or not matches:
        return text
    if len(matches) > 1:
        rule = "must be the beginning of one id only"
        raise ValueError(f"`{name}` {rule}, got {text}, which {len(matches)} ids begin with")
    return matches[0]


def _holds(column: pd.Series[Any], text: str) -> pd.Series[bool]:
    """Where a condition holds; nowhere where there is no value."""
    _, sign, value = split(text)
    known = column.notna() & ((column >= 0) if column.name in STEPS else True)
    if sign == "!=":
        return known & ~_equals(column, [value], excluded=True)
    if column.dtype.kind not in "iuf" and column.name != TIME:
        raise ValueError(f"`{column.name}` must be numbers for {text}; name values: key=value")
    if not known.any():
        raise ValueError(f"no trial has a value of {column.name}")
    holds = getattr(operator, SIGNS[sign])(column[known], _limit(str(column.name), value))
    fits: pd.Series[bool] = holds.reindex(column.index, fill_value=False)
    if not fits.any():
        ends = _ends(column[known])
        raise ValueError(f"`{column.name}` is {ends} in these trials, got {column.name}{text}")
    return fits


def _is_possible(column: pd.Series[Any], text: str) -> bool:
    """Whether a column could have a value: any number, or a text that its rule accepts."""
    from dse.analysis.labels import RULES  # imports pandas

    if column.dtype.kind in "iuf":
        return is_number(text)
    rule = RULES.get(str(column.name))
    value = {"true": True, "false": False}.get(text.lower(), text)
    with suppress(ValueError):
        return rule is not None and rule.accept("value", value) is not None
    return False


def _limit(key: str, text: str) -> Any:
    """What `<` and `>` compare a column with; raises `ValueError` with what it must be."""
    if key == TIME:
        if re.fullmatch(r"\d{4}[-\dT:.+Z]*", text):
            return text
        raise ValueError("a time such as 2026-01-31T12:00")
    if is_number(text):
        return float(text)
    if not key.endswith("_bytes"):
        raise ValueError("one number")
    with suppress(ValueError):
        return float(amount().read(text))
    raise ValueError("one number, with a unit or without, such as 0.5MB")


def _ends(column: pd.Series[Any]) -> str:
    """The lowest and the highest number of a column; a measured one is rounded."""
    ends = (column.min(), column.max())
    rounded = column.dtype.kind == "f" and column.name not in QUESTION
    return " .. ".join(f"{end:.4g}" if rounded else written(end) for end in ends)


def words(given: Mapping[str, Sequence[str]]) -> list[str]:
    """Arguments as they are written: ["sr=0.125,0.25", "top1>80"]."""
    written_out = []
    for key, texts in given.items():
        values = plain(texts)
        written_out += [f"{key}={','.join(values)}"] if values else []
        written_out += [key + text for text in texts if is_condition(text)]
    return written_out


def file_name(*arguments: str) -> str:
    """A file's name that repeats the arguments of a command; one that is long, or lacks some of
    their characters, ends in a hash.

    >>> file_name("curves", *words({"hue": ["sr"], "seed": ["0", "1"], "top1": [">80"]}))
    'curves_hue=sr_seed=0,1_top1-gt-80'
    """
    given = name = "_".join(filter(None, arguments))
    for sign, word in SIGNS.items():
        name = name.replace(sign, f"-{word}-")
    safe = re.sub(r"[^\w.,=+-]", "-", name)
    if safe == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(given.encode()).hexdigest()[:8]
    return f"{safe[: LONGEST - 9]}-{digest}"


def _normal(name: Any, text: str) -> str:
    """A value of a column as `written` writes it."""
    if name == "densities":
        with suppress(ValueError):
            return str(by_layer().read(text))
    if is_number(text):
        with suppress(ValueError):
            return written(int(text))
        return written(float(text))
    return text.lower() if text.lower() in ("true", "false") else text
