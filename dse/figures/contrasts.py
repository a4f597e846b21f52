"""Where a difference holds over a whole space: by the values of each other axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.analysis.axes import NoSweep, Sweep
from dse.analysis.contrasts import Contrast
from dse.analysis.labels import label
from dse.analysis.statistics import INTERVAL_SEEDS
from dse.figures.plotting import OURS, Figure, caption, described, panels, style
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def contrasts(found: Sweep, every: Sequence[Contrast]) -> Figure:
    """The mean difference that each change makes, for each value of each other axis.

    The dashed line is the mean over the whole space. Raises `NoSweep` for no contrast.
    """
    if not every:
        raise NoSweep("there is no contrast")
    rows = max(len(one.by) + one.by["axis"].nunique() for one in every)
    with style():
        figure, places = panels(len(every), 0.6 + 0.125 * rows, 0.9, sharex=True)
        for axes, one in zip(places, every, strict=True):
            _panel(axes, one)
        answer = label(found.answer).replace("(%)", "(points)")
        figure.suptitle(f"{described(found.rows)}: difference of {answer}", fontsize="medium")
        few = every[0].difference.count < INTERVAL_SEEDS
        bars = f"no intervals below {INTERVAL_SEEDS} seeds" if few else "95% intervals over seeds"
        caption(figure, f"{EXPLAINED}; {bars}.")
    return figure


EXPLAINED = (
    "To the right of zero the change raises accuracy. Means over all settings with one value of "
    "another axis; dashed: over all settings"
)


def _panel(axes: Axes, one: Contrast) -> None:
    """A row for each value of each other axis, a gap between axes."""
    row, ticks, texts = 0, list[int](), list[str]()
    axes.axvline(0, color="#888888", linewidth=0.8)
    axes.axvline(one.difference.mean, color="#555555", linewidth=0.9, linestyle=(0, (4, 2)))
    for name, some in one.by.groupby("axis", sort=False):
        rows = range(row, row + len(some))
        ends = np.array([some["mean"] - some["low"], some["high"] - some["mean"]])
        looks: Any = {"color": OURS, "marker": "o", "markersize": 3.5, "linestyle": "none"}
        axes.errorbar(some["mean"], rows, xerr=ends, **looks)
        ticks += rows
        texts += [f"{name} {written(value)}" for value in some["value"]]
        row += len(some) + 1
    axes.set_yticks(ticks, texts, fontsize=6.5)
    axes.set_ylim(row - 1, -1)
    axes.set_title(one.name, fontsize="small")
    axes.tick_params("x", labelbottom=True)
