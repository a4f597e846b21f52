"""Block diagrams: boxes, arrows and labels on axes whose unit is an inch, y downwards."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path

from dse.figures.plotting import Figure

LINE = "#333333"
BLUE, ORANGE, WHITE = "#a9c8ea", "#fbe3c0", "#ffffff"
SMALL, NORMAL, LARGE = 7.5, 8.5, 10.0  # sizes of letters, points
MARGIN = 0.12
PLUS = 0.065  # the radius of a sum


def columns(
    captions: Mapping[str, str], widths: Sequence[float], height: float, note: str = ""
) -> tuple[Figure, Axes, Sequence[float], float]:
    """Axes with a column for each title of `captions`, of at least its width, and of `height`.

    A title is above its column and a caption below it; `note` is below them all. Returns the
    figure, its axes, the middle of each column (x) and the upper end of all (y).
    """
    ends, texts = [0.0], list(captions.values())
    least = widest([note], SMALL) / len(captions)
    for width, (title, caption) in zip(widths, captions.items(), strict=True):
        needed = max(width, least, widest([title], LARGE), widest([caption], SMALL))
        ends.append(ends[-1] + 2 * MARGIN + needed)
    top = 0.25 + _height(list(captions), LARGE)
    under = top + height + MARGIN / 2
    below = under + _height(texts, SMALL) + MARGIN
    size = ends[-1], below + _height([note], SMALL) + MARGIN / 2
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_axis_off()
    middles = [(left + right) / 2 for left, right in pairwise(ends)]
    for x, (title, caption) in zip(middles, captions.items(), strict=True):
        label(axes, x, MARGIN, title, va="top", fontsize=LARGE, weight="bold")
        label(axes, x, under, caption, va="top", fontsize=SMALL)
    label(axes, size[0] / 2, below, note, va="top", fontsize=SMALL)
    return figure, axes, middles, top


def shared(common: str, count: int) -> str:
    """What `count` networks have in common, as the first lines of a note; "" without it."""
    text = textwrap.fill(f"all networks: {common}", 32 * count, break_on_hyphens=False)
    return f"{text}\n" if common else ""


def _height(texts: Sequence[str], points: float) -> float:
    """The height of the text with most lines."""
    return max(len(text.splitlines()) for text in texts) * points * 1.25 / 72


def widest(texts: Sequence[str], points: float) -> float:
    """A width that holds each of `texts`, which may have several lines."""
    longest = max((len(line) for text in texts for line in text.splitlines()), default=0)
    return longest * points * 0.62 / 72


def box(
    axes: Axes, x: float, y: float, width: float, height: float, colour: str, text: str = ""
) -> None:
    """A box and the text in it; x is its middle, y its upper side."""
    corner, style = (x - width / 2, y), "round,pad=0,rounding_size=0.05"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor=LINE)
    )
    label(axes, x, y + height / 2, text)


def label(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """A text, by default centred on (x, y); `style` is for matplotlib's `text`."""
    if text:
        axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": NORMAL, **style})


def arrow(axes: Axes, *points: tuple[float, float]) -> None:
    """An arrow along the line through `points`."""
    axes.add_patch(
        FancyArrowPatch(
            path=Path(points),
            arrowstyle="-|>,head_length=3.5,head_width=2",
            mutation_scale=1,
            color=LINE,
            joinstyle="round",
        )
    )


def bypass(axes: Axes, x: float, fork: float, join: float, out: float, text: str) -> None:
    """A wire that leaves the path at x above a module and is added to it below.

    It leaves at y = `fork`, is at x = `out` next to the module, where the box `text` is on it
    (none if it is empty), and is added at y = `join`.
    """
    arrow(axes, (x, fork), (out, fork), (out, join), (x + PLUS, join))
    axes.add_patch(Circle((x, join), PLUS, facecolor=WHITE, edgecolor=LINE, zorder=3))
    for dx, dy in ((0.6 * PLUS, 0), (0, 0.6 * PLUS)):
        axes.plot([x - dx, x + dx], [join - dy, join + dy], color=LINE, linewidth=1, zorder=4)
    framed = {"facecolor": BLUE, "edgecolor": LINE, "pad": 2}
    label(axes, out, (fork + join) / 2, text, fontsize=SMALL, bbox=framed)


def filter_icon(axes: Axes, x: float, y: float, side: int, cell: float = 0.055) -> None:
    """A filter of `side` x `side` pixels as a grid around (x, y)."""
    for place in range(side * side):
        corner = (x + (place % side - side / 2) * cell, y + (place // side - side / 2) * cell)
        axes.add_patch(
            Rectangle(corner, cell, cell, facecolor=WHITE, edgecolor=LINE, linewidth=0.7)
        )
