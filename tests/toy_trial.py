"""What the fault tests run: sweeps of trials of milliseconds with real records, without torch.

`python -m toy_trial FOLDER key=value ...` is such a sweep; `Plan` has the keys. `storm` kills
sweeps and workers at random moments, and `crowd` runs many sweeps at once: call them in a process
of their own, because they fork it.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.data.store import DataError, Store
from dse.results import checkpoints, locks, records
from dse.runner.task import Later, Reporter, Stopped
from dse.space.architecture import V1_0
from dse.trial.protocol import Protocol
from dse.trial.question import Trial
from dse.trial.recipe import Recipe
from dse.trial.record import Answer, Circumstance, Record

POISON, HANGING, BROKEN, FULL = 1.0, 0.5, 0.25, 0.125
HOLD = "hold"
"""The suffix of a file with a seed: trials from it on wait after each epoch while it is there."""

LOG = "trained"
"""The suffix of a log with a line for each epoch that begins, such as "ID epoch7", and for each
training that ended: "ID trained", then "ID saved" or "ID late"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A toy sweep: the number of trials (seeds from `start` on), seconds of an epoch, and whether
    it writes tables. Trials have `stop` seconds to stop.

    The trial of seed `poison` ends its process; that of seed `hanging` does nothing, forever;
    that of seed `broken` meets an error in the data, and that of seed `full` a full disk.
    """

    trials: int = 12
    start: int = 0
    workers: int = 2
    epochs: int = 2
    seconds: float = 0.003
    table: bool = False
    poison: int = -1
    hanging: int = -1
    broken: int = -1
    full: int = -1
    patience: float = 0.0
    retries: int = 2
    stop: float = 7.0


def trials(plan: Plan) -> list[Trial]:
    """The trials of a plan; how they behave hides in fields of a recipe that nothing else reads."""
    ends = {plan.poison: POISON, plan.hanging: HANGING, plan.broken: BROKEN, plan.full: FULL}
    return [
        Trial(
            layout=V1_0,
            protocol=Protocol(
                image_size=64,
                recipe=Recipe(
                    epochs=plan.epochs, lr=plan.seconds, weight_decay=ends.get(seed, 0.0)
                ),
            ),
            seed=seed,
        )
        for seed in range(plan.start, plan.start + plan.trials)
    ]


def record(of: Trial, **changes: Any) -> Record:
    """The record of a trial, its answer a function of the question alone."""
    rng = random.Random(of.trial_id)
    counts = ("params", "macs", "activations", "peak_activation_bytes", "size_bytes", "steps")
    answer: dict[str, Any] = {name: rng.randrange(10**9) for name in counts}
    for name in ("top1", "top5", "val_top1", "train_top1"):
        answer[name] = rng.uniform(0, 100)
    for name in ("loss", "val_loss", "train_loss"):
        answer[name] = rng.choice((rng.random(), float("nan")))
    answer |= {"status": "learned", "classes_predicted": 10, "diverged_step": -1}
    answer |= {"dead_step": -1, "restarts": 0, **changes}
    return Record(
        trial=of,
        answer=Answer(**answer),
        circumstance=Circumstance(
            seconds=0.5,
            device="cpu",
            threads=1,
            machine="toy",
            finished=str(time.time_ns()),
            versions=f"process={os.getpid()}",
        ),
    )


def files(of: Trial) -> dict[str, bytes]:
    """A trial's other files: 20 kB, a function of the question alone."""
    return {"curve.csv": of.canonical().encode(), "weights": of.trial_id.encode() * 1000}


def run(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """What `dse.training.worker:run` does, without the training; it logs what it did."""
    of, folder, _, _ = argument
    with locks.claim(folder, of.trial_id) as state:
        if state == "held":
            raise Later
        if state == "done":
            return None
        if of.protocol.recipe.weight_decay == POISON:
            os._exit(9)
        if of.protocol.recipe.weight_decay == HANGING:
            time.sleep(10_000)
        if of.protocol.recipe.weight_decay == BROKEN:
            raise DataError("an image has gone")
        if of.protocol.recipe.weight_decay == FULL:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(folder / "trials" / "file"))
        done = int(next(checkpoints.newest(folder, of.trial_id), b"0"))
        for epoch in range(done + 1, of.protocol.recipe.epochs + 1):
            note(folder, of.trial_id, f"epoch{epoch}")
            time.sleep(of.protocol.recipe.lr)
            checkpoints.save(folder, of.trial_id, epoch, str(epoch).encode())
            report((epoch, 50.0))
            while is_held(folder, of):
                time.sleep(0.005)
                if report.stopping:
                    raise Stopped
        note(folder, of.trial_id, "trained")
        own = record(of)
        saved = records.save(folder, own, files(of))
        note(folder, of.trial_id, "saved" if saved else "late")
        checkpoints.clear(folder, of.trial_id)
        return own.row() if saved else None


def hold(folder: Path, seed: int = 0) -> None:
    """Let the trials of a seed and those after it wait, so that a test can act before they end."""
    folder.with_name(f"{folder.name}.{HOLD}").write_text(str(seed))


