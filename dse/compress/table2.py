"""The ways to compress that Table 2 compares: those of the paper, and Ristretto's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dse.compress.closing import close
from dse.compress.launch import run
from dse.compress.request import WEIGHTS, Compression, Request
from dse.results.files import trial_folder
from dse.sweep.request import Request as SweepRequest
from dse.trial.compression import Settings
from dse.trial.question import Trial

CHOICES = (
    Settings(method="none"),
    Settings(method="svd"),
    Settings(method="prune"),
    Settings(method="deep_compression", bits=8),
    Settings(method="deep_compression", bits=6),
    Settings(method="ristretto"),
)
"""`none` retrains too: what the others are compared with, at equal epochs in all."""


def wanted(trials: Sequence[Trial], sweep: SweepRequest) -> Request:
    """The compressions of some trials, where and as a sweep runs."""
    return Request(
        compressions=tuple(Compression(trial=t, settings=s) for t in trials for s in CHOICES),
        folder=sweep.folder,
        store=sweep.store,
        workers=sweep.workers,
        plan=sweep.plan,
    )


def compress(trials: Sequence[Trial], sweep: SweepRequest, command: str) -> int:
    """Compress the networks of those trials that have finished; return how many are then missing.

    Raises `RequestError` as `dse.compress.launch.run` does.
    """
    request = wanted([t for t in trials if _has_weights(sweep.folder, t)], sweep)
    missing = run(request, command=command)
    close(request)
    return missing


def _has_weights(folder: Path, trial: Trial) -> bool:
    return (trial_folder(folder, trial.trial_id) / WEIGHTS).exists()
