"""What all figures share: style, error bars, axes, titles, and their encoding as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd

from dse.analysis.statistics import INTERVAL_SEEDS
from dse.analysis.sweeps import Measured, accuracy_column
from dse.trial.names import outcomes
from dse.trial.question import QUESTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: Any = {
    "svg.hashsalt": "dse",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "errorbar.capsize": 2.5,
    "lines.markersize": 5.0,
}
OURS, THEIRS = "#1f5fa8", "#b5541c"
COLOURS = ("#1f5fa8", "#2f9e77", "#c77f1a", "#8b4fa0", "#b03a48")
MARKERS = ("o", "s", "^", "D", "v")
SIZE_LABEL = "size of the weights (MB of 2$^{20}$ bytes)"


def line(axes: Axes, x: Sequence[float], points: Sequence[Measured], **style: Any) -> None:
    """A line through the mean accuracies, with an interval at each point and a dot for each seed.

    There is no interval below `INTERVAL_SEEDS` seeds. `style` is for matplotlib's `errorbar` and
    must hold `color`.
    """
    known = [point.accuracy for point in points]
    below, above = [k.mean - k.low for k in known], [k.high - k.mean for k in known]
    axes.errorbar(x, [k.mean for k in known], yerr=[below, above], **style)
    for at, point in zip(x, points, strict=True):
        axes.plot([at] * len(point.seeds), point.seeds, ".", color=style["color"], alpha=0.35)


def plain_log(axes: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic x axis whose ticks are plain numbers of two digits."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.minorticks_off()


def sizes_and_values(
    axes: Axes, sizes: Sequence[float], values: Sequence[float], label: str
) -> None:
    """Sizes (MB) on the x axis, and the swept values, with their label, on one above."""
    axes.set_xlabel(SIZE_LABEL)
    above = axes.secondary_xaxis("top")
    above.set_xticks(sizes, [f"{value:g}" for value in values])
    above.minorticks_off()
    above.set_xlabel(label)


def accuracy_label(rows: pd.DataFrame) -> str:
    """The label of the accuracy's axis."""
    return f"{accuracy_column(rows).replace('top', 'top-')} on the test set (%)"


def described(rows: pd.DataFrame) -> str:
    """What was measured: the title of a panel, in two lines."""
    counts = rows.groupby([name for name in QUESTION if name != "seed"])["seed"].nunique()
    seeds = _range(counts)
    parts = [f"{_range(rows['epochs'])} epochs"]
    parts += sorted(name for name in rows["precision"].unique() if name != "fp32")
    parts.append(f"{seeds} seed" if seeds == "1" else f"{seeds} seeds")
    if (rows["status"] != "learned").any():
        parts.append(outcomes(rows))
    spread = ", 95 % interval" if counts.min() >= INTERVAL_SEEDS else ""
    runs = "one run each" if seeds == "1" else f"mean{spread}, each seed"
    data = " and ".join(sorted(rows["data"].unique()))
    return f"measured: {data}, {', '.join(parts)}\n{runs}"


def _range(values: pd.Series[int]) -> str:
    """The least and the greatest value: "3", or "2-3"."""
    return "-".join(str(value) for value in sorted({values.min(), values.max()}))


def encoded(figure: Figure, *kinds: str) -> tuple[bytes, ...]:
    """The contents of a file of each kind ("svg", "png"); equal figures give equal bytes."""
    unset = {"svg": "Date", "png": "Software"}
    contents = []
    with mpl.rc_context(STYLE):
        for kind in kinds:
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=150, metadata={unset[kind]: None})
            figure.set_layout_engine("none")  # the next kind keeps this layout
            contents.append(stream.getvalue())
    return tuple(contents)
