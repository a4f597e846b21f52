"""Calibration: what training takes on this machine, measured on a few networks and kept.

Each network is trained for some seconds, as many at a time as the sweep will train; where a step
takes long, with smaller batches. A calibration ends within `LIMIT`, and is kept in `data.cache` for
each machine, number of workers and protocol, unless the machine was busy with something else.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import json
import math
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from dse.analysis.rendering import counted
from dse.data.store import Store
from dse.results import atomic, files
from dse.runner.cores import cores
from dse.runner.events import Failed, Finished
from dse.runner.runner import Runner, Workers
from dse.sweep.timing import Rates, fit, size_of, training_work
from dse.trial.names import duration
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import SEMANTICS, Trial

MEASURE = "dse.training.measure:measure"
SECONDS = 3.0
"""Seconds of steps that are timed of each network."""

LIMIT, EVERY = 180.0, 10.0
"""Maximum seconds of a calibration, and minimum seconds between two lines about its progress."""

NETWORKS, KEPT = 6, 64
"""Maximum number of networks of a grid that are measured, and of samples that are kept."""

SLACK = 1.25
"""Factor by which a network may lie outside the range of the measured ones."""

NOISE = 0.02
"""Typical relative difference between two measurements of one time."""

BUSY = 1.3
"""Times their processor time that steps may take in a calibration that is kept."""

FORMAT = 3
"""Version of the files that are kept; one of another version is ignored."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one network took: seconds, and bytes of memory.

    `macs` and `activations` are for one picture; `ready` is the time until the first step, `step`
    that of a step, `judge` that of judging a picture; `private` is the memory of a worker, `shared`
    what workers share; `header` is what a file of weights has in addition to the weights. `step`
    and `private` are extrapolated from steps of `timed` pictures, unless that is 0. `busy` is the
    steps' time divided by their processor time.
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
        steps = epochs * epoch_steps(protocol.train_pictures, protocol.recipe.batch_size)
        judged = epochs * protocol.validation_pictures + protocol.facts.test
        return fit(
            [training_work(protocol, s.macs, s.activations) for s in self.samples],
            [steps * s.step + judged * s.judge for s in self.samples],
            noise=NOISE,
        )

    def covers(self, trials: Sequence[Trial]) -> bool:
        """Whether enough networks were measured, as small and as large as those of `trials`."""
        asked = set(map(_size, trials))
        known = {(sample.macs, sample.activations) for sample in self.samples}
        return len(known) >= min(NETWORKS, len(asked)) and all(
            min(k) <= min(a) * SLACK and max(a) <= max(k) * SLACK
            for a, k in zip(zip(*asked, strict=True), zip(*known, strict=True), strict=True)
        )


def _size(trial: Trial) -> tuple[int, int]:
    """Multiply-accumulates and activations of a trial's network, for one picture."""
    size = size_of(trial)
    return size.macs, size.activations


def conditions(trial: Trial, workers: Workers, store: Store) -> str:
    """All that a calibration depends on except the network's size, as JSON."""
    protocol = trial.protocol
    names = ("data", "manifest", "image_size", "augment", "normalise")
    values = {
        **_machine(),
        "at_a_time": _here(workers).count,
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
    return json.dumps(values, sort_keys=True)


def _here(workers: Workers) -> Workers:
    """The workers that calibrate: as many trainings at a time as will run on this machine, or
    processes of trainings on its cores; other engines' trials run elsewhere."""
    if workers.engine != "local":
        return Workers(count=1)
    each = workers.processes if workers.device == "cpu" else 1
    return Workers(count=workers.count * each, device=workers.device, settings=workers.settings)


@functools.cache
def _machine() -> dict[str, Any]:
    """This machine, and the software that trains on it."""
    cpus: list[str] = []
    with suppress(OSError):
        cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in cpus if line.startswith("model name"))
    return {
        "format": FORMAT,
        "machine": [platform.node(), next(models, platform.processor()), cores()],
        "versions": [platform.python_version(), importlib.metadata.version("torch"), SEMANTICS],
    }


def load(conditions: str, store: Store) -> Calibration:
    """The calibration kept for some conditions; without samples where none is, or it is damaged."""
    path = _path(conditions, store)
    try:
        row = files.unsealed(path.read_bytes())
        if row.pop("conditions") != conditions:
            raise ValueError("it was made under other conditions")
        samples = tuple(Sample(**sample) for sample in row.pop("samples"))
        return Calibration(path=path, samples=samples, **row)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Calibration(path=path)


def _path(conditions: str, store: Store) -> Path:
    """The file of the calibration for some conditions."""
    digest = hashlib.sha256(conditions.encode()).hexdigest()
    return store.cache / "measured" / f"{digest[:20]}.json"


