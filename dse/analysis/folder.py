"""The trials of a folder as a table, and those of them that are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from dse.analysis.axes import Sweep, reads, sweep
from dse.analysis.labels import ACCURACIES, PARTS, is_numeric
from dse.analysis.selection import LISTED, select
from dse.results import files, studies, tables
from dse.trial.compression import SETTINGS
from dse.trial.datasets import DATA_SETS
from dse.trial.names import LAYOUT, STEM
from dse.trial.question import QUESTION, SINCE
from dse.trial.record import COLUMNS, STATUSES

KINDS = {item.name: item.type for part in PARTS for item in fields(part)}
"""The type of each column, as its field declares it."""


def read(folder: Path) -> pd.DataFrame:
    """The table of a results folder, or of a folder that has its `table.csv` only.

    Raises `ValueError` where it is neither, or has no trials.
    """
    table = load(folder)
    if table.empty:
        raise ValueError(f"there are no finished trials in {folder}")
    return table


def load(folder: Path) -> pd.DataFrame:
    """The table as `read` gives it; one without rows where no trial is finished."""
    if not files.has_trials(folder) and (folder / files.TABLE).is_file():
        return _csv(folder / files.TABLE)
    files.require_trials(folder)
    return tables.with_studies(tables.load(folder), folder)


def _csv(path: Path) -> pd.DataFrame:
    """A table that was written as CSV; raises `ValueError` where it is of another kind."""
    try:
        table = pd.read_csv(
            path,
            keep_default_na=False,
            na_values=[""],
            dtype={
                **{name: "str" for name, kind in KINDS.items() if kind == "str"},
                **{"study": "str", "study_trial": "Int64"},
            },
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} must be a table of trials: {error}") from None
    for name in SINCE.keys() - set(table):
        table[name] = SINCE[name]
    for fault in _faults(table):
        raise ValueError(f"{path} must be a table of trials: {fault}")
    return table


def _faults(table: pd.DataFrame) -> Iterator[str]:
    """What is wrong with a table; each check assumes that those before it found nothing."""
    yield from (f"it has no column {name}" for name in COLUMNS if name not in table)
    if table.empty:
        return
    for name, kind in KINDS.items():
        if kind in ("int", "float") and name in table and not is_numeric(table[name]):
            yield f"{name} must be numbers"
    yield from (f"{name} is empty in a row" for name in QUESTION if table[name].isna().any())
    for name in ACCURACIES:
        if not table[name].dropna().between(0, 100).all():
            yield f"{name} must be in 0 .. 100"
    if not set(table["status"]) <= set(STATUSES):
        yield f"status must be one of {', '.join(STATUSES)}"
    if not set(table["data"]) <= {*DATA_SETS, "image_folder"}:
        yield "it has an unknown data set"
    if table["trial_id"].duplicated().any():
        yield "it holds a trial twice"


def rows_of(
    table: pd.DataFrame, wanted: Mapping[str, Sequence[str]], own: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows with the wanted values; keys are columns, or axes such as `layout`.

    A trial that does not read a field has no value of it. `own` are the other keys of the command,
    for a message.
    """
    found = sweep(table)
    for name in wanted:
        known_key(name, found.rows, own)
    return table.loc[selected(found, wanted).index]


def selected(found: Sweep, wanted: Mapping[str, Sequence[str]], key: str = "") -> pd.DataFrame:
    """The rows of a sweep with the wanted values.

    Where values of `key` are compared, a field does not select among the rows that do not read it
    because of their value of `key`, as AlexNet's where networks are compared at an `sr`.
    """
    columns = {axis.name: axis.columns for axis in found.axes}
    fields = {name: columns.get(name, (name,)) for name in wanted}
    spared = {name: ~reads(found.rows[[key] if key else []], fields[name]) for name in wanted}
    chosen = select(found.rows, wanted, spared)
    for name in wanted:
        read = reads(chosen, fields[name])
        if not read.any():
            raise ValueError(f"`{name}` is not read by any of the trials selected")
        chosen = chosen[read | spared[name][chosen.index]]
    return chosen


def sampled(folder: Path, table: pd.DataFrame) -> set[str]:
    """The ids of the trials in a folder's table that samplers chose, for `without_sampled`.

    Of a folder that has its `table.csv` only, they are all that belong to a study.
    """
    if "study" in table and not files.has_trials(folder):
        return {*table["trial_id"][table["study"].notna()]}
    return studies.sampled(folder)


def without_sampled(table: pd.DataFrame, sampled: Collection[str]) -> pd.DataFrame:
    """The rows but those with the ids `sampled`, which samplers chose; of these, only the points of
    the grid that the others span stay."""
    others = table[~table["trial_id"].isin([*sampled])]
    on_grid = [table[name].isin(others[name]) for name in QUESTION if name in table]
    return table[np.logical_and.reduce(on_grid)] if len(others) < len(table) else table


def known_key(name: str, rows: pd.DataFrame, own: Sequence[str] = ()) -> None:
    """Raise `ValueError`, with the nearest column or `own` key, where `name` is not a column."""
    _check_layout(name, rows, "key", "{}=VALUE")
    if name not in rows:
        raise ValueError(f"unknown key `{name}`; {_nearest(name, rows, own)}")


def answer(what: str, name: str, rows: pd.DataFrame) -> str:
    """`name`, where it is a column of numbers that no key sets; else raises `ValueError`."""
    if name != LAYOUT:
        column(what, name, rows)
    if name in (*QUESTION, *SETTINGS, LAYOUT) or not is_numeric(rows[name]):
        known = "a numeric result, such as val_top1, loss or seconds"
        raise ValueError(f"{what} must be {known}, got {name}")
    return name


def column(what: str, name: str, rows: pd.DataFrame) -> None:
    """Raise `ValueError`, with the nearest column, where `name` is not a column."""
    _check_layout(name, rows, "column", f"{what.strip('`')}={{}}")
    if name not in rows:
        rule = f"{what} must be a column of the table"
        raise ValueError(f"{rule}, got {name}; {_nearest(name, rows)}")


def _check_layout(name: str, rows: pd.DataFrame, noun: str, use: str) -> None:
    """Raise `ValueError` where `name` is `layout` and layouts are no axis, with what to `use`."""
    if name != LAYOUT or name in rows:
        return
    stem = [field for field in STEM if field in rows and rows[field].nunique() > 1]
    varied = f"{', '.join(stem)} vary" if stem[1:] else f"{''.join(stem) or 'nothing'} varies"
    raise ValueError(
        f"`{LAYOUT}` is a {noun} where several fields of named layouts vary, and here {varied}"
        + (f": use {use.format(stem[0])}" if stem else "")
    )


def _nearest(name: str, rows: pd.DataFrame, own: Sequence[str] = ()) -> str:
    near = get_close_matches(name, [*own, *map(str, rows)], 1)
    if near:
        return f"did you mean `{near[0]}`?"
    varied = [str(one) for one in rows if rows[one].nunique() > 1 and one != "trial_id"]
    known = f"{', '.join(varied[:LISTED])}{', ...' if len(varied) > LISTED else ''}"
    columns = f"columns that vary are {known}" if varied else "no column varies"
    return f"keys are {', '.join(own)}, and columns; {columns}" if own else columns
