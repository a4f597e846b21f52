"""Run the tasks of a command that have no record yet: a sweep's are to train its trials."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.data.store import DATA_ERROR, Store
from dse.results import atomic, checkpoints, commands, drivers, files, locks, records
from dse.runner.events import Failed, Interrupted
from dse.runner.runner import Runner, Workers
from dse.sweep.calibration import known_rates
from dse.sweep.devices import described, half_idle
from dse.sweep.errors import RequestError
from dse.sweep.messages import FULL, full, resume_command, say
from dse.sweep.preflight import check_data, other_images, splits
from dse.sweep.progress import Progress, trained
from dse.sweep.signals import STOP, stopped_by_signals
from dse.sweep.timing import Length, Rates, length_of
from dse.trial.names import trial_names
from dse.trial.question import Trial

EXECUTE = "dse.training.worker:run"

LISTED = 5
"""Maximum number of tasks that a message lists by name."""


def run(
    trials: Sequence[Trial],
    folder: Path,
    workers: Workers,
    store: Store,
    execute: str = EXECUTE,
    command: str = "",
) -> int:
    """Train the trials that have no record in `folder`; return how many are left without one.

    `execute` names the function that carries out a trial. See `carry_out`. Also raises
    `RequestError` if data are missing or not the published ones.
    """
    todo = records.unfinished(folder, trials)
    where = folder.absolute(), store.absolute()  # workers have other working directories

    def prepare() -> None:
        check_data(todo, store, say)
        say(*splits(todo, store), *other_images(folder, trials), *half_idle(workers, todo))
        if execute == EXECUTE:
            import_figures()

    tasks = Tasks(
        function=execute,
        arguments={trial.trial_id: (trial, *where, *workers.place) for trial in todo},
        names=trial_names(trials),
        lengths={trial.trial_id: length_of(trial) for trial in todo},
        data={trial.trial_id: trial.protocol.data for trial in todo},
        rates=known_rates(todo, workers, store) if todo else None,
        prepare=prepare,
    )
    return carry_out(tasks, folder, workers, command)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tasks:
    """What a command carries out on a results folder: calls of a function that each leave a record.

    `names` are those of all tasks by id, done or not; `arguments`, `lengths` and `data`, the names
    of their data sets, are those of the ones to do. `function` is given by name, as to `Runner`;
    what it returns, `result` says in words. `prepare` is called before the first task and may raise
    `RequestError`. `kind` and `noun` say what a task makes; `rates` are those of a calibration.
    """

    function: str
    arguments: Mapping[str, Any]
    names: Mapping[str, str]
    lengths: Mapping[str, Length]
    data: Mapping[str, str]
    rates: Rates | None = None
    prepare: Callable[[], None] = lambda: None
    result: Callable[[Mapping[str, Any]], str] = trained
    kind: str = files.TRIALS
    noun: str = "trial"


def carry_out(tasks: Tasks, folder: Path, workers: Workers, command: str = "") -> int:
    """Carry out the tasks that are to do; return how many of all are then left without a record, at
    least 1 where the folder was moved or removed meanwhile.

    Any number of commands may run on one folder at the same time: what another one is making is
    waited for. A task that fails does not stop the others, unless it is the data that have an
    error, which all tasks of that data set would run into; it is reported at once, and its
    traceback is in its `failure.json`. `command` is the command line that the folder's report
    shows.

    Raises `RequestError` if the engine of `workers` is not available. Once the running tasks have
    stopped, raises `KeyboardInterrupt` if the command is asked to stop, and `OSError` if the disk
    of the folder is full.
    """
    todo, count = len(tasks.arguments), len(tasks.names)
    text = f"{counted(count, tasks.noun)}, {count - todo:,} already done, {todo:,} to do"
    if begun := checkpoints.begun(folder) & tasks.arguments.keys():
        text += f", {len(begun)} of them half-way"
    failed: set[str] = set()
    left_out: set[str] = set()
    moved = False
    if not todo:
        say(text)
    else:
        with open_runner(tasks.function, workers) as runner:
            tasks.prepare()
            on = described(workers, tasks.noun)
            say(text if workers.device == "cpu" else f"{text}, on {on}")
            try:
                begin(folder, command)
            except OSError as error:
                if error.errno in FULL:
                    raise no_space(folder, count - todo, counted(count, tasks.noun)) from None
                raise
            files.make(folder)
            handle = os.open(folder, os.O_RDONLY)
            try:
                failed, left_out = _run(tasks, folder.absolute(), workers, runner)
            finally:
                if moved := not _is_at(folder, handle):
                    lost = "what it held before is not there"
                    say(f"{folder} was moved or removed during the command: {lost}")
                os.close(handle)
    atomic.tidy(folder)
    missing = _report_missing(tasks, folder, failed, left_out)
    return max(missing, int(moved))


def _is_at(folder: Path, handle: int) -> bool:
    """Whether an open folder is still the one of that name."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except OSError:
        return False


