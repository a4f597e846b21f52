"""A table of records -> figures and tables, with the paper's own points beside them.

Figures are made of tables alone: nothing trains here, and their bytes depend on the table alone.
Each function takes the table of a results folder and finds the sweep that it draws in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dse.analysis.statistics import Interval, interval, paired, share
from dse.paper.published import FIGURE_3A, FIGURE_3B, TABLE_3, Point
from dse.space.architecture import Metaparameters, field_names, generate
from dse.space.cost import cost, mebibytes
from dse.trial.datasets import DATA_SETS
from dse.trial.question import QUESTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
INTERVAL_SEEDS = 3
"""Intervals are drawn from this many seeds on: of two they are wider than any axis."""
TOP5_FROM_CLASSES = 100
"""Top-5 accuracy is shown from this many classes on: of ten classes it says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """One of the paper's figures: the swept metaparameter, what is fixed, the paper's points."""

    column: str
    label: str
    fixed: Mapping[str, float]
    points: tuple[Point, ...]


FIGURE_3: Mapping[str, Swept] = {
    "figure3a": Swept(
        column="sr", label="squeeze ratio (sr)", fixed={"pct3x3": 0.5}, points=FIGURE_3A
    ),
    "figure3b": Swept(
        column="pct3x3", label="share of 3x3 filters (pct3x3)", fixed={"sr": 0.5}, points=FIGURE_3B
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One configuration: the swept value, its cost, its accuracy (percent), that of each seed."""

    value: Any
    size_bytes: int
    macs: int
    accuracy: Interval
    seeds: tuple[float, ...]


class NoSweep(ValueError):
    """The table holds no sweep of the asked kind."""


# From a table to one sweep ------------------------------------------------------------------


def one_sweep(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows of the largest sweep over `columns`: only they and the seed vary in it.

    Diverged trials stay in: their accuracy is a result. Raises `NoSweep` where no two rows differ
    in each of the columns alone.
    """
    rest = [name for name in QUESTION if name not in (*columns, "seed")]
    groups = [
        rows
        for _, rows in table.groupby(rest, sort=True)
        if all(rows[column].nunique() > 1 for column in columns)
    ]
    if not groups:
        raise NoSweep(f"the table holds no sweep over {', '.join(columns)}")
    return max(groups, key=lambda rows: rows[list(columns)].drop_duplicates().shape[0])


def measured(rows: pd.DataFrame, *columns: str) -> tuple[Measured, ...]:
    """The configurations of one sweep in the order of their values, each over its seeds."""
    answer = accuracy_column(rows)
    return tuple(
        Measured(
            value=value[0] if len(columns) == 1 else value,
            size_bytes=int(group["size_bytes"].iloc[0]),
            macs=int(group["macs"].iloc[0]),
            accuracy=interval(group[answer].to_list()),
            seeds=tuple(group[answer]),
        )
        for value, group in rows.groupby(list(columns), sort=True)
    )


def accuracy_column(rows: pd.DataFrame) -> str:
    """`top1`, or `top5` where the data have at least `TOP5_FROM_CLASSES` classes."""
    classes = min(
        _classes(*known) for known in set(zip(rows["data"], rows["manifest"], strict=True))
    )
    return "top5" if classes >= TOP5_FROM_CLASSES else "top1"


def _classes(data: str, manifest: str) -> int:
    """Classes of a data set; a folder of pictures has them in its manifest, first."""
    return int(manifest.split("-")[0]) if manifest != "none" else DATA_SETS[data].num_classes


def gain(table: pd.DataFrame, column: str, low: Any, high: Any) -> tuple[str, Interval]:
    """The accuracy's name, and its gain (points) from `low` to `high` over the shared seeds.

    Raises `ValueError` where the table holds no sweep over `column`, or no shared seed.
    """
    rows = one_sweep(table, column)
    answer = accuracy_column(rows)
    before, after = (
        dict(zip(group["seed"], group[answer], strict=True))
        for group in (rows[rows[column] == value] for value in (low, high))
    )
    return answer.replace("top", "top-"), paired(after, before)


def _described(rows: pd.DataFrame) -> str:
    """What was measured: the title of a panel, in two lines."""
    counts = rows.groupby([n for n in QUESTION if n != "seed"])["seed"].nunique()
    seeds = "-".join(str(n) for n in sorted({counts.min(), counts.max()}))
    sets = " and ".join(sorted(rows["data"].unique()))
    ends = rows["status"].value_counts()
    others = ", ".join(
        f"{n} of {len(rows)} {status}" for status, n in ends.items() if status != "learned"
    )
    spread = (
        "mean, 95 % interval, each seed" if counts.min() >= INTERVAL_SEEDS else "mean, each seed"
    )
    epochs = "-".join(str(n) for n in sorted({rows["epochs"].min(), rows["epochs"].max()}))
    arithmetic = ", ".join(n for n in sorted(rows["precision"].unique()) if n != "fp32")
    title = f"measured: {sets}, {epochs} epochs, {arithmetic and arithmetic + ', '}{seeds} seed"
    title += "" if seeds == "1" else "s"
    return f"{title}{', ' + others if others else ''}\n{spread if seeds != '1' else 'one run each'}"


# Figures ------------------------------------------------------------------------------------


def figure3a(table: pd.DataFrame) -> Figure:
    """Figure 3(a): the squeeze ratio (section 5.2)."""
    return _figure3(table, FIGURE_3["figure3a"])


def figure3b(table: pd.DataFrame) -> Figure:
    """Figure 3(b): the share of 3x3 filters (section 5.3)."""
    return _figure3(table, FIGURE_3["figure3b"])


def _figure3(table: pd.DataFrame, swept: Swept) -> Figure:
    """Size against accuracy, ours and the paper's in a panel each: they are different data."""
    rows = one_sweep(table, swept.column)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.9), layout="constrained")
        ours, theirs = figure.subplots(1, 2)
        points = measured(rows, swept.column)
        sizes = [mebibytes(p.size_bytes) for p in points]
        _line(ours, sizes, points, color=OURS, marker="o")
        _sizes_and_values(ours, swept, sizes, [p.value for p in points])
        ours.set_title(_described(rows), color=OURS)
        ours.set_ylabel(_accuracy_label(rows))

        sizes = [mebibytes(_imagenet_bytes(swept, point.value)) for point in swept.points]
        theirs.plot(sizes, [point.top5 for point in swept.points], color=THEIRS, marker="s")
        _sizes_and_values(theirs, swept, sizes, [point.value for point in swept.points])
        theirs.set_title("the paper: ImageNet\none run each; a scale of its own", color=THEIRS)
        theirs.set_ylabel("top-5 on ImageNet (%)")
    return figure


