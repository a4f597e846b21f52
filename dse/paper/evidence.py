"""What a claim is checked against. The kind of evidence decides what an agreement is worth.

A claim without any evidence is a number that was copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dse.space.architecture import LAYOUTS, Architecture, Metaparameters, field_names, generate

Value = int | Decimal | str
Build = Callable[..., Architecture]


def network(layout: str = "v1_0", **metaparameters: object) -> Architecture:
    """A network of the space, in a named layout.

    >>> network(sr=0.25).fires[0].s1x1
    32
    """
    return generate(Metaparameters(**metaparameters), LAYOUTS[layout])  # type: ignore[arg-type]


WIDTHS = ("base_e", "incr_e")
"""Metaparameters in which networks for small images may differ from the paper's."""


def fixed(*varied: str, **values: object) -> dict[str, Any]:
    """The metaparameters of some of the paper's networks: these `values`, and the default of each
    other one, except for the `WIDTHS` and those that are `varied`.

    >>> fixed("sr", pct3x3=0.5)
    {'pct3x3': 0.5, 'freq': 2, 'bypass': 'none'}
    """
    left = [n for n in field_names(Metaparameters) if n not in (*varied, *values, *WIDTHS)]
    return {**values, **{name: getattr(Metaparameters(), name) for name in left}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A value, computed by `function` from `inputs`: for a "network", from what makes networks of
    the space (`network`); for "arithmetic", from two other published numbers or more; "measured",
    from a file that was written here; "elsewhere", the number that `place` prints, in the claim's
    unit (an error printed as 42.78% is the accuracy 57.22%: a change of unit computes nothing)."""

    kind: str
    comparison: str
    function: Callable[..., Value]
    inputs: tuple[Any, ...]
    place: str = ""

    def value(self) -> Value:
        """The value."""
        return self.function(*self.inputs)
