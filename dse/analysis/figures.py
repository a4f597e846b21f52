"""The figures of a table of records, with the paper's own points where it has some.

Each function finds the sweep that it draws in the table of a results folder and raises `NoSweep`
where there is none. Nothing trains here, and a figure depends on the table alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from dse.analysis.plotting import (
    COLOURS,
    MARKERS,
    OURS,
    SIZE_LABEL,
    STYLE,
    THEIRS,
    accuracy_label,
    described,
    line,
    plain_log,
    sizes_and_values,
)
from dse.analysis.statistics import share
from dse.analysis.sweeps import FIGURE_3, NoSweep, Swept, measured, one_sweep
from dse.space.architecture import Metaparameters, field_names
from dse.space.cost import mebibytes
from dse.trial.question import QUESTION


def figure3a(table: pd.DataFrame) -> Figure:
    """Figure 3(a): the squeeze ratio (section 5.2)."""
    return _figure3(table, FIGURE_3["figure3a"])


def figure3b(table: pd.DataFrame) -> Figure:
    """Figure 3(b): the share of 3x3 filters (section 5.3)."""
    return _figure3(table, FIGURE_3["figure3b"])


def _figure3(table: pd.DataFrame, swept: Swept) -> Figure:
    """Size against accuracy; ours and the paper's have a panel each, as their data differ."""
    rows = one_sweep(table, swept.column)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.9), layout="constrained")
        ours, theirs = figure.subplots(1, 2)
        points = measured(rows, swept.column)
        sizes = [mebibytes(point.size_bytes) for point in points]
        line(ours, sizes, points, color=OURS, marker="o")
        sizes_and_values(ours, sizes, [point.value for point in points], swept.label)
        ours.set_title(described(rows), color=OURS)
        ours.set_ylabel(accuracy_label(rows))

        sizes = [mebibytes(swept.size_bytes(point.value)) for point in swept.points]
        theirs.plot(sizes, [point.top5 for point in swept.points], color=THEIRS, marker="s")
        sizes_and_values(theirs, sizes, [point.value for point in swept.points], swept.label)
        theirs.set_title("the paper: ImageNet\none run each; a scale of its own", color=THEIRS)
        theirs.set_ylabel("top-5 on ImageNet (%)")
    return figure


def downsample(table: pd.DataFrame) -> Figure:
    """Early or late max-pooling: MACs against accuracy (section 3.1, strategy 3)."""
    rows = one_sweep(table, "pool_after")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        points = measured(rows, "pool_after")
        for point in points:
            place = (point.macs / 1e6, point.accuracy.mean)
            line(axes, place[:1], [point], color=OURS, marker="o")
            axes.annotate(point.value, place, textcoords="offset points", xytext=(7, -3))
        plain_log(axes, [point.macs / 1e6 for point in points])
        axes.margins(x=0.12)
        axes.set_xlabel("MACs of one picture (millions); all have one size; labels: pool_after")
        axes.set_ylabel(accuracy_label(rows))
        axes.set_title(described(rows), color=OURS)
    return figure


def widths(table: pd.DataFrame) -> Figure:
    """Width: size against accuracy for base_e, incr_e and freq (section 5.1).

    Each line connects values of base_e; its colour is incr_e, its marker freq.
    """
    rows = one_sweep(table, "base_e", "incr_e", "freq")
    growths, freqs = sorted(rows["incr_e"].unique()), sorted(rows["freq"].unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.4), layout="constrained")
        axes = figure.subplots()
        sizes: list[float] = []
        for (growth, freq), chosen in rows.groupby(["incr_e", "freq"], sort=True):
            points = measured(chosen, "base_e")
            x = [mebibytes(point.size_bytes) for point in points]
            line(
                axes,
                x,
                points,
                color=COLOURS[growths.index(growth) % len(COLOURS)],
                marker=MARKERS[freqs.index(freq) % len(MARKERS)],
                label=f"incr_e {growth}, freq {freq}",
                elinewidth=0.6,
            )
            sizes += x
        plain_log(axes, [min(sizes) * (max(sizes) / min(sizes)) ** (i / 5) for i in range(6)])
        values = ", ".join(str(value) for value in sorted(rows["base_e"].unique()))
        title = f"along a line: base_e {values}"
        figure.legend(loc="outside right upper", fontsize="small", title=title)
        axes.set_xlabel(SIZE_LABEL)
        axes.set_ylabel(accuracy_label(rows))
        axes.set_title(described(rows), color=OURS)
    return figure


CAUSES = ("norm", "head_relu", "init")


def trainability(table: pd.DataFrame) -> Figure:
    """How often a network never learns, for each norm, ReLU on the scores, and initialisation.

    Shares over all metaparameters and seeds of the sweep, with Wilson's 95 % intervals; a run that
    diverged never learned.
    """
    combinations = _combinations(table)
    names = [
        f"{'batch norm' if norm == 'batch' else 'no norm'}, {'ReLU' if relu else 'no ReLU'}, {init}"
        for (norm, relu, init), _ in combinations
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.4 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots()
        for offset, statuses, label, colour, marker in (
            (-0.12, ["never_learned", "diverged"], "never learned, or diverged", OURS, "o"),
            (0.12, ["partly_dead"], "some class never predicted", THEIRS, "s"),
        ):
            shares = [share(int(r["status"].isin(statuses).sum()), len(r)) for _, r in combinations]
            axes.errorbar(
                [100 * s.mean for s in shares],
                [place + offset for place in range(len(shares))],
                xerr=[
                    [100 * (s.mean - s.low) for s in shares],
                    [100 * (s.high - s.mean) for s in shares],
                ],
                fmt=marker,
                color=colour,
                label=label,
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(-3, 103)
        axes.set_xlabel("share of the runs (%), 95 % interval")
        runs = "-".join(str(count) for count in sorted({len(rows) for _, rows in combinations}))
        first = combinations[0][1].iloc[0]
        axes.set_title(
            f"{first['data']}, {first['epochs']} epochs, {runs} runs a line; "
            "ReLU: on the class scores",
            color=OURS,
        )
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _combinations(table: pd.DataFrame) -> Sequence[tuple[Any, pd.DataFrame]]:
    """The combinations of `CAUSES` and their rows, in the sweep that has most of them."""
    varied = (*CAUSES, *field_names(Metaparameters), "seed")
    rest = [name for name in QUESTION if name not in varied]
    sweeps = [list(rows.groupby(list(CAUSES))) for _, rows in table.groupby(rest, sort=True)]
    largest = max(sweeps, key=len, default=[])
    if len(largest) < 2:
        raise NoSweep(f"the table holds no sweep over {', '.join(CAUSES)}")
    return largest


FIGURES: Mapping[str, Callable[[pd.DataFrame], Figure]] = {
    "figure3a": figure3a,
    "figure3b": figure3b,
    "downsample": downsample,
    "widths": widths,
    "trainability": trainability,
}
"""Name of a page of `sweeps/` -> the figure of its sweep."""
