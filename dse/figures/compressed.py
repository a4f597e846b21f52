"""Accuracy of compressed networks against the bytes of their files, and the two Pareto fronts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, check_data_set, configurations, require
from dse.analysis.compressed import UNCOMPRESSED, distinct, ways
from dse.analysis.front import pareto
from dse.analysis.known import learned
from dse.analysis.labels import label, scale, words
from dse.analysis.rendering import counted
from dse.analysis.statistics import half_width
from dse.figures.numbered import MOST_NAMED, number_marks
from dse.figures.plotting import (
    MARKERS,
    MOST_DOTS,
    Figure,
    caption,
    described,
    lay_out,
    legend,
    panels,
    style,
)
from dse.figures.scales import METHODS as COLOURS
from dse.figures.scales import is_log, set_scale
from dse.trial.compression import METHODS, SETTINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COST = "file_bytes"
MOST_WAYS = 16
"""More ways to compress cannot be distinguished in one figure."""
SMALL, LARGE = 4.5, 7.5
"""Markers of the other networks and of those on a front, points."""
FRONTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("front of the uncompressed", {"color": "#777777", "linestyle": (0, (4, 2))}),
    ("front of the compressed", {"color": "#333333", "linestyle": "-"}),
)


def compressed(found: Sweep, *, note: str = "") -> Figure:
    """Accuracy on the test set against the length of the file, means over the seeds.

    `found` is the `sweep` of a table of `dse.load_compressed`. A colour and a marker for each
    method, a lightness for each of its settings. The Pareto fronts of the uncompressed and of the
    compressed networks are joined, each a step from network to network; both are chosen by the
    validation set. Their networks have 95% intervals in both directions. Networks of which no seed
    learned are left out and counted. `note` is added to the caption.

    Raises `NoSweep` where no network is compressed, and `TooMany` for several data sets or more
    than `MOST_WAYS` ways to compress.
    """
    require(found.rows, "compressed_id", "method", COST, "val_top1")
    points, left_out = _learned(_points(found))
    looks = _looks(points)
    across = scale(COST, [points[COST].min()])
    with style():
        figure, (axes,) = panels(1, 5.2)
        numbers, listed = _networks(found, points)
        for (name, line), is_compressed in zip(FRONTS, (False, True), strict=True):
            front = points[points["on_front"] & (points["compressed"] == is_compressed)]
            front = front.sort_values(COST)
            if len(front):
                joined = {"label": name} if len(front) > 1 else {}  # one point has no line
                _front(axes, front, across.position, {**joined, **line})
        for way, look in looks.items():
            own = points[points["way"] == way]
            _marks(axes, own, across.position, look, many=len(points) > MOST_DOTS)
            axes.plot([], [], linestyle="none", label=way, markersize=6, **look)
        axes.set_ylabel(label(found.answer))
        axes.margins(y=0.1)  # room for a number
        set_scale(axes, "x", across, log=is_log("x", COST, points[COST], None))
        legend(figure, axes.get_legend_handles_labels()[1])
        names = [axis.name for axis in found.axes]
        shown = distinct(found.rows)
        shown = shown.merge(points[names].drop_duplicates()) if names else shown
        axes.set_title(described(shown))
        caption(figure, EXPLAINED, *listed, left_out, note, drawn=shown)
        if listed:
            lay_out(figure)
            marked = points.loc[numbers.index]
            number_marks(axes, across.position(marked[COST]), marked["mean"], numbers)
    return figure


EXPLAINED = (
    "Accuracy is that of the network decoded from the file. Large, joined marks are the front of "
    "the uncompressed or of the compressed networks: no other of them has at least the accuracy at "
    "no more bytes. Fronts are chosen on the validation set, and have 95% intervals over the "
    "seeds (from 3 on). A network as it was trained has the bytes of its fp32 weights."
)


def _points(found: Sweep) -> pd.DataFrame:
    """A row for each network over its seeds: `configurations`, and what the figure needs more.

    `way` says how it was compressed, `compressed` whether it was, `learned` whether any seed is
    better than chance; `half`, half the width of the interval of its bytes.
    """
    found = replace(found, rows=distinct(found.rows))
    rows = found.rows.assign(way=ways(found.rows), learned=learned(found))
    if (rows["method"] == UNCOMPRESSED).all():
        raise NoSweep("no network is compressed by another method than none")
    check_data_set(rows)
    if (count := rows["way"].nunique()) > MOST_WAYS:
        raise TooMany(
            f"there are {count:,} ways to compress, and at most {MOST_WAYS} can be distinguished; "
            "select some with key=value in `python -m dse.plot results/NAME compressed`"
        )
    names: Any = [axis.name for axis in found.axes] or np.zeros(len(rows), dtype=int)
    groups = rows.groupby(names, sort=False)
    half = half_width(groups.size().to_numpy(), groups[COST].std().to_numpy(float))
    more = groups[["way", "method"]].first().assign(half=half, learned=groups["learned"].any())
    points = configurations(found)
    own = [name for name in ("way", "method", "half", "learned") if name not in points]
    points = points.join(more[own], on=names) if found.axes else points.join(more[own])
    points = points[points["mean"].notna()]
    points["compressed"] = points["method"] != UNCOMPRESSED
    return points


def _learned(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The networks that learned, with `on_front`, whether each is on the front of its kind; and how
    many others there are, in words. All of them where no compressed one learned."""
    enough = (points["learned"] & points["compressed"]).any()
    shown = points[points["learned"]] if enough else points
    count = len(points) - len(shown)
    left_out = f"Not shown: {counted(count, 'network')} at chance with every seed." if count else ""
    points = shown.assign(on_front=False)
    for _, some in points.groupby("compressed"):
        best = pareto(some[COST].to_numpy(float), some["val_top1"].to_numpy(float)[None])[0]
        points.loc[some.index, "on_front"] = best
    return points, left_out


