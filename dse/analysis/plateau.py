"""Plateaus: beyond which value of an axis accuracy rises no further.

Accuracy rises no further from a value on if no greater value has a mean accuracy that is more than
`margin` points higher. A margin is needed: a difference of nothing can never be shown, one below a
margin can (Schuirmann 1987, on equivalence). Two questions are answered:

- `plateaus`: where does it begin? The smallest value whose mean is within the margin of the
  highest, as the smallest tree within one standard error of the best (Breiman, Friedman, Olshen and
  Stone 1984, section 3.4.3). It is located on the validation set. The highest of noisy means is too
  high, so with few seeds a plateau seems to begin later than it does. Both ends of its interval are
  tests: it begins at the first value that no greater one is shown to exceed by more than the
  margin, and ends at the first one from which on every value is shown to be exceeded by no more.
- `claims`: does it begin at a value that was named before, such as the paper's? Decided on the test
  set. Each greater value is compared with the named one, paired by seed. Accuracy "rises by at most
  the margin" where the 95% interval of every difference ends below it; all must, so no adjustment
  is needed (Berger 1982). It "still rises" where a difference is above 0 by Holm's adjusted p. Both
  may hold. Otherwise, and with too few seeds for any difference to be decided, it is not decided.
  A rise is more than the margin, and the claim wrong, where a difference less the margin is above 0
  by the same test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, sweep
from dse.analysis.compare import Comparison, judged, seeds_to_decide
from dse.analysis.lines import lines
from dse.analysis.pairs import at, axis_alone, pairs
from dse.analysis.rendering import counted, signed
from dse.analysis.statistics import ALPHA, Floats, half_width
from dse.trial.names import written

MARGIN = 0.5
"""Points. The paper calls 0.7 points a rise (Figure 3(a), sr 0.5 to 0.75) and 0.3 none (3(b),
pct3x3 0.5 to 0.625)."""

LOCATING_SEEDS = 5
"""With fewer seeds nothing is stated."""

PAPER: Mapping[str, float] = {"sr": 0.75, "pct3x3": 0.5}
"""Where accuracy stops rising in the paper (sections 5.2 and 5.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plateau:
    """Where accuracy stops rising along an axis, at one setting of the others.

    `start` is the value, `low` and `high` the ends of its 95% interval, all None below
    `LOCATING_SEEDS` seeds. `last` is the axis' greatest value: a plateau that starts there was not
    seen. `seeds` have all values; `left_out` counts the others.
    """

    column: str
    setting: Mapping[str, Any]
    margin: float
    start: float | None
    low: float | None
    high: float | None
    last: float
    seeds: int
    left_out: int

    @property
    def sentence(self) -> str:
        """The plateau in words."""
        where = f" {at(self.setting)}".rstrip()
        if self.seeds < LOCATING_SEEDS:
            have = f" have all values of {self.column}" if self.left_out else ""
            return (
                f"Too few seeds{have} ({self.seeds}; {LOCATING_SEEDS} are needed) to locate where "
                f"mean validation accuracy{where} stops rising with {self.column}."
            )
        start, seeds = f"{self.column}={written(self.start)}", counted(self.seeds, "seed")
        if self.left_out:
            seeds = f"{seeds}, {self.left_out} left out"
        found = f"rises by at most {self.margin:g} points beyond {start}"
        if self.start == self.last:
            found = f"is highest at {start}, the greatest value"
        ends = f"95% interval of this value {written(self.low)} to {written(self.high)}"
        return f"Mean validation accuracy{where} {found} ({ends}, {seeds})."


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Whether accuracy rises beyond `value`.

    `comparisons` are those of each greater value with it, at one setting of the other axes, or
    means over several: then `setting` is empty. `exceeds`: some greater value is higher by more
    than `MARGIN`.
    """

    column: str
    value: float
    comparisons: tuple[Comparison, ...]
    exceeds: bool

    @property
    def setting(self) -> Mapping[str, Any]:
        """The values of the other axes."""
        return self.comparisons[0].pairs.setting

    @property
    def rises(self) -> bool:
        """Whether some greater value is higher."""
        return any(one.decided and one.difference.mean > 0 for one in self.comparisons)

    @property
    def stops(self) -> bool:
        """Whether no greater value is higher by more than `MARGIN`."""
        return all(
            one.smallest_adjusted_p <= ALPHA and one.difference.high <= MARGIN
            for one in self.comparisons
        )

    @property
    def sentence(self) -> str:
        """The differences and what they show, in words."""
        answer = self.comparisons[0].pairs.answer.replace("top", "top-")
        places = [one.pairs.where for one in self.comparisons]
        where = places[0] if len(set(places)) == 1 else ""
        steps = [
            f"to {written(one.pairs.after)}{'' if where or not place else f' ({place})'}: "
            f"{signed(one.difference)}"
            for one, place in zip(self.comparisons, places, strict=True)
        ]
        seeds = sorted({one.difference.count for one in self.comparisons})
        parts = [
            f"From {self.column}={written(self.value)} {', '.join(steps)} points of {answer}",
            where,
            counted(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]} seeds",
        ]
        return f"{', '.join(part for part in parts if part)}: {self.verdict}."

    @property
    def verdict(self) -> str:
        """What is shown, which is no more than the intervals and p allow."""
        if self.rises and self.stops:
            return f"still rises, by at most {MARGIN:g} points"
        if self.exceeds:
            return "still rises"
        if self.rises:
            return f"still rises, not decided whether by more than {MARGIN:g} points"
        if self.stops:
            return f"rises by at most {MARGIN:g} points"
        if any(one.smallest_adjusted_p > ALPHA for one in self.comparisons):
            needed = seeds_to_decide(self.comparisons[0].family)
            count = min(one.difference.count for one in self.comparisons)
            return f"not decided; needs {needed} seeds, has {count}"
        highest = max(one.difference.high for one in self.comparisons)
        return f"not decided; a rise of {highest:.1f} points is possible"


def plateaus(table: pd.DataFrame, column: str, margin: float = MARGIN) -> list[Plateau]:
    """Locate the plateau of validation accuracy along `column`, for each setting of other axes.

    `margin` is in points. Raises `ValueError` for a table that is empty or holds a trial twice, and
    for a column that does not vary, or not alone, or whose values are not numbers.
    """
    found, _ = _ordered(table, column)
    located = []
    for line in lines(found, column, "val_top1"):
        frame = line.trials.pivot(index=column, columns="seed", values="val_top1").sort_index()
        whole = frame.dropna(axis="columns")  # differences of means are those of the same seeds
        start = low = high = None
        if (seeds := whole.shape[1]) >= LOCATING_SEEDS:
            data = whole.to_numpy(float)
            places = [starts(data.mean(axis=1)[None], margin)[0], *ends(data, margin)]
            start, low, high = (frame.index[place] for place in places)
        located.append(
            Plateau(
                column=column,
                setting=line.setting,
                margin=margin,
                start=start,
                low=low,
                high=high,
                last=frame.index[-1],
                seeds=seeds,
                left_out=frame.shape[1] - seeds,
            )
        )
    return located


def starts(means: Floats, margin: float) -> list[int]:
    """The place of the first mean within `margin` of the highest: (n, values) -> n places."""
    near = means >= means.max(axis=1, keepdims=True) - margin
    return [int(place) for place in near.argmax(axis=1)]


def ends(data: Floats, margin: float) -> tuple[int, int]:
    """The places of a 95% interval of where a plateau begins: (values, seeds), of at least 3 seeds.

    Paired t tests decide both ends, and err in at most 2.5% each. The first place that no greater
    value exceeds by more than `margin` (Bonferroni over these). The first from which on no place is
    exceeded by more, which is shown from the last one down: all must be shown, so no adjustment is
    needed.
    """
    low, high = 0, len(data) - 1
    while (_rises(data, low, len(data) - 1 - low)[0] > margin).any():
        low += 1
    while high and (_rises(data, high - 1)[1] <= margin).all():
        high -= 1
    return low, high


def _rises(data: Floats, place: int, family: int = 1) -> tuple[Floats, Floats]:
    """The ends of the 95% intervals of how much greater values exceed that at `place`.

    They hold together for a `family` of them.
    """
    steps = data[place + 1 :] - data[place]
    means = steps.mean(axis=1)
    half = half_width(steps.shape[1], steps.std(axis=1, ddof=1), max(family, 1))
    return means - half, means + half


def claims(table: pd.DataFrame, column: str, value: float) -> list[Claim]:
    """Test whether accuracy rises by at most `MARGIN` points from `value` on, for each setting.

    Raises as `plateaus` does, and `NoSweep` where no seed has `value` and a greater one.
    """
    found, axis = _ordered(table, column)
    steps = [(value, other) for other in axis.values if other > value]
    compared = judged(list(pairs(found, axis, steps)))
    if not compared:
        raise NoSweep(f"no seed has `{column}` {written(value)} and a greater value")
    over = beyond(compared, MARGIN)
    settings = [one.pairs.setting for one in compared]
    return [
        Claim(
            column=column,
            value=value,
            comparisons=tuple(one for one in compared if one.pairs.setting == setting),
            exceeds=any(one.direction == "higher" for one in over if one.pairs.setting == setting),
        )
        for number, setting in enumerate(settings)
        if setting not in settings[:number]
    ]


def beyond(known: Sequence[Comparison], margin: float) -> list[Comparison]:
    """A family of comparisons with `margin` points subtracted from each difference."""
    return judged(
        [
            replace(
                one.pairs, differences=tuple(round(d - margin, 9) for d in one.pairs.differences)
            )
            for one in known
        ]
    )


def _ordered(table: pd.DataFrame, column: str) -> tuple[Sweep, Axis]:
    """What varies in the table, and the axis `column`, whose values must be numbers."""
    found = sweep(table)
    axis = axis_alone(found, column)
    if not all(isinstance(value, (int, float)) for value in axis.values):
        values = ", ".join(map(written, axis.values))
        raise ValueError(f"`{column}` must have numbers as values, got {values}")
    return found, axis
