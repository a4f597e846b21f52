"""A heat map of two axes of a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, TooMany, configurations, sweep
from dse.analysis.known import ended, finite
from dse.analysis.labels import MOST_TICKS, label, scale, words
from dse.analysis.rendering import counted
from dse.figures.plotting import MOST_DOTS, WIDTH, Figure, caption, described, panels, span, style
from dse.figures.scales import count_groups, groups
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 9
NARROW = 0.33
"""Inches: numbers are written into cells that are wider."""
COLOURS = mpl.colormaps["cividis"].with_extremes(bad="white")
"""Its lightness rises steadily, in grey and for colour-blind people too."""


def heat_map(
    found: Sweep | pd.DataFrame, x: str, y: str, value: str = "", *, note: str = ""
) -> Figure:
    """The mean of `value` over the seeds for each pair of values of two axes.

    `value` is a column of numbers (default: the accuracy, percent). Values of the axes are equally
    spaced, in order, upwards and to the right. Each setting of the other axes has a panel. A cell
    without a trial that has a value is empty and crossed. `note` is added to the caption.

    Raises `NoSweep` where `x` or `y` is not an axis, where a value of one leaves the other without
    effect, where most cells would be empty as in a random sample, and for more than `MOST_PANELS`
    panels.
    """
    found = sweep(found)
    value = value or found.answer
    across, up = found.axis(x), found.axis(y)
    if across is up:
        raise NoSweep(f"`x` and `y` must be two axes, got {x} and {y}, which vary together")
    _check_read(found, across, up)
    _check_read(found, up, across)
    others = [axis.name for axis in found.axes if axis not in (across, up)]
    found, left_out = _crossed(found, across, up, others)
    _check_panels(found, others)
    known, lost = finite(found, value)
    points = configurations(known, value)
    colour_scale = scale(value, points["mean"].tolist())
    points["mean"] = colour_scale.position(points["mean"])
    shades = mpl.colors.Normalize(points["mean"].min(), points["mean"].max())
    settings = groups(known.blank(points), others)
    trained = groups(found.blank(configurations(found)), others)
    _check_filled([points for _, points in trained], across, up, value)
    columns = 1 if len(settings) == 1 else 2 if len(settings) <= 4 else 3
    height = 0.5 + min(max(0.3 * len(up.values), 2.0), 5.0)
    ylabel = textwrap.fill(label(up.name), 32)
    with style():
        figure, places = panels(
            len(settings), height, 1.2, ylabel, columns, sharex=True, sharey=True
        )
        width = 0.75 * WIDTH / columns / len(across.values)
        for axes, (key, chosen) in zip(places, settings, strict=True):
            _panel(axes, _cells(chosen, across, up), shades, numbers=width > NARROW)
            _ticks(axes, across, up, columns)
            title = words(dict(zip(others, key, strict=True)))
            axes.set_title(textwrap.fill(title, 34 if columns < 3 else 20), fontsize="small")
        image = mpl.cm.ScalarMappable(shades, COLOURS)
        figure.colorbar(image, ax=places, label=colour_scale.label, aspect=30)
        places[-1].set_xlabel(label(across.name))
        figure.suptitle(described(known.rows), fontsize="medium")
        most = points["count"].max()
        seeds = "One run each." if most == 1 else f"Mean over {span(points['count'])} seeds."
        whole = len(points) == len(settings) * len(across.values) * len(up.values)
        gaps = "" if whole else f"Crossed: no trial{' with a value' if lost else ''}."
        texts = (seeds, gaps, ended(known.rows), left_out, lost, note)
        caption(figure, *texts, drawn=known.rows)
    return figure


def _crossed(found: Sweep, across: Axis, up: Axis, others: list[str]) -> tuple[Sweep, str]:
    """The settings in which both axes vary, and how many other trials there are, in words."""
    if not others:
        return found, ""
    rows = found.rows.groupby(others)
    crossed = [rows[axis.name].transform("nunique") > 1 for axis in (across, up)]
    kept = found.rows[crossed[0] & crossed[1]]
    if kept.empty:
        raise NoSweep(f"`{across.name}` and `{up.name}` never both vary with all else equal")
    count = len(found.rows) - len(kept)
    lost = f"Not shown: {counted(count, 'trial')} where not both axes vary."
    return replace(found, rows=kept), lost if count else ""


def _check_read(found: Sweep, one: Axis, other: Axis) -> None:
    for value in one.values:
        if other.name in found.idle.get((one.name, value), ()):
            raise NoSweep(f"`{other.name}` has no effect where `{one.name}` is {written(value)}")


def _check_filled(panels: Sequence[pd.DataFrame], across: Axis, up: Axis, value: str) -> None:
    """Raise `NoSweep` where each panel is mostly empty, and its points are no grid or cross."""
    cells, names = len(across.values) * len(up.values), [across.name, up.name]
    if all(
        2 * len(points) < cells and len(points) < points[names].nunique().sum() - 1
        for points in panels
    ):
        raise NoSweep(
            "the heat map would be mostly empty, as trials are no grid: draw points, as in "
            f"x={across.name} y={up.name} hue={value}"
        )


def _check_panels(found: Sweep, others: Sequence[str]) -> None:
    count = count_groups(found.rows, others)
    if count > MOST_PANELS:
        raise TooMany(
            f"the heat map would have {count:,} panels, and at most {MOST_PANELS} can be read: "
            f"select values of {', '.join(others)} by key=value"
        )


def _cells(points: pd.DataFrame, across: Axis, up: Axis) -> Any:
    """The means as an array, (values of `up`, values of `across`), NaN without a trial."""
    table = points.pivot(index=up.name, columns=across.name, values="mean")
    return table.reindex(index=up.values, columns=across.values).to_numpy(float)


def _panel(axes: Axes, cells: Any, shades: mpl.colors.Normalize, *, numbers: bool) -> None:
    """Coloured cells, with their numbers if wanted, and a cross where there is no trial."""
    text, many = _short if numbers else None, cells.size > MOST_DOTS
    draw_cells(axes, cells, shades, text, fontsize=7, rasterized=many)
    empty = np.argwhere(np.isnan(cells)) + 0.5
    axes.plot(empty[:, 1], empty[:, 0], "x", color="#999999", rasterized=len(empty) > MOST_DOTS)


def draw_cells(
    axes: Axes,
    cells: Any,
    shades: mpl.colors.Normalize,
    text: Callable[[float], str] | None,
    fontsize: Any,
    **looks: Any,
) -> None:
    """Coloured cells with the `text` of their numbers, if any; white where there is no number."""
    axes.pcolormesh(np.ma.masked_invalid(cells), cmap=COLOURS, norm=shades, **looks)
    axes.grid(visible=False)
    for (row, column), number in np.ndenumerate(cells) if text else ():
        if text and not np.isnan(number):
            ink = "white" if shades(number) < 0.5 else "black"
            place = (column + 0.5, row + 0.5)
            axes.annotate(
                text(number), place, color=ink, ha="center", va="center", fontsize=fontsize
            )


def _short(number: float) -> str:
    return f"{number:.1f}" if 1 <= abs(number) < 1000 else f"{number:.3g}"


def _ticks(axes: Axes, across: Axis, up: Axis, columns: int) -> None:
    """The values of the axes at the middles of their cells; some of them where they are many."""
    for axis, values in ((axes.xaxis, across.values), (axes.yaxis, up.values)):
        every = -(-len(values) // MOST_TICKS)
        texts = [written(value) for value in values[::every]]
        axis.set_ticks(np.arange(0, len(values), every) + 0.5, texts)
    if sum(len(written(value)) for value in across.values) > (45, 20, 12)[columns - 1]:
        axes.tick_params("x", rotation=90)
