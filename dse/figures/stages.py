"""The bytes of a network after each stage of its compression."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dse.analysis.labels import KILO
from dse.figures.plotting import COLOURS, Figure, legend, panels, style

PARTS: dict[str, dict[str, Any]] = {
    "weights": {"color": COLOURS[0]},
    "positions": {"color": COLOURS[5], "hatch": "///"},
    "rest": {"color": COLOURS[7]},
    "file": {"color": "#222222"},
}
"""How each part is drawn: in grey, a light one has hatches."""
NAMES = {"rest": "codebooks and biases", "file": "whole file"}


def stages(table: pd.DataFrame) -> Figure:
    """A bar for each stage of `dse.coding.stages`, divided into its parts.

    The last stages are files, whose parts are not distinguished.
    """
    table = table.assign(file=table["bytes"].where(table["weights"].isna()))
    first, places = float(table["bytes"].iloc[0]), range(len(table))
    with style():
        figure, (axes,) = panels(1, 0.9 + 0.36 * len(table))
        left = 0 * table["bytes"]
        for part, look in PARTS.items():
            width = table[part].fillna(0) / KILO
            axes.barh(
                places, width, left=left, label=NAMES.get(part, part), edgecolor="white",
                linewidth=0.5, **look,
            )  # fmt: skip
            left += width
        for place, size in zip(places, table["bytes"], strict=True):
            times = "" if size == first else f"  ({first / size:.1f} times smaller)"
            axes.annotate(
                f"{size:,.0f} bytes{times}", (size / KILO, place), (4, 0), va="center",
                textcoords="offset points", fontsize="small",
            )  # fmt: skip
        axes.set_yticks(places, table["stage"])
        axes.set_xlim(0, 1.3 * first / KILO)
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_xlabel("KB of 2$^{10}$ bytes")
        axes.grid(visible=False, axis="y")
        legend(figure, [NAMES.get(part, part) for part in PARTS])
    return figure
