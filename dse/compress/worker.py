"""One compression in a worker: claimed, fitted, written to a file, measured, saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dse.coding.container import encode
from dse.compress.fit import fit
from dse.compress.measure import measure
from dse.compress.request import Compression
from dse.compress.retrain import Retraining
from dse.data import memory
from dse.data.resident import on_device
from dse.data.store import Store
from dse.results import records
from dse.results.compressed import CURVE, FILE
from dse.results.files import COMPRESSED, RECORD, trial_folder
from dse.results.locks import claim
from dse.runner.task import Later, Reporter, Stopped
from dse.training import cuda, trained
from dse.training.circumstance import circumstance
from dse.training.execute import images_at_a_time
from dse.training.loop import OnEpoch
from dse.training.worker import keep_memory
from dse.trial.compressed import CompressedRecord
from dse.trial.question import Trial


def run(
    argument: tuple[Compression, Path, Store, str], reporter: Reporter
) -> dict[str, Any] | None:
    """Compress a trial's network on a device, cpu or cuda, and save it in the results folder.

    On the CPU it has one thread. Sends (epoch, val_top1) after each epoch of retraining, and
    at the end as if that were one more; returns the record's row, or None where another process
    has saved one. Raises `Later` where another process makes it.
    """
    one, folder, store, device = argument
    with claim(folder, one.compressed_id, COMPRESSED) as claimed:
        if claimed == "held":
            raise Later
        if claimed == "done":
            return None
        torch.set_num_threads(1)
        keep_memory()
        return _compress(one, folder, store, torch.device(device), reporter)


def _compress(
    one: Compression, folder: Path, store: Store, device: torch.device, reporter: Reporter
) -> dict[str, Any] | None:
    start = time.perf_counter()
    parent = records.read(trial_folder(folder, one.trial.trial_id) / RECORD)
    curve: list[tuple[int, float]] = []

    def on_epoch(epoch: int, val_top1: float) -> None:
        curve.append((epoch, val_top1))
        reporter((epoch, val_top1))

    def on_batch() -> None:
        if reporter.stopping:
            raise Stopped

    training = training_of(one.trial, store, device, on_epoch, on_batch)
    own_recipe = training.recipe.restarted(parent.answer.restarts)  # what trained the network
    training = replace(training, recipe=own_recipe)
    model = fit(trained.load(folder, one.trial.trial_id, one.weights), training, one.settings)
    content = encode(model, one.settings.coder)
    record = CompressedRecord(
        trial=one.trial,
        settings=one.settings,
        measured=measure(content, parent.answer.size_bytes, one.epochs, training),
        circumstance=circumstance(time.perf_counter() - start, device),
    )
    with suppress(Stopped):  # it is done: what remains is to save it
        reporter((one.settings.retrain_epochs + 1, record.measured.val_top1))
    files = {FILE: content, **({CURVE: _csv(curve)} if curve else {})}
    own, row = one.compressed_id, record.row()
    return row if records.save_row(folder, own, row, files, COMPRESSED) else None


def training_of(
    trial: Trial,
    store: Store,
    device: torch.device,
    on_epoch: OnEpoch = lambda epoch, val_top1: None,
    on_batch: Callable[[], None] = lambda: None,
) -> Retraining:
    """What a trial's network was trained with, on a device.

    Raises `ValueError` where the data are missing.
    """
    if device.type == "cuda":
        cuda.prepare()
    return Retraining(
        data=on_device(memory.load(trial.protocol, store), device),
        recipe=trial.protocol.recipe,
        seed=trial.seed,
        images_at_a_time=images_at_a_time(trial, device),
        device=device,
        on_epoch=on_epoch,
        on_batch=on_batch,
    )


def _csv(curve: Sequence[tuple[int, float]]) -> bytes:
    """The curve of retraining: `val_top1` (percent) after each epoch."""
    lines = ["epoch,val_top1", *(f"{epoch},{val_top1}" for epoch, val_top1 in curve)]
    return "\n".join([*lines, ""]).encode()
