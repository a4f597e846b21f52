"""Calibrating: what training takes on this machine, measured on a few networks.

Each network is trained for some seconds, as many at a time as the sweep will train; where a step
takes long, with smaller batches. A calibration ends within `LIMIT`, and is kept in `data.cache` for
each machine, number of workers and protocol, unless the machine was busy with something else.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from statistics import median

from dse.analysis.rendering import counted
from dse.data.store import DATA_ERROR, Store
from dse.runner.events import Failed, Finished
from dse.runner.runner import Runner, Workers
from dse.sweep.calibration import (
    NETWORKS,
    Calibration,
    Sample,
    conditions,
    file_of,
    load,
    per_image,
    save,
    workers_here,
)
from dse.sweep.timing import size_of
from dse.trial.names import duration
from dse.trial.question import Trial

MEASURE = "dse.training.measure:measure"
SECONDS = 3.0
"""Seconds of steps that are timed of each network."""

LIMIT, EVERY = 180.0, 10.0
"""Maximum seconds of a calibration, and minimum seconds between two lines about its progress."""

KEPT = 64
"""Maximum number of samples that are kept."""

BUSY = 1.3
"""Times their CPU time that steps may take in a calibration that is kept."""

Say = Callable[[str], None]


def calibrate(trials: Sequence[Trial], workers: Workers, store: Store, say: Say) -> Calibration:
    """Measure some networks of `trials`, all of the same conditions, and keep the result, unless
    other programs used the CPUs meanwhile.

    Raises `RuntimeError` where a training fails, or where trials run on GPUs of other machines.
    """
    if workers.device == "cuda" and workers.engine != "local":
        raise RuntimeError(f"the GPUs of {workers.engine} are not calibrated")
    made_for = conditions(trials[0], workers, store)
    known = load(made_for, store)
    have = {(sample.macs, sample.activations) for sample in known.samples}
    networks = sorted(chosen(trials), key=lambda trial: per_image(trial) in have)
    here = workers_here(workers)
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
        path=file_of(made_for, store),
        samples=(*samples, *known.samples)[:KEPT],
        overhead=seconds + wait,
        memory=memory,
        date=datetime.now(UTC).date().isoformat(),
        busy=median(sample.busy for sample in samples),
    )
    if new.busy > BUSY:
        return replace(new, path=None)
    try:
        save(new, made_for)
    except OSError as error:
        say(f"the calibration was not saved: {error}")
        return replace(new, path=None)
    return new


def chosen(trials: Sequence[Trial]) -> list[Trial]:
    """`NETWORKS` of the trials' networks, or all where there are fewer.

    Those with the fewest and the most MACs and activations come first.
    """
    networks = {per_image(trial): trial for trial in trials}
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
    with Runner(MEASURE, workers, say) as runner, _stopped_after(LIMIT, runner):
        for number, trial in enumerate(networks):
            runner.submit(number, (trial, store.absolute(), SECONDS, workers.device, processes))
        for event in runner.events():
            if isinstance(event, Failed):
                raise RuntimeError(event.reason.removeprefix(DATA_ERROR))
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
