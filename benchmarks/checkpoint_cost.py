"""Measure the share of a trial's time that saving checkpoints takes.

    python benchmarks/checkpoint_cost.py [--seconds 60] [--rounds 5] key=value ...

The keys are those of `python -m dse.sweep`. The first trial of the grid is trained for some
seconds in this process, as a worker trains it: a checkpoint is saved durably every ten seconds,
in a results folder below the working directory. All time spent on checkpoints is counted,
including the decisions whether to save one.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dse.results import checkpoints
from dse.runner.task import Reporter
from dse.sweep.request import read_request
from dse.training.execute import Callbacks, execute
from dse.training.worker import Checkpointer, keep_memory


class Enough(Exception):
    """The trial has been timed for long enough."""


class Timed:
    """A checkpointer that adds up the seconds it takes."""

    def __init__(self, checkpointer: Checkpointer, seconds: float) -> None:
        self._checkpointer, self._enough = checkpointer, seconds
        self.start = self.spent = 0.0
        self.steps = 0

    def on_step(self, step: int, state: Callable[[], bytes]) -> None:
        before = time.perf_counter()
        self.start = self.start or before
        self._checkpointer.on_step(step, state)
        self.spent += time.perf_counter() - before
        self.steps += 1
        if time.perf_counter() - self.start >= self._enough:
            raise Enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options, keys = parser.parse_known_args()
    request = read_request("sweep", "", keys, page="squeezenet")
    trial = request.trials[0]
    torch.set_num_threads(1)
    keep_memory()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    shares = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
            checkpointer = Checkpointer(Path(place), trial.trial_id, Reporter(lambda _: None))
            timed = Timed(checkpointer, options.seconds)
            try:
                execute(trial, Callbacks(on_step=timed.on_step), store=request.store)
                ended = time.perf_counter()
            except Enough:
                ended = time.perf_counter()
            kept = checkpoints.checkpoint_folder(Path(place), trial.trial_id)
            files = sorted(kept.iterdir()) if kept.is_dir() else []  # none of a short trial
            size = files[-1].stat().st_size if files else 0
        shares.append(100 * timed.spent / (ended - timed.start))
        print(
            f"{number}: {1000 * timed.spent:.1f} ms of {ended - timed.start:.1f} s, "
            f"{timed.steps} steps, a checkpoint of {size:,} bytes: {shares[-1]:.3f}%",
            flush=True,
        )
    print(f"{statistics.median(shares):.3f}% ({min(shares):.3f} .. {max(shares):.3f})")


if __name__ == "__main__":
    main()
