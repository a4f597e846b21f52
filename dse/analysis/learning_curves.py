"""Learning curves: what was measured after each epoch, a line for each configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import stdtrit

from dse.analysis.axes import NoSweep, Sweep
from dse.analysis.labels import ACCURACIES, scale
from dse.analysis.marks import draw_legend, find_looks
from dse.analysis.plots import check_lines
from dse.analysis.plotting import MOST_DOTS, WIDTH, caption, described, style
from dse.analysis.scales import groups, hue_axis, is_log, set_scale
from dse.analysis.statistics import CONFIDENCE, INTERVAL_SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(
    found: Sweep,
    curves: pd.DataFrame,
    y: str = "val_top1",
    hue: str = "",
    *,
    log: Collection[str] | None = None,
    note: str = "",
) -> Figure:
    """The mean over the seeds after each epoch, its 95 % interval, and each trial's curve.

    `curves` has the columns `trial_id`, `epoch` and `y`: see `dse.results.curves.load`. Each
    configuration is a line; `hue` is the axis that gives the colours. The mean ends where the first
    of its trials ends or has no finite value. `log` names the logarithmic axes, of "x" and "y".

    Raises `NoSweep` where there is no curve, or more lines than can be read.
    """
    check_lines(found, found.axes)
    names = [axis.name for axis in found.axes]
    columns = found.rows[["trial_id", *names]]
    known = curves[curves[y].notna()].merge(columns, on="trial_id", sort=False)
    if known.empty:
        raise NoSweep(f"no trial has a curve of {y}")
    ranks = {axis.name: {v: n for n, v in enumerate(axis.values)} for axis in found.axes}
    known = known.sort_values(names, key=lambda c: c.map(ranks[str(c.name)]), kind="stable")
    lines = dict(groups(known, names))
    hued = hue_axis(found, hue, found.axes)
    looks = find_looks(list(lines), names, hued)
    heights = scale(y, known[y].tolist())
    with style():
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        axes = figure.subplots()
        for key, rows in lines.items():
            _line(axes, rows, y, looks[key], len(known))
        set_scale(axes, "x", scale("epoch", [1]), log=is_log("x", "epoch", known["epoch"], log))
        if not log or "x" not in log:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        set_scale(axes, "y", heights, log=is_log("y", y, known[y], log))
        draw_legend(axes, looks, names, hued)
        axes.set_title(described(found))
        caption(figure, *_remarks(found, known), note)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, y: str, look: Mapping[str, Any], count: int) -> None:
    """The curves of one configuration; `count` is how many points the whole figure has."""
    table = rows.pivot(index="epoch", columns="trial_id", values=y)
    epochs = table.index.to_numpy(float)
    broken = pd.concat([table, table.head(1) * np.nan])  # a gap after each trial's curve
    axes.plot(
        np.tile([*epochs, np.nan], table.shape[1]),
        broken.to_numpy().T.ravel(),
        color=look["color"],
        linewidth=0.6,
        alpha=0.35,
        rasterized=count > MOST_DOTS,
    )
    whole = table.dropna()
    if table.shape[1] < 2 or whole.empty:
        return
    x, mean, half = whole.index.to_numpy(float), whole.mean(axis=1), _half_width(whole)
    every = max(len(x) // 12, 1)
    axes.plot(x, mean, **look, linewidth=1.6, markevery=every, markersize=4)
    ends = [mean - half, mean + half]
    if y in ACCURACIES:
        ends = [end.clip(0, 100) for end in ends]
    axes.fill_between(x, *ends, color=look["color"], alpha=0.15, linewidth=0)


def _half_width(whole: pd.DataFrame) -> Any:
    """Half the width of Student's 95 % interval of each row's mean; NaN for too few seeds."""
    count = whole.shape[1]
    if count < INTERVAL_SEEDS:
        return np.nan
    return stdtrit(count - 1, (1 + CONFIDENCE) / 2) * whole.std(axis=1) / np.sqrt(count)


def _remarks(found: Sweep, known: pd.DataFrame) -> list[str]:
    """What the lines are, and how many trials have none."""
    counts = known.groupby([axis.name for axis in found.axes] or np.zeros(len(known)))["trial_id"]
    fewest, most = counts.nunique().min(), counts.nunique().max()
    seeds = f"{most}" if fewest == most else f"{fewest}-{most}"
    words = f"Mean and 95 % interval over {seeds} seeds; thin lines: each trial."
    if most < INTERVAL_SEEDS:
        words = f"Mean of {seeds} seeds; thin lines: each trial." if most > 1 else "One run each."
    lost = len(found.rows) - known["trial_id"].nunique()
    trials = "1 trial has" if lost == 1 else f"{lost:,} trials have"
    return [words, f"{trials} no curve and are not shown." if lost else ""]
