"""All records of a results folder as a `DataFrame`, and the tables that are kept on disk.

`table.parquet` is also a cache. `.index` says which records its rows were read from: a line of JSON
with the SHA-256 of the table, then four 64-bit numbers a row, the signature of the record's file. A
record whose signature differs is read again, so that the records stay the only truth.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dse.results import packs, studies
from dse.results.atomic import hidden, write
from dse.results.files import (
    INDEX,
    RECORD,
    Damaged,
    Signature,
    pack_of,
    signature,
    trial_folder,
    trial_ids,
)
from dse.results.parquet import decoded, encoded
from dse.results.records import read
from dse.space import alexnet, architecture, rules
from dse.trial import datasets, protocol, question, recipe, record, unread
from dse.trial.question import QUESTION
from dse.trial.record import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

ATTEMPTS = 5
"""How often tables are rebuilt if new records appear while they are written."""


class Cache(NamedTuple):
    """The table that was last written, and the signatures of its rows' records, of its CSV and of
    the folder's studies."""

    table: pd.DataFrame
    records: Mapping[str, Signature]
    csv: Signature | None
    studies: Signature | None


def load(folder: Path) -> pd.DataFrame:
    """The table of all records in a results folder: a row a trial, columns `COLUMNS`.

    Rows are sorted by question, so that the table does not depend on which trial finished first.
    Raises `Damaged` with a line for each damaged record.
    """
    return _table(folder, _signatures(folder), _cache(folder))


def with_studies(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table with the study of each trial and the trial's place in it, where a search chose any
    of them: two more columns, `study` and `study_trial`."""
    places = studies.places(folder)
    own = table["trial_id"].map({trial_id: name for trial_id, (name, _) in places.items()})
    if own.isna().all():
        return table
    numbers = {trial_id: number for trial_id, (_, number) in places.items()}
    return table.assign(study=own, study_trial=table["trial_id"].map(numbers).astype("Int64"))


def write_tables(folder: Path) -> pd.DataFrame:
    """Write `table.csv` and `table.parquet` where they are out of date; returns the table.

    The CSV also has the columns of `with_studies`; a loss that is NaN is an empty cell, and no cell
    is a formula to a spreadsheet. Raises `Damaged` as `load` does.
    """
    for _ in range(ATTEMPTS):
        now = _now(folder)
        current, cache = _signatures(folder), _cache(folder)
        table = _table(folder, current, cache)
        csv, of_studies = folder / "table.csv", signature(folder / studies.STUDIES)
        kept = (cache.records, cache.csv, cache.studies)
        if not current or kept != (current, signature(csv), of_studies):
            parquet = encoded(table)
            write(csv, with_studies(table, folder).to_csv(index=False).encode())
            write(folder / "table.parquet", parquet)
            trusted = [current[i] if current[i][3] < now else None for i in table["trial_id"]]
            write(folder / INDEX, _index(parquet, signature(csv), of_studies, trusted))
        if _signatures(folder) == current:  # else another writer's newer tables may be replaced
            break
    return table


def _table(folder: Path, current: Mapping[str, Signature], cache: Cache) -> pd.DataFrame:
    """The table of the records in `current`; those that have changed since `cache` are read."""
    import pandas as pd  # a third of a second that `--help` and a bad request need not wait

    if current and current == cache.records:
        return cache.table
    rows, damaged = [], []
    changed = {i for i in current if current[i] != cache.records.get(i)}
    if packed := changed & packs.ids(folder):
        rows += [row for row in packs.rows(folder) if row["trial_id"] in packed]
    for trial_id in sorted(changed - packed):
        try:
            rows.append(read(trial_folder(folder, trial_id) / RECORD).row())
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise Damaged("\n".join(damaged))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    unchanged = [current.get(i) == cache.records[i] for i in cache.table["trial_id"]]
    if any(unchanged):
        kept = cache.table[unchanged]
        table = pd.concat([kept, table]) if rows else kept
    return table.sort_values(list(QUESTION), kind="stable", ignore_index=True)


def _signatures(folder: Path) -> dict[str, Signature]:
    """The signature of every record's file, by `trial_id`: of packed ones, that of the pack."""
    paths = {i: f"{folder}/trials/{i}/{RECORD}" for i in trial_ids(folder)}
    found = {i: state for i, path in paths.items() if (state := signature(path))}
    pack = signature(pack_of(folder))
    return found if pack is None else {**found, **dict.fromkeys(packs.ids(folder), pack)}


def _now(folder: Path) -> int:
    """The time by the clock of the folder's file system, in nanoseconds."""
    with hidden(folder / INDEX) as file:
        file.touch()
        return file.stat().st_ctime_ns


def _index(
    parquet: bytes,
    csv: Signature | None,
    of_studies: Signature | None,
    records: list[Signature | None],
) -> bytes:
    """The index of tables just written.

    None is for a record that was written at the moment when the records were listed: it could
    change again within the same tick of the clock, so the next table reads it again.
    """
    import numpy as np

    head = {"parquet": hashlib.sha256(parquet).hexdigest(), "rules": _rules(), "csv": csv}
    head |= {"studies": of_studies} if of_studies else {}
    rows = np.array([signature or (0, 0, 0, 0) for signature in records], dtype="<i8")
    return json.dumps(head).encode() + b"\n" + rows.tobytes()


def _cache(folder: Path) -> Cache:
    """What was last written; empty where there is nothing, or the index does not fit."""
    import numpy as np
    import pandas as pd

    try:
        parquet = (folder / "table.parquet").read_bytes()
        line, _, body = (folder / INDEX).read_bytes().partition(b"\n")
        head = json.loads(line)
        if head["rules"] != _rules() or head["parquet"] != hashlib.sha256(parquet).hexdigest():
            raise ValueError
        table: pd.DataFrame = decoded(parquet).to_pandas(use_threads=False)
        rows = np.frombuffer(body, dtype="<i8").reshape(len(table), 4).tolist()
        records = dict(zip(table["trial_id"], map(tuple, rows), strict=True))
        of_studies = head.get("studies")
        return Cache(table, records, tuple(head["csv"]), of_studies and tuple(of_studies))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Cache(pd.DataFrame({"trial_id": []}), {}, None, None)


@functools.cache
def _rules() -> str:
    """A digest of the modules that decide what a record is; others may read it differently."""
    modules = (rules, architecture, alexnet, datasets, recipe, protocol, unread, question, record)
    sources = [Path(str(module.__file__)).read_bytes() for module in modules]
    return hashlib.sha256(b"".join(sources) + repr(COLUMNS).encode()).hexdigest()
