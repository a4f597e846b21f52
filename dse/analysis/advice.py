"""The paper's advice on the design space, tested over all networks of a complete grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import Sweep
from dse.analysis.complete import Grid, complete
from dse.analysis.contrasts import Contrast, contrast
from dse.analysis.findings import by_depth
from dse.analysis.plateau import MARGIN
from dse.analysis.rendering import counted
from dse.analysis.statistics import INTERVAL_SEEDS
from dse.analysis.subspaces import reached
from dse.trial.names import written


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A piece of the paper's advice, and what the whole space says about it."""

    text: str
    verdict: str
    evidence: str

    @property
    def sentence(self) -> str:
        """All of it as one paragraph."""
        return f"{self.text}: {self.verdict}. {self.evidence}"


def advice(found: Sweep) -> list[Advice]:
    """Each piece of the paper's advice that the grid can test (sections 3.1, 5 and 6).

    A verdict says that something holds or does not where the 95% interval over the seeds says so,
    and "for the means" where they alone do; with fewer than `INTERVAL_SEEDS` seeds it says what the
    means are. What is "enough" is compared with every greater value. Raises `NoSweep` where the
    grid is not complete.
    """
    grid = complete(found)
    return [
        *_squeeze(found, grid),
        *_kernels(found, grid),
        *_pooling(found, grid),
        *_bypass(found, grid),
    ]


def _squeeze(found: Sweep, grid: Grid) -> Iterator[Advice]:
    if steps := _greater(grid, "sr", 0.125):
        yield Advice(
            text="A squeeze ratio of 0.125 is best at equal size (section 5.2)",
            verdict=_leads(reached(found, "sr"), 0.125, "size"),
            evidence=reach_sentence(found, "sr"),
        )
        yield Advice(
            text="Larger squeeze ratios gain little, whatever their size",
            verdict=_enough(steps),
            evidence=_largest(steps).sentence,
        )


def _kernels(found: Sweep, grid: Grid) -> Iterator[Advice]:
    if steps := _greater(grid, "pct3x3", 0.5):
        yield Advice(
            text="Half of the expand filters 3x3 is enough (section 5.3)",
            verdict=_enough(steps),
            evidence=_largest(steps).sentence,
        )
        yield Advice(
            text="Half of the expand filters 3x3 is best at equal size",
            verdict=_leads(reached(found, "pct3x3"), 0.5, "size"),
            evidence=reach_sentence(found, "pct3x3"),
        )


def _pooling(found: Sweep, grid: Grid) -> Iterator[Advice]:
    pools = by_depth(_values(grid, "pool_after"))
    if len(pools) < 2:
        return
    one = contrast(grid, "pool_after", pools[0], pools[-1])
    yield Advice(
        text="Late pooling raises accuracy (section 3.1)",
        verdict=_gains(one),
        evidence=one.sentence,
    )
    yield Advice(
        text="Late pooling raises accuracy at equal work too",
        verdict=_leads(reached(found, "pool_after", "macs"), pools[-1], "MACs"),
        evidence=reach_sentence(found, "pool_after", "macs"),
    )


def _bypass(found: Sweep, grid: Grid) -> Iterator[Advice]:
    for wires in ("simple", "complex"):
        if one := _change(grid, "bypass", "none", wires):
            text = f"A {wires} bypass raises accuracy (section 6)"
            yield Advice(text=text, verdict=_gains(one), evidence=one.sentence)
    if one := _change(grid, "bypass", "complex", "simple"):
        text = "A simple bypass does better than a complex one (Table 3)"
        yield Advice(text=text, verdict=_gains(one), evidence=one.sentence)
        yield Advice(
            text="A simple bypass does better than a complex one at equal size",
            verdict=_leads(reached(found, "bypass"), "simple", "size"),
            evidence=reach_sentence(found, "bypass"),
        )