def downsample(table: pd.DataFrame) -> Figure:
    """Where pooling stands: MACs against accuracy (section 3.1, strategy 3)."""
    rows = one_sweep(table, "pool_after")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        points = measured(rows, "pool_after")
        for point in points:
            _line(axes, [point.macs / 1e6], (point,), color=OURS, marker="o")
            axes.annotate(
                point.value,
                (point.macs / 1e6, point.accuracy.mean),
                textcoords="offset points",
                xytext=(7, -3),
            )
        _plain_log(axes, [point.macs / 1e6 for point in points])
        axes.margins(x=0.12)
        axes.set_xlabel("MACs of one picture (millions); all have one size; labels: pool_after")
        axes.set_ylabel(_accuracy_label(rows))
        axes.set_title(_described(rows), color=OURS)
    return figure


def widths(table: pd.DataFrame) -> Figure:
    """Width: size against accuracy for base_e, incr_e and freq (section 5.1).

    A line follows base_e; its colour is incr_e, its marker freq.
    """
    rows = one_sweep(table, "base_e", "incr_e", "freq")
    growths, freqs = sorted(rows["incr_e"].unique()), sorted(rows["freq"].unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.4), layout="constrained")
        axes = figure.subplots()
        for (growth, freq), chosen in rows.groupby(["incr_e", "freq"], sort=True):
            points = measured(chosen, "base_e")
            _line(
                axes,
                [mebibytes(p.size_bytes) for p in points],
                points,
                color=COLOURS[growths.index(growth) % len(COLOURS)],
                marker=MARKERS[freqs.index(freq) % len(MARKERS)],
                label=f"incr_e {growth}, freq {freq}",
                elinewidth=0.6,
            )
        sizes = [mebibytes(p.size_bytes) for p in measured(rows, "base_e", "incr_e", "freq")]
        _plain_log(axes, [min(sizes) * (max(sizes) / min(sizes)) ** (i / 5) for i in range(6)])
        values = ", ".join(str(v) for v in sorted(rows["base_e"].unique()))
        title = f"along a line: base_e {values}"
        figure.legend(loc="outside right upper", fontsize="small", title=title)
        axes.set_xlabel(SIZE_LABEL)
        axes.set_ylabel(_accuracy_label(rows))
        axes.set_title(_described(rows), color=OURS)
    return figure


