"""The arguments `key=value` of a command line, in Hydra's grammar -> lists of values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    QuotedString,
    RangeSweep,
)

from dse.sweep import pages
from dse.sweep.keys import GROUPS, KEYS, MAX_POINTS, unknown


def parse_overrides(
    texts: Sequence[str], errors: list[str], known: Collection[str] = KEYS
) -> dict[str, list[Any]]:
    """The values of each key on the command line; mistakes are added to `errors`.

    `known` are the keys that the command has. A group's values may hold a `Glob`, which
    `pages.choices` expands.
    """
    parser = OverridesParser.create()
    values: dict[str, list[Any]] = {}
    for text in texts:
        try:
            override = parser.parse_override(text)
        except Exception as error:  # several types, where it is not in Hydra's grammar
            errors.append(_unreadable(text, error))
            continue
        key = override.key_or_group
        if line := _misplaced(override, text, key in values, known):
            errors.append(line)
            continue
        try:
            values[key] = _values(key, override.value())
        except ValueError as error:
            errors.append(f"{error}, got {text.partition('=')[2]}")
    return values


def _unreadable(text: str, error: Exception) -> str:
    """The message for what is not `key=value` in Hydra's grammar."""
    if text in pages.names([pages.bundled()]):
        return f"`{text}` must be written key=value; a page is chosen with `-cn {text}`"
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    else:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = reason.partition(" expecting {")[0]
        reason = reason.replace("mismatched input '<EOF>'", "it ends too early")
        reason = reason.replace("missing EQUAL at '<EOF>'", "there is no '='")
    line = f"`{text}` must be written key=value: {reason}"
    return line.encode("ascii", "backslashreplace").decode()


def _misplaced(override: Override, text: str, repeated: bool, known: Collection[str]) -> str:
    """The message for an override that this command line cannot have; "" if there is none."""
    key = override.key_or_group
    if override.type is not OverrideType.CHANGE or override.package:
        return f"`{text}` must be written key=value: keys cannot be added or removed"
    if key not in known:
        return unknown(key, known)
    return f"`{key}` must be given once, got {text!a} too" if repeated else ""


def _values(key: str, value: Any) -> list[Any]:
    """The values of one override: a list is a grid, as values with commas between them are.

    Raises `ValueError` with the rule for an interval, a glob, or a range that is too long.
    """
    if isinstance(value, RangeSweep):
        return _range(key, value)
    if isinstance(value, ChoiceSweep):
        return [v.text if isinstance(v, QuotedString) else v for v in value.list]
    if isinstance(value, IntervalSweep) or (isinstance(value, Glob) and key not in GROUPS):
        raise ValueError(f"`{key}` must be values or range(start, stop, step)")
    return value if isinstance(value, list) else [value]


def _range(key: str, sweep: RangeSweep) -> list[Any]:
    """The values of a range, without its stop, exact on the decimals that were written."""
    ends = [end for end in (sweep.start, sweep.stop, sweep.step) if end is not None]
    if not all(math.isfinite(end) for end in ends) or not sweep.step:
        raise ValueError(f"`{key}` must be a range of finite numbers with a step other than 0")
    exact = [Fraction(str(end)) for end in ends]
    scale = math.lcm(*(end.denominator for end in exact))
    start, stop, step = (int(end * scale) for end in exact)
    if (stop - start) // step > MAX_POINTS:
        raise ValueError(f"`{key}` must be a range of at most {MAX_POINTS:,} values")
    whole = range(start, stop, step)
    return list(whole) if all(isinstance(e, int) for e in ends) else [n / scale for n in whole]
