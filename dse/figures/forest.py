"""A forest plot: many comparisons below each other, with their intervals and what is decided."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, sweep
from dse.analysis.compare import Comparison, lacking_seeds, probability
from dse.analysis.devices import once
from dse.analysis.labels import label, words
from dse.analysis.pairs import paired
from dse.analysis.rendering import counted
from dse.analysis.statistics import ALPHA, INTERVAL_SEEDS
from dse.figures.marks import label_rows, row_height
from dse.figures.plotting import OURS, Figure, caption, described, legend, panels, span, style
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 50
"""More rows than this cannot be read."""
UNDECIDED = "#7f7f7f"
FIRST = "in no comparison with the first value of an axis"
"""Why a trial is in none of `dse.analysis.compare.comparisons`."""


def forest(
    found: Sweep | pd.DataFrame, comparisons: Sequence[Comparison], *, note: str = ""
) -> Figure:
    """The differences of `dse.analysis.compare`, in points, with their 95% intervals.

    A filled mark is a difference that is decided: Holm's p over all comparisons, at the right, is
    at most 0.05. To the right of zero, the value named first has the higher accuracy. `note` is
    added to the caption.

    Raises `NoSweep` where there is no comparison, or more than can be read.
    """
    found = sweep(found)
    if not comparisons:
        raise NoSweep("no seed has two values of an axis with all else equal: nothing is compared")
    check_rows(len(comparisons))
    compared = [one.pairs for one in comparisons]
    with style():
        names = [_name(one) for one in comparisons]
        height = 1.8 + sum(map(row_height, names))
        figure, (axes,) = panels(1, height)
        axes.axvline(0, color="#888888", linewidth=0.8)
        for row, one in enumerate(comparisons):
            _mark(axes, row, one)
        label_rows(axes, names, [_probability(one) for one in comparisons])
        answer = label(comparisons[0].pairs.answer).replace("(%)", "(points)")
        axes.set_xlabel(f"difference of {answer}")
        every = [paired(found, found.axis(p.column), p.before, p.after) for p in compared]
        shown = pd.concat(every)
        axes.set_title(described(shown))
        _legend(axes, comparisons)
        alone = len(found.rows) - len(once(shown))
        first = all(p.before == found.axis(p.column).values[0] for p in compared)
        why = FIRST if first else "without a partner of the same seed"
        lost = f"Not shown: {counted(alone, 'trial')} {why}."
        caption(figure, *_remarks(comparisons), lost if alone else "", note, drawn=shown)
    return figure


def check_rows(count: int, among: Sequence[str] = ()) -> None:
    """Raise `TooMany` for more comparisons than can be read; `among` are axes to select from."""
    if count > MOST_ROWS:
        values = f"values of {', '.join(among)}" if among else "values"
        raise TooMany(
            f"there would be {count:,} comparisons, and at most {MOST_ROWS} can be read: "
            f"{'' if among else 'name an axis, as in x=bypass, or '}select {values} by key=value"
        )


def _mark(axes: Axes, row: int, one: Comparison) -> None:
    """The difference and its interval: filled where it is decided."""
    known = one.difference
    colour = OURS if one.decided else UNDECIDED
    axes.errorbar(
        [known.mean],
        [row],
        xerr=[[known.mean - known.low], [known.high - known.mean]],
        color=colour,
        marker="o",
        markerfacecolor=colour if one.decided else "white",
        elinewidth=1.2,
    )


def _probability(one: Comparison) -> str:
    """The adjusted p; not that of so few seeds that no difference could be decided."""
    few = one.smallest_adjusted_p > ALPHA
    return "too few seeds" if few else probability(one.adjusted_p)


def _name(one: Comparison) -> str:
    """What is compared: "bypass simple vs none, sr 0.5", "sr 1 vs 0.5, mean over 3 settings"."""
    pairs = one.pairs
    text = f"{pairs.column} {written(pairs.after)} vs {written(pairs.before)}"
    part = f"1 of {pairs.all_settings} settings" if pairs.all_settings > 1 else ""
    where = [pairs.where] if pairs.settings > 1 else [words(pairs.setting), part]
    return textwrap.fill(", ".join(filter(None, (text, *where))), 36)


def _legend(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    labels = []
    for decided, text in ((True, "decided"), (False, "not decided")):
        if any(one.decided is decided for one in comparisons):
            colour = OURS if decided else UNDECIDED
            face = colour if decided else "white"
            axes.plot([], [], "o", color=colour, markerfacecolor=face, label=text)
            labels.append(text)
    figure: Any = axes.figure
    legend(figure, labels)


def _remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """How many seeds there are, and what p is."""
    counts = sorted({one.difference.count for one in comparisons})
    bars = "95% interval" if counts[-1] >= INTERVAL_SEEDS else "no interval for so few seeds"
    lost = any(one.pairs.settings < one.pairs.all_settings for one in comparisons)
    means = "; settings that not all seeds have are left out" if lost else ""
    holm = (
        f"p: sign-flip test, Holm's for {counted(len(comparisons), 'comparison')}; "
        f"decided: at most {ALPHA}."
    )
    noun = "seed" if counts == [1] else "seeds"
    return [
        f"Paired differences over {span(counts)} {noun}, {bars}{means}.",
        holm,
        lacking_seeds(comparisons),
    ]
