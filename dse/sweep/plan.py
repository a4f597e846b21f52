"""The text of a plan: each trial, done or to do, its exact size and estimated time; the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dse.analysis.rendering import columns, counted
from dse.results import checkpoints, records
from dse.space.architecture import V1_0, Metaparameters, expand_filters
from dse.sweep.calibrate import Say
from dse.sweep.devices import described, half_idle
from dse.sweep.errors import RequestError
from dse.sweep.estimate import Estimate, estimate
from dse.sweep.messages import volume
from dse.sweep.preflight import notes, other_images
from dse.sweep.request import Request
from dse.sweep.timing import size_of
from dse.trial.names import duration, short_id, trial_names
from dse.trial.question import Trial


def plan(request: Request, trials: Sequence[Trial], say: Say) -> str:
    """What a request would train, as a table, and what that is estimated to take."""
    todo = records.unfinished(request.folder, trials)
    expected, total = None, []
    try:
        if todo:
            expected = estimate(request, todo, say)
            total = total_lines(expected)
    except (RuntimeError, OSError, RequestError) as error:
        total = [f"no estimate: {line}" for line in str(error).splitlines()]
    count = (
        f"{counted(len(trials), 'trial')}, {len(trials) - len(todo):,} done, {len(todo):,} to do"
    )
    where = [f"trains on {described(request.workers)}"] if todo else []
    where += [*half_idle(request.workers, todo), *notes(todo, request.store)]
    where += other_images(request.folder, trials)
    begun = checkpoints.begun(request.folder)
    states = {trial.trial_id: "half-way" if trial.trial_id in begun else "to do" for trial in todo}
    return "\n".join([*_table(trials, states, expected), *_widths(trials), *where, count, *total])


def _table(
    trials: Sequence[Trial], states: Mapping[str, str], expected: Estimate | None
) -> list[str]:
    """A line for each trial, below the names of the columns; `states` are of those not done."""
    names = trial_names(trials)
    rows = [("trial", "id", "params", "bytes", "MACs", "seconds", "")]
    for trial in trials:
        trial_id, size = trial.trial_id, size_of(trial)
        one = expected.trials.get(trial_id) if expected else None
        rows.append(
            (
                names[trial_id] if len(names) > 1 else trial.network,  # its name is its id
                short_id(trial_id),
                f"{size.params:,}",
                f"{size.size_bytes:,}",
                f"{size.macs:,}",
                f"{one.seconds:.1f}" if one else "-",
                states.get(trial_id, "done"),
            )
        )
    return columns(rows, "<<>>>><")


def _widths(trials: Sequence[Trial]) -> list[str]:
    """A line with the expand filters of the narrowest and the widest SqueezeNet, if any."""
    squeezenets = [trial for trial in trials if trial.network == "squeezenet"]
    if not squeezenets:
        return []
    widths = {expand_filters(trial.metaparameters, trial.layout) for trial in squeezenets}
    ends = dict.fromkeys(end(widths, key=lambda e: (sum(e), e)) for end in (min, max))
    *ours, paper = ("-".join(map(str, e)) for e in (*ends, expand_filters(Metaparameters(), V1_0)))
    return [f"expand filters of fire2 to fire9: {' .. '.join(ours)} (the paper's: {paper})"]


def total_lines(expected: Estimate, bound: str = "") -> list[str]:
    """What all trials take, in two lines, and what this is based on. `bound` precedes the times,
    such as "at most "."""
    workers = counted(expected.workers, "worker")
    training = sum(trial.seconds for trial in expected.trials.values())
    return [
        f"estimated time with {workers}: {bound}{duration(expected.seconds(expected.trials))} "
        f"({bound}{duration(training)} of training)",
        f"disk: {volume(expected.disk)}, and up to {volume(expected.checkpoints)} for checkpoints "
        f"while trials run; memory: {volume(expected.memory)}",
        *expected.sources,
    ]
