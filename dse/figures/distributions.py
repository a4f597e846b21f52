"""Error distribution functions of the sub-spaces of a sweep, a panel for each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, check_data_set, sweep
from dse.analysis.distributions import distributions
from dse.analysis.known import finite
from dse.figures.plotting import COLOURS, Figure, caption, described, look, panels, style
from dse.figures.scales import check_colours, check_idle
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPLAINED = (
    "Share of the networks with at most an error, of those with one value of an axis: the higher "
    "the curve, the better the sub-space. Bands: 95% intervals of the share, at each error by "
    "itself. An error is 100 minus the mean top-1 on the test set."
)
FEWEST = 5
"""Networks of a sub-space below which its distribution says nothing."""


def error_distributions(
    found: Sweep | pd.DataFrame, columns: Sequence[str] = (), *, note: str = ""
) -> Figure:
    """The error distribution function of each value of some axes, with its band.

    `columns` are the axes (default: all that have no more values than there are colours). Those
    with fewer than `FEWEST` networks for a value are left out. `note` is added to the caption.
    Raises `NoSweep` where no axis is left, or a value leaves another axis without effect, and
    `TooMany` for several data sets, or for more values than colours.
    """
    found = sweep(found)
    check_data_set(found.rows)
    check_idle(found)
    known, lost = finite(found, found.answer)
    found = sweep(known.rows)
    asked = [found.axis(name) for name in columns] or [*found.axes]
    for axis in asked if columns else ():
        check_colours(axis)
    wide = _wide(found)
    shown = {axis: distributions(found.rows, axis.name) for axis in asked if axis in wide}
    if not shown:
        name = f"`{asked[0].name}` does not have" if columns else "no axis has"
        raise NoSweep(f"{name} {FEWEST} networks for each of its values")
    if others := ", ".join(axis.name for axis in asked if axis not in shown):
        others = f"No panel: {others} (few networks, or many values)."
    with style():
        share = "share of networks (%)"
        figure, places = panels(len(shown), 2.2, 0.9, share, sharex=True, sharey=True)
        for axes, (axis, table) in zip(places, shown.items(), strict=True):
            _panel(axes, axis, table)
        for axes in places[-2:]:
            axes.set_xlabel("error on the test set (%)")
            axes.tick_params("x", labelbottom=True)
        figure.suptitle(described(found.rows), fontsize="medium")
        caption(figure, EXPLAINED, others, lost, note, drawn=found.rows)
    return figure


def _wide(found: Sweep) -> list[Axis]:
    """The axes with enough networks for each of their values."""
    names = [axis.name for axis in found.axes]
    networks = found.rows[names].drop_duplicates() if names else found.rows[:0]
    few = [axis for axis in found.axes if len(axis.values) <= len(COLOURS)]
    return [axis for axis in few if networks[axis.name].value_counts().min() >= FEWEST]


def _panel(axes: Axes, axis: Axis, table: pd.DataFrame) -> None:
    """A curve for each value of the axis."""
    for number, value in enumerate(axis.values):
        some, looks = table[table[axis.name] == value], look(number)
        axes.plot(
            some["error"], 100 * some["share"], label=written(value),
            color=looks["color"], linestyle=looks["linestyle"], linewidth=1.3,
        )  # fmt: skip
        ends = 100 * some["low"], 100 * some["high"]
        axes.fill_between(some["error"], *ends, color=looks["color"], alpha=0.15, linewidth=0)
    axes.legend(title=axis.name, fontsize="x-small", title_fontsize="x-small", loc="lower right")
