"""Any column of a sweep against any other: lines along an axis, or points."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from dse.analysis.axes import SIZES, Axis, NoSweep, Sweep, TooMany, require, sweep
from dse.analysis.labels import is_numeric, words
from dse.analysis.rendering import counted
from dse.analysis.table2 import NETWORKS
from dse.figures.facets import facet_axis
from dse.figures.marks import draw, draw_counts
from dse.figures.plotting import COLOURS, Figure
from dse.figures.scales import column_axis, count_groups, find_axis, hue_axis
from dse.figures.shaded import NO_MEAN, shaded
from dse.trial.names import written

MOST_LINES = 30
"""More lines than this cannot be read."""


def plot(
    found: Sweep | pd.DataFrame,
    x: str,
    y: str = "",
    hue: str = "",
    *,
    col: str = "",
    log: Collection[str] | None = None,
    note: str = "",
) -> Figure:
    """A `line_plot` where `x` is an axis, or a size that changes along one; else a `scatter`.

    It is a scatter too where there are too many lines, or none, as in a random sample, and where a
    value of `hue`, or a trial of a search, would be on no line. With `col` there is a panel for
    each value of this axis. Raises `NoSweep` where `x` or `hue` has one value only, and for a
    column that is not there.
    """
    found = sweep(found)
    require(found.rows, *filter(None, (x, y, hue, col)))
    for name in (x, hue):
        if name and found.rows[name].nunique(dropna=False) == 1:
            raise NoSweep(f"`{name}` has one value only: {written(found.rows[name].tolist()[0])}")
    if hue and find_axis(found, hue) is not None and find_axis(found, hue) is find_axis(found, x):
        raise NoSweep(f"`hue` must be another axis than `x`, got {hue}")
    facet_axis(found, col, x, hue)
    along = line_axis(found, x, hue, col)
    if (
        along
        and not drops_searched(found, along)
        and (not hue or _has_lines(found, along, hue))
        and is_numeric(found.rows[y or found.answer])
    ):
        try:
            return line_plot(found, x, y, hue, col=col, log=log, note=note)
        except TooMany:
            note = f"Too many lines to read, so points are drawn. {note}".strip()
        except NoSweep:
            pass  # as in a random sample: no two points of a line
    return scatter(found, x, y, hue, col=col, log=log, note=note)


def line_plot(
    found: Sweep | pd.DataFrame,
    x: str,
    y: str = "",
    hue: str = "",
    *,
    col: str = "",
    log: Collection[str] | None = None,
    note: str = "",
) -> Figure:
    """Lines along an axis: the mean of `y` over the seeds, its 95% interval, and each trial.

    `x` is an axis of the sweep, or one of the `SIZES` where a single axis of numbers other than
    `hue` changes it and each trial is on a line. `y` is a column of numbers (default: the accuracy,
    percent). `hue` is the axis that gives the colours (default: the one with the fewest values),
    and `col` the one whose values have a panel each. Each setting of the other axes is a line of
    its own: nothing but seeds is averaged. `log` names the logarithmic axes, of "x" and "y"
    (default: sizes that span a wide range). `note` is added to the caption.

    Raises `NoSweep` where there is no line, or more than `MOST_LINES`.
    """
    found = sweep(found)
    along = line_axis(found, x, hue, col)
    if along is None:
        raise NoSweep(f"`{x}` does not change along a single axis: there is no line to draw")
    found, left_out = _with_lines(found, along)
    along = found.axis(along.columns[0])
    others = [axis for axis in found.axes if axis is not along]
    facet = facet_axis(found, col, along.name, hue)
    within = [axis for axis in others if axis is not facet]
    hued = hue_axis(found, hue, within)
    check_lines(found, within)
    comma = "; " if len(along.columns) > 1 else ", "  # a value of several fields has commas itself
    followed = f"Along a line: {along.name} {comma.join(map(written, along.values))}."
    followed *= x != along.name and len(along.values) <= 12
    caption = " ".join(text for text in (followed, left_out, note) if text)
    shown = (x, y or found.answer)
    return draw(found, shown, hued, others, means=True, log=log, note=caption, col=facet)


def scatter(
    found: Sweep | pd.DataFrame,
    x: str,
    y: str = "",
    hue: str = "",
    *,
    col: str = "",
    log: Collection[str] | None = None,
    note: str = "",
) -> Figure:
    """A point for each configuration, at its means over the seeds, and a dot for each trial.

    `x`, `y` and `hue` are any columns; see `line_plot`. A `hue` of more numbers than there are
    colours has a colour bar, and there are means only. Where `x` or `hue` differs between the
    seeds of a configuration, as `status` does, there are only dots. Where `y` is text, there is the
    number of trials at each place.
    """
    found = sweep(found)
    y = y or found.answer
    require(found.rows, *filter(None, (x, y, hue)))
    if not is_numeric(found.rows[y]):
        if hue or col:
            raise NoSweep(
                f"`{'hue' if hue else 'col'}` needs numbers on the y axis, and `{y}` is text"
            )
        return draw_counts(found, (x, y), log, note)
    facet = facet_axis(found, col, x, hue)
    others = [axis for axis in found.axes if axis not in (find_axis(found, x), facet)]
    hued = hue_axis(found, hue, others) or (column_axis(found, hue) if hue else None)
    mean_of_x = is_numeric(found.rows[x]) and x not in NO_MEAN
    means = (not hued or find_axis(found, hued.name) is hued) and (
        x in SIZES or find_axis(found, x) is not None or mean_of_x
    )
    varying = [axis.name for axis in others if axis not in (hued, find_axis(found, y))]
    also = f"Also varying: {', '.join(varying)}." if varying else ""
    note = f"{also} {note}".strip()
    if hued and len(hued.values) > len(COLOURS) and is_numeric(found.rows[hued.name]):
        return shaded(found, (x, y), hued.name, log=log, note=note, col=facet)
    return draw(found, (x, y), hued, None, means=means, log=log, note=note, col=facet)


# What varies --------------------------------------------------------------------------------


def line_axis(found: Sweep, x: str, *apart: str) -> Axis | None:
    """The axis that a line of `x` follows; None where there is none, or more than one, or where
    not every trial would be on a line of a size. The axes `apart` have lines or panels."""
    if axis := find_axis(found, x):
        return axis
    if x not in SIZES:
        return None
    changing = [
        axis
        for axis in found.axes
        if axis not in [find_axis(found, name) for name in apart]
        and is_numeric(found.rows[axis.name])
        and _changes(found, axis, x)
    ]
    whole = len(changing) == 1 and len(_on_lines(found, changing[0])) == len(found.rows)
    return changing[0] if whole else None


def _with_lines(found: Sweep, along: Axis) -> tuple[Sweep, str]:
    """The trials on lines of at least two points, and in words how many others there are."""
    others = [axis.name for axis in found.axes if axis is not along]
    kept = _on_lines(found, along)
    if kept.empty:
        raise NoSweep(f"no two values of `{along.name}` have all else equal")
    if not (count := len(found.rows) - len(kept)):
        return found, ""
    fixed = {name: kept[name].iloc[0] for name in others if kept[name].nunique() == 1}
    shown = f"Shown: {words(found.read(fixed))}." if fixed else ""
    lost, rows = list[str](), found.rows
    for name, value in [cause for cause, unread in found.idle.items() if along.name in unread]:
        own, rows = rows[rows[name] == value], rows[rows[name] != value]
        of = f"of {NETWORKS.get(value, value)}"
        which = of if name == "network" else f"with {name} {written(value)}"
        trials = counted(len(own), "trial")
        lost += [f"Not shown: {trials} {which}, which has no {along.name}."] if len(own) else []
        count -= len(own)
    if count:
        more = counted(count, "trial")
        lost.append(f"Not shown: {more} without a second value of {along.name}.")
    return sweep(kept), " ".join(filter(None, (*lost, shown)))


def _on_lines(found: Sweep, along: Axis) -> pd.DataFrame:
    """The rows that differ from some others along `along` alone."""
    others = [axis.name for axis in found.axes if axis is not along]
    return (
        found.rows
        if not others
        else found.rows[found.rows.groupby(others)[along.name].transform("nunique") > 1]
    )


def drops_searched(found: Sweep, along: Axis) -> bool:
    """Whether lines along an axis would leave out a trial that a search chose: its trials are no
    grid."""
    if "study" not in found.rows:
        return False
    return bool(found.rows.drop(_on_lines(found, along).index)["study"].notna().any())


def _has_lines(found: Sweep, along: Axis, hue: str) -> bool:
    """Whether `hue` is an axis, and each of its values is on some line along the axis `along`."""
    hued = find_axis(found, hue)
    return hued is not None and set(_on_lines(found, along)[hued.name]) == set(hued.values)


def _changes(found: Sweep, axis: Axis, x: str) -> bool:
    """Whether `x` changes along an axis while the others are fixed."""
    others = [other.name for other in found.axes if other is not axis]
    return not others or bool(found.rows.groupby(others)[x].nunique().max() > 1)


def check_lines(found: Sweep, others: Sequence[Axis]) -> None:
    """Raise `NoSweep` where the settings of the axes `others` are more lines than can be read."""
    names = [axis.name for axis in others]
    count = count_groups(found.rows, names)
    if count > MOST_LINES:
        raise TooMany(
            f"there would be {count:,} lines, and at most {MOST_LINES} can be read: select values "
            f"of {', '.join(names)} by key=value, or draw `effects`"
        )
