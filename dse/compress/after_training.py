"""A trial, and the compression of its network: one task of a search for compressed bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dse.compress import worker
from dse.compress.request import Compression
from dse.data.store import Store
from dse.results import packs, records
from dse.results.files import RECORD, trial_folder
from dse.runner.task import Reporter, Stopped
from dse.sweep.messages import ANOTHER
from dse.training import worker as training
from dse.trial.compression import Settings
from dse.trial.question import Trial


def run(
    argument: tuple[Trial, Path, Store, str, Settings], reporter: Reporter
) -> dict[str, Any] | None:
    """Train a trial on a device, cpu or cuda, and compress its network; each is left out where it
    has a record.

    Sends (epoch, val_top1) after each epoch, those of the compression following the trial's.
    Returns the compressed network's row, where the training diverged with that status, or None
    where another process has saved one. Raises
    `Later` where another process works on either, and `ValueError` where the trial's weights were
    not kept.
    """
    trial, folder, store, device, settings = argument
    if trial.trial_id not in packs.ids(folder):
        training.run((trial, folder, store, device), reporter)
    if reporter.stopping:
        raise Stopped
    one = Compression(trial=trial, settings=settings)
    if not (trial_folder(folder, trial.trial_id) / one.weights).exists():
        raise ValueError(
            f"the network cannot be compressed: {folder} has the trial's record, but no "
            f"{one.weights}; {ANOTHER}"
        )
    after = _After(reporter, trial.protocol.recipe.epochs)
    row = worker.run((one, folder, store, device), after)
    answer = records.read(trial_folder(folder, trial.trial_id) / RECORD).answer
    if row and answer.status == "diverged":
        row |= {"status": answer.status, "diverged_step": answer.diverged_step}
    return row


class _After(Reporter):
    """Reports epochs as coming after a number of others."""

    def __init__(self, reporter: Reporter, epochs: int) -> None:
        self._reporter, self._epochs = reporter, epochs

    def __call__(self, value: tuple[int, float]) -> None:
        epoch, val_top1 = value
        self._reporter((self._epochs + epoch, val_top1))

    @property
    def stopping(self) -> bool:
        return self._reporter.stopping
