"""The paper's Figure 3 as data: what is swept, what is fixed, and the paper's points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dse.analysis.lines import Line
from dse.paper.evidence import fixed
from dse.paper.published import FIGURE_3A, FIGURE_3B, Point
from dse.space.architecture import Metaparameters, generate
from dse.space.cost import cost
from dse.trial.names import written


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure3:
    """One of the two figures: the swept metaparameter, the fixed values, the paper's points."""

    title: str
    column: str
    label: str
    fixed: Mapping[str, Any]
    points: tuple[Point, ...]

    def size_bytes(self, value: float) -> int:
        """The size of the network that the paper trained on ImageNet."""
        point: dict[str, Any] = {**self.fixed, self.column: value}
        return int(cost(generate(Metaparameters(**point)), 224).size_bytes)

    def comparable(self, line: Line) -> bool:
        """Whether a line's fixed values are the paper's."""
        first = line.trials.iloc[0]
        return all(first[name] == value for name, value in self.fixed.items())

    def missing(self, drawn: Sequence[Line]) -> str:
        """Why the paper's points are not shown: the fixed values that the lines lack.

        Empty where a line is comparable.
        """
        if any(map(self.comparable, drawn)):
            return ""
        firsts = [line.trials.iloc[0] for line in drawn]
        lacking = [n for n, v in self.fixed.items() if all(first[n] != v for first in firsts)]
        values = ", ".join(f"{n} {written(self.fixed[n])}" for n in lacking or self.fixed)
        return f"The paper's points are not shown: no line here has their {values}."


FIGURE_3: Mapping[str, Figure3] = {
    "figure3a": Figure3(
        title="Figure 3(a)",
        column="sr",
        label="squeeze ratio (sr)",
        fixed=fixed("sr", pct3x3=0.5, freq=2, bypass="none"),
        points=FIGURE_3A,
    ),
    "figure3b": Figure3(
        title="Figure 3(b)",
        column="pct3x3",
        label="share of 3x3 filters (pct3x3)",
        fixed=fixed("pct3x3", sr=0.5, freq=2, bypass="none"),
        points=FIGURE_3B,
    ),
}
