"""Points whose colour is a column of numbers, with a colour bar."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, Sweep
from dse.analysis.known import ended, finite
from dse.analysis.labels import MOST_TICKS, is_numeric, log_ticks, logarithmic
from dse.figures.facets import facets
from dse.figures.plotting import MOST_DOTS, Figure, caption, described, span, style
from dse.figures.scales import is_log, scale_of, set_scale

SHADES = mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
NO_MEAN = ("seed", "semantics", "study_trial")
"""Numbers whose mean says nothing."""


def shaded(
    found: Sweep,
    columns: tuple[str, str],
    hue: str,
    *,
    log: Collection[str] | None = None,
    note: str = "",
    col: Axis | None = None,
) -> Figure:
    """A mark for each configuration, at its means over the seeds, coloured by its mean of `hue`.

    `columns` are x and y; `hue` is a column of numbers, whose colours are logarithmic where sizes
    span a wide range. `col` is the axis whose values have a panel each.
    """
    found, lost = finite(found, *columns, hue, *([col.name] if col else []))
    points = _means(found, *columns, hue, col)
    scales = [scale_of(found, name) for name in columns]
    shades = scale_of(found, hue)
    wide = logarithmic(hue, points["hue"])
    values = shades.position(points["hue"])
    norm = (mpl.colors.LogNorm if wide else mpl.colors.Normalize)(values.min(), values.max())
    keys = [(value,) for value in col.values] if col else [()]
    parts = facets(keys, [col] if col else [], col, scales[0])
    with style():
        figure, places = parts.panels(4.6)
        for axes, value in zip(places, col.values if col else (None,), strict=True):
            own = points[points["col"] == value] if col else points
            x, y = (one.position(own[n]) for one, n in zip(scales, "xy", strict=True))
            looks: Any = {"s": 14, "linewidth": 0, "rasterized": len(points) > MOST_DOTS}
            axes.scatter(x, y, c=shades.position(own["hue"]), cmap=SHADES, norm=norm, **looks)
            room = (parts.room, MOST_TICKS)
            for which, name, one, many in zip("xy", columns, scales, room, strict=True):
                log_scale = is_log(which, name, found.rows[name], log)
                set_scale(axes, which, one, log=log_scale, room=many)
        image = mpl.cm.ScalarMappable(norm, SHADES)
        bar = figure.colorbar(image, ax=places, aspect=40, location="top")
        bar.set_label(shades.label, labelpad=5)  # powers have room below them in matplotlib 3.10
        if wide:
            ticks = log_ticks(values.min(), values.max())
            bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
            bar.minorticks_off()
        parts.label(figure, places, described(found.rows))
        count = points["count"]
        shown = "Each mark is a trial." if count.max() == 1 else f"Means over {span(count)} seeds."
        caption(figure, shown, ended(found.rows), lost, note, drawn=found.rows)
    return figure


def _means(found: Sweep, x: str, y: str, hue: str, col: Axis | None) -> pd.DataFrame:
    """A row for each configuration, or trial where a mean says nothing, in a random order that is
    always the same: x, y, hue, col and count."""
    names = [axis.name for axis in found.axes]
    if not names or {x, y, hue} & {*NO_MEAN}:
        names = ["trial_id"]
    every = found.rows.groupby(names, sort=False)

    def mean(name: str) -> Any:
        return every[name].mean() if is_numeric(found.rows[name]) else every[name].first()

    points = pd.DataFrame({"x": mean(x), "y": mean(y), "hue": mean(hue), "count": every.size()})
    points["col"] = every[col.name].first() if col else None
    return points.reset_index(drop=True).sample(frac=1, random_state=0)
