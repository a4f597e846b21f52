"""One trial in a worker: claimed, trained on one thread, checkpointed, saved."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors

from dse.data import folder as image_folder
from dse.data.store import Store
from dse.results import checkpoints
from dse.results.locks import claim
from dse.results.records import save
from dse.runner.task import Later, Reporter, Stopped
from dse.training.execute import Callbacks, execute
from dse.training.loop import Epoch
from dse.training.processes import several
from dse.training.ranks import Ranks
from dse.trial.question import Trial

CHECKPOINT_SECONDS = 10.0
"""Minimum seconds between two checkpoints of a trial."""

CHECKPOINT_COST = 100
"""Minimum time between two checkpoints, as a multiple of what one takes."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def run(
    argument: tuple[Trial, Path, Store, str] | tuple[Trial, Path, Store, str, int],
    reporter: Reporter,
) -> dict[str, Any] | None:
    """Execute a trial on a device, cpu or cuda, and save it in a results folder; on the CPU
    it has one thread. A fifth argument is the number of processes that share the trial.

    Sends (epoch, val_top1) each epoch, the first time after it has resumed followed by `val_top1`
    of all epochs before; returns the record's row, or None where another process has saved one.
    Raises `Later` where another process trains the trial.
    """
    trial, folder, store, device, *more = argument
    with claim(folder, trial.trial_id) as claimed:
        if claimed == "held":
            raise Later
        row = None
        if claimed == "mine":
            torch.set_num_threads(1)
            keep_memory()

            def help_out(ranks: Ranks) -> None:
                states = checkpoints.newest(folder, trial.trial_id)
                execute(trial, store=store, states=states, device=torch.device(device), ranks=ranks)

            with several(more[0] if more else 1, device, help_out, reporter.fail) as ranks:
                row = _train_and_save(trial, folder, store, torch.device(device), reporter, ranks)
        checkpoints.clear(folder, trial.trial_id)
        return row


def _train_and_save(
    trial: Trial,
    folder: Path,
    store: Store,
    device: torch.device,
    reporter: Reporter,
    ranks: Ranks,
) -> dict[str, Any] | None:
    checkpointer = Checkpointer(folder, trial.trial_id, reporter)
    names, before = metadata(trial, store), list[float]()

    def on_resume(curve: Sequence[float]) -> None:
        before[:] = curve

    def on_epoch(epoch: int, val_top1: float) -> None:
        with suppress(Stopped):  # it stops where its state can be kept
            reporter((epoch, val_top1, *before[: epoch - 1]))  # none of an attempt that died
        before.clear()

    outcome = execute(
        trial,
        Callbacks(
            on_epoch=on_epoch,
            on_step=checkpointer.on_step,
            on_judged=checkpointer.tick,
            on_resume=on_resume,
        ),
        store=store,
        states=checkpoints.newest(folder, trial.trial_id),
        device=device,
        ranks=ranks,
    )
    files = {
        "curve.csv": curve_csv(outcome.curves),
        "weights.safetensors": safetensors(outcome.weights, names),
    }
    if outcome.sparse:
        files["sparse.safetensors"] = safetensors(dict(outcome.sparse), names)
    if save(folder, outcome.record, files):
        return outcome.record.row()
    print(
        f"{trial.trial_id}: another process saved its record first; this one is discarded",
        file=sys.stderr,
    )
    return None


def metadata(trial: Trial, store: Store) -> dict[str, str] | None:
    """What the weights' file says besides them: the names of the classes of a folder of images."""
    if trial.protocol.data != "image_folder":
        return None
    return {"classes": json.dumps(image_folder.planned(trial.protocol, store).classes)}


class Checkpointer:
    """Writes a trial's checkpoint from time to time, and when the trial must stop; it stops there.

    It remembers the last step and how to get its state: what is judged after that step is judged
    again when the trial resumes. Raises `Stopped` where the trial must stop, and `OSError` where a
    checkpoint cannot be written.
    """

    def __init__(self, folder: Path, trial_id: str, reporter: Reporter) -> None:
        self._folder, self._trial_id, self._reporter = folder, trial_id, reporter
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._step = self._kept = 0
        self._state: Callable[[], bytes] = bytes

    def on_step(self, step: int, state: Callable[[], bytes]) -> None:
        """Called after each step with the number of steps done."""
        self._step, self._state = step, state
        self.tick()

    def tick(self) -> None:
        """Called often: writes a checkpoint where one is due."""
        stopping, start = self._reporter.stopping, time.monotonic()
        if self._step > self._kept and (stopping or start >= self._due):
            checkpoints.save(self._folder, self._trial_id, self._step, self._state())
            end = time.monotonic()
            self._due = end + max(CHECKPOINT_SECONDS, CHECKPOINT_COST * (end - start))
            self._kept = self._step
        if stopping:
            raise Stopped


def keep_memory() -> None:
    """Have glibc keep what is freed; else each step asks the system for its memory again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)


def curve_csv(curves: Sequence[Sequence[Epoch]]) -> bytes:
    """The curves of all attempts (from 1) as CSV: a line per epoch."""
    names = [f.name for f in fields(Epoch)]
    lines = [",".join(["attempt", *names])]
    for attempt, curve in enumerate(curves, 1):
        lines += [",".join(str(v) for v in (attempt, *astuple(epoch))) for epoch in curve]
    return "\n".join([*lines, ""]).encode()
