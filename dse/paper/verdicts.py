"""Which published numbers does exact arithmetic reproduce?

Each claim gets a verdict: `reproduced`, `contradicted`, or `needs ImageNet` where only a trained
network can tell. The first two are decided by one computed value per claim (`dse.paper.checks`)
and one of the `COMPARISONS` with the printed text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from dse.paper.checks import CHECKS, Value
from dse.paper.claims import CLAIMS, Claim
from dse.space.cost import size_label

VERDICTS = ("reproduced", "contradicted", "needs ImageNet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A claim's verdict, the computed value as text, and the name of the comparison."""

    claim: Claim
    verdict: str
    computed: str = ""
    comparison: str = ""


def judge(claim: Claim) -> Finding:
    """The verdict on one claim."""
    if claim.measured:
        return Finding(claim=claim, verdict="needs ImageNet")
    check = CHECKS[claim.id]
    comparison, value = COMPARISONS[check.comparison], check.compute()
    agrees = comparison.agrees(value, claim.published)
    return Finding(
        claim=claim,
        verdict="reproduced" if agrees else "contradicted",
        computed=comparison.show(value, claim.published),
        comparison=check.comparison,
    )


def audit() -> list[Finding]:
    """The verdict on every claim, in the order of `dse.paper.claims.CLAIMS`."""
    return [judge(claim) for claim in CLAIMS]


# Comparing with the printed text ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """When a value agrees with the printed text: `text` explains it, `show` formats the value."""

    text: str
    agrees: Callable[[Value, str], bool]
    show: Callable[[Value, str], str]


def decimals(printed: str) -> int:
    """Decimals of a printed number; zeros at the end of a whole number do not count as digits.

    >>> decimals("1.72"), decimals("363"), decimals("510")
    (2, 0, -1)
    """
    whole, _, fraction = printed.partition(".")
    return len(fraction) if fraction else len(whole.rstrip("0")) - len(whole)


def half_up(value: Decimal, places: int) -> Decimal:
    """`value` rounded half up to `places` decimals (negative: tens, hundreds, ...)."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def _exact(value: Value, _: str = "") -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _one_digit_more(value: Value, printed: str) -> str:
    return f"{half_up(Decimal(value), max(decimals(printed), 0) + 1):f}"


COMPARISONS = {
    "exact": Comparison(
        text="the same number or words",
        agrees=lambda value, printed: _exact(value) == printed,
        show=_exact,
    ),
    "rounded": Comparison(
        text="equal when rounded half up to the printed digits (zeros that end a whole number "
        "are no digits); computed is shown with one digit more",
        agrees=lambda value, printed: (
            half_up(Decimal(value), decimals(printed)) == Decimal(printed)
        ),
        show=_one_digit_more,
    ),
    "size label": Comparison(
        text="the bytes in MiB rounded up as `ls -lh` does: one decimal below 10, none above",
        agrees=lambda value, printed: size_label(int(value)) == printed,
        show=lambda value, printed: size_label(int(value)),
    ),
    "below": Comparison(
        text="less than the printed number",
        agrees=lambda value, printed: Decimal(value) < Decimal(printed),
        show=_exact,
    ),
}