def trainability(table: pd.DataFrame) -> Figure:
    """How often a network never learns, for each initialisation, norm and ReLU on the scores.

    Shares over all metaparameters and seeds of the sweep, with Wilson's 95 % intervals; a run that
    diverged never learned.
    """
    causes = ["norm", "head_relu", "init"]
    rest = [n for n in QUESTION if n not in (*causes, *field_names(Metaparameters), "seed")]
    groups = [list(rows.groupby(causes, sort=True)) for _, rows in table.groupby(rest, sort=True)]
    combinations = max(groups, key=len, default=[])
    if len(combinations) < 2:
        raise NoSweep(f"the table holds no sweep over {', '.join(causes)}")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.4 + 0.3 * len(combinations)), layout="constrained")
        axes = figure.subplots()
        for place, ends, label, colour, marker in (
            (-0.12, ("never_learned", "diverged"), "never learned, or diverged", OURS, "o"),
            (0.12, ("partly_dead",), "some class never predicted", THEIRS, "s"),
        ):
            shares = [share(int(r["status"].isin(ends).sum()), len(r)) for _, r in combinations]
            axes.errorbar(
                [100 * s.mean for s in shares],
                [i + place for i in range(len(shares))],
                xerr=[
                    [100 * (s.mean - s.low) for s in shares],
                    [100 * (s.high - s.mean) for s in shares],
                ],
                fmt=marker,
                color=colour,
                label=label,
            )
        names = [
            f"{'batch norm' if norm == 'batch' else 'no norm'}, "
            f"{'ReLU' if relu else 'no ReLU'}, {init}"
            for (norm, relu, init), _ in combinations
        ]
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(-3, 103)
        axes.set_xlabel("share of the runs (%), 95 % interval")
        runs = sorted({len(r) for _, r in combinations})
        first, count = combinations[0][1].iloc[0], "-".join(str(n) for n in runs)
        axes.set_title(
            f"{first['data']}, {first['epochs']} epochs, {count} runs a line; "
            "ReLU: on the class scores",
            color=OURS,
        )
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _line(axes: Axes, x: list[float], points: tuple[Measured, ...], **style: Any) -> None:
    """A line through the means, each one's interval from `INTERVAL_SEEDS` seeds on, each seed."""
    means = [p.accuracy.mean for p in points]
    ends = [
        (p.accuracy.low, p.accuracy.high) if len(p.seeds) >= INTERVAL_SEEDS else (np.nan, np.nan)
        for p in points
    ]
    # Percent end at 0 and 100, whatever the formula says; NaN is not drawn.
    low = [mean - np.maximum(end, 0) for mean, (end, _) in zip(means, ends, strict=True)]
    high = [np.minimum(end, 100) - mean for mean, (_, end) in zip(means, ends, strict=True)]
    axes.errorbar(x, means, yerr=[low, high], **style)
    for at, point in zip(x, points, strict=True):
        axes.plot([at] * len(point.seeds), point.seeds, ".", color=style["color"], alpha=0.35)