def _networks(found: Sweep, points: pd.DataFrame) -> tuple[pd.Series[int], list[str]]:
    """A number for each network that is on a front, however it is compressed, and what each number
    stands for; nothing is listed where there is one network, or many."""
    names: Any = [axis.name for axis in found.axes if not {*axis.columns} <= {*SETTINGS}]
    front = points[points["on_front"]].sort_values(COST)
    if not names:
        return pd.Series(dtype=int), []
    keys = found.blank(front)[names].drop_duplicates()
    texts = found.blank(points)[names].apply(words, axis=1)
    known = list(dict.fromkeys(texts[keys.index]))
    numbers = texts[front.index].map({text: number for number, text in enumerate(known, 1)})
    listed = [f"({number}) {text}." for number, text in enumerate(known, 1)]
    return numbers, listed if 1 < len(known) <= MOST_NAMED else []


def _looks(points: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Marker and colours of each way, in the order of the methods: from full to empty."""
    looks = {}
    for method in METHODS:
        own = sorted(points.loc[points["method"] == method, "way"].unique(), key=_fewest_last)
        colour, marker = COLOURS[method], MARKERS[[*COLOURS].index(method)]
        rgb = np.array(mpl.colors.to_rgb(colour))
        for number, way in enumerate(own):
            face = tuple(rgb + (1 - rgb) * number / max(len(own) - 1, 1))
            looks[way] = {"marker": marker, "markerfacecolor": face, "markeredgecolor": colour}
    return looks


def _fewest_last(way: str) -> tuple[float, ...]:
    """Large values of the settings first: most bits, then most weights."""
    return tuple(-float(word) for word in way.replace(",", "").split() if word[0].isdigit())


def _front(axes: Axes, front: pd.DataFrame, place: Any, line: Mapping[str, Any]) -> None:
    """A step from each network to the next larger one, and their intervals."""
    x = place(front[COST])
    axes.plot(x, front["mean"], drawstyle="steps-post", linewidth=1.0, zorder=1, **line)
    bar: dict[str, Any] = {"color": "#555555", "linewidth": 0.8, "zorder": 1.5}
    axes.vlines(x, front["low"], front["high"], **bar)
    low, high = (place(front[COST] + sign * front["half"]) for sign in (-1, 1))
    axes.hlines(front["mean"], low, high, **bar)


def _marks(
    axes: Axes, own: pd.DataFrame, place: Any, look: Mapping[str, Any], *, many: bool
) -> None:
    """The networks of one way to compress, those on a front larger."""
    for on_front, size, alpha in ((False, SMALL, 0.55), (True, LARGE, 1.0)):
        some = own[own["on_front"] == on_front]
        axes.plot(
            place(some[COST]), some["mean"], linestyle="none", markersize=size, alpha=alpha,
            markeredgewidth=1.0, zorder=2 + on_front, rasterized=many, **look,
        )  # fmt: skip
