"""The main effect of each axis of a sweep: what its values change, all else being equal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, sweep
from dse.analysis.devices import once
from dse.analysis.known import finite
from dse.analysis.labels import MOST_TICKS, is_numeric, label
from dse.analysis.pairs import whole
from dse.analysis.rendering import counted
from dse.analysis.statistics import INTERVAL_SEEDS, interval
from dse.figures.plotting import OURS, Figure, caption, described, panels, span, style
from dse.figures.scales import is_log, scale_of, set_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes


EXPLAINED = (
    "Effect: the difference from the mean over all values of the axis, all else and the seed "
    "being equal; mean and 95% interval over the seeds. Widest range first."
)


def main_effects(found: Sweep | pd.DataFrame, answer: str = "") -> dict[str, pd.DataFrame]:
    """The main effect of each axis on a column of numbers (default: the accuracy, percent).

    A block is a setting of the other axes with one seed, in which every value of the axis was
    tried. In each block a value is compared with the mean of all values; a seed's effect is the
    mean over its blocks, of which all seeds have the same settings (`dse.analysis.pairs.whole`). So
    neither other axes nor seeds are mixed up with the effect, even where the sweep is not a full
    grid. An axis that decides whether another one is read has no block. Data sets are not compared.

    Returns a table by axis, the one with the widest range first, with a row for each value:
    `value`, `effect` (the mean over the seeds, in the unit of the column), `low` and `high` (its
    95% interval), and `seeds`, `blocks` and `left_out`, the numbers of seeds, of blocks, and of
    blocks that are left out. An axis without a block has no table.
    """
    found = sweep(found)
    answer = answer or found.answer
    without = {"data", *(name for name, _ in found.idle)}
    axes = [axis for axis in found.axes if axis.name not in without]
    blocks = {axis.name: _blocks(found, axis, answer) for axis in axes}
    tables = {
        axis.name: _effect(blocks[axis.name], axis) for axis in axes if len(blocks[axis.name])
    }
    return dict(sorted(tables.items(), key=lambda item: -np.ptp(item[1]["effect"])))


def _blocks(found: Sweep, axis: Axis, answer: str) -> pd.DataFrame:
    """The answers of one axis, a row for each block and a column for each value."""
    others = ["seed", *(other.name for other in found.axes if other is not axis)]
    known = found.rows.dropna(subset=[answer])
    blocks = known.pivot_table(index=others, columns=axis.name, values=answer, sort=False)
    return blocks.reindex(columns=list(axis.values)).dropna()


def _chosen(blocks: pd.DataFrame) -> pd.DataFrame:
    """Those blocks in which each seed has the same settings."""
    others = [name for name in blocks.index.names if name != "seed"]
    settings = blocks.groupby(level=others).ngroup() if others else np.zeros(len(blocks))
    return blocks[whole(settings, blocks.index.get_level_values("seed"))]


def _effect(blocks: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    """The effects of one axis; `blocks` has a row for each block and a column for each value."""
    chosen = _chosen(blocks)
    differences = chosen.sub(chosen.mean(axis="columns"), axis="index")
    by_seed = differences.groupby(level="seed").mean()
    known = [interval(by_seed[value].tolist()) for value in axis.values]
    return pd.DataFrame(
        {
            "value": list(axis.values),
            "effect": [one.mean for one in known],
            "low": [one.low for one in known],
            "high": [one.high for one in known],
            "seeds": len(by_seed),
            "blocks": len(chosen),
            "left_out": len(blocks) - len(chosen),
        }
    )


def effects(found: Sweep | pd.DataFrame, answer: str = "", *, note: str = "") -> Figure:
    """`main_effects` as a figure: a panel for each axis, all to one scale, the widest range first.

    Raises `NoSweep` where no axis has all its values tried with all else equal.
    """
    found = sweep(found)
    answer = answer or found.answer
    known, lost = finite(found, answer)
    tables = main_effects(known, answer)
    shown = {
        name: table
        for name, table in tables.items()
        if is_numeric(table["value"]) or len(table) <= MOST_TICKS
    }
    if not shown:
        raise NoSweep("no axis has all its values tried with all else equal: there is no effect")
    effect = textwrap.fill(f"effect on {label(answer)}".replace("(%)", "(points)"), 28)
    with style():
        figure, places = panels(len(shown), 2.1, 1.2, effect, sharey=True)
        for axes, (name, table) in zip(places, shown.items(), strict=True):
            _panel(axes, found, name, table)
        compared = {name: _compared(known, name, answer) for name in shown}
        every = once(pd.concat(compared.values()))
        figure.suptitle(described(every), fontsize="medium")
        sources = _sources(known, shown, compared)
        missing = (*_missing(found, tables, shown), _alone(known, every), lost)
        caption(figure, EXPLAINED, _seeds(shown), sources, *missing, note, drawn=every)
    return figure


def _compared(found: Sweep, name: str, answer: str) -> pd.DataFrame:
    """The trials that are in a block of an axis."""
    keys = _chosen(_blocks(found, found.axis(name), answer)).index.to_frame(index=False)
    return found.rows.merge(keys, on=list(keys))


def _sources(
    found: Sweep, tables: Mapping[str, pd.DataFrame], compared: Mapping[str, pd.DataFrame]
) -> str:
    """How many comparisons and trials each panel is from."""
    total = len(found.rows)
    if all(len(rows) == total for rows in compared.values()):
        return f"Each panel is from all {counted(total, 'trial')}."
    parts = []
    for name, table in tables.items():
        blocks = counted(int(table["blocks"].iloc[0]), "pair" if len(table) == 2 else "comparison")
        parts.append(f"{name} from {blocks}, {len(compared[name]):,} of {total:,} trials")
    return f"Panels: {'; '.join(parts)}."


def _alone(found: Sweep, compared: pd.DataFrame) -> str:
    """How many trials are in no panel."""
    count = len(found.rows) - len(compared)
    return f"Not shown: {counted(count, 'trial')} in no comparison." if count else ""


def _missing(found: Sweep, known: Collection[str], shown: Collection[str]) -> list[str]:
    """Which axes have no panel, and why: a sentence for each reason."""
    rest = [axis.name for axis in found.axes if axis.name not in shown and axis.name != "data"]
    causes = {name for name, _ in found.idle}
    untried = [name for name in rest if name not in known and name not in causes]
    reasons = {
        "its values decide which other axes there are": [n for n in rest if n in causes],
        "not all values were tried with all else equal": untried,
        f"more than {MOST_TICKS} texts do not fit": [name for name in rest if name in known],
    }
    parts = [f"No effect of {', '.join(names)}: {why}." for why, names in reasons.items() if names]
    several = any(axis.name == "data" for axis in found.axes)
    return [*parts, "Data sets are not compared."] if several else parts


def _panel(axes: Axes, found: Sweep, name: str, table: pd.DataFrame) -> None:
    """The effects of one axis, with their intervals, around zero."""
    values = scale_of(found, name)
    x, y = values.position(table["value"]), table["effect"]
    ends = np.array([y - table["low"], table["high"] - y])
    line = "none" if values.names else "-"
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.errorbar(x, y, yerr=ends, color=OURS, marker="o", linestyle=line, elinewidth=0.9)
    set_scale(axes, "x", values, log=is_log("x", name, table["value"], None), room=6)


def _seeds(tables: Mapping[str, pd.DataFrame]) -> str:
    """How many seeds the effects are means of, whether these are too few for intervals, and how
    many blocks other seeds lack."""
    seeds = sorted({int(table["seeds"].iloc[0]) for table in tables.values()})
    few = f"; intervals need {INTERVAL_SEEDS} seeds" if seeds[0] < INTERVAL_SEEDS else ""
    lost = max(int(table["left_out"].iloc[0]) for table in tables.values())
    rest = f"; up to {counted(lost, 'comparison')} left out, so that all have the same settings"
    return f"Seeds: {span(seeds)}{few}{rest if lost else ''}."
