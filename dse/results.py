"""Records on disk <-> a `DataFrame`.

A results folder holds `trials/<trial_id>/`: `record.json` and what else a trial leaves, or
`failure.json` where it failed. Records are the only truth: tables are rebuilt from them at any
time. A finished trial's folder appears whole or not at all, and the first one stays; hidden names
are unfinished work that nobody reads.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.trial import ANSWER, COLUMNS, ID_DIGITS, QUESTION, Record, record_from

if TYPE_CHECKING:
    import pandas as pd

RECORD, FAILURE = "record.json", "failure.json"


class Damaged(ValueError):
    """Records that are not to be believed: a line each, with the file, the reason and a way out."""


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where a trial leaves its files."""
    return folder / "trials" / trial_id


def is_results(folder: Path) -> bool:
    """Whether a sweep may use `folder`: it is new, empty, or holds the trials of other sweeps.

    Raises `OSError` where it cannot be read.
    """
    trials = folder / "trials"
    try:
        named = all(re.fullmatch(f"[0-9a-f]{{{ID_DIGITS}}}", name) for name in _visible(trials))
        return (trials.is_dir() and named) or not _visible(folder)
    except NotADirectoryError:
        return False


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably: it is the old file or the new one, never a mixture.

    Raises `OSError` where that cannot be done; the old file is then still there.
    """
    with _hidden(path) as temporary:
        _write_new(temporary, content)
        temporary.replace(path)
    _sync(path.parent)


def save(folder: Path, record: Record, files: Mapping[str, bytes]) -> bool:
    """Leave a trial's record and its files; False where another one's were first.

    They become visible together, by one rename that an earlier record refuses, so that neither
    a kill nor a second writer can leave a mixture. What a failed attempt left there goes. Raises
    `OSError` where the folder cannot be written.
    """
    home = trial_folder(folder, record.trial.trial_id)
    home.parent.mkdir(parents=True, exist_ok=True)
    with _hidden(home) as unfinished, _hidden(home) as remains:
        unfinished.mkdir()
        for name, content in {**files, RECORD: _sealed(record.row())}.items():
            _write_new(unfinished / name, content)
        _sync(unfinished)
        try:
            if not (home / RECORD).exists():
                with suppress(FileNotFoundError):
                    home.rename(remains)
                if (remains / RECORD).exists():  # another writer came in between
                    remains.rename(home)
            unfinished.rename(home)
        except OSError:
            if not (home / RECORD).exists():
                raise
            return False
    _sync(home.parent)
    return True


def fail(folder: Path, trial_id: str, reason: Mapping[str, Any]) -> None:
    """Leave word of a failed trial, unless its record is there.

    It is no record: the next sweep tries the trial again. Raises `OSError` where the folder
    cannot be written.
    """
    home = trial_folder(folder, trial_id)
    home.mkdir(parents=True, exist_ok=True)
    with _hidden(home) as temporary:
        _write_new(temporary, (json.dumps(dict(reason), indent=1) + "\n").encode())
        if not (home / RECORD).exists():
            temporary.replace(home / FAILURE)


def finished(folder: Path, trial_ids: Iterable[str]) -> set[str]:
    """Those of `trial_ids` whose record is there."""
    return {i for i in trial_ids if (trial_folder(folder, i) / RECORD).exists()}


def read(path: Path) -> Record:
    """The record in a trial's `record.json`.

    Raises `Damaged` where it is cut, changed, no record or another trial's.
    """
    try:
        row = json.loads(path.read_bytes())
        if not isinstance(row, dict):
            raise ValueError("it is no JSON object")
        if row.pop("sha256", None) != _digest(row):
            raise ValueError("its checksum is wrong")
        record = record_from({k: math.nan if v is None else v for k, v in row.items()})
        if path.parent.name != record.trial.trial_id:
            raise ValueError(f"it is the record of {record.trial.trial_id}")
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise Damaged(
            f"{path} is damaged ({reason}): remove its folder to train the trial again"
        ) from None
    return record


def load(folder: Path) -> pd.DataFrame:
    """The table of all records in a results folder: a row a trial, columns `COLUMNS`.

    Rows are sorted by question, so that the table does not depend on who finished first. Raises
    `Damaged` with a line for each damaged record.
    """
    import pandas as pd  # a third of a second that `--help` and a bad request need not wait

    rows, damaged = [], []
    for path in sorted((folder / "trials").glob(f"[0-9a-f]*/{RECORD}")):
        try:
            rows.append(read(path).row())
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise Damaged("\n".join(damaged))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(list(QUESTION), kind="stable", ignore_index=True)


def write_tables(folder: Path) -> pd.DataFrame:
    """Rebuild `table.csv` and `table.parquet` from the records; returns the table.

    In the CSV a loss that is NaN is an empty cell; no cell is a formula to a spreadsheet.
    """
    table = load(folder)
    write(folder / "table.csv", table.to_csv(index=False).encode())
    write(folder / "table.parquet", table.to_parquet(index=False))
    return table


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are promised to be equal between runs on one machine."""
    return table[["trial_id", *QUESTION, *ANSWER]]


# Files --------------------------------------------------------------------------------------


def _visible(folder: Path) -> list[str]:
    """The names in a folder but for hidden ones; none where it does not exist."""
    try:
        return [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []


@contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """A new hidden name beside `path`, gone in the end whatever it has become."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield hidden
    finally:
        if hidden.is_dir():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    """A new file that holds `content` durably."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sealed(row: Mapping[str, Any]) -> bytes:
    """A record's file: its row, NaN as null, and a checksum over both names and values."""
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return (json.dumps({**plain, "sha256": _digest(plain)}, indent=1) + "\n").encode()


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
