"""The fronts of sub-spaces: what the networks with one value of an axis reach at each cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, check_data_set, sweep
from dse.analysis.front import seeds_compared
from dse.analysis.known import ended, finite
from dse.analysis.labels import label, scale
from dse.analysis.subspaces import WHOLE, compared, front_of
from dse.figures.plotting import Figure, caption, described, look, panels, style
from dse.figures.scales import check_colours, check_idle, is_log, set_scale
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPLAINED = (
    "Of the networks with one value of an axis that cost at most so much, the one with the highest "
    "validation accuracy; shown is its mean accuracy on the test set. Grey: of all networks."
)


def subspace_fronts(
    found: Sweep | pd.DataFrame,
    columns: Sequence[str] = (),
    cost: str = "size_bytes",
    *,
    note: str = "",
) -> Figure:
    """The front of accuracy against a cost for each value of some axes, a panel for each axis.

    See `dse.analysis.subspaces`. `columns` are the axes (default: all), and `note` is added to the
    caption. Raises `NoSweep` where one of them is not an axis, or a value leaves another axis
    without effect, and `TooMany` for several data sets, or for more lines than colours.
    """
    found = sweep(found)
    check_data_set(found.rows)
    check_idle(found)
    known, lost = finite(found, found.answer, "val_top1")
    found = sweep(known.rows)
    if not (columns := columns or [axis.name for axis in found.axes]):
        raise NoSweep("there is only one configuration")
    for column in columns:
        check_colours(found.axis(column))
    with style():
        figure, places = panels(len(columns), 2.3, 1.1, label(found.answer), sharey=True)
        for axes, column in zip(places, columns, strict=True):
            _panel(axes, found, column, cost)
        figure.suptitle(described(found.rows), fontsize="medium")
        lacking = seeds_compared(compared(found))
        caption(figure, EXPLAINED, lacking, ended(found.rows), lost, note, drawn=found.rows)
    return figure


def _panel(axes: Axes, found: Sweep, column: str, cost: str) -> None:
    """A step line for each value of one axis, and a grey one for all networks."""
    axis = found.axis(column)
    across, most = scale(cost, found.rows[cost].tolist()), 1.1 * found.rows[cost].max()
    whole: Any = {"color": "#bbbbbb", "linewidth": 4.0, "solid_capstyle": "butt"}
    for number, value in enumerate((WHOLE, *axis.values)):
        front = front_of(found, column, value, cost)
        x = across.position([*front[cost], most])
        y = np.append(front["mean"], front["mean"].iloc[-1])
        looks = whole if value is WHOLE else look(number - 1) | {"linewidth": 1.4, "markersize": 3}
        ends: Any = {"where": "post", "markevery": slice(len(x) - 1), "label": written(value)}
        axes.step(x, y, **ends, **looks)
    axes.legend(title=axis.name, fontsize="x-small", title_fontsize="x-small", loc="best")
    set_scale(axes, "x", across, log=is_log("x", cost, found.rows[cost], None), room=6)
