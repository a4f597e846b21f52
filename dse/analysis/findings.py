"""The paper's claims about accuracy, tested on a table of trials.

A claim `agrees` or `contradicts` only where the trials decide it at the 5% level (see
`dse.analysis.compare` and `dse.analysis.plateau`); else it is `not decided`. Each claim is tested
by itself, with pairs of trials that have the same seed and are equal in all else; where something
else varies, differences are means over its settings. Trials with the paper's fixed values are
preferred; where there are none, the values of the trials that are compared are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep, data_sets, reads, sweep
from dse.analysis.compare import Comparison, judged
from dse.analysis.pairs import averaged, averaged_rows, axis_alone
from dse.analysis.plateau import MARGIN, PAPER, Claim, beyond
from dse.analysis.statistics import ALPHA
from dse.paper.evidence import fixed
from dse.paper.published import FIGURE_3A, FIGURE_3B, TABLE_2, TABLE_3, Point
from dse.space.architecture import V1_0
from dse.trial.names import written

VERDICTS = ("agrees", "not decided", "contradicts")
LEAST_FEWER = 40
"""How many times fewer parameters count as the paper's 50: for small images AlexNet has fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the trials on one data set say about one claim.

    `paper` and `evidence` are the numbers of the paper and of the table, in sentences; `verdict` is
    one of `VERDICTS`.
    """

    claim: str
    data: str
    paper: str
    verdict: str
    evidence: str


Judged = tuple[str, str, Sequence[Comparison]]
Judge = Callable[[pd.DataFrame], Judged]
"""A table -> the verdict, the evidence and what was compared; raises `NoSweep` where it lacks what
that needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Claim:
    """One claim: its text, the paper's numbers and fixed values, its test, and the networks that it
    is about."""

    text: str
    paper: str
    fixed: Mapping[str, Any]
    judge: Judge
    networks: tuple[str, ...] = ("squeezenet",)


class _Lacking(NoSweep):
    """An axis of a claim varies, and lacks what the claim needs, which the message says."""


def findings(table: pd.DataFrame) -> list[Finding]:
    """Test the paper's claims on each data set of a table.

    A claim whose trials the table lacks is left out; there may be none.
    """
    return examined(table)[0]


def examined(table: pd.DataFrame) -> tuple[list[Finding], dict[str, str]]:
    """The findings, and the claims about what varies in the table that it cannot test on any of its
    data sets, each with what the one that lacks least needs: "sr=0.125 and 0.75"."""
    every = [
        (claim.text, _tested(claim, str(data), rows))
        for claim in CLAIMS
        for data, rows in table.groupby(data_sets(table))
    ]
    found = [one for _, one in every if isinstance(one, Finding)]
    tested = {one.claim for one in found}
    needs: dict[str, str] = {}
    for text, one in every:
        if text not in tested and isinstance(one, _Lacking):
            needs[text] = min(needs.get(text, str(one)), str(one), key=len)
    return found, needs


def _tested(claim: _Claim, data: str, table: pd.DataFrame) -> Finding | NoSweep:
    """The claim at those of the paper's fixed values that the table has; if the trials there cannot
    show it, at all values; why not if those cannot either."""
    lacking = NoSweep()
    table = table[table["network"].isin(claim.networks)]
    same = table
    for name, value in claim.fixed.items():
        read = reads(same, [name])
        if (own := read & (same[name] == value)).any():
            same = same[own | ~read]
    for rows in (same, table) if len(same) < len(table) else (table,):
        try:
            verdict, evidence, compared = claim.judge(rows)
        except NoSweep as error:
            lacking = error
        else:
            return Finding(
                claim=claim.text,
                data=data,
                paper=claim.paper,
                verdict=verdict,
                evidence=evidence + _other(claim, rows, compared),
            )
    return lacking