def let_go(folder: Path) -> None:
    """Let the trials that wait go on."""
    folder.with_name(f"{folder.name}.{HOLD}").unlink()


def is_held(folder: Path, of: Trial) -> bool:
    try:
        return of.seed >= int(folder.with_name(f"{folder.name}.{HOLD}").read_text())
    except FileNotFoundError:
        return False


def note(folder: Path, trial_id: str, what: str) -> None:
    """Append a line to the log, at once and as a whole."""
    handle = os.open(
        folder.with_name(f"{folder.name}.{LOG}"), os.O_WRONLY | os.O_APPEND | os.O_CREAT
    )
    os.write(handle, f"{trial_id} {what}\n".encode())
    os.close(handle)


def notes(folder: Path, what: str) -> list[str]:
    """The trials of the lines that say `what`."""
    lines = folder.with_name(f"{folder.name}.{LOG}").read_text().splitlines()
    return [trial_id for trial_id, word in map(str.split, lines) if word == what]


def epochs(folder: Path) -> list[tuple[str, int]]:
    """The epochs that began, in order: trial and number."""
    lines = folder.with_name(f"{folder.name}.{LOG}").read_text().splitlines()
    pairs = [(trial_id, word) for trial_id, word in map(str.split, lines)]
    return [(i, int(word.removeprefix("epoch"))) for i, word in pairs if word.startswith("epoch")]


def sweep(folder: Path, plan: Plan) -> int:
    """A toy sweep, run as the command runs one; only its driver imports how."""
    from dse.results import tables
    from dse.runner.runner import Workers
    from dse.sweep import launch, signals

    workers = Workers(count=plan.workers, patience=plan.patience, retries=plan.retries)
    signals.STOP = plan.stop

    def command(_: list[str]) -> int:
        failures = launch.run(trials(plan), folder, workers, Store(), "toy_trial:run")
        if plan.table:
            tables.write_tables(folder)
        return 1 if failures else 0

    return signals.guarded(command, [])


# Storms -------------------------------------------------------------------------------------


def storm(folder: Path, plan: Plan, *, kills: int, seed: int) -> dict[str, int]:
    """Kill sweeps and single workers on one folder after another, until each is finished.

    Returns how many sweeps and workers were killed, sweeps were started and folders finished;
    raises `AssertionError` where a record was lost or saved twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    count = {"sweeps": 0, "workers": 0, "finished": 0, "started": 0}
    while count["sweeps"] + count["workers"] < kills:
        place = folder / str(count["finished"])
        there: set[str] = set()
        while len(there) < plan.trials:
            there = _round(place, plan, rng, count, kills, there)
        assert sweep(place, plan) == 0  # it only tidies what the last kill left
        assert notes(place, "late") == []
        assert len(set(notes(place, "saved"))) == len(notes(place, "saved"))
        count["finished"] += 1
    return count


def _round(
    folder: Path, plan: Plan, rng: random.Random, count: dict[str, int], kills: int, there: set[str]
) -> set[str]:
    """One sweep: some of its workers are killed, then itself; returns the trials with a record."""
    driver = multiprocessing.get_context("fork").Process(target=_driver, args=(folder, plan))
    driver.start()
    count["started"] += 1
    for _ in range(rng.randrange(4)):
        while driver.is_alive() and not workers(driver.pid or 0):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        for worker in workers(driver.pid or 0)[:1]:
            if count["sweeps"] + count["workers"] < kills:
                count["workers"] += _kill(worker)
    time.sleep(rng.uniform(0, 0.1))
    if count["sweeps"] + count["workers"] < kills and driver.is_alive():
        count["sweeps"] += _kill(driver.pid or 0)
    driver.join()
    now = records.ids(folder)
    assert there <= now, "a record was lost"
    return now


def _driver(folder: Path, plan: Plan) -> None:
    os.setsid()
    log = os.open(folder.parent / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 2)
    os._exit(sweep(folder, plan))


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children(process: int) -> list[int]:
    """The live child processes of a process."""
    return [int(child) for child in _of(process, f"task/{process}/children").split()]


def workers(driver: int) -> list[int]:
    """The processes that run a driver's trials: live forks of its fork server, and nothing else,
    such as a command that an import runs."""
    return [
        process
        for server in children(driver)
        for process in children(server)
        if b"forkserver" in _of(server, "cmdline") == _of(process, "cmdline")
    ]


def _of(process: int, name: str) -> bytes:
    """A file of Linux about a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def crowd(folder: Path, plan: Plan, *, drivers: int) -> list[int]:
    """Start many sweeps on one folder at once; returns their exit codes."""
    context = multiprocessing.get_context("fork")
    folder.parent.mkdir(parents=True, exist_ok=True)
    processes = [context.Process(target=_driver, args=(folder, plan)) for _ in range(drivers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode or 0 for process in processes]


if __name__ == "__main__":
    place, *words = sys.argv[1:]
    values = {key: json.loads(value) for key, _, value in (word.partition("=") for word in words)}
    sys.exit(sweep(Path(place), Plan(**values)))