def _plain_log(axes: Axes, ticks: list[float]) -> None:
    """A logarithmic x axis whose ticks are plain numbers of two digits."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axes.minorticks_off()


def _accuracy_label(rows: pd.DataFrame) -> str:
    return f"{accuracy_column(rows).replace('top', 'top-')} on the test set (%)"


def _imagenet_bytes(swept: Swept, value: float) -> int:
    """The size of the network that the paper trained."""
    point: dict[str, Any] = {**swept.fixed, swept.column: value}
    return int(cost(generate(Metaparameters(**point)), 224).size_bytes)


def _sizes_and_values(axes: Axes, swept: Swept, sizes: list[float], values: list[float]) -> None:
    """Size below, the swept value above."""
    axes.set_xlabel(SIZE_LABEL)
    above = axes.secondary_xaxis("top")
    above.set_xticks(sizes, [f"{value:g}" for value in values])
    above.minorticks_off()
    above.set_xlabel(swept.label)


FIGURES: Mapping[str, Callable[[pd.DataFrame], Figure]] = {
    "figure3a": figure3a,
    "figure3b": figure3b,
    "downsample": downsample,
    "widths": widths,
    "trainability": trainability,
}
"""Name of a page of `sweeps/` -> the figure of its sweep."""


def encoded(figure: Figure, *kinds: str) -> tuple[bytes, ...]:
    """A figure as the bytes of a file of each kind ("svg", "png"), equal for equal figures."""
    unset = {"svg": "Date", "png": "Software"}
    files = []
    with mpl.rc_context(STYLE):
        for kind in kinds:
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=150, metadata={unset[kind]: None})
            figure.set_layout_engine("none")  # the places are found: the next kind keeps them
            files.append(stream.getvalue())
    return tuple(files)


# Tables -------------------------------------------------------------------------------------


def table3(table: pd.DataFrame) -> pd.DataFrame:
    """Table 3, ours beside the paper's: a row a bypass, accuracies in percent.

    `gain` is the mean difference from no bypass over the shared seeds, with its 95 % interval
    (`gain_low` .. `gain_high`); sizes are labelled as the paper does. The paper's columns are
    ImageNet's, of one run each.
    """
    rows = one_sweep(table, "bypass")
    answer = accuracy_column(rows)
    ours = {point.value: point for point in measured(rows, "bypass")}
    paper = {row.bypass: row for row in TABLE_3}
    unknown = float("nan")
    found = []
    for bypass, theirs in paper.items():
        if bypass not in ours:
            continue
        point, wired = ours[bypass], bypass != "none"
        gained = gain(table, "bypass", "none", bypass)[1] if wired and "none" in ours else None
        found.append(
            {
                "bypass": bypass,
                "seeds": point.accuracy.count,
                answer: point.accuracy.mean,
                f"{answer}_low": point.accuracy.low,
                f"{answer}_high": point.accuracy.high,
                "gain": gained.mean if gained else unknown,
                "gain_low": gained.low if gained else unknown,
                "gain_high": gained.high if gained else unknown,
                "size_bytes": point.size_bytes,
                "paper_top1": theirs.top1,
                "paper_gain": theirs.top1 - paper["none"].top1 if wired else unknown,
                "paper_top5": theirs.top5,
                "paper_size": f"{theirs.size_label}MB",
            }
        )
    return pd.DataFrame(found)


TABLES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"table3": table3}
"""Name of a page of `sweeps/` -> the table of its sweep."""


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown: numbers with two decimals, empty cells for what is not known."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.2f}"
        return str(value).replace("|", "\\|")

    lines = [[text(name) for name in table.columns], ["---"] * len(table.columns)]
    lines += [[text(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