def _other(claim: _Claim, table: pd.DataFrame, compared: Iterable[Comparison]) -> str:
    """The paper's fixed values that not all of the compared trials have, in a sentence."""
    if not _differing(claim, table)[1]:
        return ""
    found = sweep(table)
    rows = pd.concat([averaged_rows(found, one.pairs) for one in compared], ignore_index=True)
    values, lacking = _differing(claim, rows)
    here = " ".join(f"{name}={','.join(map(written, values[name]))}" for name in lacking)
    paper = " ".join(f"{name}={written(claim.fixed[name])}" for name in lacking)
    return f" These trials have {here}, the paper's {paper}." if lacking else ""


def _differing(claim: _Claim, rows: pd.DataFrame) -> tuple[dict[str, list[Any]], list[str]]:
    """The values that rows have of the paper's fixed fields, and the fields that differ from it."""
    values = {name: sorted(rows.loc[reads(rows, [name]), name].unique()) for name in claim.fixed}
    return values, [name for name, known in values.items() if {*known} - {claim.fixed[name]}]


def _compared(table: pd.DataFrame, column: str, low: Any, highs: Sequence[Any]) -> list[Comparison]:
    """The values `highs` of a column compared with `low`; raises `NoSweep` where none can be."""
    values = {*table.get(column, [])}
    if len(values) < 2:
        raise NoSweep(f"`{column}` does not vary")
    lacking = [written(value) for value in (low, *highs) if value not in values]
    parts = [f"{column}={' and '.join(lacking)}"] if lacking else []
    if parts := parts if highs else [*parts, f"{column} above {written(low)}"]:
        raise _Lacking(" and ".join(parts))
    found = sweep(table)
    axis = axis_alone(found, column)
    compared = judged(list(averaged(found, axis, [(low, high) for high in highs])))
    if not compared:
        raise _Lacking(
            f"a seed with {column}={written(low)} and {' or '.join(map(written, highs))}, "
            "all else equal"
        )
    return compared


def _higher(column: str, low: Any, high: Any) -> Judge:
    """The test that accuracy at `high` is higher than at `low`."""

    def judge(table: pd.DataFrame) -> Judged:
        (one,) = _compared(table, column, low, [high])
        if not one.decided:
            return "not decided", one.sentence, [one]
        return ("agrees" if one.difference.mean > 0 else "contradicts"), one.sentence, [one]

    return judge


def _plateau(column: str, points: Sequence[Point]) -> Judge:
    """The test that accuracy stops rising at the paper's value of `column`.

    It agrees only if a value was tried that is at least as great as the next of the paper, and
    contradicts only if the rise is more than `MARGIN`.
    """
    value = PAPER[column]
    after = min(point.value for point in points if point.value > value)

    def judge(table: pd.DataFrame) -> Judged:
        greater = sorted(table.loc[table[column] > value, column].unique())
        steps = _compared(table, column, value, greater)
        exceeds = any(step.direction == "higher" for step in beyond(steps, MARGIN))
        one = Claim(column=column, value=value, comparisons=tuple(steps), exceeds=exceeds)
        if one.stops and steps[-1].pairs.after < after:
            near = f"No value from {written(after)} on, the paper's next, was compared."
            return "not decided", f"{one.sentence} {near}", steps
        verdict = "agrees" if one.stops else "contradicts" if one.exceeds else "not decided"
        return verdict, one.sentence, steps

    return judge


def _as_accurate(table: pd.DataFrame) -> Judged:
    """The test that SqueezeNet, with a 50th of the parameters, is at most `MARGIN` points lower."""
    (one,) = _compared(table, "network", "alexnet", ["squeezenet"])
    params = averaged_rows(sweep(table), one.pairs).groupby("network")["params"].mean()
    fewer = params["alexnet"] / params["squeezenet"]
    evidence = f"{one.sentence} SqueezeNet has {fewer:.3g} times fewer parameters."
    if fewer < LEAST_FEWER:
        return "not decided", f"{evidence} The claim takes at least {LEAST_FEWER}.", [one]
    if one.smallest_adjusted_p <= ALPHA and one.difference.low >= -MARGIN:
        return "agrees", evidence, [one]
    lower = any(over.direction == "lower" for over in beyond([one], -MARGIN))
    return ("contradicts" if lower else "not decided"), evidence, [one]


