"""The paper's figures from a table of records, with the paper's own points where they compare.

A figure shows the whole table that it is given: a line for each setting of what else varies. Where
that cannot be drawn it raises `NoSweep`, whose message says why. Nothing trains here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, require, sweep
from dse.analysis.figure3 import FIGURE_3, Figure3
from dse.analysis.known import finite
from dse.analysis.labels import MOST_TICKS, log_ticks
from dse.analysis.lines import MOST_LINES, Line, lines
from dse.analysis.pairs import axis_alone
from dse.figures.chance import at_chance
from dse.figures.lines import draw_lines, measured, same_places, trials_of
from dse.figures.marks import SIDE_BY_SIDE, side_by_side
from dse.figures.plotting import THEIRS, Figure, caption, described, panels, style
from dse.space.architecture import Metaparameters, field_names
from dse.space.cost import mebibytes
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_LABEL = "size of the weights (MB of 2$^{20}$ bytes)"
CAUSES = ("norm", "head_relu", "init")
METAPARAMETERS = frozenset(field_names(Metaparameters))
WIDE = 8.0
"""Sizes that differ by more than this factor are drawn on a logarithmic axis."""


def figure3a(table: pd.DataFrame, note: str = "") -> Figure:
    """Figure 3(a): the squeeze ratio (section 5.2). `note` is added to the caption."""
    return _figure3(table, FIGURE_3["figure3a"], note)


def figure3b(table: pd.DataFrame, note: str = "") -> Figure:
    """Figure 3(b): the share of 3x3 filters (section 5.3). `note` is added to the caption."""
    return _figure3(table, FIGURE_3["figure3b"], note)


def _figure3(table: pd.DataFrame, paper: Figure3, note: str) -> Figure:
    """Size against accuracy; ours and the paper's have a panel each, as their data differ."""
    found, drawn, lost = _lines(table, paper.column)
    theirs = any(map(paper.comparable, drawn))
    with style():
        figure, (ours, *rest) = panels(2, 3.3, columns=1) if theirs else panels(1, 4.0)
        _over_sizes(ours, found, drawn, paper.column, paper.label)
        ours.set_title(_title(f"{paper.title}, measured", drawn))
        for axes in rest:
            _published(axes, paper)
        texts = (measured(found, drawn, paper.column), lost, note, paper.missing(drawn))
        caption(figure, *texts, drawn=trials_of(drawn))
    return figure


def _title(what: str, drawn: Sequence[Line]) -> str:
    """What is drawn and of which trials, in lines that fit."""
    return textwrap.fill(f"{what}: {described(trials_of(drawn))}", 60)


def _published(axes: Axes, paper: Figure3) -> None:
    """The paper's points, at the exact sizes of its networks."""
    sizes = [mebibytes(paper.size_bytes(point.value)) for point in paper.points]
    axes.plot(sizes, [point.top5 for point in paper.points], **THEIRS)
    _values_above(axes, sizes, [point.value for point in paper.points], paper.label)
    axes.set_xlabel(SIZE_LABEL)
    axes.set_ylabel("top-5 on ImageNet (%)")
    name, value = next(iter(paper.fixed.items()))
    axes.set_title(f"{paper.title} of the paper: ImageNet, one run each, {name} {written(value)}")


def widths(table: pd.DataFrame, note: str = "") -> Figure:
    """Width: size against accuracy along base_e (section 5.1). `note` is added to the caption."""
    found, drawn, lost = _lines(table, "base_e")
    with style():
        figure, (axes,) = panels(1, 4.4)
        _over_sizes(axes, found, drawn, "base_e", "expand filters of fire2 (base_e)")
        axes.set_title(_title("Width", drawn))
        texts = (measured(found, drawn, "base_e"), lost, note)
        caption(figure, *texts, drawn=trials_of(drawn))
    return figure


