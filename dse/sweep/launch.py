"""Train the trials of a request that have no record yet."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dse.analysis.rendering import counted
from dse.data.store import Store
from dse.results import atomic, commands, drivers, files, locks, records
from dse.runner.events import Failed
from dse.runner.local import STOP_SIGNALS
from dse.runner.runner import Runner, Workers
from dse.sweep.calibrate import known_rates
from dse.sweep.devices import described
from dse.sweep.errors import RequestError
from dse.sweep.messages import resume_command, say
from dse.sweep.preflight import check_data
from dse.sweep.progress import Progress
from dse.sweep.timing import length_of
from dse.trial.names import trial_names
from dse.trial.question import Trial

EXECUTE = "dse.training.worker:run"

STOP = 7.0
"""Seconds that running trials have to stop when the sweep is asked to."""

LISTED = 5
"""Maximum number of trials that a message lists by name."""


def guarded(command: Callable[[list[str]], int], arguments: Sequence[str] | None) -> int:
    """Run a command, by default with the process's own arguments, and return its exit code.

    A `RequestError` is printed and returns 2; other expected errors return 1, an interruption 130.
    """
    signals = _stop_signals()
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        return command(list(sys.argv[1:] if arguments is None else arguments))
    except RequestError as error:
        say(*error.lines)
        return 2
    except records.Damaged as error:
        say(str(error))
        return 1
    except OSError as error:  # a full disk, a folder that vanished: records are whole or absent
        say(f"stopped: {error}; once this is fixed, resume with: {resume_command()}")
        return 1
    except KeyboardInterrupt:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        say(f"interrupted; resume with: {resume_command()}")
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    trials: Sequence[Trial],
    folder: Path,
    workers: Workers,
    store: Store,
    execute: str = EXECUTE,
    command: str = "",
) -> int:
    """Train the trials that have no record in `folder`; return how many are left without one.

    Any number of sweeps may run on one folder at the same time: trials that another one trains
    are waited for. A trial that fails does not stop the others; it is reported at once, and its
    traceback is in its `failure.json`. `execute` names the function that carries out a trial, and
    `command` is the command line that the folder's report shows.

    Raises `RequestError` if data are missing or not the published ones, or the engine of
    `workers` is not available, and `KeyboardInterrupt`, once the running trials have stopped, if
    the sweep is asked to stop.
    """
    todo = records.unfinished(folder, trials)
    every = counted(len(trials), "trial")
    count = f"{every}, {len(trials) - len(todo)} already done, {len(todo)} to do"
    failed = set()
    if not todo:
        say(count)
    else:
        with _runner(execute, workers) as runner:
            check_data(todo, store, say)
            say(count if workers.device == "cpu" else f"{count}, on {described(workers)}")
            atomic.tidy(folder)
            if not locks.has_claims(folder):
                say(f"{folder} does not support file locks: other sweeps may train the same trials")
            if execute == EXECUTE:
                _import_figures()
            if command:
                commands.note(folder, command)
            failed = _train(todo, trial_names(trials), folder, workers, store, runner)
    atomic.tidy(folder)
    return _report_missing(trials, folder, failed)


def _runner(execute: str, workers: Workers) -> Runner:
    try:
        return Runner(execute, workers)
    except ValueError as error:
        raise RequestError(str(error).splitlines()) from None


def _import_figures() -> None:
    """Import what draws the figures while the workers start, since it takes a second."""
    threading.Thread(target=importlib.import_module, args=("dse.figures.paper",)).start()


def _train(
    todo: Sequence[Trial],
    names: Mapping[str, str],
    folder: Path,
    workers: Workers,
    store: Store,
    runner: Runner,
) -> set[str]:
    """Train trials; return the ids of those that failed."""
    failed, rates = set(), known_rates(todo, workers, store)
    lengths = {trial.trial_id: length_of(trial) for trial in todo}
    folder, store = folder.absolute(), store.absolute()  # workers have other working directories
    with (
        drivers.publishing(folder) as publish,
        Progress(lengths, names, workers.count, publish, rates) as progress,
        stopped_by_signals(runner) as received,
    ):
        for trial in todo:
            runner.submit(trial.trial_id, (trial, folder, store, workers.device))
        for event in runner.events():
            if isinstance(event, Failed):
                failed.add(str(event.key))
                _write_failure(folder, names[str(event.key)], event)
            progress.take(event)
    if received:
        raise KeyboardInterrupt
    return failed


@contextmanager
def stopped_by_signals(runner: Runner) -> Iterator[list[int]]:
    """On a stop signal, let the running trials stop; on a second one, stop at once.

    Yields a list that then holds the first signal. Does nothing outside the main thread.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if received and number == signal.SIGHUP:  # a closing shell sends it, then the system too
            return
        if received:
            raise KeyboardInterrupt
        received.append(number)
        runner.stop(STOP)

    before = {number: signal.signal(number, stop) for number in _stop_signals()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> list[signal.Signals]:
    """The signals that stop a sweep; none outside the main thread, which alone can handle them.

    Under `nohup`, SIGHUP stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or not ignored]


def _report_missing(trials: Sequence[Trial], folder: Path, failed: set[str]) -> int:
    """Report the trials that failed and the records that have disappeared; return how many."""
    ids = {trial.trial_id for trial in trials}
    lost = ids - files.finished(folder, ids) - failed
    for some, what in (failed, "failed"), (lost, f"no longer have a record in {folder}"):
        if some:
            names = [name for trial_id, name in trial_names(trials).items() if trial_id in some]
            listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
            say(f"{len(some)} of {len(ids)} trials {what}: {listed}")
            say(f"retry with: {resume_command()}")
    return len(failed) + len(lost)


def _write_failure(folder: Path, name: str, event: Failed) -> None:
    """Write a trial's failure to its folder; if that fails, the message on stderr must do."""
    failure = {"name": name, "reason": event.reason, "details": event.details}
    try:
        records.fail(folder, str(event.key), failure)
    except OSError as error:
        say(f"{name}: its failure could not be written: {error}")
