"""Lines along an axis of a sweep, as in the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dse.analysis.axes import Sweep
from dse.analysis.known import ended
from dse.analysis.labels import label
from dse.analysis.lines import Line, left_out
from dse.analysis.rendering import counted
from dse.figures.plotting import MOST_DOTS, legend, look, spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def draw_lines(
    axes: Axes,
    found: Sweep,
    drawn: Sequence[Line],
    column: str,
    places: Sequence[Mapping[Any, float]],
    title: str = "",
) -> list[list[Artist]]:
    """The lines, each with its places on the x axis, and a legend of what they differ in.

    Returns what was drawn of each.
    """
    figure: Any = axes.figure
    artists = [
        _draw_line(axes, line, found.answer, at, column, label=line.label, **look(number))
        for number, (line, at) in enumerate(zip(drawn, places, strict=True))
    ]
    if drawn[0].setting:
        legend(figure, [line.label for line in drawn], title)
    axes.set_ylabel(label(found.answer))
    return artists


def same_places(places: Sequence[Mapping[Any, float]]) -> bool:
    """Whether all lines have their values at the same places."""
    every = {value: place for one in places for value, place in one.items()}
    return all(every[value] == place for one in places for value, place in one.items())


def _draw_line(
    axes: Axes, line: Line, answer: str, places: Mapping[Any, float], along: str, **looks: Any
) -> list[Artist]:
    """A line through the means, with an interval at each point and a dot for each trial.

    `places` maps the values of `along`, the axis of the line, to places on the x axis. There is no
    interval below `INTERVAL_SEEDS` seeds. `looks` is for matplotlib's `errorbar` and must hold
    `color`. Returns what was drawn.
    """
    order = line.points[along].map(places).argsort(kind="stable")
    points, trials = line.points.iloc[order], line.trials
    ends = [points["mean"] - points["low"], points["high"] - points["mean"]]
    bars = axes.errorbar(
        points[along].map(places), points["mean"], yerr=np.array(ends), elinewidth=0.8, **looks
    )
    dots = axes.plot(
        trials[along].map(places),
        trials[answer],
        ".",
        color=looks["color"],
        markersize=6,
        alpha=0.45,
        rasterized=len(trials) > MOST_DOTS,
    )
    return [*bars.get_children(), *dots]


def trials_of(drawn: Sequence[Line]) -> pd.DataFrame:
    """The trials of some lines."""
    return pd.concat([line.trials for line in drawn])


def measured(found: Sweep, drawn: Sequence[Line], along: str) -> str:
    """What the lines along an axis show, and how many trials of the sweep are on none of them."""
    counts = pd.concat([line.points["count"] for line in drawn])
    others = ""
    if count := left_out(found, drawn):
        lost = counted(count, "trial")
        others = f"Not shown: {lost} without another that differs in {along} alone."
    return " ".join(text for text in (spread(counts), ended(trials_of(drawn)), others) if text)
