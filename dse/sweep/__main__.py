"""`python -m dse.sweep sr=0.125,0.25`: train every configuration of a grid, leave one table."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dse.data.published import Store
from dse.results import records as results
from dse.runner.runner import ASKING, Failed, Runner, Workers
from dse.sweep import estimate as bill
from dse.sweep import request as config
from dse.sweep.progress import Progress, again, say
from dse.trial.record import Trial

if TYPE_CHECKING:
    import pandas as pd

EXECUTE = "dse.training.execute:run"
STOP = 7.0
"""Seconds that trials may take to end when the sweep is asked to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 some failed, 2 wrong, 130 interrupted)."""
    return guarded(_main, sys.argv[1:] if arguments is None else list(arguments))


def _main(arguments: list[str]) -> int:
    request = config.read(
        "sweep",
        "Train every configuration of a grid from scratch; leave records, a table, figures.",
        arguments,
        page="figure3a",
    )
    config.check_folder(request.folder)
    trials = bill.affordable(request, request.trials, say)
    if request.plan:
        print(bill.plan(request, trials, say))
        return 0
    failures = run(trials, request.folder, request.workers, request.store)
    draw(request.folder, results.write_tables(request.folder))
    return 1 if failures else 0


def guarded(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; its mistakes become lines and exit code 2, an interruption 130."""
    asking = _asking()
    before = {number: signal.signal(number, signal.default_int_handler) for number in asking}
    try:
        return command(arguments)
    except config.Mistakes as error:
        say(*error.lines)
        return 2
    except results.Damaged as error:
        say(str(error))
        return 1
    except OSError as error:  # a full disk, a folder that vanished: records are whole or absent
        say(f"stopped: {error}; after mending it, go on with: {again()}")
        return 1
    except KeyboardInterrupt:
        for number in asking:
            signal.signal(number, signal.SIG_IGN)
        say(f"interrupted; to go on: {again()}")
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
    todo = results.unfinished(folder, trials)
    stands = f"{len(trials)} trials, {len(trials) - len(todo)} done before, {len(todo)} to do"
    if not todo:
        say(stands)
        results.tidy(folder)
        return 0
    try:
        made = workers.runner(execute, len(todo))
    except ValueError as error:
        raise config.Mistakes(str(error).splitlines()) from None
    with made as runner:
        config.check_data(todo, store, say)
        say(stands)
        results.tidy(folder)
        if not results.has_claims(folder):
            say(f"{folder} has no file locks: other sweeps may train its trials too")
        if execute == EXECUTE:  # what the command ends with is imported while its workers are
            threading.Thread(target=importlib.import_module, args=("dse.analysis.figures",)).start()
        failed = _train(todo, folder, workers.at_most(len(todo)), store, runner)
    results.tidy(folder)
    return len(failed) + _lost(trials, folder, failed)


def _train(
    todo: Sequence[Trial], folder: Path, workers: int, store: Store, runner: Runner
) -> set[str]:
    """Train trials; returns those that failed."""
    failed = set()
    place, store = folder.absolute(), store.absolute()  # a worker may stand in another one
    with (
        results.telling(folder) as tell,
        Progress(todo, workers, tell) as progress,
        stopped_by_signals(runner) as asked,
    ):
        for trial in todo:
            runner.submit(trial.trial_id, (trial, place, store))
        for event in runner.events():
            if isinstance(event, Failed):
                failed.add(str(event.key))
                _leave_word(folder, str(event.key), event)
            progress.take(event)
    if asked:
        raise KeyboardInterrupt
    return failed


@contextmanager
def stopped_by_signals(runner: Runner) -> Iterator[list[int]]:
    """What asks to end (`ASKING`) has the trials that run stop; a second time, at once.

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
    return [number for number in ASKING if number != signal.SIGHUP or not ignored]


def _lost(trials: Sequence[Trial], folder: Path, failed: set[str]) -> int:
    """How many records are not there although their trials did not fail; says so."""
    there = results.finished(folder, [trial.trial_id for trial in trials]) | failed
    lost = len({trial.trial_id for trial in trials} - there)
    if lost:
        say(f"{lost} records have gone from {folder}; to train them again: {again()}")
    return lost


def _leave_word(folder: Path, trial_id: str, event: Failed) -> None:
    """A trial's failure in its folder; where that cannot be written, the message must do."""
    try:
        results.fail(folder, trial_id, {"reason": event.reason, "details": event.details})
    except OSError as error:
        say(f"{trial_id}: its failure could not be written: {error}")


def draw(folder: Path, table: pd.DataFrame) -> dict[str, bytes]:
    """Draw what the sweeps in `table` give, into `folder`; say where; return the SVG of each.

    Where these very tables were drawn before and all is there, nothing is imported or written.
    """
    before = _drawn(folder)
    files = _drawings(table) if before is None else before
    print(folder / "table.csv")
    for name, content in files.items():
        if before is None:
            results.write(folder / name, content)
        print(folder / name)
    if before is None:
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        mark = results.sealed({"of": _drawn_of(folder), "files": digests})
        results.write(folder / results.DRAWN, mark)
    paths = {Path(name): content for name, content in files.items()}
    return {path.stem: content for path, content in paths.items() if path.suffix == ".svg"}


def _drawings(table: pd.DataFrame) -> dict[str, bytes]:
    """The files of all figures and tables whose sweeps are in `table`, by name."""
    from dse.analysis import figures

    files: dict[str, bytes] = {}
    for name, figure in figures.FIGURES.items():
        with suppress(figures.NoSweep):
            svg, png = figures.encoded(figure(table), "svg", "png")
            files |= {f"{name}.svg": svg, f"{name}.png": png}
    for name, tabulated in figures.TABLES.items():
        with suppress(figures.NoSweep):
            rows = tabulated(table)
            files[f"{name}.csv"] = rows.to_csv(index=False).encode()
            files[f"{name}.md"] = figures.markdown(rows).encode()
    return files


def _drawn(folder: Path) -> dict[str, bytes] | None:
    """What today's tables were drawn into; None where they were not, or a file is not as it was."""
    with suppress(OSError, ValueError, KeyError, AttributeError, RecursionError):
        mark = results.unsealed((folder / results.DRAWN).read_bytes())
        files = {n: (folder / Path(n).name).read_bytes() for n in mark["files"]}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        if (mark["of"], mark["files"]) == (_drawn_of(folder), digests):
            return files
    return None


def _drawn_of(folder: Path) -> str:
    """A digest of what figures are made of: the tables, and the module that draws them."""
    spec = importlib.util.find_spec("dse.analysis.figures")
    paths = [folder / "table.parquet", Path(str(spec and spec.origin))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
