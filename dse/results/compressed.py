"""The compressed networks of a results folder: their records as a `DataFrame`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.results import packs, records
from dse.results.files import (
    COMPRESSED,
    RECORD,
    Damaged,
    finished,
    refused,
    signature,
    trial_folder,
    trial_ids,
)
from dse.results.records import read_row
from dse.trial.compressed import COLUMNS, CompressedRecord, compressed_from
from dse.trial.compression import SETTINGS, Settings
from dse.trial.question import QUESTION
from dse.trial.record import COLUMNS as OF_TRIALS

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("params", "macs")
"""What a table has of each trial's cost: that of the network as it was trained."""

FILE, CURVE = "network.bin", "curve.csv"
"""What a compressed network has in its folder: its file, and the curve of its retraining."""

AGAIN = records.AGAIN[COMPRESSED]
"""What to do about a damaged record or file."""


def named(names: Iterable[str]) -> list[str]:
    """The names, of some, of columns that only compressed networks have.

    >>> named(["sr", "file_bytes", "method"])
    ['file_bytes', 'method']
    """
    return [name for name in names if name in COLUMNS and name not in OF_TRIALS]


def refuse(names: Iterable[str], what: str) -> None:
    """Raise `ValueError` where a column of compressed networks is named in a command for trials."""
    for name in named(names):
        raise ValueError(f"`{name}` is of compressed networks; {what}")


def read(folder: Path, compressed_id: str) -> CompressedRecord:
    """The record of a compressed network.

    Raises `Damaged` where it was cut or changed, is not a record, or is that of another network.
    """
    path = trial_folder(folder, compressed_id, COMPRESSED) / RECORD
    row: dict[str, Any] = {}
    try:
        row = read_row(path, COMPRESSED)
        record = compressed_from(row)
    except (ValueError, TypeError, RecursionError) as error:
        raise refused(path, error, AGAIN, row.keys() - {*COLUMNS}) from None
    return record


def lost(folder: Path, compressed_ids: Iterable[str]) -> set[str]:
    """Those of some compressed networks that have a record, but no file of the length it states.

    Packed ones, which need no file, and damaged records are not among them.
    """
    found = set()
    for own in finished(folder, compressed_ids, COMPRESSED) - packs.ids(folder, COMPRESSED):
        with suppress(Damaged):
            state = signature(trial_folder(folder, own, COMPRESSED) / FILE)
            if state is None or state[1] != read(folder, own).measured.file_bytes:
                found.add(own)
    return found


def load(folder: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """The compressed networks of some trials, and the trials as they were trained, as one table.

    `trials` are rows of the folder's table, in its order. A row for each compressed network, and
    one for each trial (see `uncompressed`), sorted by question, then by settings; columns
    `COLUMNS`, then `COSTS`. Raises `Damaged` with a line for each damaged record.
    """
    import pandas as pd

    unpacked, damaged = _unpacked(folder)
    if damaged:
        raise Damaged("\n".join(damaged))
    rows = [*packs.rows(folder, COMPRESSED), *unpacked]
    whole, own = uncompressed(trials), pd.DataFrame(rows, columns=list(COLUMNS))
    own = own.merge(trials[["trial_id", *COSTS]], on="trial_id")
    if own.empty:
        return whole
    table = pd.concat([whole, own])
    return table.sort_values([*QUESTION, *SETTINGS], kind="stable", ignore_index=True)


def damages(folder: Path) -> list[str]:
    """A line for each compressed network whose record was cut or changed, or whose file is missing
    or is not that of its record, of those that are not in a pack."""
    return records.damages(folder, COMPRESSED, _check_file)


def _check_file(home: Path, row: Mapping[str, Any]) -> None:
    """Raise `Damaged` where the file of a compressed network has not the length and the SHA-256 in
    its row."""
    path = home / FILE
    state = signature(path)
    if state is None:
        raise refused(path, "it is missing", AGAIN)
    if (size := state[1]) != row.get("file_bytes"):
        wrong = f"it has {size} bytes, its record says {row.get('file_bytes')}"
        raise refused(path, wrong, AGAIN)
    if hashlib.sha256(path.read_bytes()).hexdigest() != row.get("file_sha256"):
        raise refused(path, "it is not the file of its record", AGAIN)


def _unpacked(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that are not in a pack, and a line for each damaged record."""
    rows, damaged = [], []
    unpacked = finished(folder, trial_ids(folder, COMPRESSED), COMPRESSED)
    for compressed_id in sorted(unpacked - packs.ids(folder, COMPRESSED)):
        try:
            rows.append(read(folder, compressed_id).row())
        except Damaged as error:
            damaged.append(str(error))
    return rows, damaged


def uncompressed(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials as rows of compressed networks: `method` none, every weight at fp32.

    They have no file: `compressed_id` and `file_sha256` are empty, `file_bytes` is `size_bytes`.
    """
    return trials.assign(
        **asdict(Settings(method="none", retrain_epochs=0)),
        compressed_id="",
        file_sha256="",
        file_bytes=trials["size_bytes"],
        fp32_bytes=trials["size_bytes"],
        stored_density=1.0,
        weight_bits=32.0,
        epochs_total=trials["epochs"],
    )[[*COLUMNS, *COSTS]]
