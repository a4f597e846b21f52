"""One trial in a worker: claimed, trained on one thread, checkpointed, saved."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as encode

from dse.data.published import Store
from dse.results import checkpoints
from dse.results.locks import claim
from dse.results.records import save
from dse.runner.task import Later, Reporter, Stopped
from dse.training.execute import curve_csv, execute
from dse.trial.question import Trial

KEEP_EVERY, KEEP_SHARE = 10.0, 100
"""Seconds between two kept states of a trial, at least, and as multiples of what one takes."""


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def run(argument: tuple[Trial, Path, Store], tell: Reporter) -> dict[str, Any] | None:
    """In a worker: execute a trial on one thread and leave it in a results folder.

    Tells (epoch, val_top1) each epoch; returns the record's row, or None where another's record
    is there. Raises `Later` where another process trains the trial.
    """
    trial, folder, store = argument
    with claim(folder, trial.trial_id) as standing:
        if standing == "held":
            raise Later
        row = _train_and_save(trial, folder, store, tell) if standing == "mine" else None
        checkpoints.clear(folder, trial.trial_id)
        return row


def _train_and_save(
    trial: Trial, folder: Path, store: Store, tell: Reporter
) -> dict[str, Any] | None:
    torch.set_num_threads(1)
    keep_memory()
    outcome = execute(
        trial,
        lambda epoch, accuracy: _say(tell, epoch, accuracy),
        store=store,
        on_step=Keeper(folder, trial.trial_id, tell),
        states=checkpoints.newest(folder, trial.trial_id),
    )
    files = {"curve.csv": curve_csv(outcome.curves), "weights.safetensors": encode(outcome.weights)}
    if save(folder, outcome.record, files):
        return outcome.record.row()
    print(f"{trial.trial_id}: another's record was first, this one is discarded", file=sys.stderr)
    return None


def _say(tell: Reporter, epoch: int, accuracy: float) -> None:
    """Report an epoch's end; a trial that shall stop does so where its state is kept."""
    with suppress(Stopped):
        tell((epoch, accuracy))


class Keeper:
    """Keeps a trial's state now and then, and when the trial is asked to stop; it stops there.

    One state is kept of a step: what is judged behind it is judged again.

    Raises `Stopped` then, and `OSError` where the state cannot be written.
    """

    def __init__(self, folder: Path, trial_id: str, tell: Reporter) -> None:
        self._folder, self._trial_id, self._tell = folder, trial_id, tell
        self._due, self._kept = time.monotonic() + KEEP_EVERY, 0

    def __call__(self, step: int, state: Callable[[], bytes]) -> None:
        """Told how many steps are done; keeps the `state` where that is due."""
        stopping, start = self._tell.stopping, time.monotonic()
        if step > self._kept and (stopping or start >= self._due):
            checkpoints.save(self._folder, self._trial_id, step, state())
            end = time.monotonic()
            self._due, self._kept = end + max(KEEP_EVERY, KEEP_SHARE * (end - start)), step
        if stopping:
            raise Stopped


def keep_memory() -> None:
    """Have glibc keep what is freed: else each step asks the system for its maps anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)
