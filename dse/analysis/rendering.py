"""Rows of a table as Markdown or aligned text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dse.trial.names import written

if TYPE_CHECKING:
    from dse.analysis.statistics import Interval


def cell(value: object) -> str:
    """A value for a reader: thousands separated, two decimals, nothing for None or NaN.

    >>> [cell(value) for value in (12345, 2 / 3, True, "a", None, float("nan"))]
    ['12,345', '0.67', 'True', 'a', '', '']
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def signed(known: Interval, unit: str = "", digits: int | None = None) -> str:
    """A difference and its interval with `digits` decimals; by default to a tenth, or to a
    hundredth where a tenth hides its sign.

    >>> from dse.analysis.statistics import Interval
    >>> signed(Interval(mean=0.42, low=0.11, high=0.73, count=8), "points")
    '+0.4 points [0.1, 0.7]'
    >>> signed(Interval(mean=0.42, low=0.01, high=0.83, count=8), "points")
    '+0.42 points [0.01, 0.83]'
    """
    shown = [value for value in (known.mean, known.low, known.high) if value == value]
    if digits is None:
        digits = 2 if any(value and abs(value) < 0.05 for value in shown) else 1
    mean = f"{known.mean:+z,.{digits}f} {unit}".rstrip()
    if known.low != known.low:
        return f"{mean} (too few seeds for an interval)"
    return f"{mean} [{known.low:z,.{digits}f}, {known.high:z,.{digits}f}]"


def decimals(known: Interval) -> int:
    """How many decimals show three digits of the largest of a mean and the ends of its interval.

    >>> from dse.analysis.statistics import Interval
    >>> decimals(Interval(mean=0.0123, low=0.0101, high=0.0145, count=8))
    4
    """
    largest = max(abs(value) for value in (known.mean, known.low, known.high) if value == value)
    return max(0, 2 - math.floor(math.log10(largest))) if largest else 1


def counted(count: int, noun: str) -> str:
    """A count and its noun.

    >>> counted(1, "seed"), counted(1200, "more seed")
    ('1 seed', '1,200 more seeds')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def done(count: int, asked: int, noun: str) -> str:
    """How many of what was asked for are done.

    >>> done(3, 3, "trial"), done(2, 3, "trial")
    ('3 trials', '2 of 3 trials done')
    """
    every = counted(asked, noun)
    return every if count >= asked else f"{count:,} of {every} done"


def value_list(values: Sequence[Any], most: int = 6) -> str:
    """Values as text: all where they are few, else the ends.

    >>> value_list([0.125, 1.0]), value_list(range(9))
    ('0.125, 1', '0 .. 8 (9)')
    """
    texts = [written(value) for value in values]
    return ", ".join(texts) if len(texts) <= most else f"{texts[0]} .. {texts[-1]} ({len(texts)})"


def markdown(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    escaped = ([text.replace("|", "\\|") for text in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def columns(rows: Sequence[Sequence[str]], sides: Sequence[str]) -> list[str]:
    """Lines of text in columns, each aligned to the left ("<") or the right (">").

    >>> columns([["sr", "bytes"], ["0.125", "54,120"]], "<>")
    ['sr      bytes', '0.125  54,120']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{text:{side}{width}}" for text, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def aligned(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in columns of text; columns of whole numbers are aligned to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    numbers = [
        all(value is None or isinstance(value, int) for value in column)
        for column in zip(*rows, strict=True)
    ]
    rule = ["-" * max(map(len, column)) for column in zip(header, *texts, strict=True)]
    sides = [">" if number else "<" for number in numbers]
    return "\n".join([*columns([header, rule, *texts], sides), ""])
