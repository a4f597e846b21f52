"""What all figures share: style, legends, captions, and their encoding as files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.figure
import pandas as pd

from dse.analysis.devices import mixed_devices
from dse.analysis.rendering import counted
from dse.analysis.statistics import INTERVAL_SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase

STYLE: Any = {
    "svg.hashsalt": "dse",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.titlesize": "medium",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "errorbar.capsize": 2.5,
    "lines.markersize": 5.0,
    "legend.fontsize": "small",
    "legend.title_fontsize": "small",
}
WIDTH = 5.6
"""Inches: a phone shows a figure of this width at about four fifths of its size."""
LEGEND_ROWS = 8
"""A legend with more rows makes the figure higher."""
CAPTION_ROWS = 10
"""A caption with more rows makes the figure higher."""
MOST_DOTS = 2_000
"""More dots than this are drawn as an image inside the figure, which stays small."""

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#aa4499", "#000000",
    "#56b4e9", "#b8860b", "#7f7f7f", "#882255", "#44aa99",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1)))
"""Lines differ in colour, marker and dashes, so that they differ in grey print too."""
OURS = COLOURS[0]
THEIRS: Any = {"color": "#444444", "marker": "o", "markerfacecolor": "white"}
"""The look of the paper's curve, which no measured line has."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own defaults and `STYLE`, whatever the user's matplotlibrc and backend."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


class Figure(matplotlib.figure.Figure):
    """A figure in `style`, also where it is shown or saved among a user's own figures: matplotlib
    makes some of its ticks when it is drawn. `remarks` is its caption, in one line."""

    remarks = ""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure, in its style."""
        with style():
            super().draw(renderer)

    def savefig(self, *args: Any, **settings: Any) -> None:
        """Save the figure, in its style, as `matplotlib.figure.Figure.savefig` does."""
        with style():
            super().savefig(*args, **settings)


def look(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line with this number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def legend(figure: Figure, labels: Sequence[str], title: str = "") -> None:
    """A legend of the figure's labelled artists above the plot, in as many columns as fit.

    A long one makes the figure higher, so that the plot keeps its height.
    """
    widest = max(map(len, labels), default=1) + 7
    columns = min(max(int(figure.get_figwidth() * 14) // widest, 1), len(labels))
    more = math.ceil(len(labels) / columns) - LEGEND_ROWS
    figure.set_figheight(figure.get_figheight() + max(more, 0) * 0.17)
    figure.legend(loc="outside upper center", ncols=columns, title=title, frameon=False)


def panels(
    count: int,
    height: float,
    rest: float = 0,
    ylabel: str = "",
    columns: int = 2,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, at most `columns` in a line; the left ones have the label.

    `height` is that of a line and `rest` that of what is around them, inches.
    """
    columns = min(columns, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rest + height * lines), layout="constrained")
    places = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axes in places[:, 0]:
        axes.set_ylabel(ylabel)
    for spare in places.flat[count:]:
        spare.set_axis_off()
    return figure, [*places.flat[:count]]


def lay_out(figure: Figure) -> None:
    """Place the panels of a figure that has all its texts: then distances are as they are drawn."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


# Captions -----------------------------------------------------------------------------------


def caption(figure: Figure, *sentences: str, drawn: pd.DataFrame | None = None) -> None:
    """Small text below the plot, wrapped; empty sentences are left out.

    One of more than `CAPTION_ROWS` rows makes the figure higher, so that the plot gets no lower. It
    names the devices of the rows `drawn` where there are several.
    """
    devices = "" if drawn is None else mixed_devices(drawn)
    figure.remarks = " ".join(sentence for sentence in (*sentences, devices) if sentence)
    rows = textwrap.wrap(figure.remarks, int(figure.get_figwidth() * 16.5))
    figure.set_figheight(figure.get_figheight() + max(len(rows) - CAPTION_ROWS, 0) * 0.125)
    figure.supxlabel(
        "\n".join(rows), x=0.01, ha="left", fontsize=7.5, color="#444444", parse_math=False
    )


def described(rows: pd.DataFrame) -> str:
    """What the trials that are drawn were trained on, and how long: "digits, 20 epochs"."""
    data = " and ".join(sorted(rows["data"].unique()))
    epochs = set(rows.get("epochs", ()))
    return f"{data}, {counted(int(epochs.pop()), 'epoch')}" if len(epochs) == 1 else data


def span(counts: Iterable[int]) -> str:
    """The smallest and the largest count, once where they are equal.

    >>> span([3, 3]), span([3, 1, 2])
    ('3', '1-3')
    """
    ends = sorted(set(counts))
    return f"{ends[0]:,}" if len(ends) == 1 else f"{ends[0]:,}-{ends[-1]:,}"


def spread(counts: pd.Series[int]) -> str:
    """What is drawn at points of so many seeds each.

    >>> spread(pd.Series([3, 3]))
    'Mean, 95% interval and each of 3 seeds.'
    >>> spread(pd.Series([1, 3]))
    'Mean, 95% interval (from 3 seeds on) and each of 1-3 seeds.'
    """
    fewest, most = int(counts.min()), int(counts.max())
    if most == 1:
        return "One run each."
    seeds = f"each of {span(counts)} seeds."
    if most < INTERVAL_SEEDS:
        return f"Mean and {seeds}"
    some = f" (from {INTERVAL_SEEDS} seeds on)" if fewest < INTERVAL_SEEDS else ""
    return f"Mean, 95% interval{some} and {seeds}"


# Files --------------------------------------------------------------------------------------


def encoded(figure: matplotlib.figure.Figure, *kinds: str) -> tuple[bytes, ...]:
    """The contents of a file of each kind ("svg", "png", "pdf"); equal figures, equal bytes.

    An SVG, whose letters are paths, has the figure's caption as its description too.
    """
    unset = {"svg": "Date", "png": "Software", "pdf": "CreationDate"}
    said = getattr(figure, "remarks", "")
    contents = []
    with style():
        for kind in kinds:
            stream = io.BytesIO()
            metadata = {"Description": said} if said and kind == "svg" else {}
            figure.savefig(stream, format=kind, dpi=150, metadata={unset[kind]: None, **metadata})
            figure.set_layout_engine("none")  # the next kind keeps this layout
            contents.append(stream.getvalue())
    return tuple(contents)
