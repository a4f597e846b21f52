"""The compressed networks of a results folder: their records as a `DataFrame`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.results.files import COMPRESSED, RECORD, trial_folder
from dse.results.records import Damaged, ids, read_row
from dse.trial.compressed import COLUMNS, CompressedRecord, compressed_from, uncompressed
from dse.trial.compression import SETTINGS
from dse.trial.question import QUESTION
from dse.trial.record import record_from

if TYPE_CHECKING:
    import pandas as pd

FILE, CURVE = "network.bin", "curve.csv"
"""What a compressed network has in its folder: its file, and the curve of its retraining."""


def read(folder: Path, compressed_id: str) -> CompressedRecord:
    """The record of a compressed network.

    Raises `Damaged` where it was cut or changed, is not a record, or is that of another network.
    """
    path = trial_folder(folder, compressed_id, COMPRESSED) / RECORD
    try:
        record = compressed_from(read_row(path))
        if record.compressed_id != compressed_id:
            raise ValueError(f"it is the record of {record.compressed_id}")
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise Damaged(
            f"{path} is damaged ({reason}): remove its folder to compress the network again"
        ) from None
    return record


def load(folder: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """The compressed networks of a results folder, and its trials uncompressed, as one table.

    `trials` is the folder's table of trials. A row for each compressed network, and one for each
    trial with `method` none (see `dse.trial.compressed.uncompressed`); columns `COLUMNS`, sorted by
    question, then by settings. Raises `Damaged` with a line for each damaged record.
    """
    import pandas as pd

    rows, damaged = [], []
    for compressed_id in sorted(ids(folder, COMPRESSED)):
        try:
            rows.append(read(folder, compressed_id).row())
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise Damaged("\n".join(damaged))
    records: Any = trials.to_dict("records")
    whole = [uncompressed(record_from(row)) for row in records]
    table = pd.DataFrame([*whole, *rows], columns=list(COLUMNS))
    return table.sort_values([*QUESTION, *SETTINGS], kind="stable", ignore_index=True)
