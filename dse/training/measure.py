"""What a trial takes, measured by training it for some seconds."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save as encode
from torch import Tensor, nn

from dse.data.memory import Data, load
from dse.data.resident import on_device
from dse.data.store import Store
from dse.runner.task import Reporter
from dse.space.cost import cost
from dse.training import cuda
from dse.training.execute import (
    Callbacks,
    build,
    images_at_a_time,
    train_attempt,
    weights_of,
)
from dse.training.judge import judge
from dse.training.worker import keep_memory
from dse.trial.question import Trial

LEAST_STEPS = 2
"""Minimum number of steps that are timed, of whole batches; one of smaller ones."""

JUDGING = 4
"""Judging is timed for the steps' time divided by this."""

LONG = 3e10
"""Multiply-accumulates of a step that may take a CPU a second or more: a small one is tried
first."""

PROBE, FEWEST = 2, 8
"""Images of the step that is tried first, and minimum images of the steps that are timed."""

PATIENCE = 3
"""Whole batches are timed where that takes at most so many times the seconds asked for."""

EPOCHS, LR = 10_000, 1e-9
"""Epochs and learning rate of a training that is only timed: it neither ends nor diverges."""


class Enough(Exception):
    """A training has been timed for long enough."""


class Stopwatch:
    """Times the steps of a training without the judgements between them, for some `seconds` and at
    least `least` steps.

    The first steps are not like the others: `first` is when `skipped` of them were done, `steps`
    and `seconds` are those after it, `worked` is their CPU time. Raises `Enough` at the end.
    """

    def __init__(self, seconds: float, least: int = LEAST_STEPS) -> None:
        self.first, self.skipped = 0.0, 0
        self.steps, self.seconds, self.worked = 0, 0.0, 0.0
        self._enough, self._least = seconds, least
        self._last = self._worked = 0.0

    def on_step(self, step: int, state: object) -> None:
        """Called with the number of steps done: after each one, or on a GPU after several."""
        del state
        now, worked = time.perf_counter(), time.process_time()
        if self.first:
            self.steps, self.seconds = step - self.skipped, self.seconds + now - self._last
            self.worked += worked - self._worked
        else:
            self.first, self.skipped = now, step
        self._last, self._worked = now, worked
        if self.steps >= self._least and self.seconds >= self._enough:
            raise Enough

    def on_judged(self, *_: object) -> None:
        """Called after each batch that is judged, and after the last one once more."""
        self._last, self._worked = time.perf_counter(), time.process_time()


def measure(argument: tuple[Trial, Store, float, str, int], report: Reporter) -> dict[str, float]:
    """In a worker: train a trial for some `seconds` on a device, keep nothing, and return what its
    parts take. The last argument is the number of processes that will share the trial: the share of
    one of them is measured.

    `entered` is when this began, on the machine's monotonic clock; `ready`, `step` and `judge` are
    the seconds until the first step, of a step, and of judging an image; `private` and `shared`
    are the peak bytes of this process's own memory and of what it was forked with; `header` is the
    bytes of a file of weights in addition to the weights. `busy` is the steps' time divided by
    their CPU time: well above 1 where other programs use the CPUs; 1 where a step
    waits for a GPU or for loaders. The recipe's number of epochs and learning rate are replaced, so
    that any trial can be trained for long enough.

    Where steps take long, smaller ones are timed: `timed` is the number of their images, from
    which `step` and `private` are extrapolated; else 0. It is reported as soon as it is known.
    """
    entered = time.monotonic()
    whole, store, seconds, name, processes = argument
    trial, device = _share(whole, processes), torch.device(name)
    torch.set_num_threads(1)
    keep_memory()
    load(trial.protocol, store)  # a data set is prepared once, not by each trial
    start = time.perf_counter()
    if device.type == "cuda":
        cuda.prepare(trial.protocol.recipe.precision)
        cuda.CudaStep.captures = processes == 1  # as in the training itself
    data = on_device(load(trial.protocol, store), device)
    batch = timed = trial.protocol.recipe.batch_size
    if device.type == "cpu" and batch > FEWEST and _step_macs(trial) > LONG:
        began = time.perf_counter()
        probe, _ = _train(trial, PROBE, data, 0.0, device)
        timed = _affordable(batch, probe.seconds / probe.steps / PROBE, seconds)
        start += time.perf_counter() - began
    report(timed)
    watch, memory = _train(trial, timed, data, seconds, device)
    step = watch.seconds / watch.steps
    model = build(trial, trial.protocol.recipe, data, 0).to(device)
    together = images_at_a_time(trial, device)
    if timed < batch:
        together = min(together, timed)
    judged = _seconds_of_judging(model, data, together, seconds / JUDGING)
    private, shared = map(max, memory, _memory())
    if timed < batch:
        part = batch // trial.protocol.recipe.iter_size
        private += max(part - timed, 0) * _bytes_of_an_image(trial, model, data)
    weights = weights_of(model)
    alone = device.type == "cpu" and not store.loaders
    return {
        "entered": entered,
        "ready": max(watch.first - start - watch.skipped * step, 0.0),
        "step": step * batch / timed,
        "judge": judged / processes,
        "private": private,
        "shared": shared,
        "header": len(encode(weights)) - sum(w.nbytes for w in weights.values()),
        "timed": timed if timed < batch else 0,
        "busy": max(watch.seconds / max(watch.worked, 1e-9), 1.0) if alone else 1.0,
    }


