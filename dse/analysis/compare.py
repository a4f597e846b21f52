"""Paired comparisons: how large a difference of accuracy, or of another answer, is, and how sure.

By default they are on the test set, as they choose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, sweep
from dse.analysis.labels import ACCURACIES
from dse.analysis.pairs import Pairs, averaged, axis_alone, pairs
from dse.analysis.rendering import counted, decimals, signed
from dse.analysis.statistics import (
    ALPHA,
    EXACT_SEEDS,
    MAX_SEEDS,
    POINTS,
    UNBOUNDED,
    Interval,
    holm,
    interval,
    seeds_for_power,
    sign_flip_p,
    smallest_p,
)
from dse.trial.names import written

TOPS = ("top1", "top5")
"""Accuracies on the test set, which are written "top-1" and "top-5"."""
SENTENCES = 10
"""The most comparisons that are all put in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the pairs of two values show, as one of a family of `family` comparisons.

    `difference` is in points of an accuracy, else in the unit of the answer. `p` is that of
    `sign_flip_p` and `adjusted_p` Holm's over the family; `smallest_adjusted_p` is the smallest
    that these numbers of seeds can give. `effect` is Cohen's d_z: infinite where all differences
    are equal, NaN for one seed and where all are 0. `seeds_needed` more seeds give an effect of
    this size a chance of 80% to be decided; None: above `most_seeds`, or unknown.
    """

    pairs: Pairs
    difference: Interval
    effect: float
    p: float
    adjusted_p: float
    smallest_adjusted_p: float
    family: int
    seeds_needed: int | None

    @property
    def decided(self) -> bool:
        """Whether the difference is more than chance, with all of the family considered."""
        return self.adjusted_p <= ALPHA

    @property
    def sentence(self) -> str:
        """The comparison in words, which claim no more than `decided` does."""
        pairs = self.pairs
        digits = None if pairs.answer in ACCURACIES else decimals(self.difference)
        parts = [
            f"{signed(self.difference, self.unit, digits)} compared with {written(pairs.before)}",
            pairs.where,
            counted(self.difference.count, "seed"),
            f"{counted(pairs.left_out, 'seed')} left out" if pairs.left_out else "",
            self.probability,
        ]
        shown = ", ".join(part for part in parts if part)
        return f"{pairs.column}={written(pairs.after)}: {shown}: {self.verdict}."

    @property
    def unit(self) -> str:
        """The unit of the difference: "points of top-1", or the name of the answer."""
        answer = self.pairs.answer
        points = f"points of {answer.replace('top', 'top-') if answer in TOPS else answer}"
        return points if answer in ACCURACIES else answer

    @property
    def probability(self) -> str:
        """The adjusted p for a reader."""
        text = probability(self.adjusted_p)
        return text if self.family == 1 else f"{text} (Holm, {self.family} comparisons)"

    @property
    def direction(self) -> str:
        """`higher`, `lower` or `not decided`."""
        if not self.decided:
            return "not decided"
        return "higher" if self.difference.mean > 0 else "lower"

    @property
    def verdict(self) -> str:
        """The direction, and what would decide it."""
        if self.decided:
            return self.direction
        if not any(self.pairs.differences):
            return "not decided; equal for every seed"
        if self.smallest_adjusted_p > ALPHA:
            count = self.difference.count
            return f"not decided; needs {seeds_to_decide(self.family)} seeds, has {count}"
        if self.seeds_needed is None:
            most = most_seeds(self.family)
            return f"not decided; so small a difference takes more than {most:,} seeds"
        return f"not decided; this takes about {counted(max(self.seeds_needed, 1), 'more seed')}"


def probability(p: float) -> str:
    """A p for a reader.

    >>> probability(0.01234), probability(0.00001)
    ('p = 0.012', 'p < 0.001')
    """
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def compare(
    table: pd.DataFrame, column: str, values: Sequence[Any] = (), answer: str = ""
) -> list[Comparison]:
    """Compare each two of `values` (default: all) of an axis, for each setting of the others.

    `column` is a field of the question, or the name of an axis such as `layout`; fields that vary
    together are compared as one. A difference is that of the later value from the earlier one, in
    the column `answer` (default: the accuracy). Raises `NoSweep` where a value is not in the table,
    or no seed has two of the values with all else equal, `ValueError` for a table that holds a
    trial twice, or two trials with the same keys and seed, and `TypeError` where `values` is a
    single one. Data sets are not compared.
    """
    found, axis, chosen = _chosen(table, column, values, answer)
    known = list(pairs(found, axis, chosen))
    if not known:
        texts = ", ".join(map(written, dict.fromkeys(value for two in chosen for value in two)))
        raise NoSweep(f"no seed has two of `{column}` {texts} with all else equal")
    return judged(known)


def compare_means(
    table: pd.DataFrame, column: str, values: Sequence[Any] = (), answer: str = ""
) -> list[Comparison]:
    """Compare as `compare` does, by the mean over the settings of the other axes.

    A mean over one setting is left out: `compare` has it.
    """
    found, axis, chosen = _chosen(table, column, values, answer)
    return judged([one for one in averaged(found, axis, chosen) if one.settings > 1])


def _chosen(
    table: pd.DataFrame, column: str, values: Sequence[Any], answer: str
) -> tuple[Sweep, Axis, list[tuple[Any, Any]]]:
    """The sweep, the axis of a column, and each two of its values; raises as `compare` says."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"`values` must be a list of values, got {values!r}")
    found = replace(sweep(table), measure=answer)
    axis = found.axis(column)
    if "data" in axis.columns:
        raise NoSweep("accuracies on different data sets cannot be compared: select one")
    firsts = found.rows.drop_duplicates(column)
    firsts = firsts.iloc[axis.places(firsts).argsort()]
    known = dict(zip(firsts[column], firsts[axis.name], strict=True))
    if len(known) < len(axis.values):  # a value of the column is in several of the axis
        axis_alone(found, column)
    if strange := [value for value in values if value not in known]:
        one_of = ", ".join(map(written, known))
        raise NoSweep(f"`{column}` must be one of {one_of}, got {strange[0]!r}")
    return found, axis, list(combinations([known[value] for value in values or known], 2))


