"""The figures of some trials, by kind: what `python -m dse.plot` draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dse.analysis.axes import Sweep, TooMany, sweep
from dse.analysis.compare import compare, comparisons
from dse.analysis.folder import column
from dse.analysis.labels import is_numeric
from dse.figures.chance import at_chance
from dse.figures.compressed import compressed
from dse.figures.effects import effects
from dse.figures.forest import check_rows, forest
from dse.figures.fronts import fronts
from dse.figures.heat_map import heat_map
from dse.figures.learning_curves import learning_curves
from dse.figures.overview import overview
from dse.figures.plots import plot
from dse.figures.scales import count_groups, find_axis
from dse.results import curves, files

MOST_CURVES = 1_000
"""More curves than this are not read."""
AXES = {"curves": ("hue",), "heatmap": ("x", "y"), "chance": ("x",), "forest": ("x",)}
"""Each kind and those of its keys that must be what varies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A figure that is wanted: its columns, "" where it is left to the figure; see `drawn`."""

    found: Sweep
    folder: Path
    x: tuple[str, ...]
    y: str
    hue: str
    value: str
    log: Sequence[str] | None
    note: str


def drawn(
    kind: str,
    rows: pd.DataFrame,
    folder: Path,
    keys: Mapping[str, Sequence[str]],
    note: str = "",
) -> dict[str, Figure]:
    """The figures of some trials by name.

    `kind` is one of `KINDS`, or "" for x against y and, without keys, for the `overview`. `keys`
    are columns by the names x, y, hue and value, and the logarithmic axes by the name log. `folder`
    is where the learning curves are. Raises `ValueError` for a column that is not there, and
    `NoSweep`, a `ValueError` too, where there is nothing to draw.
    """
    found = sweep(rows)
    if not kind and not keys:
        return overview(found, note)
    columns = {key: names for key, names in keys.items() if key != "log"}
    for key, names in columns.items():
        for name in names if (kind, key) != ("curves", "y") else ():
            column(f"`{key}`", name, found.rows)
    y, hue, value = (columns.get(key, [""])[0] for key in ("y", "hue", "value"))
    for key in AXES.get(kind, ()):
        for name in columns.get(key, ()):
            _check_axis(found, key, name)
    if number := value or (y if kind == "effects" else ""):
        _check_numbers("value" if value else "y", found.rows[number])
    wanted = Wanted(
        found=found,
        folder=folder,
        x=tuple(columns.get("x", ())),
        y=y,
        hue=hue,
        value=value,
        log=keys.get("log"),
        note=note,
    )
    return {kind or "plot": KINDS[kind](wanted)}


def _check_axis(found: Sweep, key: str, name: str) -> None:
    if not find_axis(found, name):
        axes = ", ".join(axis.name for axis in found.axes) or "nothing but the seed"
        raise ValueError(f"`{key}` must be one of what varies ({axes}), got {name}")


def _check_numbers(key: str, values: pd.Series[Any]) -> None:
    if not is_numeric(values):
        raise ValueError(f"`{key}` must be a column of numbers, got {values.name}")


def _curves(wanted: Wanted) -> Figure:
    y, count = wanted.y or "val_top1", len(wanted.found.rows)
    if y not in curves.MEASURES:
        raise ValueError(f"`y` must be one of {', '.join(curves.MEASURES)}, got {y}")
    if not files.has_trials(wanted.folder):
        raise ValueError(f"{wanted.folder} has a table only, and no learning curves")
    if count > MOST_CURVES:
        raise TooMany(
            f"there would be {count:,} curves, and at most {MOST_CURVES:,} can be read: select "
            "trials by key=value"
        )
    known, _ = curves.load(wanted.folder, wanted.found.rows["trial_id"])
    return learning_curves(wanted.found, known, y, wanted.hue, log=wanted.log, note=wanted.note)


def _forest(wanted: Wanted) -> Figure:
    rows = wanted.found.rows
    if not wanted.x:
        return forest(wanted.found, comparisons(rows), note=wanted.note)
    axis = wanted.found.axis(wanted.x[0])
    others = [other.name for other in wanted.found.axes if other is not axis]
    check_rows(comb(len(axis.values), 2) * count_groups(rows, others))
    return forest(wanted.found, compare(rows, axis.name), note=wanted.note)


KINDS: Mapping[str, Callable[[Wanted], Figure]] = {
    "": lambda r: plot(r.found, r.x[0], r.y, r.hue, log=r.log, note=r.note),
    "curves": _curves,
    "heatmap": lambda r: heat_map(r.found, r.x[0], r.y, r.value, note=r.note),
    "effects": lambda r: effects(r.found, r.y, note=r.note),
    "front": lambda r: fronts(r.found, note=r.note),
    "chance": lambda r: at_chance(r.found, r.x, note=r.note),
    "forest": _forest,
    "compressed": lambda r: compressed(r.found, note=r.note),
}