def _change(grid: Grid, column: str, before: object, after: object) -> Contrast | None:
    """The contrast, if the grid has both values."""
    known = {before, after} <= set(_values(grid, column))
    return contrast(grid, column, before, after) if known else None


def _greater(grid: Grid, column: str, value: float) -> list[Contrast]:
    """The contrasts with each greater value; none where the grid does not have the value."""
    values = _values(grid, column)
    greater = [other for other in values if other > value] if value in values else []
    return [contrast(grid, column, value, other) for other in greater]


def _largest(steps: Sequence[Contrast]) -> Contrast:
    """The contrast with the largest mean difference."""
    return max(steps, key=lambda one: one.difference.mean)


def _values(grid: Grid, column: str) -> tuple[Any, ...]:
    """The values of an axis; none where the grid does not have it."""
    return next((axis.values for axis in grid.axes if axis.name == column), ())


# Verdicts -------------------------------------------------------------------------------------


def _gains(one: Contrast) -> str:
    """Whether a change raises accuracy, and for which values of other axes that is not shown."""
    known = one.difference
    if known.count < INTERVAL_SEEDS:
        return f"not decided; {known.mean:+.1f} points in {_few(known.count)}"
    if known.high < 0:
        return "does not hold"
    if known.low <= 0:
        return "not decided"
    rest = one.by[~(one.by["low"] > 0)]
    if rest.empty:
        return "holds for every value of every other axis"
    return f"holds on average; not shown for {_named(rest)}"


def _enough(steps: Sequence[Contrast]) -> str:
    """Whether none of some changes gains more than `MARGIN` points."""
    known = _largest(steps).difference
    if known.count < INTERVAL_SEEDS:
        return f"not decided; more gains {known.mean:+.1f} points in {_few(known.count)}"
    if any(one.difference.low > MARGIN for one in steps):
        little = steps[0].by[np.all([one.by["high"] <= MARGIN for one in steps], axis=0)]
        rest = f", but for {_named(little)}" if len(little) else ""
        return f"does not hold on average{rest}: more gains over {MARGIN:g} points"
    return "holds" if all(one.difference.high <= MARGIN for one in steps) else "not decided"


def _few(seeds: int) -> str:
    return "the only seed" if seeds == 1 else counted(seeds, "seed")


def _leads(table: pd.DataFrame, value: object, budget: str) -> str:
    """Whether the networks with one value reach more within a budget than those with any other.

    "For the means": the interval of its difference from the first, or where it is the first that of
    another from it, holds 0. Not decided without an interval.
    """
    rows = table[:-1].sort_values("mean", ascending=False, ignore_index=True)
    place = rows.index[rows.iloc[:, 0] == value][0]
    gap = rows["gap_high"][place] if place else rows["gap_high"][1:].max()
    if math.isnan(gap):
        return f"not decided; number {place + 1} of {len(rows)} within a budget of {budget}"
    sure = "" if gap < 0 else " for the means"
    if place == 0:
        return f"holds{sure}: it reaches most within a budget of {budget}"
    where = f"it is number {place + 1} of {len(rows)} within a budget of {budget}"
    return f"does not hold{sure}: {where}"


def _named(rows: pd.DataFrame) -> str:
    """The axes and values of some rows of `Contrast.by`."""
    return ", ".join(
        f"{axis} {written(value)}" for axis, value in rows[["axis", "value"]].to_numpy()
    )


def reach_sentence(found: Sweep, column: str, cost: str = "size_bytes") -> str:
    """What each sub-space reaches within a budget, in words: see `reached`."""
    table = reached(found, column, cost)
    *values, whole = table.itertuples(index=False, name=None)
    ranked = sorted(values, key=lambda row: -row[3])
    texts = [f"{written(row[0])} {row[3]:.1f}%{_ends(row[4], row[5])}" for row in ranked]
    return (
        f"Mean accuracy over common budgets of {cost} of networks with one value of {column}: "
        f"{', '.join(texts)}; of all networks {whole[3]:.1f}%."
    )


def _ends(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
