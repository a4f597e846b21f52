"""Some rows of a table, selected by `key=value` as on the command line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dse.space.rules import escaped, is_number
from dse.trial.names import written

if TYPE_CHECKING:
    import pandas as pd

LISTED = 12
"""Maximum number of values that a message lists."""
LONGEST = 120
"""Maximum number of characters of a file's name, without its extension."""


def parse(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`["sr=0.125,0.25", "seed=0"]` -> `{"sr": ["0.125", "0.25"], "seed": ["0"]}`.

    Raises `ValueError` for anything else, such as a range, and for a key that is given twice.
    """
    wanted: dict[str, list[str]] = {}
    for text in arguments:
        key, equals, values = text.partition("=")
        texts, shown = [value.strip() for value in values.split(",")], escaped(repr(text))
        if re.match(r"\w+ *[<>!]", text):
            raise ValueError(
                f"conditions other than = are not supported, got {shown}; name values, as in "
                "sr=0.125,0.25"
            )
        if re.match(r"range *\(", values):
            raise ValueError(f"ranges are not read here: write {key}={_in_range(values)}")
        if not (key and equals and all(texts)):
            raise ValueError(f"arguments must be key=value or key=value,value, got {shown}")
        if key in wanted:
            raise ValueError(f"`{key}` must be given once, got {shown} too")
        wanted[key] = texts
    return wanted


def select(table: pd.DataFrame, wanted: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The rows whose columns have one of the wanted values, in the order of the table.

    Values are compared as the command line writes them; 0.50 and 5e-1 are 0.5. Raises `ValueError`
    for a column that the table does not have, and for a value that is in none of its rows.
    """
    chosen = table
    for name, texts in wanted.items():
        if name not in table:
            raise ValueError(
                f"`{name}` must be a column of the table: {', '.join(map(str, table))}"
            )
        column = table[name].map(written)
        found = set(column)
        normal = [text if text in found else _normal(text) for text in texts]
        for text, own in zip(texts, normal, strict=True):
            if own not in found:
                values = sorted(table[name].unique().tolist())
                known = ", ".join(map(written, values[:LISTED]))
                more = ", ..." if len(values) > LISTED else ""
                rule = (
                    f"must be one of {known}{more}" if values[1:] else f"is {known} in every trial"
                )
                raise ValueError(f"`{name}` {rule}, got {text}")
        chosen = chosen[column[chosen.index].isin(normal)]
    if wanted and chosen.empty:
        pairs = " ".join(f"{name}={','.join(texts)}" for name, texts in wanted.items())
        raise ValueError(f"no trial has {pairs}")
    return chosen


def words(given: Mapping[str, Sequence[str]]) -> list[str]:
    """Arguments as they are written: ["sr=0.125,0.25"]."""
    return [f"{key}={','.join(texts)}" for key, texts in given.items()]


def file_name(*arguments: str) -> str:
    """A file's name that repeats the arguments of a command; a long one ends in a hash.

    >>> file_name("curves", *words({"hue": ["sr"], "seed": ["0", "1"]}))
    'curves_hue=sr_seed=0,1'
    """
    name = re.sub(r"[^\w.,=+-]", "-", "_".join(filter(None, arguments)))
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}-{digest}"


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