def comparisons(table: pd.DataFrame) -> list[Comparison]:
    """Compare each value of each axis of a sweep with the axis' first value.

    Data sets are not compared. Where other axes vary too, differences are means over their
    settings: the effect of one axis alone. None where nothing can be compared. Raises `NoSweep`
    for an empty table, and `ValueError` for one that holds a trial twice.
    """
    found = sweep(table)
    known: list[Pairs] = []
    for axis in (axis for axis in found.axes if "data" not in axis.columns):
        known += averaged(found, axis, [(axis.values[0], value) for value in axis.values[1:]])
    return judged(known)


def highlights(known: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons to put in words: all of up to `SENTENCES`, else those that are decided."""
    return [one for one in known if one.decided or len(known) <= SENTENCES]


def judged(known: Sequence[Pairs]) -> list[Comparison]:
    """The comparisons of one family: p is adjusted over all of them."""
    ps = [sign_flip_p(one.differences, one.largest) for one in known]
    smallest = holm([smallest_p(len(one.differences)) for one in known])
    return [
        Comparison(
            pairs=one,
            difference=interval(
                one.differences, within=POINTS if one.answer in ACCURACIES else UNBOUNDED
            ),
            effect=(effect := _effect(one.differences)),
            p=p,
            adjusted_p=adjusted,
            smallest_adjusted_p=least,
            family=len(known),
            seeds_needed=_seeds_needed(effect, len(one.differences), len(known)),
        )
        for one, p, adjusted, least in zip(known, ps, holm(ps), smallest, strict=True)
    ]


def lacking_seeds(known: Sequence[Comparison]) -> str:
    """A sentence where these numbers of seeds can decide none of a family's comparisons."""
    if any(one.smallest_adjusted_p <= ALPHA for one in known):
        return ""
    family = counted(len(known), "comparison")
    return f"With {family} it takes {seeds_to_decide(len(known))} seeds to decide any."


def undecidable(known: Sequence[Comparison]) -> str:
    """As `lacking_seeds`, for a headline: with how many seeds how many cannot be decided."""
    if not lacking_seeds(known):
        return ""
    ends = sorted({one.difference.count for one in known})
    seeds = counted(ends[-1], "seed") if len(ends) == 1 else f"{ends[0]}-{ends[-1]} seeds"
    what = f"none of the {len(known):,} differences can" if len(known) > 1 else "no difference can"
    needed = seeds_to_decide(len(known)).removeprefix("at least ")
    return f"with {seeds} {what} be decided ({needed} seeds needed)"


def _seeds_needed(effect: float, count: int, family: int) -> int | None:
    """How many more than `count` seeds would decide this effect, as `Comparison` says."""
    seeds = seeds_for_power(effect, ALPHA / family)
    return None if seeds is None else max(seeds - count, 0)


def fewest_seeds(family: int) -> int:
    """The fewest seeds with which a family of so many comparisons can decide any.

    >>> [fewest_seeds(family) for family in (1, 2, 8)]
    [6, 7, 9]
    """
    return 1 + math.ceil(math.log2(family / ALPHA))


def most_seeds(family: int) -> int:
    """The most seeds with which a family of so many comparisons can decide any, up to `MAX_SEEDS`.

    >>> [most_seeds(family) for family in (500, 501)]
    [10000, 30]
    """
    return MAX_SEEDS if smallest_p(MAX_SEEDS) <= ALPHA / family else EXACT_SEEDS


def seeds_to_decide(family: int) -> str:
    """With how many seeds a family of so many comparisons can decide any, in words.

    >>> [seeds_to_decide(family) for family in (8, 600)]
    ['at least 9', '15 to 30']
    """
    fewest, most = fewest_seeds(family), most_seeds(family)
    return f"at least {fewest}" if most == MAX_SEEDS else f"{fewest} to {most}"


def _effect(differences: Sequence[float]) -> float:
    """Cohen's d_z: the mean over the standard deviation; see `Comparison`."""
    if len(differences) < 2:
        return math.nan
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    if spread > 1e-9 * abs(mean):
        return mean / spread
    return math.copysign(math.inf, mean) if mean else math.nan
