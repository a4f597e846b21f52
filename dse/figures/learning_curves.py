"""Learning curves: what was measured after each epoch, a line for each configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from dse.analysis.axes import Axis, NoSweep, Sweep, sweep
from dse.analysis.known import finite
from dse.analysis.labels import ACCURACIES, scale
from dse.analysis.rendering import counted
from dse.analysis.statistics import INTERVAL_SEEDS, PERCENT, half_width
from dse.figures.facets import facet_axis, facets
from dse.figures.looks import draw_legend, find_looks
from dse.figures.plots import check_lines
from dse.figures.plotting import COLOURS, MOST_DOTS, Figure, caption, described, span, style
from dse.figures.scales import groups, hue_axis, in_order, is_log, set_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FEW = 6
"""Intervals are drawn of at most this many lines."""

IN_AN_EPOCH = {
    "lr": "learning rate",
    "train_loss": "training loss (nats per image)",
    "train_top1": "training top-1 (%)",
}
"""What is on the y axis where that is not what the column of a record holds."""

MEASURED = "measured"
"""The column of the curves that is drawn; `lr` may be one of the axes as well."""


def learning_curves(
    found: Sweep | pd.DataFrame,
    curves: pd.DataFrame,
    y: str = "val_top1",
    hue: str = "",
    *,
    col: str = "",
    log: Collection[str] | None = None,
    note: str = "",
) -> Figure:
    """The mean over the seeds after each epoch, its 95% interval, and each trial's curve.

    `curves` has the columns `trial_id`, `epoch` and `y`: see `dse.results.curves.load`. Each
    configuration is a line; `hue` is the axis that gives the colours, and `col` the one whose
    values have a panel each. The mean ends where the first of its trials ends or has no finite
    value. `log` names the logarithmic axes, of "x" and "y".

    Raises `NoSweep` where there is no curve, or more lines than can be read.
    """
    found = sweep(found)
    facet = facet_axis(found, col, hue)
    found, unread = finite(found, facet.name) if facet else (found, "")
    check_lines(found, [axis for axis in found.axes if axis is not facet])
    names = [axis.name for axis in found.axes]
    columns = found.blank(found.rows)[["trial_id", *names]]
    measured = curves[["trial_id", "epoch"]].assign(**{MEASURED: curves[y]})
    known = measured[measured[MEASURED].notna()].merge(columns, on="trial_id", sort=False)
    if known.empty:
        raise NoSweep(f"no trial has a curve of {y}")
    lines = dict(groups(in_order(known, found.axes), names))
    parts = facets(lines, found.axes, facet)
    hued = hue_axis(found, hue or _most_values(parts.within), parts.within)
    looks = find_looks([*dict.fromkeys(chain(*parts.groups))], parts.within, hued)
    heights = scale(y, known[MEASURED].tolist())
    heights = replace(heights, label=IN_AN_EPOCH.get(y, heights.label), ticks=())
    with style():
        figure, places = parts.panels(4.6)
        log_x = is_log("x", "epoch", known["epoch"], log)
        log_y = is_log("y", y, known[MEASURED], log)
        few = max(map(len, parts.groups)) <= FEW
        limits = _limits(known[MEASURED], log=log_y)
        least, most = PERCENT if y in ACCURACIES else (-np.inf, np.inf)
        band = (limits[0] if log_y else least, most)  # 0 is on no logarithmic axis
        for axes, group in zip(places, parts.groups, strict=True):
            for inner, key in group.items():
                _line(axes, lines[key], band, looks[inner], few=few, count=len(known))
            set_scale(axes, "x", scale("epoch", [1]), log=log_x, room=parts.room)
            if not log_x:
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(limits)
            set_scale(axes, "y", heights, log=log_y)
        differ = draw_legend(places[0], looks, parts.within, hued)
        shown = found.rows[found.rows["trial_id"].isin(known["trial_id"])]
        parts.label(figure, places, described(shown))
        caption(figure, *_remarks(found, known, few=few), differ, unread, note, drawn=shown)
    return figure


def _most_values(axes: Sequence[Axis]) -> str:
    """The axis that colours show best: the one with the most values, if not too many."""
    few = [axis for axis in axes if len(axis.values) <= len(COLOURS)]
    return max(few, key=lambda axis: len(axis.values)).name if few else ""


def _limits(values: pd.Series[float], *, log: bool) -> tuple[float, float]:
    """The ends of an axis for the curves of single trials; intervals may be cut."""
    low, high = float(values.min()), float(values.max())
    room = (high - low) / 20 or 1.0
    return (low / 1.2, high * 1.2) if log else (low - room, high + room)


def _line(
    axes: Axes,
    rows: pd.DataFrame,
    band: tuple[float, float],
    look: Mapping[str, Any],
    *,
    few: bool,
    count: int,
) -> None:
    """The curves of one configuration, and the interval of their mean where there are few lines.

    Intervals are cut at the ends of `band`. `count` is how many points the whole figure has.
    """
    table = rows.pivot(index="epoch", columns="trial_id", values=MEASURED)
    whole = table.dropna()
    x, mean = whole.index.to_numpy(float), whole.mean(axis=1)
    every = max(len(x) // 12, 1)
    axes.plot(x, mean, **look, linewidth=1.6, markevery=every, markersize=4)
    if table.shape[1] < 2:
        return
    broken = pd.concat([table, table.head(1) * np.nan])  # a gap after each trial's curve
    axes.plot(
        np.tile([*table.index.to_numpy(float), np.nan], table.shape[1]),
        broken.to_numpy().T.ravel(),
        color=look["color"],
        linewidth=0.6,
        alpha=0.4 if few else 0.2,
        rasterized=count > MOST_DOTS,
    )
    if not few:
        return
    half = half_width(whole.shape[1], whole.std(axis=1))
    ends = [end.clip(*band) for end in (mean - half, mean + half)]
    axes.fill_between(x, *ends, color=look["color"], alpha=0.15, linewidth=0)


def _remarks(found: Sweep, known: pd.DataFrame, *, few: bool) -> list[str]:
    """What the lines are, and how many trials have none."""
    names = [axis.name for axis in found.axes]
    seeds = known.groupby(names or np.zeros(len(known)), dropna=False)["trial_id"].nunique()
    most = seeds.max()
    spread = " and 95% interval" if few and most >= INTERVAL_SEEDS else ""
    words = f"Mean{spread} over {span(seeds)} seeds; thin lines: each trial."
    if most == 1:
        words = "One run each."
    lost = len(found.rows) - known["trial_id"].nunique()
    lengths = known.groupby("trial_id")["epoch"].max().nunique()
    ends = "A mean ends where the first of its trials does." if lengths > 1 and most > 1 else ""
    return [words, ends, f"Not shown: {counted(lost, 'trial')} without a curve." if lost else ""]
