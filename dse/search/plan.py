"""The text of a search's plan: the space, how much of it is within the limits, what is sought, and
what that is estimated to take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from dse.analysis.rendering import columns, counted
from dse.search.candidates import Candidates
from dse.search.compression import described
from dse.search.ledger import already_done
from dse.search.limits import costs_of, exceeded
from dse.search.question import Question
from dse.search.request import Request
from dse.search.space import Axis, Choice, ends
from dse.search.warm_start import known_points, said
from dse.sweep import devices, preflight
from dse.sweep.calibrate import Say
from dse.sweep.calibration import conditions
from dse.sweep.errors import RequestError
from dse.sweep.estimate import TrialEstimate, estimate
from dse.sweep.plan import total_lines
from dse.sweep.request import Request as Sweep
from dse.trial.names import written
from dse.trial.question import Trial

SAMPLE = 64
"""Random points of the space whose estimates are averaged."""
CALIBRATIONS = 4
"""The most calibrations for a plan."""


def plan(request: Request, say: Say) -> str:
    """What a search would do; it calibrates first where needed."""
    question, candidates = request.question, Candidates(request.question)
    rows = [("key", "values"), *((axis.name, shown(axis)) for axis in question.space.axes)]
    size = question.space.size
    count = "infinitely many points" if math.isinf(size) else f"{size:,.0f} points"
    if question.limits:
        limits = ", ".join(f"{name} at most {most:,}" for name, most in question.limits.items())
        count += f"; {limits}"
        if candidates.listed:
            count += f": {candidates.count:,} points"
    sought = f"objective: {', '.join(question.objectives)}"
    if question.compression:
        sought += f"; files by {described(question.compression)}"
    seeds = len(question.seeds)
    each = f", {seeds} seeds each" if seeds > 1 else ""
    done = already_done(request.folder, request.storage, request.study, question)
    known = known_points(request)
    had = {question.trial(point).trial_id for point in (*done, *known)}
    left = int(min(request.n_trials, candidates.count)) - len(had)
    sample = list(itertools.islice(_random_trials(question, candidates), SAMPLE))
    trials = counted(request.n_trials, "trial")
    before = f", {len(done):,} already done" if done else ""
    return "\n".join(
        [
            *columns(rows, "<<"),
            count,
            sought,
            f"study {request.study}: {question.sampler}, {trials}{each}{before}",
            *said(request, len(known)),
            f"trains on {devices.described(request.workers)}",
            *preflight.notes(sample, request.store),
            *(_estimate(request, sample, left * seeds, say) if left > 0 else ["nothing to train"]),
        ]
    )


def shown(axis: Axis) -> str:
    """An axis as text."""
    if isinstance(axis, Choice):
        return ", ".join(map(written, axis.values))
    scale = ", on a logarithmic scale" if axis.log else ""
    return f"{written(axis.low)} to {written(axis.high)}{scale}"


def _random_trials(question: Question, candidates: Candidates) -> Iterator[Trial]:
    """Trials of different points within the limits, drawn at random."""
    for point in candidates.drawn(np.random.default_rng(0)):
        candidates.mark(point)
        try:
            trial = question.trial(point)
        except ValueError:
            continue
        if not exceeded(costs_of(trial), question.limits):
            yield trial


def _estimate(request: Request, sample: Sequence[Trial], count: int, say: Say) -> list[str]:
    """What `count` trials take, each as long as those of a sample on average; or why there is no
    estimate."""
    asked = Sweep(
        trials=tuple(sample),
        folder=request.folder,
        store=request.store,
        workers=request.workers,
        plan=True,
        budget=math.inf,
    )
    try:
        _check(request, sample)
        expected = estimate(asked, sample, say)
    except (RuntimeError, OSError, RequestError) as error:
        return [f"no estimate: {line}" for line in str(error).splitlines()]
    found = expected.trials.values()
    seconds = [trial.seconds for trial in found]
    mean = TrialEstimate(
        seconds=fmean(seconds),
        disk=round(fmean(trial.disk for trial in found)),
        checkpoints=max(trial.checkpoints for trial in found),
        memory=max(trial.memory for trial in found),
    )
    whole = replace(
        expected,
        trials={f"{number}": mean for number in range(count)},
        workers=min(request.workers.count, count),
    )
    least, middle, most = (f"{s:.1f}" for s in (min(seconds), mean.seconds, max(seconds)))
    compressing = "; compressing is not included" if request.question.compression else ""
    return [
        f"{counted(count, 'trial')} of {middle} seconds, the mean of {counted(len(found), 'point')}"
        f" of the space drawn at random ({least} to {most}){compressing}",
        *total_lines(whole, "at most " if request.question.stopping != "none" else ""),
    ]


def _check(request: Request, sample: Sequence[Trial]) -> None:
    """Raise `RuntimeError` where a sample is no ground for an estimate."""
    if not sample:
        raise RuntimeError("no point within the limits was found at random")
    needed = len({conditions(trial, request.workers, request.store) for trial in sample})
    if needed > CALIBRATIONS:
        axes = [a for a in request.question.space.axes if len(_conditions(request, a)) > 1]
        keys = " and ".join(f"`{axis.name}`" for axis in axes)
        raise RuntimeError(f"each value of {keys} would need a calibration of its own")


def _conditions(request: Request, axis: Axis) -> set[str]:
    """The conditions of calibrations that the values of an axis need."""
    trials = [request.question.trial_with({axis.name: value}) for value in ends(axis)]
    return {conditions(trial, request.workers, request.store) for trial in trials}
