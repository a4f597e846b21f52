"""How a value was likely meant: the end of a message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dse.space.rules import Rule, is_number


def of_value(value: object, rule: Rule, *, grid: bool) -> str:
    """How to write a value that a rule refuses, as the end of a message; "" if that is unknown.

    `grid` says whether the key may have several values.

    >>> from dse.space.rules import one_of, real
    >>> of_value("none,simple", one_of("none", "simple"), grid=True)
    '; write [none, simple]'
    >>> of_value("1_000", real(0, 9999), grid=False)
    '; write plain numbers, such as 8, 0.5 or 1e-3'
    """
    if not isinstance(value, str):
        return ""
    parts = [part.strip() for part in value.split(",")]
    if grid and len(parts) > 1:
        ways = [joined(parts, rule), f"[{', '.join(parts)}]" if _all(parts, rule) else ""]
        if any(ways):
            return f"; write {' or '.join(filter(None, ways))}"
    looks_like_one = re.match(r"[-+.]?\d|(range|int|float)\(", value)
    if rule.kind == "number" and looks_like_one and not is_number(value):
        return "; write plain numbers, such as 8, 0.5 or 1e-3"
    return ""


def joined(values: Sequence[Any], rule: Rule) -> str:
    """Single values as the one value that joins them by "-"; "" where a rule has no such value.

    >>> from dse.space.rules import numbers
    >>> joined(["1", "4", "8"], numbers(1, 9, ascending=True))
    '1-4-8'
    """
    single = all(re.fullmatch(r"\w+", str(value)) and value != "none" for value in values)
    whole = "-".join(map(str, values))
    return whole if single and len(values) > 1 and _reads(whole, rule) else ""


def _all(parts: Sequence[str], rule: Rule) -> bool:
    numeric = rule.kind == "number"
    return all(_reads(float(p) if numeric and is_number(p) else p, rule) for p in parts)


def _reads(value: object, rule: Rule) -> bool:
    with suppress(ValueError):
        rule.accept("", value)
        return True
    return False
