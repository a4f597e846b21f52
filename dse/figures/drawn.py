"""The figures of some trials, by kind: what `python -m dse.plot` draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, sweep
from dse.analysis.compare import compare, comparisons
from dse.analysis.folder import column
from dse.analysis.labels import is_numeric
from dse.figures.chance import at_chance
from dse.figures.compressed import compressed
from dse.figures.distributions import error_distributions
from dse.figures.effects import effects
from dse.figures.forest import check_rows, forest
from dse.figures.fronts import fronts
from dse.figures.heat_map import heat_map
from dse.figures.interactions import interactions
from dse.figures.learning_curves import learning_curves
from dse.figures.overview import overview, ranked
from dse.figures.plots import plot
from dse.figures.plotting import Figure
from dse.figures.scales import count_groups, find_axis
from dse.figures.subspaces import subspace_fronts
from dse.results import curves, files

MOST_CURVES = 1_000
"""More curves than this are not read."""
AXES = {
    "": ("col",),
    "curves": ("hue", "col"),
    "heatmap": ("x", "y"),
    "chance": ("x",),
    "forest": ("x",),
    "distributions": ("x",),
    "subspaces": ("x",),
}
"""Each kind and those of its keys that must be what varies."""
NEEDED = {"": ("x",), "heatmap": ("x", "y")}
"""Each kind and the keys that it cannot do without."""


def drawn(
    kind: str,
    rows: pd.DataFrame,
    folder: Path,
    keys: Mapping[str, Sequence[str]],
    note: str = "",
) -> dict[str, Figure]:
    """The figures of some trials by name.

    `kind` is one of `KINDS`, or "" for x against y and, without keys, for the `overview`. `keys`
    are columns by the names x, y, hue, col and value, and the logarithmic axes by the name log.
    `folder` is where the learning curves are. Raises `ValueError` for a column that is not there,
    and `NoSweep`, a `ValueError` too, where there is nothing to draw.
    """
    found = sweep(rows)
    if not kind and not keys:
        return overview(found, note)
    columns = {key: names for key, names in keys.items() if key != "log"}
    for key, names in columns.items():
        for name in names if (kind, key) != ("curves", "y") else ():
            column(f"`{key}`", name, found.rows)
    columns = _completed(found, kind, columns)
    y, hue, col, value = (columns.get(key, [""])[0] for key in ("y", "hue", "col", "value"))
    for key in AXES.get(kind, ()):
        for name in columns.get(key, ()):
            _check_axis(found, key, name)
    if number := value or (y if kind == "effects" else ""):
        _check_numbers("value" if value else "y", found.rows[number])
    figure = KINDS[kind](
        found=found, folder=folder, x=columns.get("x", ()), y=y, hue=hue, col=col, value=value,
        log=keys.get("log"), note=note,
    )  # fmt: skip
    return {kind or "plot": figure}


def _completed(
    found: Sweep, kind: str, columns: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The columns, with those that are needed and not given where what varies leaves one choice
    only, and for the x axis of a plot the first."""
    lacking = [key for key in NEEDED.get(kind, ()) if key not in columns]
    taken = [find_axis(found, name) for names in columns.values() for name in names]
    free = [name for name in ranked(found) if find_axis(found, name) not in taken]
    if kind == "heatmap" and len(found.axes) < 2:
        raise NoSweep("a heat map needs two axes that vary: name x= only")
    if len(free) < len(lacking) or (kind == "heatmap" and len(free) > len(lacking) > 0):
        key = lacking[0]
        raise NoSweep(f"`{key}` must be given, as in {key}={(*free, 'size_bytes')[0]}")
    return {**columns, **{key: [name] for key, name in zip(lacking, free, strict=False)}}


def _check_axis(found: Sweep, key: str, name: str) -> None:
    if not find_axis(found, name):
        axes = ", ".join(axis.name for axis in found.axes) or "nothing but the seed"
        raise ValueError(f"`{key}` must be one of what varies ({axes}), got {name}")


def _check_numbers(key: str, values: pd.Series[Any]) -> None:
    if not is_numeric(values):
        raise ValueError(f"`{key}` must be a column of numbers, got {values.name}")


def _curves(
    *,
    found: Sweep,
    folder: Path,
    y: str,
    hue: str,
    col: str,
    log: Sequence[str] | None,
    note: str,
    **_: Any,
) -> Figure:
    y, count = y or "val_top1", len(found.rows)
    if y not in curves.MEASURES:
        raise ValueError(f"`y` must be one of {', '.join(curves.MEASURES)}, got {y}")
    if not files.has_trials(folder):
        raise NoSweep(f"{folder} has a table only, and no learning curves")
    if count > MOST_CURVES:
        raise TooMany(
            f"there would be {count:,} curves, and at most {MOST_CURVES:,} can be read: select "
            "trials by key=value"
        )
    known = curves.load(folder, found.rows["trial_id"])[0]
    return learning_curves(found, known, y, hue, col=col, log=log, note=note)


def _forest(*, found: Sweep, x: Sequence[str], note: str, **_: Any) -> Figure:
    rows = found.rows
    if not x:
        return forest(found, comparisons(rows), note=note)
    axis = found.axis(x[0])
    others = [other.name for other in found.axes if other is not axis]
    check_rows(comb(len(axis.values), 2) * count_groups(rows, others), [*others, axis.name])
    return forest(found, compare(rows, axis.name), note=note)


KINDS: Mapping[str, Callable[..., Figure]] = {
    "": lambda found, x, y, hue, col, log, note, **_: plot(
        found, x[0], y, hue, col=col, log=log, note=note
    ),
    "curves": _curves,
    "heatmap": lambda found, x, y, value, note, **_: heat_map(found, x[0], y, value, note=note),
    "effects": lambda found, y, note, **_: effects(found, y, note=note),
    "front": lambda found, x, note, **_: fronts(found, x, note=note),
    "chance": lambda found, x, note, **_: at_chance(found, x, note=note),
    "forest": _forest,
    "interactions": lambda found, note, **_: interactions(found, note=note),
    "distributions": lambda found, x, note, **_: error_distributions(found, x, note=note),
    "subspaces": lambda found, x, note, **_: subspace_fronts(found, x, note=note),
    "compressed": lambda found, note, **_: compressed(found, note=note),
}