def _share(trial: Trial, processes: int) -> Trial:
    """A trial whose steps are one process's share of `trial`'s."""
    recipe = trial.protocol.recipe
    share = replace(
        recipe,
        batch_size=recipe.batch_size // processes,
        iter_size=max(recipe.iter_size // processes, 1),
    )
    return replace(trial, protocol=replace(trial.protocol, recipe=share))


def _step_macs(trial: Trial) -> int:
    """Multiply-accumulates of a step of a trial, forward and backward."""
    protocol = trial.protocol
    macs: int = cost(trial.architecture, protocol.image_size).macs
    return 3 * protocol.recipe.batch_size * macs


def _bytes_of_an_image(trial: Trial, model: nn.Module, data: Data) -> int:
    """Bytes that a step on a CPU needs for each image of its batch: what is kept for the
    backward pass, and the largest activations there."""
    x, _ = next(data.train_batches(2 * PROBE, trial.seed, 1))
    size = cost(trial.architecture, trial.protocol.image_size)
    with torch.autocast("cpu", torch.bfloat16, enabled=trial.protocol.recipe.precision == "bf16"):
        more = _bytes_kept(model, x) - _bytes_kept(model, x[:PROBE])
    return more // PROBE + int(size.peak_activation_bytes)


def _bytes_kept(model: nn.Module, x: Tensor) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        scores = model(x)
    del scores  # until here, no tensor took another one's place
    return sum(sizes.values())


def _affordable(batch: int, per_image: float, seconds: float) -> int:
    """Images of the steps to time: the whole batch, or as many as `seconds` of steps allow.

    `per_image` are the seconds of a step of one image.
    """
    steps = 1 + LEAST_STEPS
    if steps * batch * per_image <= PATIENCE * seconds:
        return batch
    return min(max(int(seconds / steps / per_image), FEWEST), batch)


def _train(
    trial: Trial, batch: int, data: Data, seconds: float, device: torch.device
) -> tuple[Stopwatch, tuple[int, int]]:
    """Train with batches of so many images for some `seconds`; the steps' times, and `_memory`
    while the loaders are running."""
    whole = batch == trial.protocol.recipe.batch_size
    watch = Stopwatch(seconds, LEAST_STEPS if whole else 1)
    callbacks = Callbacks(
        on_step=watch.on_step, on_judged=watch.on_judged, on_epoch=watch.on_judged
    )
    try:
        train_attempt(_endless(trial, batch), data, [], None, callbacks, device)
    except Enough:
        return watch, _memory()
    raise RuntimeError(f"{trial.trial_id} ended before its steps could be timed")


def _endless(trial: Trial, batch: int) -> Trial:
    """A trial whose steps are the same, of `batch` images, but whose training does not end by
    itself."""
    protocol = trial.protocol
    recipe = protocol.recipe
    recipe = replace(
        recipe,
        batch_size=batch,
        iter_size=recipe.iter_size if batch == recipe.batch_size else 1,
        epochs=EPOCHS,
        lr=LR,
        dead_after=0,
        ladder="none",
    )
    return replace(trial, protocol=replace(protocol, recipe=recipe))


def _seconds_of_judging(model: nn.Module, data: Data, together: int, seconds: float) -> float:
    """Seconds of judging an image, measured for some `seconds` after a first batch."""
    start, images = 0.0, 0

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal start, images
        yield next(iter(data.batches(data.validation, together)))
        start = time.perf_counter()
        while True:
            for x, y in data.batches(data.validation, together):
                images += len(y)
                yield x, y
                if time.perf_counter() - start >= seconds:
                    return

    judge(model, batches)
    return (time.perf_counter() - start) / images


def _memory() -> tuple[int, int]:
    """Peak bytes of this process's own memory with its children's, and bytes of its server."""
    try:
        own, server = _sizes("self"), _sizes(str(os.getppid()))
        children = Path("/proc/thread-self/children").read_text().split()
        private = own["VmHWM"] - own["Rss"] + sum(map(_private, ["self", *children]))
        return private, server["Rss"]
    except (OSError, ValueError, KeyError):  # no Linux
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0


def _private(process: str) -> int:
    sizes = _sizes(process)
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def _sizes(process: str) -> dict[str, int]:
    """A process's memory as Linux reports it: bytes by name."""
    sizes = {}
    for name in ("status", "smaps_rollup"):
        for line in Path(f"/proc/{process}/{name}").read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith(" kB"):
                sizes[key] = 1024 * int(value.removesuffix(" kB"))
    return sizes