def _late_pooling(table: pd.DataFrame) -> Judged:
    """The test that pooling as late as the table has it is better than pooling as early."""
    pools = by_depth(table["pool_after"])
    if len(pools) < 2:
        raise NoSweep("no two networks pool after different layers")
    return _higher("pool_after", pools[0], pools[-1])(table)


def by_depth(values: Iterable[str]) -> list[str]:
    """The distinct values of `pool_after` except none, by the mean layer after which they pool."""
    pools = {value: fmean(map(int, value.split("-"))) for value in {*values} - {"none"}}
    return sorted(pools, key=lambda value: (pools[value], value))


def _points(points: Sequence[Point], *values: float) -> str:
    """The paper's accuracies at some values."""
    known = {point.value: point.top5 for point in points}
    texts = [f"{known[value]:.1f}% at {value:g}" for value in values]
    return f"{', '.join(texts)} (top-5 on ImageNet)"


_TOP1 = {row.key: row.top1 for row in TABLE_2}


def _order(better: str, worse: str) -> _Claim:
    """One of the steps of Table 3's order."""
    known = {row.bypass: row.top1 for row in TABLE_3}
    names = {"none": "no bypass", "simple": "simple bypass", "complex": "complex bypass"}
    return _Claim(
        text=f"{names[better].capitalize()} is better than {names[worse]}.",
        paper=f"Table 3: {known[better]:.1f} and {known[worse]:.1f}% (top-1 on ImageNet).",
        fixed=fixed("bypass", "freq", sr=0.125, pct3x3=0.5),
        judge=_higher("bypass", worse, better),
    )


CLAIMS = (
    _Claim(
        text="SqueezeNet has AlexNet's accuracy with 50 times fewer parameters.",
        paper=f"Table 2: {_TOP1['squeezenet']} and {_TOP1['alexnet']}% (top-1 on ImageNet).",
        fixed=fixed("freq", sr=0.125, pct3x3=0.5, bypass="none", pool_after=V1_0.pool_after),
        judge=_as_accurate,
        networks=("squeezenet", "alexnet"),
    ),
    _Claim(
        text="Accuracy rises with the squeeze ratio.",
        paper=f"Figure 3(a): {_points(FIGURE_3A, 0.125, 0.75)}.",
        fixed=fixed("sr", "freq", pct3x3=0.5, bypass="none"),
        judge=_higher("sr", 0.125, 0.75),
    ),
    _Claim(
        text="Accuracy stops rising at a squeeze ratio of 0.75.",
        paper=f"Figure 3(a): {_points(FIGURE_3A, 0.75, 1.0)}.",
        fixed=fixed("sr", "freq", pct3x3=0.5, bypass="none"),
        judge=_plateau("sr", FIGURE_3A),
    ),
    _Claim(
        text="Accuracy rises with the share of 3x3 filters.",
        paper=f"Figure 3(b): {_points(FIGURE_3B, 0.01, 0.5)}.",
        fixed=fixed("pct3x3", "freq", sr=0.5, bypass="none"),
        judge=_higher("pct3x3", 0.01, 0.5),
    ),
    _Claim(
        text="Accuracy stops rising at a share of 3x3 filters of 50%.",
        paper=f"Figure 3(b): {_points(FIGURE_3B, 0.5, 0.625, 0.99)}.",
        fixed=fixed("pct3x3", "freq", sr=0.5, bypass="none"),
        judge=_plateau("pct3x3", FIGURE_3B),
    ),
    _order("simple", "none"),
    _order("complex", "none"),
    _order("simple", "complex"),
    _Claim(
        text="Late downsampling raises accuracy.",
        paper="Strategy 3 (section 3.1), without numbers.",
        fixed=fixed("freq", sr=0.125, pct3x3=0.5, bypass="none"),
        judge=_late_pooling,
    ),
)
