"""Some rows of a table, selected by `key=value` and `key>value` as on the command line."""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dse.space.rules import escaped, is_number
from dse.trial.names import written
from dse.trial.question import QUESTION
from dse.trial.record import STATUSES

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


def parse(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`["sr=0.125,0.25", "top1>80"]` -> `{"sr": ["0.125", "0.25"], "top1": [">80"]}`.

    Several conditions may have one key: `["top1>80", "top1<=85"]` -> `{"top1": [">80", "<=85"]}`.
    Raises `ValueError` for anything else that is given twice, and for other arguments, such as a
    range.
    """
    wanted: dict[str, list[str]] = {}
    for text in arguments:
        key, sign, values = split(text)
        texts, shown = [value.strip() for value in values.split(",")], escaped(repr(text))
        if re.match(r"range *\(", values):
            raise ValueError(f"ranges are not read here: write {key}={_in_range(values)}")
        if not (key and sign and all(texts)) or any(one[0] in "<>=!" for one in texts):
            raise ValueError(
                "arguments must be key=value, key=value,value or a condition in quotes, such as "
                f"'val_top1>80', got {shown}"
            )
        if sign in ("<", ">", "<=", ">=") and not (len(texts) == 1 and is_number(texts[0])):
            raise ValueError(f"{sign} must be followed by one number, got {shown}")
        if sign != "=":
            texts = [sign + one for one in texts]
        before = wanted.get(key, [])
        if before and not (is_condition(before[0]) and sign != "="):
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


def select(table: pd.DataFrame, wanted: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The rows whose columns have one of the wanted values, in the order of the table.

    Values are compared as the command line writes them; 0.50 and 5e-1 are 0.5. Of conditions, such
    as `>80`, all hold. Raises `ValueError` for a column that the table does not have, for a value
    that is in none of its rows, and where no row is left.
    """
    chosen = table
    for name, texts in wanted.items():
        if name not in table:
            raise ValueError(
                f"`{name}` must be a column of the table: {', '.join(map(str, table))}"
            )
        for text in filter(is_condition, texts):
            chosen = chosen[_holds(table[name], text)[chosen.index]]
        values = [text for text in texts if not is_condition(text)]
        if values:
            chosen = chosen[_equals(table[name], values)[chosen.index]]
    if wanted and chosen.empty:
        raise ValueError(f"no trial has {' '.join(words(wanted))}")
    return chosen


def _equals(column: pd.Series[Any], texts: Sequence[str]) -> pd.Series[bool]:
    """Where a column has one of some values, each of which must be in it."""
    own: pd.Series[str] = column.map(written)
    found = set(own)
    normal = [text if text in found else _normal(text) for text in texts]
    for text, one in zip(texts, normal, strict=True):
        if one not in found:
            if column.dtype.kind in "iuf" and len(found) > LISTED and column.name not in QUESTION:
                inside = is_number(text) and column.min() < float(text) < column.max()
                instead = f"; select by a condition: '{column.name}>{text}'" if inside else ""
                raise ValueError(
                    f"`{column.name}` is {_ends(column)} in these trials, got {text}{instead}"
                )
            values = sorted(column.unique().tolist())
            known = ", ".join(map(written, values[:LISTED]))
            more = ", ..." if len(values) > LISTED else ""
            rule = f"must be one of {known}{more}" if values[1:] else f"is {known} in every trial"
            raise ValueError(f"`{column.name}` {rule}, got {text}")
    return own.isin(normal)


def _holds(column: pd.Series[Any], text: str) -> pd.Series[bool]:
    """Where a condition holds; nowhere where there is no value."""
    _, sign, value = split(text)
    known = column.notna() & ((column >= 0) if column.name in STEPS else True)
    if sign == "!=":
        never = column.name == "status" and value in STATUSES and value not in set(column)
        return known if never else known & ~_equals(column, [value])
    if column.dtype.kind not in "iuf":
        raise ValueError(f"`{column.name}` must be numbers for {text}; name values: key=value")
    fits: pd.Series[bool] = known & getattr(operator, SIGNS[sign])(column, float(value))
    if not known.any():
        raise ValueError(f"no trial has a value of {column.name}")
    if not fits.any():
        ends = _ends(column[known])
        raise ValueError(f"`{column.name}` is {ends} in these trials, got {column.name}{text}")
    return fits


def _ends(column: pd.Series[Any]) -> str:
    """The lowest and the highest number of a column; a measured one is rounded."""
    ends = (column.min(), column.max())
    rounded = column.dtype.kind == "f" and column.name not in QUESTION
    return " .. ".join(f"{end:.4g}" if rounded else written(end) for end in ends)


def words(given: Mapping[str, Sequence[str]]) -> list[str]:
    """Arguments as they are written: ["sr=0.125,0.25", "top1>80"]."""
    written_out = []
    for key, texts in given.items():
        values = [text for text in texts if not is_condition(text)]
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
    plain = re.sub(r"[^\w.,=+-]", "-", name)
    if plain == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(given.encode()).hexdigest()[:8]
    return f"{plain[: LONGEST - 9]}-{digest}"


def _in_range(text: str) -> str:
    """The values of a range of few whole numbers, with commas; else two that stand for them.

    >>> _in_range("range(0,2)"), _in_range("range(0,1,0.5)")
    ('0,1', 'VALUE,VALUE')
    """
    ends = re.fullmatch(r"range *\( *(\d+) *, *(\d+) *\)", text)
    whole = range(int(ends[1]), int(ends[2])) if ends else range(0)
    return ",".join(map(str, whole)) if 0 < len(whole) <= LISTED else "VALUE,VALUE"


def _normal(text: str) -> str:
    """A value as `written` writes it."""
    if is_number(text):
        with suppress(ValueError):
            return written(int(text))
        return written(float(text))
    return text.lower() if text.lower() in ("true", "false") else text
