"""Records on disk <-> a `DataFrame`.

A results folder holds `trials/<trial_id>/record.json` and what else a trial leaves beside it.
Records are the only truth: tables are rebuilt from them at any time. A record appears whole or
not at all, and the first one of a trial stays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dse.trial import ANSWER, COLUMNS, QUESTION, Record, record_from

RECORD, FAILURE = "record.json", "failure.json"


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where a trial leaves its files."""
    return folder / "trials" / trial_id


def is_results(folder: Path) -> bool:
    """Whether `folder` is a results folder, or new, or empty: whether a sweep may use it."""
    return not folder.exists() or (folder / "trials").is_dir() or not any(folder.iterdir())


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably: it is the old file or the new one, never a mixture."""
    temporary = _temporary(path, content)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def save(folder: Path, record: Record, files: Mapping[str, bytes]) -> bool:
    """Leave a trial's files, then its record; False where another one's record was first.

    The record is linked into place, not renamed, so that a late one cannot overwrite the first.
    """
    home = trial_folder(folder, record.trial.trial_id)
    home.mkdir(parents=True, exist_ok=True)
    if (home / RECORD).exists():
        return False
    for name, content in files.items():
        write(home / name, content)
    temporary = _temporary(home / RECORD, _sealed(record.row()))
    try:
        os.link(temporary, home / RECORD)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    (home / FAILURE).unlink(missing_ok=True)
    _sync(home)
    return True


def fail(folder: Path, trial_id: str, reason: Mapping[str, Any]) -> None:
    """Leave word of a failed trial. It is no record: the next sweep tries the trial again."""
    home = trial_folder(folder, trial_id)
    home.mkdir(parents=True, exist_ok=True)
    write(home / FAILURE, (json.dumps(dict(reason), indent=1) + "\n").encode())


def finished(folder: Path, trial_ids: Iterable[str]) -> set[str]:
    """Those of `trial_ids` whose record is there."""
    return {i for i in trial_ids if (trial_folder(folder, i) / RECORD).exists()}


def read(path: Path) -> Record:
    """The record in a `record.json`.

    Raises `ValueError`, naming the file, where it is cut, changed or no record.
    """
    try:
        row = json.loads(path.read_bytes())
        if not isinstance(row, dict):
            raise ValueError("it is no JSON object")
        if row.pop("sha256", None) != _digest(row):
            raise ValueError("its checksum is wrong")
        return record_from({k: math.nan if v is None else v for k, v in row.items()})
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def load(folder: Path) -> pd.DataFrame:
    """The table of all records in a results folder: a row a trial, columns `COLUMNS`.

    Rows are sorted by question, so that the table does not depend on who finished first. Raises
    `ValueError` for a damaged record.
    """
    paths = sorted((folder / "trials").glob(f"*/{RECORD}"))
    rows = [read(path).row() for path in paths]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(list(QUESTION), kind="stable", ignore_index=True)


def write_tables(folder: Path) -> pd.DataFrame:
    """Rebuild `table.csv` and `table.parquet` from the records; returns the table."""
    table = load(folder)
    write(folder / "table.csv", table.to_csv(index=False).encode())
    write(folder / "table.parquet", table.to_parquet(index=False))
    return table


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are promised to be equal between runs on one machine."""
    return table[["trial_id", *QUESTION, *ANSWER]]


def _sealed(row: Mapping[str, Any]) -> bytes:
    plain = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }
    return (json.dumps({**plain, "sha256": _digest(plain)}, indent=1) + "\n").encode()


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _temporary(path: Path, content: bytes) -> Path:
    """A file beside `path` that holds `content` durably."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
