"""A compressed network measured again and compared with its record, in a worker."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch

from dse.coding.heads import BadFile
from dse.compress.measure import measure
from dse.compress.worker import training_of
from dse.data.store import Store
from dse.results.compressed import AGAIN, FILE
from dse.results.files import COMPRESSED, trial_folder
from dse.runner.task import Reporter, Stopped
from dse.training.circumstance import circumstance
from dse.trial.compressed import CompressedRecord, Measured

ELSEWHERE, ROUNDED = 0.1, 0.2
"""Points by which an accuracy may differ on another device than the record's: of a network in
floating point, and of one whose activations are rounded (of 25, on CIFAR-10, two differed by more
than 0.1, the most by 0.13)."""

ACCURACIES = ("top1", "top5", "val_top1")


def run(argument: tuple[CompressedRecord, Path, Store, str], reporter: Reporter) -> list[str]:
    """Measure a compressed network's file again; return its differences, a line each."""
    record, folder, store, name = argument
    torch.set_num_threads(1)

    def on_batch() -> None:
        if reporter.stopping:
            raise Stopped

    device = torch.device(name)
    training = training_of(record.trial, store, device, on_batch=on_batch)
    path = trial_folder(folder, record.compressed_id, COMPRESSED) / FILE
    was = record.measured
    try:
        now = measure(path.read_bytes(), was.fp32_bytes, was.epochs_total, training)
    except FileNotFoundError:
        return [f"{FILE} is missing; {AGAIN}"]
    except BadFile as error:
        return [f"{FILE}: {error}; {AGAIN}"]
    return list(differences(was, now, tolerance(record, circumstance(0.0, device).device)))


def tolerance(record: CompressedRecord, device: str) -> float:
    """Points by which an accuracy may differ from a record's where it is measured on `device`."""
    if device == record.circumstance.device:
        return 0.0
    return ROUNDED if record.settings.method == "ristretto" else ELSEWHERE


def differences(was: Measured, now: Measured, allowed: float) -> list[str]:
    """A line for each measure that differs; accuracies by more than is `allowed`, in points."""
    lines = []
    for name in (item.name for item in fields(Measured) if item.name not in UNCOMPARED):
        before, after = getattr(was, name), getattr(now, name)
        if abs(after - before) > allowed if name in ACCURACIES else after != before:
            lines.append(f"`{name}` was {before}, is {after}")
    return lines


UNCOMPARED = ("loss", "status", "classes_predicted", "weight_bits")
"""Measures that follow from the others, or whose last digits depend on the machine."""