def known_rates(trials: Sequence[Trial], workers: Workers, store: Store) -> Rates | None:
    """Rates of the first trial's protocol by a calibration made earlier; None without one."""
    known = load(conditions(trials[0], workers, store), store)
    return known.rates(trials[0].protocol) if known.samples else None


def calibrate(trials: Sequence[Trial], workers: Workers, store: Store, say: Say) -> Calibration:
    """Measure some networks of `trials`, all of the same conditions, and keep the result, unless
    other programs used the processors meanwhile.

    Raises `RuntimeError` where a training fails, or where trials run on GPUs of other machines.
    """
    if workers.device == "cuda" and workers.engine != "local":
        raise RuntimeError(f"the GPUs of {workers.engine} are not calibrated")
    made_for = conditions(trials[0], workers, store)
    known = load(made_for, store)
    have = {(sample.macs, sample.activations) for sample in known.samples}
    networks = sorted(chosen(trials), key=lambda trial: _size(trial) in have)
    here = _here(workers)
    rounds = max(math.ceil(len(networks) / here.count), 2)
    expected = duration(rounds * 1.5 * SECONDS + 5)
    say(
        f"calibrating: {counted(rounds * here.count, 'training')} of a few seconds, "
        f"{expected} to {duration(LIMIT)}"
    )
    seconds, memory = _imports()
    repeated = itertools.islice(itertools.cycle(networks), rounds * here.count)
    samples, wait = _measured([*repeated], store, here, workers.processes, say)
    new = Calibration(
        path=_path(made_for, store),
        samples=(*samples, *known.samples)[:KEPT],
        overhead=seconds + wait,
        memory=memory,
        date=datetime.now(UTC).date().isoformat(),
        busy=median(sample.busy for sample in samples),
    )
    if new.busy > BUSY:
        return replace(new, path=None)
    try:
        _save(new, made_for)
    except OSError as error:
        say(f"the calibration was not saved: {error}")
        return replace(new, path=None)
    return new


def _save(calibration: Calibration, made_for: str) -> None:
    """Write a calibration to its file; raises `OSError` where that cannot be done."""
    row = asdict(calibration)
    path: Path = row.pop("path")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, files.sealed({"conditions": made_for, **row}))


def chosen(trials: Sequence[Trial]) -> list[Trial]:
    """`NETWORKS` of the trials' networks, or all where there are fewer.

    Those with the fewest and the most MACs and activations come first.
    """
    networks = {_size(trial): trial for trial in trials}
    sizes = sorted(networks)
    ends = [end(sizes, key=itemgetter(column)) for column in (0, 1) for end in (min, max)]
    even = [sizes[i * (len(sizes) - 1) // (NETWORKS - 1)] for i in range(NETWORKS)]
    return [networks[size] for size in [*dict.fromkeys([*ends, *even, *sizes])][:NETWORKS]]


def _imports() -> tuple[float, float]:
    """Seconds that a command's imports take, its figures' included, and its bytes of memory."""
    start = time.perf_counter()
    code = "from dse.figures.importing import import_matplotlib; import_matplotlib(); "
    code += "import dse.sweep.__main__, dse.figures.paper, resource; "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return time.perf_counter() - start, 1024 * int(done.stdout)


def _measured(
    networks: Sequence[Trial], store: Store, workers: Workers, processes: int, say: Say
) -> tuple[list[Sample], float]:
    """A sample of each network, measured on the share of one of `processes`, and the seconds until
    the first worker was ready.

    After `LIMIT` it is ended, and there are fewer; raises `RuntimeError` where there is none.
    """
    samples: list[Sample] = []
    entered: list[float] = []
    start = said = time.monotonic()
    with Runner(MEASURE, workers) as runner, _stopped_after(LIMIT, runner):
        for number, trial in enumerate(networks):
            runner.submit(number, (trial, store.absolute(), SECONDS, workers.device, processes))
        for event in runner.events():
            if isinstance(event, Failed):
                raise RuntimeError(event.reason)
            if isinstance(event, Finished):
                values, size = dict(event.value), size_of(networks[int(str(event.key))])
                entered.append(values.pop("entered"))
                samples.append(Sample(macs=size.macs, activations=size.activations, **values))
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                say(f"calibrating: {len(samples)} of {len(networks)} measurements done")
    if not samples:
        raise RuntimeError(f"calibrating took more than {duration(LIMIT)}")
    if len(samples) < len(networks):
        say(f"calibrating was ended after {duration(LIMIT)}: the estimate is less certain")
    return samples, min(entered) - start


@contextmanager
def _stopped_after(seconds: float, runner: Runner) -> Iterator[None]:
    """End the tasks of a runner when the context has lasted for some seconds."""
    timer = threading.Timer(seconds, runner.stop, [0.0])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
