"""What a figure shows: its points, its intervals, its texts, and whether texts overlap."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from dse.figures.plotting import style


def means(axes: Axes, number: int = 0) -> tuple[list[float], list[float]]:
    """The x and y of a line with error bars, as drawn."""
    drawn = axes.containers[number].lines[0]
    return list(drawn.get_xdata()), list(drawn.get_ydata())


def intervals(axes: Axes, number: int = 0) -> list[tuple[float, ...]]:
    """The low and the high end of a line's error bars, as drawn; `()` where there is none."""
    (segments,) = axes.containers[number].lines[2]
    return [tuple(y for _, y in bar if not math.isnan(y)) for bar in segments.get_segments()]


def dots(axes: Axes) -> list[tuple[float, float]]:
    """The places of the dots of single trials."""
    drawn = [line for line in axes.lines if line.get_alpha()]  # a mean is not transparent
    return [place for line in drawn for place in zip(*line.get_data(), strict=True)]


def labels(axes: Axes) -> list[str]:
    """The label of each line with error bars."""
    return [str(container.get_label()) for container in axes.containers]


def text(figure: Figure) -> str:
    """All words of a figure; it need not be drawn for that."""
    found: list[Any] = figure.findobj(Text)
    return " ".join(" ".join(one.get_text().split()) for one in found if one.get_visible())


def content(figure: Figure, *kinds: str) -> tuple[bytes, ...]:
    """All that a figure shows, as text: in place of `encoded`, where files are not looked at."""
    lines = [[float(y) for y in line.get_ydata()] for axes in figure.axes for line in axes.lines]
    return (f"<svg>{text(figure)} {lines}</svg>".encode(),) * len(kinds)


def crowded(figure: Figure) -> list[tuple[str, str]]:
    """The texts that overlap, or that leave the figure."""
    boxes = [(one.get_text(), one.get_window_extent()) for one in _texts(figure)]
    found = [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.overlaps(two)]
    page = figure.bbox
    for words, box in boxes:
        if box.x0 < page.x0 or box.y0 < page.y0 or box.x1 > page.x1 or box.y1 > page.y1:
            found.append((words, "the edge"))
    return found


def _texts(figure: Figure) -> list[Text]:
    """The texts that are really drawn, which ticks out of sight are not."""
    found: dict[int, Text] = {}
    draw = Text.draw

    def recorded(self: Text, renderer: Any, *more: Any, **named: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found[id(self)] = self
        draw(self, renderer, *more, **named)

    with pytest.MonkeyPatch.context() as patch, style():
        patch.setattr(Text, "draw", recorded)
        figure.draw_without_rendering()
    return list(found.values())
