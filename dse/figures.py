"""A table of records -> figures and tables, with the paper's own points beside them.

Figures are made of tables alone: nothing trains here. Their bytes depend on the table alone.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from dse.cost import cost, mebibytes
from dse.paper import FIGURE_3A, FIGURE_3B, Point
from dse.space import Metaparameters, generate
from dse.statistics import Interval, interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

mpl.use("Agg")
STYLE: Any = {
    "svg.hashsalt": "dse",
    "font.size": 9.0,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "errorbar.capsize": 2.5,
}
OURS, THEIRS = "#1f5fa8", "#b5541c"
TOP5_FROM_CLASSES = 100  # top-5 of ten classes says nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One configuration over its seeds: the swept value, its size, its accuracy in percent."""

    value: float
    size_bytes: int
    accuracy: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One of the paper's figures: the swept metaparameter, what it is at, the paper's points."""

    column: str
    label: str
    fixed: dict[str, float]
    points: tuple[Point, ...]


FIGURE_3: dict[str, Page] = {
    "figure3a": Page(
        column="sr", label="squeeze ratio (sr)", fixed={"pct3x3": 0.5}, points=FIGURE_3A
    ),
    "figure3b": Page(
        column="pct3x3", label="share of 3x3 filters (pct3x3)", fixed={"sr": 0.5}, points=FIGURE_3B
    ),
}


def measured(table: pd.DataFrame, column: str, answer: str) -> tuple[Measured, ...]:
    """The configurations of a sweep over `column`, in its order: means over what else varies."""
    return tuple(
        Measured(
            value=float(str(value)),
            size_bytes=int(rows["size_bytes"].iloc[0]),
            accuracy=interval(rows[answer].to_list()),
        )
        for value, rows in table.groupby(column)
    )


def figure3(table: pd.DataFrame, name: str, num_classes: int) -> Figure:
    """Figure 3(a) or 3(b): size against accuracy, ours and the paper's in a panel each.

    `name` is "figure3a" or "figure3b"; `table` holds one sweep of its column.
    """
    page = FIGURE_3[name]
    answer = "top5" if num_classes >= TOP5_FROM_CLASSES else "top1"
    data = "+".join(sorted(table["data"].unique()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.9), layout="constrained")
        ours, theirs = figure.subplots(1, 2)
        points = measured(table, page.column, answer)
        sizes = [mebibytes(p.size_bytes) for p in points]
        means = [p.accuracy.mean for p in points]
        ours.errorbar(sizes, means, yerr=_bars(points), marker="o", color=OURS)
        seeds = sorted({p.accuracy.count for p in points})
        counted = "-".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
        plural = "s" if seeds[-1] > 1 else ""
        _axes(ours, page, sizes, [p.value for p in points])
        ours.set_title(f"measured: {data}, {counted} seed{plural}", color=OURS)
        ours.set_ylabel(f"{answer.replace('top', 'top-')} accuracy on the test set (%)")

        sizes = [mebibytes(_imagenet_bytes(page, point.value)) for point in page.points]
        theirs.plot(sizes, [point.top5 for point in page.points], marker="s", color=THEIRS)
        _axes(theirs, page, sizes, [point.value for point in page.points])
        theirs.set_title("the paper: ImageNet, one run each", color=THEIRS)
        theirs.set_ylabel("top-5 accuracy on ImageNet (%)")
    return figure


def _bars(points: tuple[Measured, ...]) -> Any:
    if any(p.accuracy.count == 1 for p in points):
        return None
    low = [p.accuracy.mean - p.accuracy.low for p in points]
    return [low, [p.accuracy.high - p.accuracy.mean for p in points]]


def _imagenet_bytes(page: Page, value: float) -> int:
    """The size of the network that the paper trained."""
    metaparameters = Metaparameters(**{**page.fixed, page.column: value})  # type: ignore[arg-type]
    return int(cost(generate(metaparameters), 224).size_bytes)


def _axes(axes: Axes, page: Page, sizes: list[float], values: list[float]) -> None:
    """Size below, the swept value above."""
    axes.set_xlabel("size of the weights (MB of 2$^{20}$ bytes)")
    above = axes.secondary_xaxis("top")
    above.set_xticks(sizes, [f"{value:g}" for value in values])
    above.minorticks_off()
    above.set_xlabel(page.label)


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a "svg" or "png" file, equal for equal figures."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()
