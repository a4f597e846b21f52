"""What a field may hold, and the message for a user when it holds something else.

A value type is a frozen dataclass whose fields are made by `knob`. Its `__post_init__` calls
`check`, which converts every value to its kind (so that 1 and 1.0 are one value) and raises one
`ValueError` that lists every mistake, a line each: field, rule, value.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One field's rule: `text` completes "must be ...", `read` converts or raises `ValueError`.

    `kind` says how a value is written: as a "number" (or true or false), as "text", which is taken
    as it was written, or as a "path", which may also hold characters that separate values.
    """

    text: str
    read: Callable[[Any], Any]
    kind: str = "text"

    def accept(self, name: str, value: object) -> Any:
        """`value` in this rule's kind; raises `ValueError` naming field, rule and value.

        numpy's booleans and numbers count as Python's.
        """
        try:
            return self.read(value.item() if hasattr(value, "item") else value)
        except (ValueError, TypeError, OverflowError):
            shown, rule = value, self.text
            if isinstance(value, str):
                shown = escaped(repr(str(value)))
                if self.kind == "number" and is_number(value):  # in quotes, on a page or in Python
                    shown, rule = f"the text {shown}", re.sub("^in ", "a number in ", rule)
            raise ValueError(f"`{name}` must be {rule}, got {shown}") from None


def knob(default: Any, rule: Rule, meaning: str) -> Any:
    """A dataclass field with its default, its rule and one line of meaning (with the unit)."""
    return field(default=default, metadata={"rule": rule, "meaning": meaning})


def mistakes(kind: type, values: Mapping[str, object]) -> list[str]:
    """A line for each of `values` that breaks its rule in the dataclass `kind`."""
    lines = []
    for item in fields(kind):
        if item.name in values and "rule" in item.metadata:
            try:
                item.metadata["rule"].accept(item.name, values[item.name])
            except ValueError as error:
                lines.append(str(error))
    return lines


def check(value: Any) -> None:
    """Convert the fields of a frozen dataclass in place; raise every mistake at once."""
    try:
        for item in fields(value):
            if "rule" in item.metadata:
                read = item.metadata["rule"].accept(item.name, getattr(value, item.name))
                object.__setattr__(value, item.name, read)
    except ValueError:
        values = {item.name: getattr(value, item.name) for item in fields(value)}
        raise ValueError("\n".join(mistakes(type(value), values))) from None


def expect(name: str, value: object, kind: type) -> None:
    """Raise `TypeError` unless `value` is of type `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` must be of type {kind.__name__}, got {type(value).__name__}")


def escaped(text: str) -> str:
    """A text as it was typed, except for letters and digits of other alphabets than the Latin one:
    they may look like those that are meant.

    >>> print(escaped("h\u00e9llo n\u043ene"))
    h\u00e9llo n\\u043ene
    """
    return "".join(
        c if c.isascii() or unicodedata.name(c, "").startswith("LATIN ") else ascii(c)[1:-1]
        for c in text
    )


def printable(text: str) -> str:
    """A text that is safe on a terminal: what does not print is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_number(text: str) -> bool:
    """Whether a text is a decimal number that cannot be mistaken for another one.

    >>> [is_number(text) for text in ("8", "-0.5", ".5", "1.", "1e-3")]
    [True, True, True, True, True]
    >>> [is_number(text) for text in ("010", "1_000", "0x10", "1:30", "nan")]
    [False, False, False, False, False]
    """
    return bool(DECIMAL.fullmatch(text))


# The rules ----------------------------------------------------------------------------------


def integer(low: int, high: int) -> Rule:
    """A whole number in low .. high; 2.0 counts as 2, but not `True` or text."""

    def read(value: Any) -> int:
        if isinstance(value, (bool, str)) or int(value) != value or not low <= value <= high:
            raise ValueError
        return int(value)

    return Rule(f"a whole number in {low} .. {high}", read, "number")


def real(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """A finite number from low to high; `above` and `below` exclude the ends."""

    def read(value: Any) -> float:
        if isinstance(value, (bool, str)):
            raise ValueError
        number = float(value)
        inside = (low < number if above else low <= number) and (
            number < high if below else number <= high
        )
        if not (math.isfinite(number) and inside):
            raise ValueError
        return number or 0.0  # -0.0 becomes 0.0

    text = f"in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
    return Rule(text, read, "number")


def one_of(*names: str) -> Rule:
    """One of the given words."""

    def read(value: Any) -> str:
        return names[names.index(value)]

    return Rule("one of " + ", ".join(names), read)


def words(*names: str, most: int) -> Rule:
    """At most `most` of the given words joined by "-", or "none"."""

    def read(value: Any) -> str:
        if value == "none":
            return "none"
        parts = str(value).split("-")
        if len(parts) > most or not set(parts) <= set(names):
            raise ValueError
        return "-".join(parts)

    return Rule(f"none, or at most {most} of {', '.join(names)} joined by '-'", read)


def flag() -> Rule:
    """true or false."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Rule("true or false", read, "number")


def path() -> Rule:
    """A path, absolute or relative, or from a home folder (~); its parts have at most 255 bytes."""

    def read(value: Any) -> Path:
        if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
            raise ValueError
        try:
            whole = Path(value).expanduser()  # no shell expands the ~ of data.root=~/x
        except RuntimeError:  # there is no such user
            raise ValueError from None
        if any(len(os.fsencode(part)) > 255 for part in whole.parts):
            raise ValueError
        return whole

    return Rule("a path", read, "path")


def duration() -> Rule:
    """Seconds, written as a number with its unit.

    >>> [duration().read(text) for text in ("90s", "1.5h", "2d")]
    [90.0, 5400.0, 172800.0]
    """

    def read(value: Any) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|min|h|d)", value)
        if not match or not float(match[1]):
            raise ValueError
        return float(match[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86_400}[match[2]]

    return Rule("a time such as 90s, 45min, 2h or 3d", read)


def numbers(low: int, high: int, *, count: int = 0, ascending: bool = False) -> Rule:
    """Whole numbers joined by "-", or "none"; `count` of them (0: any), or `ascending` ones."""

    def read(value: Any) -> str:
        if value == "none":
            return "none"
        text = str(value)  # a single number may be an integer
        if isinstance(value, (bool, float)) or not text.isascii() or "_" in text:
            raise ValueError
        parts = split(text)
        in_order = all(a < b for a, b in pairwise(parts))
        if not parts or not all(low <= n <= high for n in parts):
            raise ValueError
        if (count and len(parts) != count) or (ascending and not in_order):
            raise ValueError
        return "-".join(str(n) for n in parts)

    many = f"{count} " if count else "ascending " if ascending else ""
    return Rule(f"none, or {many}whole numbers in {low} .. {high} joined by '-'", read)


def split(value: str) -> tuple[int, ...]:
    """The numbers in a `numbers` field.

    >>> split("1-4-8"), split("none")
    ((1, 4, 8), ())
    """
    return () if value == "none" else tuple(int(part) for part in value.split("-"))
