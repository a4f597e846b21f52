"""The arguments `key=value` of a command line, in Hydra's grammar -> lists of values."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    QuotedString,
    RangeSweep,
    Sweep,
    ValueType,
)
from hydra.grammar.gen.OverrideLexer import (  # type: ignore[attr-defined]
    CommonTokenStream,
    InputStream,
    OverrideLexer,
)
from hydra.grammar.gen.OverrideParser import OverrideParser

from dse.space.rules import escaped
from dse.sweep.arguments import grouped, is_more, misread, whole
from dse.sweep.keys import GROUPS, KEYS, MAX_POINTS, PATHS, TEXT, unknown

NO_PAGES: Mapping[str, str] = {}


class Interval(NamedTuple):
    """All numbers from `low` to `high`; `log`: on a logarithmic scale."""

    low: float
    high: float
    log: bool


def parse_overrides(
    texts: Sequence[str],
    errors: list[str],
    known: Collection[str] = KEYS,
    text_keys: Collection[str] = TEXT,
    named: Mapping[str, str] = NO_PAGES,
    *,
    intervals: bool = False,
) -> dict[str, list[Any]]:
    """The values of each key on the command line; mistakes are added to `errors`.

    `known` are the keys that the command has, and `text_keys` those of them whose values are text;
    `named` is what chooses a page, by its name, for a message. A group's values may hold a `Glob`,
    which `pages.choices` expands. With `intervals`, the only value of a key may be an `Interval`.
    """
    values: dict[str, list[Any]] = {}
    before = ""
    for group in grouped(texts, {*known, *named}):
        text = group[0]
        if len(group) > 1:
            errors.append(whole(group))
            continue
        try:
            override = _read(text, text_keys)
        except Exception:  # several types, where it is not in Hydra's grammar
            if not __debug__ and "(" in text:
                errors.append(f"functions such as range() need Python without -O, got {text}")
                continue
            errors.append(misread(text, known, named, before))
            before = f"{before},{text}" if is_more(text, before) else ""
            continue
        before = text
        key = override.key_or_group
        if line := _misplaced(override, text, key in values, known):
            errors.append(line)
            continue
        try:
            values[key] = _values(key, override.value(), intervals)
        except ValueError as error:
            errors.append(f"{error}, got {text.partition('=')[2]}")
    return values


def _read(text: str, text_keys: Collection[str]) -> Override:
    """An argument in Hydra's grammar; raises various errors where it has no key in this grammar.

    A value that is not in this grammar, and a path that Hydra takes for something else than text,
    is the text that was written.
    """
    key, equals, written = text.partition("=")
    literal = Override(OverrideType.CHANGE, key, ValueType.ELEMENT, written.strip())
    try:
        override = _parsed(text, _Visitor(key in text_keys))
    except Exception:  # Hydra raises many types
        if equals and (__debug__ or "(" not in written) and re.fullmatch(r"\w[\w.]*", key):
            return literal
        raise
    return literal if key in PATHS and not isinstance(override.value(), str) else override


def _parsed(text: str, visitor: _Visitor) -> Override:
    """As Hydra's `OverridesParser.parse_override` does, with a visitor of our own."""
    lexer = OverrideLexer(InputStream(text))
    parser: Any = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(HydraErrorListener())
    override: Override = visitor.visit(parser.override())
    return override


class _Visitor(HydraOverrideVisitor):
    """Reads numbers, true, false and null as the text that was written, if `as_text`.

    If not, this holds for numbers such as 1_000 only, which no number's rule accepts; `int` and
    `float`, which would, raise `ValueError`.
    """

    def __init__(self, as_text: bool) -> None:
        super().__init__(create_functions())
        self.as_text, self.as_number = as_text, False

    def visitPrimitive(self, ctx: Any) -> Any:
        """A value."""
        value = super().visitPrimitive(ctx)
        written = ctx.getText().strip()
        is_text = isinstance(value, (str, QuotedString))
        if self.as_number and (is_text or "_" in written):
            raise ValueError("int and float take plain numbers only")
        return written if not is_text and (self.as_text or "_" in written) else value

    def visitFunction(self, ctx: Any) -> Any:
        """A function; `range` takes numbers, whatever its key."""
        before, name = (self.as_text, self.as_number), ctx.ID().getText()
        self.as_text = self.as_text and name != "range"
        self.as_number = self.as_number or name in ("int", "float")
        value = super().visitFunction(ctx)
        self.as_text, self.as_number = before
        return value


def _misplaced(override: Override, text: str, repeated: bool, known: Collection[str]) -> str:
    """The message for an override that this command line cannot have; "" if there is none."""
    key = override.key_or_group
    if override.type is not OverrideType.CHANGE or override.package:
        return f"`{text}` must be written key=value: keys cannot be added or removed"
    if key not in known:
        return unknown(key, known)
    return f"`{key}` must be given once, got {escaped(repr(text))} too" if repeated else ""


def _values(key: str, value: Any, intervals: bool) -> list[Any]:
    """The values of one override: a list is a grid, as values with commas between them are.

    Raises `ValueError` with the rule for an interval where there can be none, a glob, or a range
    that is empty, too long, or one of several values.
    """
    if isinstance(value, IntervalSweep) and intervals:
        return [_interval(key, value)]
    if isinstance(value, RangeSweep):
        return _range(key, value)
    parts = value.list if isinstance(value, ChoiceSweep) else value
    if isinstance(parts, list) and any(isinstance(part, Sweep) for part in parts):
        raise ValueError(f"`{key}` must be values, or one range" + " or interval" * intervals)
    if isinstance(value, ChoiceSweep):
        return [v.text if isinstance(v, QuotedString) else v for v in value.list]
    if isinstance(value, IntervalSweep) or (isinstance(value, Glob) and key not in GROUPS):
        raise ValueError(f"`{key}` must be values or range(start, stop, step)")
    return value if isinstance(value, list) else [value]


def _interval(key: str, sweep: IntervalSweep) -> Interval:
    """An interval; the only tag that it may have is `log`."""
    low, high = sweep.start, sweep.end
    if low is None or high is None or not all(map(math.isfinite, (low, high))):
        raise ValueError(f"`{key}` must be an interval between finite numbers")
    if sweep.tags - {"log"}:
        raise ValueError(f"`{key}` must be interval(low, high) or tag(log, interval(low, high))")
    return Interval(low, high, "log" in sweep.tags)


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
    if not whole:
        raise ValueError(f"`{key}` must be a range that has a value")
    return list(whole) if all(isinstance(e, int) for e in ends) else [n / scale for n in whole]
