"""The figures that a report has next to those of the folder, such as fronts and curves."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from dse.analysis.axes import NoSweep
from dse.analysis.folder import without_sampled
from dse.figures.drawing import not_shown
from dse.figures.importing import import_matplotlib

COMPRESSED, FOREST = "compressed", "forest"
PLACES: Mapping[str, str] = {
    FOREST: "comparisons",
    "front": "front",
    "chance": "configurations",
    "curves": "trials",
    COMPRESSED: "compression",
}
"""A kind of `dse.figures.drawn`, and the section of the report that shows it."""
TITLES = {
    "figure3a": "Figure 3(a): squeeze ratio",
    "figure3b": "Figure 3(b): share of 3x3 filters",
    "downsample": "Late downsampling (section 3.1, strategy 3)",
    "widths": "Width: base_e, incr_e and freq",
    "trainability": "How often a network never learns",
    "lines": "Accuracy along an axis",
    "heat_map": "Accuracy over two axes",
    "effects": "The effect of each axis",
    "points": "Accuracy against size",
    "forest": "Differences of accuracy and their intervals",
    "front": "Accuracy against costs, and the Pareto fronts",
    "chance": "How trainings ended",
    "curves": "Learning curves",
    "compressed": "Accuracy of compressed networks against the bytes of their files",
}
"""What a figure is called below it, by the name of its file."""


def figures_of(
    rows: pd.DataFrame,
    compressed: pd.DataFrame,
    folder: Path,
    note: str = "",
    sampled: Collection[str] = (),
) -> dict[str, bytes]:
    """Draw the figures of some trials and of their compressed networks as SVG, by kind.

    `note` is for their captions. Trials with the ids `sampled`, which samplers chose, are in no
    comparison.

    Those without enough trials, or with more than can be read, are left out; so is that of outcomes
    where all networks learned.
    """
    import_matplotlib()
    from dse.figures.drawn import drawn
    from dse.figures.plotting import encoded

    grid = without_sampled(rows, sampled)
    rest = f" {not_shown(len(rows) - len(grid))}" if len(grid) < len(rows) else ""
    learned = (rows["status"] == "learned").all()
    found = {}
    for kind in PLACES:
        with suppress(NoSweep):
            if kind != "chance" or not learned:
                shown = {COMPRESSED: compressed, FOREST: grid}.get(kind, rows)
                text = f"{note}{rest}".strip() if kind == FOREST else note
                for name, figure in drawn(kind, shown, folder, {}, text).items():
                    (found[name],) = encoded(figure, "svg")
    return found


def remarks(svg: bytes) -> str:
    """The caption of a figure, which its SVG describes; empty where it does not."""
    found = re.search(rb"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    return html.unescape(found[1].decode()) if found else ""
