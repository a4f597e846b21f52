"""How long a finished sweep takes when it is run again, and a large table to load and to draw.

    python benchmarks/large_tables.py [--rounds 7] [--resumed 1000] [--loaded 100000]

The records are made up: real questions of five squeeze ratios and many seeds, with random answers.
Measures the command of a finished sweep of `--resumed` trials from its start to its end, and
`python -m dse.report` of them, with learning curves of 100 epochs and all figures drawn; then, for
`--loaded` records, `tables.load` in a new process with and without its index, `drawing.draw` of the
loaded table (matplotlib's import included), and `python -m dse.status`. Making the records takes
minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dse.results import files, tables
from dse.sweep.request import read_request
from dse.trial.question import Trial
from dse.trial.record import Answer, Circumstance, Record

LOAD = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from dse.results import tables
assert len(tables.load(Path(sys.argv[1]))) == int(sys.argv[2])
print(time.perf_counter() - start)
"""
CURVE = "attempt,epoch,step,lr,train_loss,train_top1,val_top1,val_loss\n" + "".join(
    f"1,{epoch},{9 * epoch},0.1,{3 / epoch},{90 - 80 / epoch},{90 - 80 / epoch},{3 / epoch}\n"
    for epoch in range(1, 101)
)
DRAW = """
import sys, time
from pathlib import Path
from dse.figures import drawing
from dse.results import files, tables
folder = Path(sys.argv[1])
table = tables.load(folder)
(folder / files.DRAWN).unlink(missing_ok=True)
start = time.perf_counter()
assert drawing.draw(folder, table).figures
sys.stderr.write(str(time.perf_counter() - start))
"""


def made_up(trial: Trial) -> Record:
    """A record of a trial that was not trained."""
    rng = random.Random(trial.seed)
    counts = ("params", "macs", "activations", "peak_activation_bytes", "size_bytes", "steps")
    percents = ("top1", "top5", "val_top1", "train_top1")
    losses = ("loss", "val_loss", "train_loss")
    answer = Answer(
        status="learned",
        classes_predicted=10,
        diverged_step=-1,
        dead_step=-1,
        restarts=0,
        **{name: rng.randrange(10**6) for name in counts},
        **{name: rng.uniform(0, 100) for name in percents},
        **{name: rng.random() for name in losses},
    )
    circumstance = Circumstance(
        seconds=1.0, device="cpu", threads=1, machine="none", finished="never", versions="made=up"
    )
    return Record(trial=trial, answer=answer, circumstance=circumstance)


def fill(folder: Path, trials: tuple[Trial, ...], curve: str = "") -> None:
    """Write a made-up record of each trial, not durably: it is removed in a minute."""
    for trial in trials:
        home = files.trial_folder(folder, trial.trial_id)
        home.mkdir(parents=True)
        (home / files.RECORD).write_bytes(files.sealed(made_up(trial).row()))
        if curve:
            (home / "curve.csv").write_text(curve)


def timed(command: list[str]) -> float:
    """Seconds of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def show(name: str, seconds: list[float]) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name}: {middle:.2f} s ({low:.2f} .. {high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--resumed", type=int, default=1000)
    parser.add_argument("--loaded", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory() as place:

        def words(count: int) -> list[str]:
            grid = [f"seed=range(0,{count // 5})", "sr=0.125,0.25,0.5,0.75,1", f"limit={count}"]
            return [*grid, f"results.root={place}", "name=x"]

        def trials(count: int) -> tuple[Trial, ...]:
            return read_request("sweep", "", words(count), page="squeezenet").trials

        folder = Path(place) / "x"
        fill(folder, trials(options.resumed), CURVE)
        command = [sys.executable, "-m", "dse.sweep", "-cn", "squeezenet", *words(options.resumed)]
        timed(command)  # it writes the tables
        rows = f"{options.resumed:,} rows"
        show(f"resume of {rows}", [timed(command) for _ in range(options.rounds)])
        seconds, page = [], folder / "report.html"
        for _ in range(options.rounds):
            for path in page, folder / files.DRAWN:
                path.unlink(missing_ok=True)
            seconds.append(timed([sys.executable, "-m", "dse.report", str(folder)]))
        show(f"report of {rows}, {page.stat().st_size / 1e6:.1f} MB", seconds)
        shutil.rmtree(folder)
        fill(folder, trials(options.loaded))
        rows = f"{options.loaded:,} rows"
        load = [sys.executable, "-c", LOAD, str(folder), str(options.loaded)]
        show(f"load of {rows}, every record read", [timed(load)])
        tables.write_tables(folder)
        time.sleep(1)  # a record as young as the index is read again
        tables.write_tables(folder)
        inside = [
            float(subprocess.run(load, check=True, capture_output=True, text=True).stdout)
            for _ in range(options.rounds)
        ]
        show(f"load of {rows}, imports included", inside)
        draw = [sys.executable, "-c", DRAW, str(folder)]
        drawn = [
            float(subprocess.run(draw, check=True, capture_output=True, text=True).stderr)
            for _ in range(options.rounds)
        ]
        show(f"drawing of {rows}", drawn)
        status = [sys.executable, "-m", "dse.status", str(folder)]
        show(f"status of {rows}", [timed(status) for _ in range(options.rounds)])


if __name__ == "__main__":
    main()
