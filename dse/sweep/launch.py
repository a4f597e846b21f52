"""Train the trials of a request that have no record yet, and report progress."""

from __future__ import annotations

import importlib
import importlib.util
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dse.data.published import Store
from dse.results import atomic, drivers, files, locks, records
from dse.runner.events import Failed
from dse.runner.local import STOP_SIGNALS
from dse.runner.runner import Runner, Workers
from dse.sweep import request as config
from dse.sweep.messages import resume_command, say
from dse.sweep.progress import Progress
from dse.trial.names import trial_names
from dse.trial.question import Trial

EXECUTE = "dse.training.worker:run"


STOP = 7.0
"""Seconds that trials may take to end when the sweep is asked to."""


def guarded(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; its mistakes become lines and exit code 2, an interruption 130."""
    asking = _asking()
    before = {number: signal.signal(number, signal.default_int_handler) for number in asking}
    try:
        return command(arguments)
    except config.Mistakes as error:
        say(*error.lines)
        return 2
    except records.Damaged as error:
        say(str(error))
        return 1
    except OSError as error:  # a full disk, a folder that vanished: records are whole or absent
        say(f"stopped: {error}; after mending it, go on with: {resume_command()}")
        return 1
    except KeyboardInterrupt:
        for number in asking:
            signal.signal(number, signal.SIG_IGN)
        say(f"interrupted; to go on: {resume_command()}")
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    trials: Sequence[Trial], folder: Path, workers: Workers, store: Store, execute: str = EXECUTE
) -> int:
    """Train what has no record in `folder` yet; returns how many trials are without one.

    Any number of sweeps may run on one folder: what another one trains is waited for. A failed
    trial costs nothing but itself: it is told at once and left in its `failure.json`. `execute`
    names the function that carries a trial out, as `dse.execute:run` does. Raises
    `config.Mistakes` where the data of some trial are not there or not the declared ones, or the
    engine of `workers` cannot be had, and `KeyboardInterrupt` when it is asked to stop, after the
    trials that run were.
    """
    todo = records.unfinished(folder, trials)
    stands = f"{len(trials)} trials, {len(trials) - len(todo)} done before, {len(todo)} to do"
    if not todo:
        say(stands)
        atomic.tidy(folder)
        return 0
    try:
        workers = workers.at_most(len(todo))
        made = Runner(execute, workers)
    except ValueError as error:
        raise config.Mistakes(str(error).splitlines()) from None
    with made as runner:
        config.check_data(todo, store, say)
        say(stands)
        atomic.tidy(folder)
        if not locks.has_claims(folder):
            say(f"{folder} has no file locks: other sweeps may train its trials too")
        if execute == EXECUTE:  # what the command ends with is imported while its workers are
            threading.Thread(target=importlib.import_module, args=("dse.analysis.figures",)).start()
        failed = _train(todo, folder, workers.count, store, runner)
    atomic.tidy(folder)
    return len(failed) + _lost(trials, folder, failed)


def _train(
    todo: Sequence[Trial], folder: Path, workers: int, store: Store, runner: Runner
) -> set[str]:
    """Train trials; returns those that failed."""
    failed, names = set(), trial_names(todo)
    place, store = folder.absolute(), store.absolute()  # a worker may stand in another one
    with (
        drivers.publishing(folder) as tell,
        Progress(todo, workers, tell) as progress,
        stopped_by_signals(runner) as asked,
    ):
        for trial in todo:
            runner.submit(trial.trial_id, (trial, place, store))
        for event in runner.events():
            if isinstance(event, Failed):
                failed.add(str(event.key))
                _note_failure(folder, names[str(event.key)], event)
            progress.take(event)
    if asked:
        raise KeyboardInterrupt
    return failed


@contextmanager
def stopped_by_signals(runner: Runner) -> Iterator[list[int]]:
    """What asks to end (`STOP_SIGNALS`) has the trials that run stop; a second time, at once.

    Gives a list that then holds the first signal. Outside the main thread it does nothing.
    """
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if asked and number == signal.SIGHUP:  # a shell that ends sends it, and then the system
            return
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        runner.stop(STOP)

    before = {number: signal.signal(number, ask) for number in _asking()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _asking() -> list[signal.Signals]:
    """The signals that ask a sweep to end, in the main thread; where `nohup` has a closed terminal
    ignored, that is none of them."""
    if threading.current_thread() is not threading.main_thread():
        return []
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or not ignored]


def _lost(trials: Sequence[Trial], folder: Path, failed: set[str]) -> int:
    """How many records are not there although their trials did not fail; says so."""
    there = files.finished(folder, [trial.trial_id for trial in trials]) | failed
    lost = len({trial.trial_id for trial in trials} - there)
    if lost:
        say(f"{lost} records have gone from {folder}; to train them again: {resume_command()}")
    return lost


def _note_failure(folder: Path, name: str, event: Failed) -> None:
    """Note a failure in the trial's folder; where that cannot be written, the message must do."""
    failure = {"name": name, "reason": event.reason, "details": event.details}
    try:
        records.fail(folder, str(event.key), failure)
    except OSError as error:
        say(f"{name}: its failure could not be written: {error}")
