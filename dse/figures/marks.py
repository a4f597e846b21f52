"""How the rows of a sweep are drawn: lines or points, intervals, and a dot for each trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.transforms import ScaledTranslation

from dse.analysis.axes import Axis, Sweep, configurations
from dse.analysis.known import ended, finite
from dse.analysis.labels import MOST_TICKS, Scale, is_numeric
from dse.figures.facets import facets
from dse.figures.looks import draw_legend, find_looks
from dse.figures.plotting import (
    MOST_DOTS,
    OURS,
    Figure,
    caption,
    described,
    panels,
    spread,
    style,
)
from dse.figures.scales import (
    find_axis,
    groups,
    in_order,
    is_log,
    scale_of,
    set_scale,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MOST_BARS = 150
"""Intervals are drawn for at most this many points."""
TURNS = 30
"""Groups of more points are drawn in so many parts in turn, so that the last hides no other."""
PLACE = "_x"
"""The column of what is on the x axis."""
DOT = {"marker": ".", "markersize": 4, "alpha": 0.45}
"""A trial next to the mean of its configuration."""
MOST_NUMBERS = 150
SIDE_BY_SIDE = "What lies at the same place is drawn side by side."
SMALL = "^v<>"
"""Markers that cover less than the others of the same size."""


def draw(
    found: Sweep,
    columns: tuple[str, str],
    hued: Axis | None,
    joined: Sequence[Axis] | None,
    *,
    means: bool,
    log: Collection[str] | None,
    note: str,
    col: Axis | None = None,
) -> Figure:
    """A line for each setting of the axes `joined`, or points where it is None.

    `columns` are x and y, `hued` gives the colours, and `col` the panels. With `means` there is a
    mark for each configuration, with its interval; there is a dot for each trial in any case.
    """
    found, lost = finite(found, *columns, *([col.name] if col else []))
    if hued and joined is None and found.rows[hued.name].nunique(dropna=False) == 1:
        hued = None
    scales = [scale_of(found, name) for name in columns]
    apart = [axis for axis in ([hued, col] if joined is None else joined) if axis]
    names = [axis.name for axis in apart]
    order = [hued] if hued and joined is None else found.axes
    rows = found.rows.assign(**{PLACE: found.rows[columns[0]]})
    points = found.blank(_points(found, *columns) if means else rows)
    turns = TURNS if joined is None and len(points) > MOST_BARS else 1
    drawn = _mixed(groups(in_order(points, order), names), turns)
    trials = _mixed(groups(found.blank(rows), names), turns)
    tables = (trials, drawn if means else {})
    parts = facets(drawn, apart, col, scales[0])
    looks = find_looks([*dict.fromkeys(chain(*parts.groups))], parts.within, hued)
    if scales[0].names or joined is None:  # nothing lies between categories
        looks = {key: {**look, "linestyle": "none"} for key, look in looks.items()}
    with style():
        figure, places = parts.panels(4.6)
        along = find_axis(found, columns[0])
        few = along is not None and len(along.values) <= MOST_TICKS and not scales[0].names
        beside = False
        for axes, group in zip(places, parts.groups, strict=True):
            values = [set(trials[key][columns[0]]) for key in group.values()] if few else []
            shared = _shared(values, whole=joined is not None)
            moved = _groups(axes, group, looks, tables, scales, columns, shared, turns)
            if shared:
                side_by_side(axes, moved, 24.0 / parts.columns)
                beside = True
            room = (parts.room, MOST_TICKS)
            for which, name, one, many in zip("xy", columns, scales, room, strict=True):
                log_scale = is_log(which, name, found.rows[name], log)
                set_scale(axes, which, one, log=log_scale, room=many)
        differ = draw_legend(places[0], looks, parts.within, hued)
        parts.label(figure, places, described(found.rows))
        texts = (_shown(points if means else None), SIDE_BY_SIDE if beside else "", differ)
        caption(figure, *texts, ended(found.rows), lost, note, drawn=found.rows)
    return figure


def _groups(
    axes: Axes,
    group: Mapping[tuple[Any, ...], tuple[Any, ...]],
    looks: Mapping[tuple[Any, ...], Mapping[str, Any]],
    tables: tuple[Mapping[Any, pd.DataFrame], Mapping[Any, pd.DataFrame]],
    scales: Sequence[Scale],
    columns: tuple[str, str],
    shared: Collection[Any],
    turns: int,
) -> list[list[Artist]]:
    """Draw the groups of a panel, in `turns` parts in turn; returns what each has at the places
    `shared`.

    `tables` are the trials, and the means if they are drawn, of all groups of the figure by key.
    """
    trials, means = tables
    counts = [sum(map(len, table.values())) for table in tables]
    moved: list[list[Artist]] = [[] for _ in group]
    for turn, (number, (inner, key)) in product(range(turns), enumerate(group.items())):
        look, shift = looks[inner], 0.0
        if scales[0].names:  # groups lie side by side
            shift = (number - (len(group) - 1) / 2) * 0.6 / len(group)
        shape = DOT if means else {"marker": look["marker"], "alpha": 0.9}
        for at in (False, True):
            own = _at(trials[key][turn::turns], shared, at)
            if own.empty:
                continue
            x, y = (one.position(own[name]) for one, name in zip(scales, columns, strict=True))
            new = _dots(axes, x + shift, y, look["color"], counts[0], **shape)
            if means:
                some = _at(means[key][turn::turns], shared, at)
                new += _means(axes, some, scales, shift, look, counts[1])
            moved[number] += new if at else []
    return moved


def _at(rows: pd.DataFrame, places: Collection[Any], are: bool) -> pd.DataFrame:
    """The rows that are at some places, or those that are not."""
    return rows[rows[PLACE].isin(places) == are]


def draw_counts(
    found: Sweep, columns: tuple[str, str], log: Collection[str] | None, note: str
) -> Figure:
    """How many trials have each pair of values: the area of a mark grows with their number."""
    found, lost = finite(found, *columns)
    scales = [scale_of(found, name) for name in columns]
    counts = found.rows.groupby(list(columns), sort=False).size().reset_index(name="count")
    x, y = (one.position(counts[name]) for one, name in zip(scales, columns, strict=True))
    largest = int(counts["count"].max())
    with style():
        figure, (axes,) = panels(1, 2.4 + 0.3 * len(scales[1].names))
        area = 10 + 300 * counts["count"] / largest
        axes.scatter(x, y, area, color=OURS, alpha=0.35, rasterized=len(counts) > MOST_DOTS)
        if largest > 1 and len(counts) <= MOST_NUMBERS:
            for *place, number in zip(x, y, counts["count"], strict=True):
                axes.text(
                    place[0], place[1], f"{number:,}", ha="center", va="center", fontsize="small"
                )
        axes.margins(x=0.1)
        for which, name, one in zip("xy", columns, scales, strict=True):
            set_scale(axes, which, one, log=is_log(which, name, found.rows[name], log))
        axes.set_title(described(found.rows))
        area_means = "The area of a mark grows with the number of trials."
        caption(figure, area_means, lost, note, drawn=found.rows)
    return figure


def _mixed(
    every: Iterable[tuple[tuple[Any, ...], pd.DataFrame]], turns: int
) -> dict[tuple[Any, ...], pd.DataFrame]:
    """The groups by key, their rows in a random order that is always the same if there are
    several turns."""
    known = dict(every)
    if turns == 1:
        return known
    return {k: rows.sample(frac=1, random_state=n) for n, (k, rows) in enumerate(known.items())}


def _shared(values: Sequence[set[Any]], *, whole: bool) -> set[Any]:
    """The values that several groups have; with `whole`, all values where there is such a one."""
    counts = Counter(chain(*values))
    shared = {value for value, count in counts.items() if count > 1}
    return {*counts} if whole and shared else shared


def _shown(points: pd.DataFrame | None) -> str:
    """What the marks are; `points` are the means, if they are drawn."""
    if points is None:
        return "Each mark is a trial."
    if len(points) > MOST_BARS and points["count"].max() > 1:
        return (
            f"A mark is a mean, a pale dot a single trial; the intervals of {len(points):,} means "
            "are not drawn."
        )
    return spread(points["count"])


def side_by_side(axes: Axes, groups: Sequence[Sequence[Artist]], width: float = 24.0) -> None:
    """Move groups of artists at the same places sideways, so that they do not hide each other.

    Their data stay as they are. `width` is from the first to the last of many groups, points.
    """
    step = min(4.0, width / max(len(groups) - 1, 1)) / 72  # inches
    for number, artists in enumerate(groups):
        inches = step * (number - (len(groups) - 1) / 2)
        scale = axes.figure.dpi_scale_trans
        moved = axes.transData + ScaledTranslation(inches, 0, scale)
        for artist in artists:
            artist.set_transform(moved)


def row_height(text: str) -> float:
    """Inches for a row whose name is this text, of one line or several."""
    return 0.16 + 0.14 * (1 + text.count("\n"))


def label_rows(axes: Axes, left: Sequence[str], right: Sequence[str]) -> None:
    """Texts at both sides of the rows 0, 1, ..., from the top."""
    axes.set_yticks(range(len(left)), left)
    axes.set_ylim(len(left) - 0.5, -0.5)
    other = axes.secondary_yaxis("right")
    other.set_yticks(range(len(right)), right)
    other.spines["right"].set_visible(False)
    other.tick_params(length=0)


def _points(found: Sweep, x: str, y: str) -> pd.DataFrame:
    """`configurations` of `y`, with their `x` (its mean over the seeds) in the column `PLACE`."""
    points = configurations(found, y)
    names = [axis.name for axis in found.axes]
    by: Any = names or np.zeros(len(found.rows), dtype=int)
    column = found.rows.groupby(by, sort=False)[x]
    differs = is_numeric(found.rows[x]) and find_axis(found, x) is None
    values = column.mean() if differs else column.first()
    if not names:
        return points.assign(**{PLACE: values.to_numpy()})
    return points.join(values.rename(PLACE), on=names)


def _dots(axes: Axes, x: Any, y: Any, colour: Any, count: int, **shape: Any) -> list[Artist]:
    """A mark for each trial, below all means; `count` is how many the whole figure has."""
    looks: Any = {"markersize": 3.5, "linestyle": "none", "zorder": 1.9, **shape}
    return [*axes.plot(x, y, color=colour, rasterized=count > MOST_DOTS, **looks)]


def _means(
    axes: Axes,
    points: pd.DataFrame,
    scales: Sequence[Scale],
    shift: float,
    look: Mapping[str, Any],
    count: int,
) -> list[Artist]:
    """The means of configurations, a line through them, and an interval where it is known."""
    x = scales[0].position(points[PLACE]) + shift
    mean, low, high = (scales[1].position(points[name]) for name in ("mean", "low", "high"))
    ends = np.array([mean - low, high - mean])
    ends[:, ends.sum(axis=0) == 0] = np.nan  # caps alone would cross the mark
    edge = {"markeredgecolor": "white"} if look["fillstyle"] == "full" else {}
    look = {**look, **edge, "markeredgewidth": 0.6}
    if look["marker"] in SMALL:
        look["markersize"] = 6.5
    if count > MOST_BARS:
        look |= {"markersize": 3, "markeredgewidth": 0.3}
        return [*axes.plot(x, mean, **look, rasterized=count > MOST_DOTS)]
    look |= {"elinewidth": 0.7, "capsize": 0} if count > 20 else {"elinewidth": 0.9}
    return [*axes.errorbar(x, mean, yerr=ends, **look).get_children()]
