"""One trial executed: the one place where model, data and training meet."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as encode
from torch import Tensor, nn

from dse.cost import cost
from dse.data import Data, load
from dse.model import SqueezeNet, initialise
from dse.results import claim, save
from dse.runner import Later, Tell
from dse.train import Epoch, OnEpoch, Training, judge, train
from dse.trial import Answer, Circumstance, Record, Trial, status_of

EVALUATION_PIXELS = 2**17
"""Pixels of a picture plane that are judged at a time, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All that a finished trial leaves: its record, its curve and its trained tensors."""

    record: Record
    curve: tuple[Epoch, ...]
    weights: dict[str, Tensor]


def execute(trial: Trial, on_epoch: OnEpoch = lambda epoch, accuracy: True) -> Outcome:
    """Train one configuration from scratch and judge it once on the whole test set.

    Raises `ValueError` where the data are not the declared ones. On one machine's processor and
    with one thread, equal trials give equal answers and bit-equal weights.
    """
    start = time.perf_counter()
    data = load(trial.protocol)
    model = SqueezeNet(trial.architecture)
    initialise(model, trial.protocol.recipe.init, trial.seed)
    model.to(memory_format=torch.channels_last)  # a quarter faster on a processor
    trained = train(
        model,
        data,
        lambda: data.batches(data.validation, _together(trial)),
        trial.protocol.recipe,
        seed=trial.seed,
        on_epoch=on_epoch,
    )
    answer = _answer(trial, model, data, trained)
    record = Record(
        trial=trial, answer=answer, circumstance=_circumstance(time.perf_counter() - start)
    )
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()  # a norm's count of batches is no weight
    }
    return Outcome(record=record, curve=trained.curve, weights=weights)


def run(argument: tuple[Trial, Path], tell: Tell) -> dict[str, Any] | None:
    """In a worker: execute a trial on one thread and leave it in a results folder.

    Tells (epoch, val_top1) each epoch; returns the record's row, or None where another's record
    is there. Raises `Later` where another process trains the trial.
    """
    trial, folder = argument
    with claim(folder, trial.trial_id) as standing:
        if standing == "held":
            raise Later
        return _train_and_save(trial, folder, tell) if standing == "mine" else None


def _train_and_save(trial: Trial, folder: Path, tell: Tell) -> dict[str, Any] | None:
    torch.set_num_threads(1)

    def on_epoch(epoch: int, accuracy: float) -> bool:
        tell((epoch, accuracy))
        return True

    outcome = execute(trial, on_epoch)
    files = {"curve.csv": curve_csv(outcome.curve), "weights.safetensors": encode(outcome.weights)}
    if save(folder, outcome.record, files):
        return outcome.record.row()
    print(f"{trial.trial_id}: another's record was first, this one is discarded", file=sys.stderr)
    return None


def _together(trial: Trial) -> int:
    """How many pictures are judged at a time: fewer calls for small ones, less memory for large."""
    return max(EVALUATION_PIXELS // trial.protocol.image_size**2, 32)


def curve_csv(curve: tuple[Epoch, ...]) -> bytes:
    """A curve as CSV: a line per epoch."""
    names = [f.name for f in fields(Epoch)]
    rows = [",".join(str(getattr(epoch, name)) for name in names) for epoch in curve]
    return "\n".join([",".join(names), *rows, ""]).encode()


def _answer(trial: Trial, model: nn.Module, data: Data, trained: Training) -> Answer:
    test = judge(model, lambda: data.batches(data.test, _together(trial)))
    validation = trained.validation
    price = cost(trial.architecture, trial.protocol.image_size)
    last = trained.curve[-1] if trained.curve else None
    return Answer(
        params=price.params,
        macs=price.macs,
        activations=price.activations,
        peak_activation_bytes=price.peak_activation_bytes,
        size_bytes=price.size_bytes,
        status=status_of(
            val_top1=validation.top1,
            pictures=validation.pictures,
            classes=data.facts.num_classes,
            predicted=validation.classes_predicted,
            step=trained.diverged_step,
        ),
        top1=test.top1,
        top5=test.top5,
        loss=test.loss,
        val_top1=validation.top1,
        val_loss=validation.loss,
        train_top1=last.train_top1 if last else 0.0,
        train_loss=last.train_loss if last else float("nan"),
        classes_predicted=validation.classes_predicted,
        steps=trained.steps,
        diverged_step=trained.diverged_step,
    )


def _circumstance(seconds: float) -> Circumstance:
    versions = {
        "dse": importlib.metadata.version("squeezenet-dse"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return Circumstance(
        seconds=round(seconds, 3),
        device="cpu",
        threads=torch.get_num_threads(),
        machine=platform.machine() or "unknown",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=" ".join(f"{name}={version}" for name, version in versions.items()),
    )
