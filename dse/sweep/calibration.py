"""A calibration: what training took on this machine, and the file that keeps it.

It is kept in `data.cache` for each machine, number of workers and protocol.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dse.data.store import Store
from dse.results import atomic, files
from dse.runner.cores import cores, cpu_model
from dse.runner.runner import Workers
from dse.sweep.timing import Rates, fit, size_of, training_work
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import SEMANTICS, Trial

NETWORKS = 6
"""Maximum number of networks of a grid that are measured."""

SLACK = 1.25
"""Factor by which a network may lie outside the range of the measured ones."""

NOISE = 0.02
"""Typical relative difference between two measurements of one time."""

FORMAT = 3
"""Version of the files that are kept; one of another version is ignored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one network took: seconds, and bytes of memory.

    `macs` and `activations` are for one image; `ready` is the time until the first step, `step`
    that of a step, `judge` that of judging an image; `private` is the memory of a worker, `shared`
    what workers share; `header` is what a file of weights has in addition to the weights. `step`
    and `private` are extrapolated from steps of `timed` images, unless that is 0. `busy` is the
    steps' time divided by their CPU time.
    """

    macs: float
    activations: float
    ready: float
    step: float
    judge: float
    private: float
    shared: float
    header: float
    timed: int = 0
    busy: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was measured for one protocol on one machine; no `samples` where nothing was yet.

    `overhead` and `memory` are the seconds and bytes of the command itself; `path` is the file, or
    None where it is not kept. `busy` is that of a typical one of the latest samples.
    """

    path: Path | None
    samples: tuple[Sample, ...] = ()
    overhead: float = 0.0
    memory: float = 0.0
    date: str = ""
    busy: float = 1.0

    def rates(self, protocol: Protocol) -> Rates:
        """Rates of whole trainings of `protocol`, fitted to the samples (at least one)."""
        epochs = protocol.recipe.epochs
        steps = epochs * epoch_steps(protocol.train_images, protocol.recipe.batch_size)
        judged = epochs * protocol.validation_images + protocol.facts.test
        return fit(
            [training_work(protocol, s.macs, s.activations) for s in self.samples],
            [steps * s.step + judged * s.judge for s in self.samples],
            noise=NOISE,
        )

    def covers(self, trials: Sequence[Trial]) -> bool:
        """Whether enough networks were measured, as small and as large as those of `trials`."""
        asked = set(map(per_image, trials))
        known = {(sample.macs, sample.activations) for sample in self.samples}
        return len(known) >= min(NETWORKS, len(asked)) and all(
            min(k) <= min(a) * SLACK and max(a) <= max(k) * SLACK
            for a, k in zip(zip(*asked, strict=True), zip(*known, strict=True), strict=True)
        )


def per_image(trial: Trial) -> tuple[int, int]:
    """Multiply-accumulates and activations of a trial's network, for one image."""
    size = size_of(trial)
    return size.macs, size.activations


def conditions(trial: Trial, workers: Workers, store: Store) -> str:
    """All that a calibration depends on except the network's size, as JSON."""
    protocol = trial.protocol
    names = ("data", "manifest", "image_size", "augment", "normalise")
    values = {
        **_machine(),
        "at_a_time": workers_here(workers).count,
        "loaders": store.loaders,
        **{name: getattr(protocol, name) for name in names},
        "batch_size": protocol.recipe.batch_size,
        "precision": protocol.recipe.precision,
        "network": trial.network,
        "norm": trial.layout.norm,
    }
    if workers.processes > 1:
        values["processes"] = workers.processes
    if protocol.recipe.iter_size > 1:
        values["iter_size"] = protocol.recipe.iter_size
    if workers.device == "cuda":
        gpus = workers.settings if isinstance(workers.settings, tuple) else ()
        values["gpus"] = [gpu.name for gpu in gpus]
        values["mps"] = workers.mps
    return json.dumps(values, sort_keys=True)


def at_once(workers: Workers, trials: int) -> Workers:
    """Workers of which no more run at a time than there are trials, or cores."""
    return replace(workers, count=min(workers.count, max(trials, cores())))


def workers_here(workers: Workers) -> Workers:
    """The workers that calibrate: as many trainings at a time as will run on this machine, or
    processes of trainings on its cores; other engines' trials run elsewhere."""
    if workers.engine != "local":
        return Workers(count=1)
    each = workers.processes if workers.device == "cpu" else 1
    return Workers(
        count=workers.count * each,
        device=workers.device,
        settings=workers.settings,
        mps=workers.mps,
    )


@functools.cache
def _machine() -> dict[str, Any]:
    """This machine, and the software that trains on it."""
    return {
        "format": FORMAT,
        "machine": [platform.node(), cpu_model() or platform.processor(), cores()],
        "versions": [platform.python_version(), importlib.metadata.version("torch"), SEMANTICS],
    }


def load(conditions: str, store: Store) -> Calibration:
    """The calibration kept for some conditions; without samples where none is, or it is damaged."""
    path = file_of(conditions, store)
    try:
        row = files.unsealed(path.read_bytes())
        if row.pop("conditions") != conditions:
            raise ValueError("it was made under other conditions")
        samples = tuple(Sample(**sample) for sample in row.pop("samples"))
        return Calibration(path=path, samples=samples, **row)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Calibration(path=path)


def file_of(conditions: str, store: Store) -> Path:
    """The file of the calibration for some conditions."""
    digest = hashlib.sha256(conditions.encode()).hexdigest()
    return store.cache / "measured" / f"{digest[:20]}.json"


def save(calibration: Calibration, made_for: str) -> None:
    """Write a calibration to its file; raises `OSError` where that cannot be done."""
    row = asdict(calibration)
    path: Path = row.pop("path")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, files.sealed({"conditions": made_for, **row}))


def known_rates(trials: Sequence[Trial], workers: Workers, store: Store) -> Rates | None:
    """Rates of the first trial's protocol by a calibration made earlier; None without one."""
    workers = at_once(workers, len(trials))
    known = load(conditions(trials[0], workers, store), store)
    return known.rates(trials[0].protocol) if known.samples else None
