"""What the figures of any sweep share: colours, markers, the scale of an axis, missing values."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, TooMany
from dse.analysis.labels import MOST_TICKS, Scale, is_numeric, log_ticks, logarithmic, scale, spaced
from dse.figures.plotting import COLOURS, DASHES, MARKERS
from dse.trial.names import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = {
    "none": "#000000",
    "deep_compression": "#d55e00",
    "svd": "#b8860b",
    "prune": "#009e73",
    "ristretto": "#0072b2",
}
"""Colours of the methods of compression, in the order of their `MARKERS`."""
MOST_TEXTS = 40
"""More texts than this do not fit on an axis."""


def find_axis(found: Sweep, name: str) -> Axis | None:
    """The axis with this name or field, if there is one."""
    named = (axis for axis in found.axes if name in (axis.name, *axis.columns))
    return next(named, None)


def hue_axis(found: Sweep, hue: str, choices: Sequence[Axis]) -> Axis | None:
    """The choice with this name or field; without a name, the one with the fewest values.

    None where there is none, or too many values to be distinguished by colour.
    """
    if hue:
        return next((axis for axis in choices if axis is find_axis(found, hue)), None)
    few = [axis for axis in choices if len(axis.values) <= len(COLOURS)]
    return min(few, key=lambda axis: len(axis.values), default=None)


def column_axis(found: Sweep, name: str) -> Axis:
    """Any column as an axis, although it differs between the seeds of a configuration."""
    values = sorted(found.rows[name].dropna().unique().tolist())
    return Axis(name=name, columns=(name,), values=tuple(values))


def colours(axis: Axis | None) -> Mapping[Any, Any]:
    """A colour for each value of an axis; numbers go from dark to light, and `METHODS` have theirs.

    All are distinguishable by colour-blind people, and the numbers' in grey. Raises `NoSweep` for
    more values than there are `COLOURS`.
    """
    if axis is None:
        return {}
    values = axis.values
    check_colours(axis, "choose another `hue`, or some of its values")
    if axis.name == "method" and set(values) <= set(METHODS):
        return METHODS
    if not is_numeric(pd.Series(values)):
        return dict(zip(values, COLOURS, strict=False))
    dark_to_light = mpl.colormaps["viridis"](np.linspace(0.0, 0.7, len(values)))
    return dict(zip(values, map(tuple, dark_to_light.tolist()), strict=True))


def check_colours(axis: Axis, hint: str = "select some of them by key=value") -> None:
    """Raise `TooMany` for more values than there are `COLOURS`."""
    if (count := len(axis.values)) > len(COLOURS):
        raise TooMany(
            f"`{axis.name}` has {count:,} values, and at most {len(COLOURS)} colours can be "
            f"distinguished: {hint}"
        )


def marker(number: int) -> dict[str, Any]:
    """One of 50 combinations of a marker, full or empty, and dashes."""
    turn, place = divmod(number, len(MARKERS))
    dash = DASHES[(number + turn) % len(DASHES)]
    fill = "none" if turn % 2 else "full"
    return {"marker": MARKERS[place], "linestyle": dash, "fillstyle": fill}


def set_scale(axes: Axes, which: str, drawn: Scale, *, log: bool, room: int = MOST_TICKS) -> None:
    """Label the axis `which`, "x" or "y", and place its ticks, for which there is `room`.

    They are at the values of a field of the question, if these are few; else at round numbers,
    plain ones where it is logarithmic. Call it once everything is drawn.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_label_text(textwrap.fill(drawn.label, 6 * room if which == "x" else 48))
    if drawn.names:
        every = -(-len(drawn.names) // room)
        axis.set_ticks(drawn.ticks[::every], drawn.names[::every])
        margin = (-0.5, len(drawn.names) - 0.5)
        axes.set_xlim(margin) if which == "x" else axes.set_ylim(margin)
        if which == "x" and sum(map(len, drawn.names[::every])) > 4.5 * room:
            axis.set_tick_params(rotation=30)
            for text in axis.get_ticklabels():
                text.set(ha="right", rotation_mode="anchor")
    elif log:
        axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
        known = {float(np.log10(tick)): tick for tick in drawn.ticks}
        ticks = [known[place] for place in spaced(list(known), room)]
        ticks = ticks or log_ticks(*axis.get_view_interval(), room)
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(mpl.ticker.NullLocator())
    elif drawn.ticks:
        ticks, more = (spaced(drawn.ticks, many) for many in (room, round(1.2 * room)))
        if len(ticks) < len(more) == len(drawn.ticks):  # smaller, all fit
            axis.set_tick_params(labelsize="small")
            ticks = more
        axis.set_ticks(ticks, [written(tick) for tick in ticks])


def is_log(which: str, name: str, values: pd.Series[Any], chosen: Collection[str] | None) -> bool:
    """Whether an axis is logarithmic: as chosen, else as suits the column.

    Raises `NoSweep` where that is impossible.
    """
    if chosen is None:
        return is_numeric(values) and logarithmic(name, values)
    if which in chosen and not is_numeric(values):
        raise NoSweep(f"`log={which}` needs numbers, and `{name}` is text")
    if which in chosen and values.min() <= 0:
        raise NoSweep(f"`log={which}` needs `{name}` above 0, got {written(float(values.min()))}")
    return which in chosen


def check_idle(found: Sweep) -> None:
    """Raise `NoSweep` where a value of an axis leaves another one without effect."""
    for (axis, value), names in found.idle.items():
        if names:
            text = written(value)
            raise NoSweep(
                f"`{names[0]}` has no effect where `{axis}` is {text}: select others by "
                f"'{axis}!={text}'"
            )


def in_order(rows: pd.DataFrame, axes: Sequence[Axis]) -> pd.DataFrame:
    """The rows in the order of the values of some axes, the first axis first."""
    if not axes:
        return rows
    ranks = {axis.name: {v: n for n, v in enumerate(axis.values)} for axis in axes}
    names = list(ranks)
    return rows.sort_values(
        names, key=lambda c: c.map(ranks[str(c.name)]), kind="stable", ignore_index=True
    )


def count_groups(rows: pd.DataFrame, names: Sequence[str]) -> int:
    """How many `groups` there are."""
    return len(rows[[*names]].drop_duplicates()) if names else 1


def groups(rows: pd.DataFrame, names: Sequence[str]) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups of equal values of `names`, in order of appearance; all rows without names.

    A value that is missing is None.
    """
    if not names:
        return [((), rows)]
    found: Any = rows.groupby(list(names), sort=False, dropna=False)
    return [
        (tuple(None if pd.isna(value) else value for value in key), some) for key, some in found
    ]


def scale_of(found: Sweep, name: str) -> Scale:
    """The scale of a column of the sweep; the values of an axis keep their order.

    Raises `NoSweep` for more texts than fit on an axis.
    """
    values = found.rows[name]
    if is_numeric(values):
        return scale(name, values.tolist())
    texts = next((axis.values for axis in found.axes if axis.name == name), None)
    texts = texts or tuple(sorted(values.unique().tolist()))
    if len(texts) > MOST_TEXTS:
        raise TooMany(f"`{name}` has {len(texts):,} texts; at most {MOST_TEXTS} fit on an axis")
    return scale(name, texts)