def begin(folder: Path, command: str) -> None:
    """Prepare a results folder for tasks: remove what killed processes left, warn where it has no
    locks, and note the command line."""
    atomic.tidy(folder)
    if not locks.has_claims(folder):
        say(f"{folder} does not support file locks: other commands may do the same work")
    if command:
        commands.note(folder, command)


def open_runner(function: str, workers: Workers) -> Runner:
    """A runner; raises `RequestError` where its engine is not available."""
    try:
        return Runner(function, workers, say)
    except ValueError as error:
        raise RequestError(str(error).splitlines()) from None


def import_figures() -> None:
    """Import what draws the figures while the workers start, since it takes a second."""

    def run() -> None:
        with suppress(ValueError, OSError):  # of the user's settings, see `import_matplotlib`
            importlib.import_module("dse.figures.paper")

    with suppress(RuntimeError):  # no more threads are allowed
        threading.Thread(target=run).start()


def _run(tasks: Tasks, folder: Path, workers: Workers, runner: Runner) -> tuple[set[str], set[str]]:
    """Run tasks; return the ids of those that failed, and of those that were left out after an
    error in their data set."""
    failed, left_out, full = set(), set(), False
    with (
        drivers.publishing(folder) as publish,
        Progress(
            tasks.lengths,
            tasks.names,
            workers.count,
            publish,
            tasks.rates,
            result=tasks.result,
            kind=tasks.kind,
        ) as progress,
        stopped_by_signals(runner) as received,
    ):
        for key, argument in tasks.arguments.items():
            runner.submit(key, argument)
        for event in runner.events(progress.turn):
            if isinstance(event, Failed) and lacks_space(event, folder):
                full = True
                runner.stop(STOP)
            elif isinstance(event, Failed):
                failed.add(str(event.key))
                write_failure(folder, event, tasks.names[str(event.key)], tasks.kind)
                if event.reason.startswith(DATA_ERROR):
                    broken = tasks.data[str(event.key)]
                    runner.cancel(*(key for key, data in tasks.data.items() if data == broken))
            elif isinstance(event, Interrupted):
                left_out.add(str(event.key))
            progress.take(event)
    if received:
        raise KeyboardInterrupt
    if full:
        done = records.ids(folder, tasks.kind) & tasks.names.keys()
        raise no_space(folder, len(done), counted(len(tasks.names), tasks.noun))
    return failed, left_out


def lacks_space(event: Failed, folder: Path) -> bool:
    """Whether a task failed because the disk of its results folder, an absolute path, is full."""
    full = event.reason.startswith(tuple(f"OSError: [Errno {code}] " for code in FULL))
    return full and repr(f"{folder}{os.sep}")[1:-1] in event.reason


def no_space(folder: Path, done: int, every: str) -> OSError:
    """The error of a command that stops because the disk of its results folder is full."""
    return OSError(f"{full(folder)}; {done:,} of {every} are done")


def _report_missing(tasks: Tasks, folder: Path, failed: set[str], left_out: set[str]) -> int:
    """Report what failed or was left out, and the records that have disappeared; return how many
    these are."""
    done = records.ids(folder, tasks.kind)
    lost = tasks.names.keys() - done - failed - left_out
    states = {
        "failed": failed,
        "stopped or did not start, since data could not be read": left_out - done,
        f"no longer have a record in {folder}": lost,
    }
    for what, some in states.items():
        if some:
            names = [name for key, name in tasks.names.items() if key in some]
            listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
            say(f"{len(some)} of {counted(len(tasks.names), tasks.noun)} {what}: {listed}")
    homes = [files.trial_folder(folder, i, tasks.kind) for i in tasks.names if i in failed]
    if paths := [home / files.FAILURE for home in homes if (home / files.FAILURE).exists()]:
        say(f"details of each failure are in its failure.json, such as {paths[0]}")
    missing = sum(map(len, states.values()))
    if missing:
        say(f"retry with: {resume_command()}")
    return missing


def write_failure(folder: Path, event: Failed, name: str, kind: str = files.TRIALS) -> None:
    """Write a task's failure to its folder; if that fails, the message on stderr must do."""
    failure = {"name": name, "reason": event.reason, "details": event.details}
    try:
        records.fail(folder, str(event.key), failure, kind)
    except OSError as error:
        say(f"{name}: its failure could not be written: {error}")
