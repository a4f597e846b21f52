"""What a results folder knows of a point: its accuracy, and its compressed bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from dse.results import compressed, files, packs, records
from dse.results.files import COMPRESSED, RECORD, TRIALS, Signature
from dse.search.keys import ACCURACY, COMPRESSED_BYTES
from dse.trial.compression import Settings, compressed_id
from dse.trial.question import Trial


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers in a folder. With a `compression`, the network of each trial is compressed, and
    the answer is that of the network decoded from its file."""

    folder: Path
    compression: Settings | None

    def left(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of `trials` that have no answer yet."""
        left = {trial.trial_id for trial in records.unfinished(self.folder, trials)}
        if self.compression:
            ids = {self._id(trial): trial.trial_id for trial in trials}
            done = files.finished(self.folder, ids, COMPRESSED)
            done |= packs.ids(self.folder, COMPRESSED)
            left |= {trial_id for own, trial_id in ids.items() if own not in done}
        return [trial for trial in trials if trial.trial_id in left]

    def of(self, trials: Sequence[Trial]) -> dict[str, float]:
        """What was measured, means over trials that all have an answer: the validation accuracy in
        percent and, with a compression, the length of the file in bytes."""
        rows = [self._row(self._id(trial)) for trial in trials]
        found = {ACCURACY: fmean(row["val_top1"] for row in rows)}
        if self.compression:
            found[COMPRESSED_BYTES] = fmean(row["file_bytes"] for row in rows)
        return found

    def task_failed(self, trial: Trial) -> tuple[str, str]:
        """The kind and the id of what could not be made when the task of a trial failed: the trial,
        or, where it has a record, its compressed network."""
        if self.compression and not records.unfinished(self.folder, [trial]):
            return COMPRESSED, self._id(trial)
        return TRIALS, trial.trial_id

    def _id(self, trial: Trial) -> str:
        trial_id = trial.trial_id
        return compressed_id(trial_id, self.compression) if self.compression else trial_id

    def _row(self, own: str) -> Mapping[str, Any]:
        kind = COMPRESSED if self.compression else TRIALS
        path = files.trial_folder(self.folder, own, kind) / RECORD
        if not path.exists():
            pack = files.signature(files.pack_of(self.folder, kind))
            return _packed(self.folder, kind, pack)[own]
        read = compressed.read(self.folder, own) if self.compression else records.read(path)
        return read.row()


@lru_cache(2)
def _packed(folder: Path, kind: str, _: Signature | None) -> dict[str, Mapping[str, Any]]:
    """The packed rows by id; they are read again where the pack has changed."""
    name = "compressed_id" if kind == COMPRESSED else "trial_id"
    return {row[name]: row for row in packs.rows(folder, kind)}