def downsample(table: pd.DataFrame, note: str = "") -> Figure:
    """Early or late max-pooling: accuracy in the order of the MACs (section 3.1, strategy 3).

    `note` is added to the caption.
    """
    found, drawn, lost = _lines(table, "pool_after")
    points = pd.concat([line.points for line in drawn])
    macs = points.groupby("pool_after")["macs"].agg(["min", "max"]).sort_values("min") / 1e6
    ranks = {pools: float(rank) for rank, pools in enumerate(macs.index)}
    label, ticks = "layers followed by max-pooling (pool_after)", list(macs.index)
    if (macs["min"] == macs["max"]).all():
        label += "\nMACs of one image (millions)"
        ticks = [f"{pools}\n{millions:.3g}" for pools, millions in macs["min"].items()]
    else:
        label += ", in the order of the MACs"
    with style():
        figure, (axes,) = panels(1, 4.0)
        artists = draw_lines(axes, found, drawn, "pool_after", [ranks] * len(drawn))
        if apart := len(drawn) > 1:
            side_by_side(axes, artists)
        axes.set_xticks(list(ranks.values()), ticks)
        axes.set_xlabel(label)
        axes.set_title(_title("Downsampling", drawn))
        beside = SIDE_BY_SIDE if apart else ""
        texts = (measured(found, drawn, "pool_after"), lost, beside, note)
        caption(figure, *texts, drawn=trials_of(drawn))
    return figure


def trainability(table: pd.DataFrame, note: str = "") -> Figure:
    """How often a network does not learn, for each norm, ReLU on the scores, and initialisation.

    Shares over all metaparameters and seeds; anything else that varies has rows of its own. `note`
    is added to the caption.
    """
    found = sweep(table)
    require(table, "status")
    varied = [axis for axis in found.axes if not METAPARAMETERS.issuperset(axis.columns)]
    if not any(set(CAUSES) & set(axis.columns) for axis in varied):
        raise NoSweep(f"none of {', '.join(CAUSES)} varies")
    return at_chance(found, [axis.name for axis in varied], note=note)


# Lines --------------------------------------------------------------------------------------


def _lines(table: pd.DataFrame, column: str) -> tuple[Sweep, tuple[Line, ...], str]:
    """What varies in a table, the lines along a field, and how many trials have no accuracy."""
    found = sweep(table)
    require(table, column, "size_bytes", "macs", "status")
    known, lost = finite(found, found.answer)
    found = sweep(known.rows) if lost else found
    return found, lines(found, axis_alone(found, column).name, most=MOST_LINES), lost


def _over_sizes(axes: Axes, found: Sweep, drawn: Sequence[Line], column: str, label: str) -> None:
    """Lines over the exact sizes of their networks.

    The values along the lines are on an axis above where all lines have them at the same sizes,
    else in the title of the legend.
    """
    sizes: list[dict[Any, float]] = [
        dict(zip(line.points[column], line.points["size_bytes"] / 2**20, strict=True))
        for line in drawn
    ]
    shared = same_places(sizes)
    texts = [written(value) for value in found.axis(column).values]
    values = ", ".join(texts) if len(texts) <= MOST_TICKS else f"{texts[0]} to {texts[-1]}"
    title = "" if shared else f"along a line: {column} {values}"
    draw_lines(axes, found, drawn, column, sizes, title)
    every = sorted({size for one in sizes for size in one.values()})
    if every[-1] > WIDE * every[0]:
        ticks = log_ticks(every[0], every[-1])
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{float(f'{tick:.2g}'):g}" for tick in ticks])
        axes.minorticks_off()
    if shared:
        merged = {value: size for one in sizes for value, size in one.items()}
        _values_above(axes, list(merged.values()), list(merged), label)
    axes.set_xlabel(SIZE_LABEL)


def _values_above(axes: Axes, sizes: Sequence[float], values: Sequence[float], label: str) -> None:
    """The swept values, with their label, on an axis above: where there are more than
    `MOST_TICKS`, those nearest to half as many even places."""
    if len(values) > MOST_TICKS:
        across = [axes.transScale.transform((size, 1))[0] for size in sizes]
        even = np.linspace(min(across), max(across), MOST_TICKS // 2)
        near = sorted({int(np.abs(np.subtract(across, x)).argmin()) for x in even})
        sizes, values = [sizes[n] for n in near], [values[n] for n in near]
    above = axes.secondary_xaxis("top")
    above.set_xticks(sizes, [f"{value:g}" for value in values])
    above.minorticks_off()
    above.set_xlabel(label)


FIGURES: Mapping[str, Callable[[pd.DataFrame, str], Figure]] = {
    "figure3a": figure3a,
    "figure3b": figure3b,
    "downsample": downsample,
    "widths": widths,
    "trainability": trainability,
}
"""Name of a page of `sweeps/` -> the figure of its sweep."""
LINES = {"figure3a", "figure3b", "downsample", "widths"}
"""The figures that show lines along an axis of their own."""
