"""Pareto fronts of accuracy against each cost, and how sure it is which networks are on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, check_data_set, sweep
from dse.analysis.devices import times_comparable
from dse.analysis.front import front, seeds_compared
from dse.analysis.known import finite, learned, off_front
from dse.analysis.labels import label, scale, words
from dse.analysis.statistics import INTERVAL_SEEDS
from dse.figures.numbered import MOST_NAMED, number_marks
from dse.figures.plotting import (
    MOST_DOTS,
    OURS,
    Figure,
    caption,
    described,
    lay_out,
    panels,
    spread,
    style,
)
from dse.figures.scales import is_log, set_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("size_bytes", "macs", "activations", "seconds")
MOST_NETWORKS = 3_000
COLOURS = mpl.colors.LinearSegmentedColormap.from_list("", ["#c8c8c8", OURS, "#00203a"])
SHADES = COLOURS.with_extremes(bad="white")


def fronts(found: Sweep | pd.DataFrame, costs: Sequence[str] = (), *, note: str = "") -> Figure:
    """The front of accuracy against each of the `costs` that varies: a panel for each.

    See `dse.analysis.front`: the front is chosen by the validation set, and what is shown is the
    accuracy on the test set. Trials without one of the accuracies or of the `costs` are left out
    and counted. The default costs are size, MACs, activations and time; times are left out where
    they cannot be compared. The shade of a mark is the share of resamples of the seeds in which it
    is on the front. `note` is added to the caption.

    Raises `ValueError` for another column than those of `dse.analysis.front`, `NoSweep` where there
    are not two configurations, they cost the same, or none learned, and `TooMany` for several data
    sets.
    """
    found = sweep(found)
    known, lost = finite(found, found.answer, "val_top1", *costs)
    found = sweep(known.rows) if lost else found
    chosen = costs or COSTS
    tables = _fronts(found, chosen)
    names = [axis.name for axis in found.axes]
    numbers = _numbers(tables.values(), names)
    shares = pd.concat([table["front_share"] for table in tables.values()])
    known = shares.notna().any()
    untimed = UNTIMED if "seconds" in chosen and not times_comparable(found.rows) else ""
    unsure = f"White: fewer than {INTERVAL_SEEDS} seeds." if known and shares.isna().any() else ""
    if not known:
        unsure = f"With fewer than {INTERVAL_SEEDS} seeds it is not known how sure the front is."
    with style():
        height = 2.4 if len(tables) > 1 else 3.4
        figure, places = panels(len(tables), height, 1.2, label(found.answer), sharey=True)
        for axes, (cost, table) in zip(places, tables.items(), strict=True):
            best = table.loc[table["on_front"], [*dict.fromkeys((*names, cost))]]
            trials = found.rows[[*names, found.answer]].merge(best, on=names)
            _panel(axes, cost, table, trials[[cost, found.answer]])
        figure.suptitle(described(found.rows), fontsize="medium")
        if known:
            image = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 100), SHADES)
            text = "share of resamples on the front (%)"
            figure.colorbar(image, ax=places, label=text, aspect=40, location="top")
        settings = [found.read(dict(zip(names, key, strict=True))) for key in numbers]
        listed = [f"({n}) {words(one)}." for n, one in enumerate(settings, 1)]
        counts = pd.concat([table["count"] for table in tables.values()])
        shown = spread(counts) if counts.max() == 1 else f"On the front: {spread(counts).lower()}"
        lacking = seeds_compared(next(iter(tables.values())))
        texts = (EXPLAINED, unsure, shown, lacking, *listed, off_front(found), lost, untimed, note)
        caption(figure, *texts, drawn=found.rows)
        if numbers:
            lay_out(figure)
            for axes, (cost, table) in zip(places, tables.items(), strict=True):
                best = table[table["on_front"]]
                x = scale(cost, table[cost].tolist()).position(best[cost])
                own = [numbers[key] for key in _keys(best, names)]
                number_marks(axes, x, best["mean"], own)
    return figure


EXPLAINED = (
    "Large, joined marks are the front: no other network has at least the accuracy at no more "
    "cost. It is chosen on the validation set; accuracies shown are on the test set."
)

UNTIMED = "Times are not compared: devices, machines, threads or versions of torch differ."


def _fronts(found: Sweep, chosen: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The front of each of the `chosen` costs that varies."""
    if not found.axes:
        raise NoSweep("there is one configuration only: a front needs two")
    count = len(found.rows[[axis.name for axis in found.axes]].drop_duplicates())
    if count > MOST_NETWORKS:
        raise TooMany(
            f"there are {count:,} configurations, and at most {MOST_NETWORKS:,} are compared: "
            "select some by key=value"
        )
    check_data_set(found.rows)
    costs = [one for one in chosen if one not in found.rows or found.rows[one].nunique() > 1]
    costs = [cost for cost in costs if cost != "seconds" or times_comparable(found.rows)]
    if not costs and "seconds" in chosen and not times_comparable(found.rows):
        raise NoSweep(UNTIMED)
    if not costs:
        raise NoSweep("all networks cost the same: there is no front")
    if not learned(found).any():
        raise NoSweep("no network learned: there is no front")
    return {cost: front(found.rows, cost) for cost in costs}


def _numbers(tables: Iterable[pd.DataFrame], names: list[str]) -> dict[tuple[Any, ...], int]:
    """A number for each network that is on a front, unless they are many."""
    on_any = pd.concat([table[table["on_front"]] for table in tables])
    keys = dict.fromkeys(_keys(on_any, names))
    return {key: n for n, key in enumerate(keys, 1)} if len(keys) <= MOST_NAMED else {}


def _keys(table: pd.DataFrame, names: list[str]) -> list[tuple[Any, ...]]:
    return list(table[names].itertuples(index=False, name=None))


def _panel(axes: Axes, cost: str, table: pd.DataFrame, trials: pd.DataFrame) -> None:
    """The configurations of one cost; those on the front are joined.

    `trials` are their trials, at the place of the mean: the cost, and the accuracy.
    """
    across = scale(cost, table[cost].tolist())
    x, y = across.position(table[cost]), table["mean"].to_numpy()
    known = table["front_share"].notna().any()
    shades = SHADES(table["front_share"]) if known else np.full(len(table), OURS)
    chosen = table["on_front"].to_numpy()
    order = x[chosen].argsort()
    steps: Any = {"color": "#555555", "linewidth": 0.8, "drawstyle": "steps-post", "zorder": 1}
    axes.plot(x[chosen][order], y[chosen][order], **steps)
    place = across.position(trials[cost])
    axes.plot(place, trials.iloc[:, 1], ".", color="#777777", markersize=3, alpha=0.6, zorder=1.5)
    axes.vlines(x[chosen], table["low"][chosen], table["high"][chosen], "#555555", linewidth=0.8)
    unsure = table["front_share"].isna() & bool(known)  # white
    edges = np.where(chosen, "black", np.where(unsure, "#777777", "none"))
    for some, size in ((~chosen, 12), (chosen, 38)):  # one size each: a small SVG
        axes.scatter(
            x[some],
            y[some],
            s=size,
            c=shades[some],
            edgecolor=edges[some],
            linewidth=0.8,
            zorder=2,
            rasterized=len(table) > MOST_DOTS,
        )
    set_scale(axes, "x", across, log=is_log("x", cost, table[cost], None), room=6)
