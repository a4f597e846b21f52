"""What the axes of a complete grid explain, alone and two together."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, check_data_set, sweep
from dse.analysis.complete import Grid, complete
from dse.analysis.interactions import REST, noise_share, shares, together
from dse.analysis.labels import label
from dse.analysis.rendering import counted
from dse.analysis.statistics import INTERVAL_SEEDS
from dse.figures.heat_map import COLOURS, draw_cells
from dse.figures.plotting import Figure, caption, described, look, panels, style
from dse.figures.scales import check_colours, scale_of, set_scale
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 4
"""Interactions that are drawn, the largest first."""


def explained(found: Sweep) -> Figure:
    """The share of the variance of accuracy that each axis explains, and each two beyond that.

    A matrix: main effects on the diagonal, interactions below it. Raises `NoSweep` where the grid
    is not complete.
    """
    grid = complete(found)
    known = shares(grid).set_index("source")["share"]
    names = [axis.name for axis in grid.axes]
    cells = np.full((len(names), len(names)), np.nan)
    for row, one in enumerate(names):
        for column, two in enumerate(names[: row + 1]):
            source = one if one == two else f"{two} x {one}"
            cells[row, column] = known[source]
    with style():
        figure, (axes,) = panels(1, 0.75 + 0.55 * len(names) + 0.6)
        shades = mpl.colors.Normalize(0, max(float(np.nanmax(cells)), 1.0))
        draw_cells(axes, cells, shades, "{:.1f}".format, "medium", edgecolor="white")
        ticks = np.arange(len(names)) + 0.5
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        axes.invert_yaxis()
        image = mpl.cm.ScalarMappable(shades, COLOURS)
        figure.colorbar(image, ax=axes, label="share of the variance (%)", aspect=25)
        figure.suptitle(described(found.rows), fontsize="medium")
        caption(figure, EXPLAINED, _rest(grid, float(known[REST])))
    return figure


EXPLAINED = (
    "Shares of the variance of the networks' mean accuracy on the test set: on the diagonal each "
    "axis alone, below it what two axes add together."
)


def _rest(grid: Grid, rest: float) -> str:
    """What is left, and how much of all shares the noise of the seeds is."""
    noise = noise_share(grid)
    of_it = (
        "" if math.isnan(noise) else f" Noise of the seeds is in every share, {noise:.1f}% in all."
    )
    return f"Three or more together: {rest:.1f}%.{of_it} {_counts(grid)}"


def _counts(grid: Grid) -> str:
    return f"{grid.networks:,} networks, {counted(len(grid.seeds), 'seed')}."


def interactions(found: Sweep | pd.DataFrame, *, note: str = "") -> Figure:
    """The `PANELS` largest interactions of two axes: mean accuracy for each two of their values.

    Without an interaction the lines of a panel are parallel. The axis with more values is the x
    axis. `note` is added to the caption. Raises `NoSweep` where the grid is not complete, or has
    one axis only, and `TooMany` for several data sets, or for more lines than colours.
    """
    found = sweep(found)
    check_data_set(found.rows)
    grid = complete(found)
    sources = [source for source in shares(grid)["source"] if " x " in source][:PANELS]
    if not sources:
        raise NoSweep(f"nothing but `{grid.axes[0].name}` varies")
    with style():
        accuracy = textwrap.fill(f"mean {label(grid.answer)}", 28)
        figure, places = panels(len(sources), 2.7, 0.9, accuracy, sharey=True)
        for axes, source in zip(places, sources, strict=True):
            one, two = source.split(" x ")
            sizes = {name: len(grid.axes[grid.place(name)].values) for name in (one, two)}
            across, hue = sorted((one, two), key=lambda name: -sizes[name])
            _panel(axes, found, grid, across, hue)
        figure.suptitle(described(found.rows), fontsize="medium")
        few = len(grid.seeds) < INTERVAL_SEEDS
        bars = f"no intervals below {INTERVAL_SEEDS} seeds" if few else "95% intervals over seeds"
        text = "Means over all other axes; without an interaction the lines of a panel are parallel"
        text = f"{text}; {bars}. Largest interaction first. {_counts(grid)}"
        caption(figure, text, note, drawn=found.rows)
    return figure


def _panel(axes: Axes, found: Sweep, grid: Grid, across: str, hue: str) -> None:
    """Lines along one axis, one for each value of another."""
    check_colours(found.axis(hue))
    table, values = together(grid, across, hue), scale_of(found, across)
    for number, value in enumerate(grid.axes[grid.place(hue)].values):
        some = table[table[hue] == value]
        ends = np.array([some["mean"] - some["low"], some["high"] - some["mean"]])
        x = values.position(some[across])
        axes.errorbar(x, some["mean"], yerr=ends, label=written(value), **look(number))
    axes.legend(title=hue, ncols=2, fontsize="x-small", title_fontsize="x-small", loc="best")
    set_scale(axes, "x", values, log=False, room=6)
    axes.set_xlabel(across)
