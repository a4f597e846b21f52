"""What varies in a table of records: its axes, its configurations, and lines along an axis."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.labels import is_numeric
from dse.analysis.statistics import PERCENT, half_width
from dse.trial.compression import SETTINGS, USES
from dse.trial.datasets import num_classes
from dse.trial.names import STEM, layout_name, short_id, written
from dse.trial.question import QUESTION
from dse.trial.unread import unread

FIELDS = tuple(name for name in (*QUESTION, *SETTINGS) if name != "seed")
"""What may vary and be an axis."""

TOP5_FROM_CLASSES = 100
"""Top-5 accuracy is shown from this many classes on: with ten it is near 100% for all."""

ORDER = {"bypass": ("none", "simple", "complex")}
"""The order of text values where it is not that of the alphabet."""

SIZES = ("params", "macs", "activations", "peak_activation_bytes", "size_bytes")
"""What depends on the configuration alone, not on the seed."""

FEW = 4
"""Of so few values, random ones rise or fall together too often to be recognised as such."""


class NoSweep(ValueError):
    """The table does not hold what a figure or an analysis needs; the message says what."""


class TooMany(NoSweep):
    """The table holds more than a person can read in one figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One thing that varies: a field, or several fields that vary together, such as a layout.

    `name` is a column of `Sweep.rows`; `values` are its values in order, at least two unless it is
    one of the fields that `sweep` was given.
    """

    name: str
    columns: tuple[str, ...]
    values: tuple[Any, ...]

    def places(self, rows: pd.DataFrame) -> pd.Series[int]:
        """The place of each row's value among `values`, from 0."""
        return rows[self.name].map({value: place for place, value in enumerate(self.values)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """The rows of a table, what varies in them except the seed, and what does not.

    `rows` has a row per trial, the columns of the table, and one more for each axis of several
    fields. A field that some trials do not read has there the first value of those that do, and
    `data` the names of `data_sets`. `fixed` maps every other field of the question that is read to
    its only value. `idle` maps an axis and one of its values, such as ("network", "alexnet"), to
    the axes that are not read with it. `measure` is the column to compare, or "": the accuracy.
    """

    rows: pd.DataFrame
    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any]
    idle: Mapping[tuple[str, Any], Sequence[str]]
    measure: str = ""

    def read(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The values of some axes, without those that are not read."""
        idle = {name for item in setting.items() for name in self.idle.get(item, ())}
        return {name: value for name, value in setting.items() if name not in idle}

    def blank(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with columns of the axes, with NaN where an axis is not read."""
        shown = table
        for (axis, value), names in self.idle.items():
            if axis in table:
                rows = table[axis] == value
                shown = shown.assign(**{n: shown[n].mask(rows) for n in names if n in table})
        return shown

    def axis(self, name: str) -> Axis:
        """The axis with this name or this field; raises `NoSweep` where it does not vary."""
        for axis in self.axes:
            if name == axis.name or name in axis.columns:
                return axis
        require(self.rows, name)
        if self.rows[name].nunique() > 1:
            names = ", ".join(axis.name for axis in self.axes) or "nothing but the seed"
            raise NoSweep(f"`{name}` is not one of the axes: {names}")
        raise NoSweep(f"`{name}` has one value only")

    @property
    def answer(self) -> str:
        """`measure`; without one `top1`, or `top5` where all data sets have at least
        `TOP5_FROM_CLASSES` classes."""
        if self.measure:
            return self.measure
        sets = self.rows[["data", "manifest"]].drop_duplicates().itertuples(index=False)
        return "top5" if min(num_classes(*one) for one in sets) >= TOP5_FROM_CLASSES else "top1"


def sweep(table: pd.DataFrame | Sweep, searched: Collection[str] = ()) -> Sweep:
    """Find the axes of a table of records; a `Sweep` is returned as it is.

    Fields whose values determine each other are one axis, and so are the fields of named layouts.
    It is called `layout` or `data` where it is one, else by its fields. Numbers of a random sample,
    of which no two are equal, are axes of their own all the same, unless they rise or fall
    together. Each of the fields `searched` is an axis of its own, whatever values it has. Raises
    `NoSweep` for an empty table, and for one that lacks a column of every table of records, and
    `ValueError` for one that holds a trial, or a compressed network, twice.
    """
    if isinstance(table, Sweep):
        return table
    if table.empty:
        raise NoSweep("there are no trials")
    require(table, "trial_id", "seed", "data", "manifest")
    check_once(table)
    table, idle = as_read(table.assign(data=data_sets(table)))
    together: dict[bytes, list[str]] = {}
    fixed: dict[str, Any] = {}
    for name in [n for n in FIELDS if n in table and n not in idle]:
        codes, values = pd.factorize(table[name], use_na_sentinel=False)
        if name in searched:
            together[codes.tobytes() + name.encode()] = [name]
        elif len(values) == 1:
            fixed[name] = table[name].iloc[:1].item()
        elif name != "manifest":  # numbered by first appearance: equal if they agree
            together.setdefault(codes.tobytes(), []).append(name)
    rows, axes = table.copy(), []
    groups = [own for columns in together.values() for own in _untied(table, columns, together)]
    for columns in groups if {*searched} & {*STEM} else _layouts_joined(table, groups):
        name, labels = _named(table, columns)
        if labels is not None:
            rows[name] = labels
        axes.append(Axis(name=name, columns=tuple(columns), values=_ordered(name, rows[name])))
    return Sweep(rows=rows, axes=tuple(axes), fixed=fixed, idle=_idle(rows, axes))


def _idle(rows: pd.DataFrame, axes: Sequence[Axis]) -> dict[tuple[str, Any], list[str]]:
    """The axes that are not read with a value of another, by that other and its value."""
    found: dict[tuple[str, Any], list[str]] = {}
    for cause in [axis for axis in axes if UNREAD.keys() & set(axis.columns)]:
        for axis in axes:
            known = reads(rows, axis.columns).groupby(rows[cause.name]).any()
            for value in known.index[~known]:
                found.setdefault((cause.name, value), []).append(axis.name)
    return found


def data_sets(table: pd.DataFrame) -> pd.Series[str]:
    """The data set of each row: its `data`, and where the table has several folders of images the
    first digits of the manifest too, such as "image_folder:0a1b2c3d"."""
    several = table.groupby("data")["manifest"].transform("nunique") > 1
    if not several.any():
        return table["data"]
    digits = {one: short_id(one.rpartition("-")[2]) for one in table["manifest"][several].unique()}
    return table["data"].where(~several, table["data"] + ":" + table["manifest"].map(digits))


def _untied(
    table: pd.DataFrame, columns: list[str], together: Mapping[bytes, list[str]]
) -> list[list[str]]:
    """The fields of a group in `together`, apart where only chance may have joined them: where each
    of more than `FEW` configurations has values of its own, all are numbers, and they neither rise
    nor fall together."""
    values = table[columns].drop_duplicates()
    if len(columns) == 1 or len(values) <= FEW:
        return [columns]
    count = len(table[[group[0] for group in together.values()]].drop_duplicates())
    if len(values) < count or not all(is_numeric(values[name]) for name in columns):
        return [columns]
    found: dict[bytes, list[str]] = {}
    for name in columns:
        rank = values[name].rank().to_numpy()
        order = min(rank.tobytes(), (len(rank) + 1 - rank).tobytes())
        found.setdefault(order, []).append(name)
    return list(found.values())


def as_read(table: pd.DataFrame) -> tuple[pd.DataFrame, set[str]]:
    """The table, with the fields that some rows do not read at the first value of those that do;
    and the fields that no row reads."""
    known = {name: rows for name, rows in _read(table).items() if name in table}
    some = {name: rows for name, rows in known.items() if rows.any() and not rows.all()}
    filled = {n: table[n].where(rows, table[n][rows].iloc[0]) for n, rows in some.items()}
    return table.assign(**filled), {name for name, rows in known.items() if not rows.any()}


def reads(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series[bool]:
    """Whether each row reads any of some fields."""
    known, every = _read(table), pd.Series(True, table.index)
    found = pd.Series(False, table.index)
    for name in columns:
        found |= known.get(name, every)
    return found


def _read(table: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    """Whether each row reads a field, for the fields that some rows do not read."""
    known: dict[str, pd.Series[bool]] = {}
    for column in [column for column in UNREAD if column in table]:
        for kind in table[column].unique():
            if fields := UNREAD[column](kind):
                read = table[column] != kind
                known |= {name: known[name] & read if name in known else read for name in fields}
    return known


UNREAD: Mapping[str, Callable[[Any], Iterable[str]]] = {
    "network": lambda network: unread({"network": network}),
    "dsd_density": lambda density: unread({"dsd_density": density}),
    "method": lambda method: set(SETTINGS) - {"method", "phase", *USES[method]},
}
"""Columns whose value decides which fields are not read."""


def _layouts_joined(table: pd.DataFrame, groups: list[list[str]]) -> list[list[str]]:
    """The groups of fields, those of a layout in one where all trials have named layouts."""
    stems = [columns for columns in groups if set(columns) <= set(STEM)]
    joined = [name for columns in stems for name in columns]
    points = table[~table.duplicated(joined)] if len(stems) > 1 else table[:0]
    if points.empty or not all(map(layout_name, points.to_dict("records"))):
        return groups
    first = groups.index(stems[0])
    others = [columns for columns in groups if columns not in stems]
    return [*others[:first], joined, *others[first:]]


def require(table: pd.DataFrame, *columns: str) -> None:
    """Raise `NoSweep` where the table lacks one of the columns."""
    for name in columns:
        if name not in table:
            raise NoSweep(f"the table has no column `{name}`")


def check_once(table: pd.DataFrame) -> None:
    """Raise `ValueError` where the table holds a trial, or a compressed network, twice."""
    compressed = "compressed_id" in table
    if table.duplicated(["trial_id", "compressed_id"] if compressed else "trial_id").any():
        noun = "compressed network" if compressed else "trial"
        raise ValueError(f"the table must hold each {noun} once")


def check_data_set(rows: pd.DataFrame) -> None:
    """Raise `TooMany` where the `rows` of a sweep are of several data sets."""
    if len(sets := sorted(rows["data"].unique())) > 1:
        raise TooMany(f"accuracies on {' and '.join(sets)} cannot be compared: select one by data=")


def _named(table: pd.DataFrame, columns: list[str]) -> tuple[str, pd.Series[str] | None]:
    """The name of an axis, and its values where they are not those of a column."""
    if len(columns) == 1 or "data" in columns:
        return ("data" if "data" in columns else columns[0]), None
    key = table.groupby(columns).ngroup()
    firsts = table[~key.duplicated()]
    texts = [layout_name(row) for row in firsts.to_dict("records")]
    name = "layout" if set(columns) <= set(STEM) and all(texts) else ", ".join(columns)
    if name != "layout":
        texts = [", ".join(map(written, row)) for row in firsts[columns].itertuples(index=False)]
    return name, key.map(dict(zip(key[firsts.index], texts, strict=True)))


def _ordered(name: str, values: pd.Series[Any]) -> tuple[Any, ...]:
    order = ORDER.get(name, ())
    found = values.unique().tolist()
    return tuple(sorted(found, key=lambda v: (order.index(v) if v in order else -1, v)))


# Configurations -----------------------------------------------------------------------------


def configurations(found: Sweep, answer: str = "") -> pd.DataFrame:
    """A row for each configuration, in the order of the axes.

    Columns: the axes; `count`, `mean`, `low`, `high` of `answer` over the seeds (default: the
    accuracy, percent; the ends of the 95% interval are NaN below `INTERVAL_SEEDS` seeds);
    `val_top1`, the mean over the seeds, percent; the `SIZES`; `seconds` and `file_bytes`, means
    over the seeds.
    """
    answer = answer or found.answer
    require(found.rows, answer)
    names = [axis.name for axis in found.axes]
    keys: Any = names or np.zeros(len(found.rows), dtype=int)
    groups = found.rows.groupby(keys, sort=False)
    table = pd.DataFrame({"count": groups[answer].count(), "mean": groups[answer].mean()})
    half = half_width(table["count"].to_numpy(), groups[answer].std().to_numpy(float))
    most = PERCENT[1] if answer.endswith(("top1", "top5")) else np.inf
    least = 0.0 if found.rows[answer].min() >= 0 else -np.inf  # no time is below 0
    table["low"] = np.maximum(table["mean"] - half, least)
    table["high"] = np.minimum(table["mean"] + half, most)
    means = ("val_top1", "seconds", "file_bytes")
    extra = [name for name in means if name in found.rows and name != answer]
    table[extra] = groups[extra].mean()
    sizes = [name for name in SIZES if name in found.rows and name != answer]
    table[sizes] = groups[sizes].first()
    if names:
        table = table.reset_index()
    places = [axis.places(table) for axis in found.axes]
    order = np.lexsort(places[::-1]) if places else np.arange(len(table))
    return table.iloc[order].set_axis(range(len(table)))
