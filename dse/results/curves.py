"""The learning curves of finished trials: what was measured after each epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.results import packs
from dse.results.files import COMPRESSED, TRIALS, Damaged, refused, trial_folder
from dse.results.records import AGAIN, check_file

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("lr", "train_loss", "train_top1", "val_top1", "val_loss")
"""The columns that may be drawn over `epoch`: the learning rate of its last step, nats, percent."""
COLUMNS = {
    TRIALS: ("attempt", "epoch", "step", *MEASURES),
    COMPRESSED: ("epoch", "val_top1"),
}
"""The columns of a trial's training, and of the retraining of a compressed network."""
NEUTRAL = {"attempt": "1", "step": "0"}
"""What a curve without these columns has there."""


def load(folder: Path, trial_ids: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """The curves of trials, and the trials without a readable one.

    A row for each epoch, in order: `trial_id`, `epoch` (from 1), and the `MEASURES`, NaN where a
    loss was not finite. Of a trial that was restarted it is the last attempt, which its record is
    about. Raises `Damaged` where a pack cannot be trusted.
    """
    import numpy as np
    import pandas as pd

    wanted = list(trial_ids)
    packed = packs.curves(folder, wanted)
    own: dict[str, list[Any]] = {name: [] for name in ("trial_id", *COLUMNS[TRIALS])}
    for trial_id in set(wanted) - packs.ids(folder):
        curve = read(folder, trial_id)
        own["trial_id"] += [trial_id] * len(curve.get("epoch", ()))
        for name, values in curve.items():
            own[name] += values
    parts = packed, pd.DataFrame(own)
    every = pd.concat([part for part in parts if len(part)] or [parts[1]])
    last = every["attempt"] == every.groupby("trial_id")["attempt"].transform("max")
    known = every.loc[last, ["trial_id", "epoch", *MEASURES]].replace([np.inf, -np.inf], np.nan)
    places = known["trial_id"].map({own: place for place, own in enumerate(wanted)})
    known = known.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    with_one = set(known["trial_id"])
    return known, [trial_id for trial_id in wanted if trial_id not in with_one]


def read(folder: Path, own: str, kind: str = TRIALS) -> dict[str, list[float]]:
    """The curve of a trial that has a folder, all attempts; empty where it is damaged or missing.

    With `kind`, that of a compressed network's retraining.
    """
    try:
        return checked(folder, own, kind)
    except Damaged:
        return {}


def checked(folder: Path, own: str, kind: str = TRIALS) -> dict[str, list[float]]:
    """The curve as `read` gives it; raises `Damaged` where it was cut or changed."""
    path = trial_folder(folder, own, kind) / "curve.csv"
    try:
        content = path.read_bytes()
        check_file(path, content)
        if not content:
            raise ValueError("it is empty")
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        names = COLUMNS[kind] if rows else ()
        return {name: [_number(name, row) for row in rows] for name in names}
    except FileNotFoundError:
        return {}
    except Damaged:
        raise
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise refused(path, error, AGAIN[kind]) from None


def _number(name: str, row: Mapping[str, str]) -> float:
    """A cell; a column that a curve may lack has its neutral value."""
    text = row[name] if name not in NEUTRAL else row.get(name) or NEUTRAL[name]
    return int(text) if name in ("attempt", "epoch", "step") else float(text)
