"""Measure what a sweep costs on top of its training: workers x wall time against the bare loops.

    python benchmarks/sweep_overhead.py --data DIR [--rounds 5] [--trials 8] [--workers 2]

DIR holds CIFAR-10. Two sides take turns:

- the bare loops: one process per worker, all at once. Each trains its share of the trials one
  after the other and evaluates each on the test set, with the images in memory. The sum of the
  loops' own times is taken, without start-up or records. They use the sweep's own loop, memory
  settings and evaluation batches, so that only what surrounds the loops is compared.
- the sweep: `python -m dse.sweep` over the same trials, from the command's start to its end,
  times the workers.

The second ratio divides by the sum of the seconds in the sweep's own records instead. It is the
steadier one on a machine whose speed drifts from minute to minute.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from dse.data.store import Store
from dse.results import tables
from dse.sweep.request import read_request
from dse.trial.question import Trial


def bare(trials: list[Trial], store: Store) -> list[float]:
    """The seconds of each trial's own loop."""
    import torch

    from dse.training.worker import keep_memory

    torch.set_num_threads(1)
    keep_memory()
    return [loop(trial, store) for trial in trials]


def loop(trial: Trial, store: Store) -> float:
    """The seconds of one trial's training and final evaluation, with its images in memory."""
    import torch

    from dse.data.memory import load
    from dse.training.execute import images_at_a_time
    from dse.training.initial import initialise
    from dse.training.judge import judge
    from dse.training.loop import train
    from dse.training.network import SqueezeNet

    recipe = trial.protocol.recipe
    data = load(trial.protocol, store)
    model = SqueezeNet(trial.architecture).to(memory_format=torch.channels_last)
    initialise(model, recipe.init, trial.seed)
    start = time.perf_counter()
    train(
        model,
        data,
        lambda: data.batches(data.validation, images_at_a_time(trial)),
        recipe,
        seed=trial.seed,
    )
    judge(model, lambda: data.batches(data.test, images_at_a_time(trial)))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.5, help="of CIFAR-10's training set")
    options = parser.parse_args()
    arguments = [
        "protocol=cifar10", f"data.root={options.data}", "epochs=1", "warmup=0.5",
        f"train_share={options.share}", f"seed=range({options.trials})",
        f"runner.workers={options.workers}",
    ]  # fmt: skip
    request = read_request("sweep", "", arguments, page="squeezenet")
    shares = [list(request.trials[i :: options.workers]) for i in range(options.workers)]
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {options.trials} trials")
    ratios, owns = [], []
    for _ in range(options.rounds):
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            parts = pool.map(bare, shares, [request.store] * len(shares))
            loops = [seconds for part in parts for seconds in part]
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "dse.sweep", "--config-name", "squeezenet"]
            start = time.perf_counter()
            subprocess.run(
                [*command, *arguments, f"results.root={folder}"], check=True, capture_output=True
            )
            wall = time.perf_counter() - start
            own = tables.load(Path(folder) / "squeezenet")["seconds"].sum()
        owns.append(options.workers * wall / own)
        ratios.append(options.workers * wall / sum(loops))
        print(
            f"bare loops {min(loops):.1f} .. {max(loops):.1f} s, sum {sum(loops):.1f} s; "
            f"{options.workers} x {wall:.1f} s: {ratios[-1]:.3f}x; "
            f"its own records {own:.1f} s: {owns[-1]:.3f}x",
            flush=True,
        )
    for name, values in (("bare loops", ratios), ("its own records", owns)):
        middle = statistics.median(values)
        print(f"relative to {name}: {middle:.3f}x ({min(values):.3f} .. {max(values):.3f})")


if __name__ == "__main__":
    main()
