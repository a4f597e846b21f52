"""What is drawn of a sweep unless a figure is asked for: it follows from its axes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from dse.analysis.axes import FEW, Axis, NoSweep, Sweep
from dse.analysis.labels import MOST_TICKS, is_numeric
from dse.figures.effects import effects
from dse.figures.heat_map import heat_map
from dse.figures.plots import drops_searched, line_plot, scatter
from dse.figures.plotting import Figure


def overview(found: Sweep, note: str = "", without: Collection[str] = ()) -> dict[str, Figure]:
    """The figures of a sweep by name, except `without`. `note` is added to the captions.

    One axis: a line. Two: lines along the first, and a heat map. More: the effect of each axis.
    Where these cannot be drawn, as for a random sample, which is no grid: accuracy against size.
    Raises `NoSweep` where nothing varies but the seed.
    """
    names = ranked(found)
    if not names:
        raise NoSweep("there is only one configuration")
    drawings: dict[str, Callable[[], Figure]] = {}
    sampled = _sampled(found)
    numeric = all(is_numeric(found.rows[axis.name]) for axis in sampled)
    if len(names) <= 2 and numeric and not drops_searched(found, found.axis(names[0])):
        drawings["lines"] = lambda: line_plot(found, names[0], note=note)
    if len(names) == 2 and not sampled:
        drawings["heat_map"] = lambda: heat_map(found, names[0], names[1], note=note)
    if len(names) > 2:
        drawings["effects"] = lambda: effects(found, note=note)
    figures = {}
    for name in [name for name in drawings if name not in without]:
        with suppress(NoSweep):
            figures[name] = drawings[name]()
    if not figures and "points" not in without:
        figures["points"] = scatter(found, "size_bytes", note=note)
    return figures


def ranked(found: Sweep) -> list[str]:
    """The names of the axes, the one that is best on an x axis first."""
    return [axis.name for axis in sorted(found.axes, key=lambda axis: _rank(found, axis))]


def _sampled(found: Sweep) -> list[Axis]:
    """The axes of a random sample: of many values, each in one configuration only."""
    count = len(found.rows[[axis.name for axis in found.axes]].drop_duplicates())
    few = FEW if len(found.axes) > 1 else MOST_TICKS
    return [axis for axis in found.axes if few < len(axis.values) == count]


def _rank(found: Sweep, axis: Axis) -> tuple[bool, int]:
    """Numbers first, then many values: what is best on an x axis."""
    return not is_numeric(found.rows[axis.name]), -len(axis.values)
