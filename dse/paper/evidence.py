"""What a claim is checked against. The kind of evidence decides what an agreement is worth.

A `Network` or an `Arithmetic` computes a value here, `Recorded` has one that was measured here, and
`Elsewhere` one that another place prints. A claim without any evidence is a number that was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dse.space.architecture import LAYOUTS, Architecture, Metaparameters, generate

Value = int | Decimal | str
Build = Callable[..., Architecture]


def network(layout: str = "v1_0", **metaparameters: object) -> Architecture:
    """A network of the space, in a named layout.

    >>> network(sr=0.25).fires[0].s1x1
    32
    """
    return generate(Metaparameters(**metaparameters), LAYOUTS[layout])  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network of the space: `compute` gets `network`, builds what it needs, and counts."""

    comparison: str
    compute: Callable[[Build], Value]

    def value(self, build: Build = network) -> Value:
        """The computed value; `build` makes the networks."""
        return self.compute(build)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arithmetic:
    """Arithmetic on `inputs`: other published numbers, at least two of them."""

    comparison: str
    function: Callable[..., Value]
    inputs: tuple[int | Decimal, ...]

    def __post_init__(self) -> None:
        if len(self.inputs) < 2:
            raise ValueError(f"`inputs` must be two numbers or more, got {self.inputs}")

    def value(self) -> Value:
        """The computed value."""
        return self.function(*self.inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """The same number as `place` prints it, in the claim's unit.

    An error printed as 42.78% is the accuracy 57.22%: a change of unit computes nothing.
    """

    comparison: str
    number: Value
    place: str

    def value(self) -> Value:
        """The number that `place` prints."""
        return self.number


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A measurement made here: `function` takes its number from a `record` that it left."""

    comparison: str
    function: Callable[[Mapping[str, Any]], Value]
    record: Mapping[str, Any]

    def value(self) -> Value:
        """The measured value."""
        return self.function(self.record)


Evidence = Network | Arithmetic | Elsewhere | Recorded
