"""When a value agrees with a printed number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from dse.paper.evidence import Value
from dse.space.cost import size_label


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """When a value agrees with the printed text: `text` explains it, `show` formats the value."""

    text: str
    agrees: Callable[[Value, str], bool]
    show: Callable[[Value, str], str]


def decimals(printed: str) -> int:
    """Digits after the decimal point.

    >>> decimals("1.72"), decimals("510")
    (2, 0)
    """
    return len(printed.partition(".")[2])


def precision(printed: str) -> int:
    """Decimals of a printed number; zeros at the end of a whole number do not count as digits.

    >>> precision("1.72"), precision("86.0"), precision("363"), precision("510")
    (2, 1, 0, -1)
    """
    return decimals(printed) if "." in printed else len(printed.rstrip("0")) - len(printed)


def half_up(value: Value, places: int) -> Decimal:
    """`value` rounded half up to `places` decimals (negative: tens, hundreds, ...)."""
    return Decimal(value).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def _exact(value: Value, _: str = "") -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _one_digit_more(value: Value, printed: str) -> str:
    return f"{half_up(value, decimals(printed) + 1):f}"


COMPARISONS: Mapping[str, Comparison] = {
    "exact": Comparison(
        text="the same number or words",
        agrees=lambda value, printed: _exact(value) == printed,
        show=_exact,
    ),
    "rounded": Comparison(
        text="equal when rounded half up to the printed digits; zeros that end a whole number are "
        "no digits",
        agrees=lambda value, printed: half_up(value, precision(printed)) == Decimal(printed),
        show=_one_digit_more,
    ),
    "ratio": Comparison(
        text="a ratio, equal when rounded half up to the last printed digit; zeros are digits (one "
        "rule for 50x, 363x and 510x)",
        agrees=lambda value, printed: half_up(value, decimals(printed)) == Decimal(printed),
        show=_one_digit_more,
    ),
    "size label": Comparison(
        text="bytes as MiB, rounded up as `ls -lh` does: one decimal below 10, none above",
        agrees=lambda value, printed: size_label(int(value)) == printed,
        show=lambda value, printed: size_label(int(value)),
    ),
    "at most": Comparison(
        text="not more than the printed number",
        agrees=lambda value, printed: Decimal(value) <= Decimal(printed),
        show=_one_digit_more,
    ),
    "below": Comparison(
        text="less than the printed number",
        agrees=lambda value, printed: Decimal(value) < Decimal(printed),
        show=_exact,
    ),
}
