"""The networks of Figure 3 and Table 3 at once on a GPU: images per second, all together.

    python benchmarks/gpu_together.py together [--device cpu] [--data-root DIR] [--rounds 5]

The 15 networks have the paper's width and a process each, which run concurrently with NVIDIA's MPS.
They train with the kernels of `dse.training.fused` and with torch's own norms and pooling, then
judge the validation set in TF32, as networks that are trained in bf16 are, and in fp32. All take
turns of a few seconds, and a turn begins when every process is ready. `--seconds` is not used.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from queue import Empty

import torch
from gpu_loops import NARROW, WIDE, ours, prepare_ours
from gpu_setting import arguments, images_of, say, store_of, synchronise, trials

from dse.data.resident import on_device
from dse.data.store import Store
from dse.runner.mps import service
from dse.training import cuda
from dse.training.execute import build, images_at_a_time
from dse.training.judge import judge
from dse.trial.question import Trial

FIGURES = (
    ("sr=0.125,0.25,0.5,0.75,1",),
    ("sr=0.5", "pct3x3=0.01,0.125,0.25,0.375,0.5,0.625,0.75,0.875,0.99"),
    ("bypass=simple,complex",),
)
"""Words of the 15 networks; one is in two figures."""

TURN = 2.0
"""Seconds of a turn."""

STEPS = 16
"""Steps between two looks at the clock."""

PATIENCE = 120.0
"""Seconds in which every process is ready for a turn."""

ARMS = ("our kernels", "torch's norms", "judged in TF32", "judged in fp32")


def networks(device: str) -> list[Trial]:
    """The networks, or two toys on a CPU."""
    width = (*(WIDE if device == "cuda" else NARROW), "epochs=10000", "precision=bf16")
    figures = FIGURES if device == "cuda" else (("bypass=none,simple",),)
    every = {t.trial_id: t for words in figures for t in trials(device, *width, *words)}
    return list(every.values())


def work(trial: Trial, store: Store, device: torch.device) -> dict[str, Callable[[], int]]:
    """What a process does in its turns, by the arm: each call returns a number of images."""
    torch.set_num_threads(1)
    data = images_of(trial, store)
    placed, together = on_device(data, device), images_at_a_time(trial, device)
    model = build(trial, trial.protocol.recipe, data, 0).to(device)

    def judged() -> int:
        judge(model, lambda: placed.batches(placed.validation, together))
        return len(placed.validation)

    def trained(kernels: bool) -> Callable[[], int]:
        steps = ours(trial, data, device)

        def some() -> int:
            prepare_ours(kernels)
            return sum(itertools.islice(steps, STEPS))

        return some

    def judged_in(precision: str) -> int:
        cuda.prepare(precision)
        return judged()

    arms = (trained(True), trained(False), partial(judged_in, "bf16"), partial(judged_in, "fp32"))
    return dict(zip(ARMS, arms, strict=True))


def client(
    trial: Trial,
    options: argparse.Namespace,
    store: Store,
    barrier: Barrier,
    rates: Queue[tuple[str, float]],
) -> None:
    """A process: takes its turns with the others, and puts its images per second into `rates`."""
    device = torch.device(options.device)
    arms = work(trial, store, device)
    for function in arms.values():
        function()
    for _, (name, function) in itertools.product(range(options.rounds), arms.items()):
        barrier.wait()
        start, images = time.perf_counter(), 0
        while (took := time.perf_counter() - start) < TURN or not images:
            images += function()
            synchronise(device)
        rates.put((name, images / took))


def main() -> int:
    options = arguments(__doc__.splitlines()[0], ("together",))
    store = store_of(options.data_root, options.device)
    every, context = networks(options.device), multiprocessing.get_context("spawn")
    with service() if options.device == "cuda" else nullcontext("") as reason:
        if reason:
            say(f"without MPS: {reason}")
        barrier: Barrier = context.Barrier(len(every), timeout=PATIENCE)
        rates: Queue[tuple[str, float]] = context.Queue()
        clients = [
            context.Process(target=client, args=(trial, options, store, barrier, rates))
            for trial in every
        ]
        for process in clients:
            process.start()
        sums: dict[str, list[float]] = {name: [] for name in ARMS}
        try:
            for _, name in itertools.product(range(options.rounds), ARMS):
                found = [rates.get(timeout=PATIENCE) for _ in every]
                sums[name].append(sum(rate for _, rate in found))
        except Empty:
            say("cut off: a process has ended, or takes too long")
        finally:
            for process in clients:
                process.join(1)
                process.kill()
    for name, values in sums.items():
        say(f"{len(every)} networks at once: {name}", "images/s", values)
    for one, other in (ARMS[:2], ARMS[2:]):
        pairs = zip(sums[one], sums[other], strict=False)
        say(f"{one} / {other}", "x", [a / b for a, b in pairs])
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
