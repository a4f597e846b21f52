"""The learning curves of finished trials: what was measured after each epoch."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.results.files import trial_folder

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("lr", "train_loss", "train_top1", "val_top1", "val_loss")
"""The columns that may be drawn over `epoch`: the learning rate of its last step, nats, percent."""


def load(folder: Path, trial_ids: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """The curves of trials, and the trials without a readable one.

    A row for each epoch, in order: `trial_id`, `epoch` (from 1), and the `MEASURES`, NaN where a
    loss was not finite. Of a trial that was restarted it is the last attempt, which its record is
    about.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    missing = []
    for trial_id in trial_ids:
        try:
            rows += _curve(trial_folder(folder, trial_id) / "curve.csv", trial_id)
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            missing.append(trial_id)
    return pd.DataFrame(rows, columns=["trial_id", "epoch", *MEASURES]), missing


def _curve(path: Path, trial_id: str) -> list[dict[str, Any]]:
    """The last attempt of one trial; raises an error where it is missing or damaged."""
    with path.open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    if not every:
        raise ValueError("it is empty")
    attempts = [int(row.get("attempt") or 1) for row in every]
    rows = [row for row, attempt in zip(every, attempts, strict=True) if attempt == max(attempts)]
    return [
        {
            "trial_id": trial_id,
            "epoch": int(row["epoch"]),
            **{name: _finite(row[name]) for name in MEASURES},
        }
        for row in rows
    ]


def _finite(text: str) -> float:
    """A number; one that is not finite is NaN."""
    number = float(text)
    return number if math.isfinite(number) else math.nan
