"""Accuracy against the density of one layer at a time: which layers can be pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dse.analysis.sensitivity import changes as changes_of
from dse.analysis.statistics import INTERVAL_SEEDS, half_width
from dse.figures.plotting import Figure, caption, legend, look, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
MOST_DENSITIES = 6
"""More do not fit on an axis."""
EXPLAINED = (
    "One layer is pruned at a time: its smallest weights become 0, and nothing is retrained. The "
    "change is compared with the whole network, on the validation set."
)
OUTSIDE = "outside of Fire modules"


def sensitivity(table: pd.DataFrame, note: str = "") -> Figure:
    """The change of accuracy, in points, against the share of a layer's weights that is kept.

    `table` is that of `dse.compress.sensitivity`, with the density 1; of several networks, with a
    column `seed`. A panel for each Fire module (and one for the layers outside of them), a line for
    each of its layers: the mean over the seeds, with a band for its 95% interval, cut off where it
    is far wider than the means differ. `note` is added to the caption. Raises `NoSweep` for a table
    without rows or without the density 1.
    """
    changes = changes_of(table)
    names = table["layer"].drop_duplicates().tolist()
    titles = sorted(dict.fromkeys(map(_module, names)), key=lambda title: title != OUTSIDE)
    parts = list(dict.fromkeys(name.partition(".")[2] for name in names if "." in name))
    outside = [name for name in names if "." not in name]
    looks = {name: look(number) for number, name in enumerate([*parts, *outside])}
    with style():
        figure, places = panels(
            len(titles), 1.7, 1.4, "change (points)", COLUMNS, sharex=True, sharey=True
        )
        for axes, title in zip(places, titles, strict=True):
            for name in (name for name in names if _module(name) == title):
                part = name.partition(".")[2] or name
                _line(axes, changes[changes["layer"] == name], looks[part])
            axes.set_title(title)
        means = changes.groupby(["layer", "density"])["change"].mean()
        margin = max(0.06 * (means.max() - means.min()), 0.5)
        places[0].set_ylim(means.min() - margin, means.max() + margin)
        densities = 100 * changes["density"].drop_duplicates().sort_values()
        if len(densities) <= MOST_DENSITIES:
            places[0].set_xticks(densities, [f"{density:g}" for density in densities])
        for axes in places[-COLUMNS:]:
            axes.set_xlabel("weights kept (%)")
            axes.tick_params(labelbottom=True)
        for text, one in looks.items():
            places[0].plot([], [], label=text, **one)
        legend(figure, list(looks))
        seeds = changes["seed"].nunique()
        band = f"Means of {seeds} seeds, paired, with 95% intervals."
        caption(figure, EXPLAINED, band if seeds >= INTERVAL_SEEDS else "", note)
    return figure


def _module(layer: str) -> str:
    """The panel of a layer: "fire2" of "fire2.squeeze"."""
    module, dot, _ = layer.partition(".")
    return module if dot else OUTSIDE


def _line(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    """One layer: means over the seeds, and a band from `INTERVAL_SEEDS` on."""
    groups = rows.groupby("density")["change"]
    mean = groups.mean()
    half = half_width(groups.size().to_numpy(), groups.std().to_numpy(float))
    x = 100 * mean.index.to_numpy()
    axes.plot(x, mean, **{**look, "linewidth": 1.2, "markersize": 3.5})
    axes.fill_between(x, mean - half, mean + half, color=look["color"], alpha=0.15, linewidth=0)
