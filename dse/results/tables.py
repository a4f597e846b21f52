"""All records of a results folder as a `DataFrame`, and its cached tables on disk.

`table.parquet` is trusted where `.index` vouches for it: a line of JSON with its SHA-256, then four
64-bit numbers a row, the signature of the record that the row was read from. A record whose
signature differs is read again, so that the records stay the only truth.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dse.results.atomic import hidden, write
from dse.results.files import INDEX, RECORD, trial_folder, trial_ids
from dse.results.records import Damaged, read
from dse.space import architecture, rules
from dse.trial import datasets, protocol, question, recipe, record
from dse.trial.question import QUESTION
from dse.trial.record import ANSWER, COLUMNS

if TYPE_CHECKING:
    import pandas as pd


WRITE_AGAIN = 5
"""Times that tables are rebuilt where records appeared meanwhile (who left them does it too)."""


Signature = tuple[int, int, int, int]
"""What tells one state of a file from another: inode, bytes, times of content and of status."""


def load(folder: Path) -> pd.DataFrame:
    """The table of all records in a results folder: a row a trial, columns `COLUMNS`.

    Rows are sorted by question, so that the table does not depend on who finished first. Raises
    `Damaged` with a line for each damaged record.
    """
    return _table(folder, _signatures(folder), *_indexed(folder))


def write_tables(folder: Path) -> pd.DataFrame:
    """Rebuild `table.csv` and `table.parquet` from the records; returns the table.

    In the CSV a loss that is NaN is an empty cell; no cell is a formula to a spreadsheet. Tables
    that these very records gave before stay as they are. Raises `Damaged` as `load` does.
    """
    for _ in range(WRITE_AGAIN):
        now = _now(folder)
        found, (old, known) = _signatures(folder), _indexed(folder)
        table = _table(folder, found, old, known)
        if not found or known != found or not _has_csv(folder):
            parquet, text = table.to_parquet(index=False), table.to_csv(index=False).encode()
            write(folder / "table.csv", text)
            write(folder / "table.parquet", parquet)
            write(folder / INDEX, _index(folder, parquet, table["trial_id"], found, now))
        if _signatures(folder) == found:  # else another's newer tables may have been replaced
            break
    return table


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are promised to be equal between runs on one machine."""
    return table[["trial_id", *QUESTION, *ANSWER]]


#
# `table.parquet` is believed where `.index` says so: a line of JSON with its SHA-256, then four
# 64-bit numbers a row, the signature of the record that the row was read from. A record whose
# signature is another is read again, so that the records stay the only truth.
def _table(
    folder: Path, found: Mapping[str, Signature], old: pd.DataFrame, known: Mapping[str, Signature]
) -> pd.DataFrame:
    """The table of the records `found`: their rows in `old` where they are `known`, else read."""
    import pandas as pd  # a third of a second that `--help` and a bad request need not wait

    if found and found == known:
        return old
    rows, damaged = [], []
    for trial_id in sorted(i for i, signature in found.items() if known.get(i) != signature):
        try:
            rows.append(read(trial_folder(folder, trial_id) / RECORD).row())
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise Damaged("\n".join(damaged))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kept = old[[found.get(i) == known[i] for i in old["trial_id"]]] if len(old) else old
    if len(kept):
        table = pd.concat([kept, table]) if rows else kept
    return table.sort_values(list(QUESTION), kind="stable", ignore_index=True)


def _signatures(folder: Path) -> dict[str, Signature]:
    """The signature of every record's file."""
    found = {}
    for trial_id in trial_ids(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            found[trial_id] = _signature(f"{folder}/trials/{trial_id}/{RECORD}")
    return found


def _signature(path: str | Path) -> Signature:
    state = os.stat(path)  # noqa: PTH116  a Path for each of 100,000 records takes as long again
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _now(folder: Path) -> int:
    """The time by the clock of the folder's file system, nanoseconds."""
    with hidden(folder / INDEX) as mark:
        mark.touch()
        return mark.stat().st_ctime_ns


def _index(
    folder: Path, parquet: bytes, trial_ids: Iterable[str], found: Mapping[str, Signature], now: int
) -> bytes:
    """The index of a table just written, whose records were looked for from `now` on.

    A record as young as `now` is left out: it could change without a change of its times.
    """
    import numpy as np

    head = {
        "parquet": hashlib.sha256(parquet).hexdigest(),
        "rules": _rules(),
        "csv": _signature(folder / "table.csv"),
    }
    rows = [found[i] if found[i][3] < now else (0, 0, 0, 0) for i in trial_ids]
    return json.dumps(head).encode() + b"\n" + np.array(rows, dtype="<i8").tobytes()


def _indexed(folder: Path) -> tuple[pd.DataFrame, dict[str, Signature]]:
    """The table that was last written, and the signature of each row's record.

    Both are empty where there is none, or it is not to be believed.
    """
    import numpy as np
    import pandas as pd

    try:
        parquet = (folder / "table.parquet").read_bytes()
        head, _, body = (folder / INDEX).read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["rules"] != _rules() or facts["parquet"] != hashlib.sha256(parquet).hexdigest():
            raise ValueError
        table = pd.read_parquet(io.BytesIO(parquet))
        signatures = np.frombuffer(body, dtype="<i8").reshape(len(table), 4).tolist()
        return table, dict(zip(table["trial_id"], map(tuple, signatures), strict=True))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return pd.DataFrame({"trial_id": []}), {}


def _has_csv(folder: Path) -> bool:
    """Whether `table.csv` is there as it was written beside the index."""
    with suppress(OSError, ValueError, TypeError, KeyError), (folder / INDEX).open("rb") as file:
        return tuple(json.loads(file.readline())["csv"]) == _signature(folder / "table.csv")
    return False


@functools.cache
def _rules() -> str:
    """A digest of the modules that decide what a record is: others may read it otherwise."""
    modules = (rules, architecture, datasets, recipe, protocol, question, record)
    sources = [Path(str(module.__file__)).read_bytes() for module in modules]
    return hashlib.sha256(b"".join(sources) + repr(COLUMNS).encode()).hexdigest()
