"""The estimate of a sweep before it runs: its time, disk and memory; and what fits in a budget."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from dse.analysis.rendering import counted
from dse.results import records
from dse.sweep import calibrate
from dse.sweep.calibrate import Say
from dse.sweep.calibration import Calibration, at_once, conditions, load
from dse.sweep.errors import RequestError
from dse.sweep.preflight import check_data
from dse.sweep.request import Request
from dse.sweep.timing import size_of, training_work, wall_time
from dse.trial.names import duration, trial_names
from dse.trial.question import Trial

BLOCK, RECORD, CURVE = 4096, 3500, 90
"""Approximate bytes of a disk's block, of a record, and of a line of a curve."""

CHECKPOINTS = 3
"""Checkpoints of a running trial on disk at most: two, and the one being written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEstimate:
    """What one trial is expected to take.

    Seconds; bytes on disk that stay, and those of its checkpoints while it runs; bytes of memory.
    """

    seconds: float
    disk: int
    checkpoints: int
    memory: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a sweep is expected to take: that of each trial by its id, in the order they start.

    `overhead` are the seconds of the command itself, `shared` its bytes of memory and those that
    workers share; `sources` are lines that say what the estimate is based on.
    """

    trials: Mapping[str, TrialEstimate]
    workers: int
    overhead: float
    shared: float
    sources: tuple[str, ...]

    def seconds(self, trial_ids: Iterable[str]) -> float:
        """Seconds of a command that trains these trials."""
        times = [self.trials[i].seconds for i in trial_ids]
        return self.overhead + wall_time(times, self.workers) if times else 0.0

    @property
    def disk(self) -> int:
        """Bytes on disk that stay."""
        return sum(trial.disk for trial in self.trials.values())

    @property
    def checkpoints(self) -> int:
        """Maximum bytes of checkpoints."""
        return self.workers * max(trial.checkpoints for trial in self.trials.values())

    @property
    def memory(self) -> float:
        """Bytes of memory at most, what processes share counted once."""
        return self.shared + self.workers * max(trial.memory for trial in self.trials.values())


def estimate(request: Request, todo: Sequence[Trial], say: Say) -> Estimate:
    """Estimate what it takes to train `todo` (at least one); calibrates first where needed.

    Raises `RequestError` where data are missing or not the declared ones, `RuntimeError` where a
    calibration fails. For a plan nothing is downloaded, and no image decoded to check it.
    """
    workers = at_once(request.workers, len(todo))
    store = replace(request.store, download=request.store.download and not request.plan)
    groups: dict[str, list[Trial]] = {}
    for trial in todo:
        groups.setdefault(conditions(trial, workers, store), []).append(trial)
    known = {group: load(group, store) for group in groups}
    unknown = [group for group, trials in groups.items() if not known[group].covers(trials)]
    measured = [trial for group in unknown for trial in groups[group]]
    check_data(measured, store, say, decode=not request.plan)
    for group in unknown:
        known[group] = calibrate.calibrate(groups[group], workers, store, say)
    expected: dict[str, TrialEstimate] = {}
    for group, trials in groups.items():
        expected |= _expected(trials, known[group], workers.processes)
    sources = [line for k in known.values() for line in _sources(k)]
    if workers.processes > 1:
        sources.append(
            f"one of {workers.processes} processes was measured: synchronisation is not included"
        )
    if workers.engine != "local":
        sources.append(f"with `runner.engine` {workers.engine} trials may take longer")
    return Estimate(
        trials={trial.trial_id: expected[trial.trial_id] for trial in todo},
        workers=min(workers.count, len(todo)),
        overhead=max(k.overhead for k in known.values()),
        shared=max(k.memory + max(s.shared for s in k.samples) for k in known.values()),
        sources=tuple(sources),
    )


def _sources(known: Calibration) -> Iterator[str]:
    """Lines that say what an estimate is based on."""
    made = f"based on a calibration on this machine on {known.date}"
    if known.path:
        yield f"{made}; delete {known.path} to calibrate again"
    elif known.busy > calibrate.BUSY:
        yield (
            f"{made}, which is not kept: the CPU was busy with other programs, and steps took "
            f"{known.busy:.1f} times their CPU time"
        )
    else:
        yield f"{made}, which could not be saved"
    if timed := [sample.timed for sample in known.samples if sample.timed]:
        yield (
            f"steps take long here: seconds and memory are extrapolated from batches of "
            f"{' to '.join(dict.fromkeys(str(end(timed)) for end in (min, max)))} images"
        )


def _expected(
    trials: Sequence[Trial], known: Calibration, processes: int
) -> dict[str, TrialEstimate]:
    """Estimates of trials that one calibration is for, by id; each is shared by `processes`, whose
    share was measured."""
    rates = {protocol: known.rates(protocol) for protocol in {trial.protocol for trial in trials}}
    header = fmean(sample.header for sample in known.samples)
    start = fmean(sample.ready for sample in known.samples)
    expected = {}
    for trial in trials:
        protocol, size = trial.protocol, size_of(trial)
        work = training_work(protocol, size.macs, size.activations)
        nearest = min(known.samples, key=lambda s: abs(s.activations - size.activations))
        weights = size.size_bytes + header
        sparse = protocol.recipe.dsd_density < 1  # its weights are kept too; its state has masks
        files = [weights] * (1 + sparse)
        contents = (*files, RECORD, CURVE * (protocol.recipe.epochs + 1), 1)  # 1: the folder
        expected[trial.trial_id] = TrialEstimate(
            seconds=start + float(rates[protocol] @ work),
            disk=sum(math.ceil(content / BLOCK) for content in contents) * BLOCK,
            checkpoints=round(CHECKPOINTS * len(files) * (weights + header + 4 * size.params)),
            memory=processes * nearest.private,
        )
    return expected


def within_budget(request: Request, trials: Sequence[Trial], say: Say) -> Sequence[Trial]:
    """The first part of `trials` that fits in the request's budget; says what is left out.

    Trials that are done cost nothing. Raises `RequestError` where not even the first one to do
    fits, or there is no estimate.
    """
    todo = records.unfinished(request.folder, trials)
    if not todo or math.isinf(request.budget):
        return trials
    try:
        expected = estimate(request, todo, say)
    except (RuntimeError, OSError) as error:
        raise RequestError(
            [f"`budget` needs an estimate, but calibrating failed: {error}"]
        ) from None
    ids = [trial.trial_id for trial in todo]
    counts = range(1, len(ids) + 1)
    kept = bisect_right(counts, request.budget, key=lambda count: expected.seconds(ids[:count]))
    if not kept:
        needed = math.ceil(expected.seconds(ids[:1]))
        raise RequestError(
            [f"`budget` must be enough for the first trial, {needed}s, got {request.budget:g}s"]
        )
    seconds = expected.seconds(ids[:kept])
    budget = duration(request.budget)
    fit = f"{kept} of {counted(len(ids), 'trial')} to do {'fits' if kept == 1 else 'fit'}"
    say(f"`budget` {budget}: {fit}, taking {duration(seconds)}")
    if kept < len(ids):
        rest = duration(expected.seconds(ids) - seconds)
        first = trial_names(trials)[ids[kept]]
        some = counted(len(ids) - kept, "trial")
        say(f"left out: {some} from {first} on, which would take {rest} more")
    left_out = set(ids[kept:])
    return [trial for trial in trials if trial.trial_id not in left_out]
