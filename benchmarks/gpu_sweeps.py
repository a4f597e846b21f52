"""Trials per hour on a GPU: several at a time, each in its own process, against one by one.

    python benchmarks/gpu_sweeps.py mixed|packed|mps [--device cpu] [--data-root DIR]
        [--rounds 5] [--seconds S]

- mixed: of 30 networks, all different, those that there is time for, one after the other; then the
  same ones several at a time, without and with NVIDIA's MPS, with which the processes run
  concurrently on the GPU.
- packed: one network with different seeds; 1, 8, 4, 2 and 16 at a time.
- mps: as `packed`, with MPS.

Trials of `EPOCHS` epochs run as in a sweep (`dse.training.worker`), each from the start of its
process to its saved record, after the fork server has imported torch. Starting is a larger part of
such short trials than of others, and several at a time start together. `--rounds` is not used: a
rate is one measurement of several trials.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_setting
from gpu_setting import arguments, say, store_of, trials

from dse.data.store import Store
from dse.runner.events import Failed, Finished
from dse.runner.fork import SERVER
from dse.runner.gpus import ask_driver, visible
from dse.runner.mps import service
from dse.runner.runner import Runner, Workers
from dse.runner.task import Reporter
from dse.training import worker
from dse.trial.question import Trial

ARMS = {"cuda": ((8, False), (8, True), (16, True)), "cpu": ((2, False),)}
"""Trials at a time of `mixed`, and whether with MPS."""

EPOCHS = 3
"""Epochs of a trial: a few seconds."""


def work(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """`dse.training.worker.run`, on random images where there is no CIFAR-10."""
    gpu_setting.use_synthetic()
    return worker.run(argument, report)


class Machine:
    """A runner for so many trials at a time, ready to start."""

    def __init__(
        self, at_a_time: int, device: str, store: Store, folder: Path, warm: Trial
    ) -> None:
        SERVER.end()  # it would have the environment of the time when it was started
        gpus = visible(ask_driver().names)[:1] if device == "cuda" else None
        workers = Workers(count=at_a_time, device=device, settings=gpus, retries=0)
        self._runner, self._device = Runner("gpu_sweeps:work", workers), device
        self._store, self._folder = store.absolute(), folder
        self.rate([warm])

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.__exit__()

    def rate(self, todo: Sequence[Trial], seconds: float = 1e9) -> tuple[float, int]:
        """Train trials; returns how many per hour, and how many were done.

        What has not ended after some `seconds` is given up, and this is then of no more use. Says
        which trials failed.
        """
        for trial in todo:
            folder = self._folder / f"{time.monotonic_ns()}"
            folder.mkdir()
            self._runner.submit(folder.name, (trial, folder, self._store, self._device))
        start = last = time.monotonic()
        done = 0
        for event in self._runner.events():
            now = time.monotonic()
            if isinstance(event, Finished):
                done, last = done + 1, now
            if isinstance(event, Failed):
                say(f"a trial failed: {event.reason}")
                print(event.details, file=sys.stderr)
            if now - start > seconds:
                self._runner.stop(0.0)
        return 3600 * done / max(last - start, 1e-9), done


def mixed(device: str, store: Store, folder: Path, seconds: float) -> None:
    """Thirty different networks, several at a time and one after the other."""
    widths = "base_e=32,64" if device == "cuda" else "base_e=8,16"
    words = (widths, "sr=0.125,0.25,0.5,0.75,1.0", "pct3x3=0.25,0.5,0.75")
    every = list(trials(device, *words, *epochs(device)))
    random.Random(0).shuffle(every)
    end = time.monotonic() + seconds
    with Machine(1, device, store, folder, short(every[0])) as machine:
        single, count = machine.rate(every, 0.4 * seconds)
    took = 0.0
    say(f"{count} configurations, one after the other", "trials/hour", [single])
    for at_a_time, shared in ARMS[device]:
        start = time.monotonic()
        with service() if shared else nullcontext("") as reason:
            name = f"{at_a_time} at a time{' with MPS' if shared else ''}"
            if reason or not count or took > end - start:
                say(f"{name}: not measured: {reason or 'no time was left'}")
                continue
            with Machine(at_a_time, device, store, folder, short(every[0])) as machine:
                rate, done = machine.rate(every[:count])
        took = time.monotonic() - start
        say(f"{done} configurations, {name}", "trials/hour", [rate])
        say(f"{name} / one after the other", "x", [rate / single])


def packed(device: str, store: Store, folder: Path, seconds: float, note: str = "") -> None:
    """One network, so many at a time."""
    end = time.monotonic() + seconds
    sizes = (1, 8, 4, 2, 16) if device == "cuda" else (1, 2)
    if note:
        sizes = (8, 16) if device == "cuda" else (2,)
    same = trials(device, f"seed=range(0,{2 * max(sizes)})", *epochs(device))
    first, took = 0.0, 0.0
    for size in sizes:
        start = time.monotonic()
        if took > end - start:
            say(f"{size} at a time{note}: not measured: no time was left")
            continue
        with Machine(size, device, store, folder, short(same[0])) as machine:
            rate, count = machine.rate(same[: max(2 * size, 3)])
        took = time.monotonic() - start
        first = first or rate
        say(f"{count} trials, {size} at a time{note}", "trials/hour", [rate])
        if size > 1 and not note:
            say(f"{size} at a time / one after the other", "x", [rate / first])


def epochs(device: str) -> tuple[str, ...]:
    """How long a trial is."""
    return (f"epochs={EPOCHS}",) if device == "cuda" else ("epochs=2", "train_share=0.2")


def short(trial: Trial) -> Trial:
    """The trial with one epoch."""
    protocol = trial.protocol
    recipe = replace(protocol.recipe, epochs=1, warmup=0)
    return replace(trial, protocol=replace(protocol, recipe=recipe))


def main() -> int:
    options = arguments(__doc__.splitlines()[0], ("mixed", "packed", "mps"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # MPS is ended
    end = time.monotonic() + options.seconds
    store = store_of(options.data_root, options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.row == "mixed":
            mixed(options.device, store, folder, end - time.monotonic())
        elif options.row == "packed":
            packed(options.device, store, folder, end - time.monotonic())
        else:
            with service() as reason:
                if reason:
                    say(f"not measured: {reason}")
                else:
                    packed(options.device, store, folder, end - time.monotonic(), " with MPS")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
