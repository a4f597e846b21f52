"""One trial executed: the one place where model, data and training meet."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor, nn

from dse.data.memory import Data, load
from dse.data.published import DEFAULT, Store
from dse.results import states as checkpoints
from dse.results.records import claim, save
from dse.runner.runner import Later, Stopped, Tell
from dse.space.cost import cost
from dse.training.loop import (
    Epoch,
    Foreign,
    Judgement,
    OnEpoch,
    Position,
    State,
    Training,
    judge,
    told,
    train,
)
from dse.training.network import SqueezeNet, initialise
from dse.trial.protocol import Recipe
from dse.trial.record import SEMANTICS, Answer, Circumstance, Record, Trial, status_of

EVALUATION_PIXELS = 2**16
"""Pixels of a picture plane that are judged at a time, about."""

KEEP_EVERY, KEEP_SHARE = 10.0, 100
"""Seconds between two kept states of a trial, at least, and as multiples of what one takes."""

LEAST_STEPS, JUDGING = 2, 4
"""Steps that are timed at least; judging is timed for one part in so many of the steps' time."""

ENDLESS, IDLE = 10_000, 1e-9
"""Epochs and learning rate of a training that is timed alone: it neither ends nor diverges."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


OnState = Callable[[int, Callable[[], bytes]], None]
"""Told after each step, and after each batch that is judged, how many steps a trial has done, and
how to get its state. It may raise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All that a finished trial leaves: its record, its trained tensors, each attempt's curve."""

    record: Record
    curves: tuple[tuple[Epoch, ...], ...]
    weights: dict[str, Tensor]


def execute(
    trial: Trial,
    on_epoch: OnEpoch = lambda epoch, accuracy: None,
    *,
    store: Store = DEFAULT,
    on_step: OnState = lambda step, state: None,
    states: Iterable[bytes] = (),
) -> Outcome:
    """Train one configuration from scratch and judge it once on the whole test set.

    A dead run is restarted as the recipe's ladder says. `on_step` is told how to get the trial's
    state; the trial goes on from the first of `states` that is one, to the same end. Raises
    `ValueError` where the data are not the declared ones, or the trial is of an earlier version of
    what training means. On one machine's processor and with one thread, equal trials give equal
    answers and bit-equal weights.
    """
    if trial.semantics != SEMANTICS:
        raise ValueError(f"`semantics` must be {SEMANTICS} to train, got {trial.semantics}")
    start = time.perf_counter()
    data = load(trial.protocol, store)
    for attempts, state in _whole(states):
        try:
            model, trained, look = _attempt(trial, data, attempts, state, on_epoch, on_step)
            break
        except Foreign:
            continue  # of an earlier release
    attempts = [*attempts, trained]
    while attempts[-1].dead_step >= 0 and len(attempts) <= _restarts(trial):
        model, trained, look = _attempt(trial, data, attempts, None, on_epoch, on_step)
        attempts = [*attempts, trained]
    answer = _answer(trial, model, data, attempts, look)
    record = Record(
        trial=trial, answer=answer, circumstance=_circumstance(time.perf_counter() - start)
    )
    curves = tuple(attempt.curve for attempt in attempts)
    return Outcome(record=record, curves=curves, weights=_weights(model))


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights; a norm's count of batches is none."""
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def _attempt(
    trial: Trial,
    data: Data,
    before: Sequence[Training],
    state: State | None,
    on_epoch: OnEpoch,
    on_step: OnState,
) -> tuple[SqueezeNet, Training, Callable[[], None]]:
    """The training that comes after dead ones, from its state if there is one.

    And what to call behind each batch that is judged after it: `on_step`, with its end.
    """
    recipe = trial.protocol.recipe.restarted(len(before))
    model = _model(trial, recipe, data, len(before))
    steps = sum(attempt.steps for attempt in before)
    last: list[tuple[int, Callable[[], State]]] = []

    def tell(step: int, now: Callable[[], State]) -> None:
        last[:] = [(step, now)]
        on_step(steps + step, lambda: _encoded(before, now()))

    trained = train(
        model,
        data,
        lambda: data.batches(data.validation, _together(trial)),
        recipe,
        seed=trial.seed,
        state=state,
        on_epoch=on_epoch,
        on_step=lambda step, loss, now: tell(step, now),
        on_judged=tell,
    )
    return model, trained, lambda: tell(*last[0])


def _encoded(attempts: Sequence[Training], state: State) -> bytes:
    """A trial's state: a line of JSON, then the tensors as safetensors."""
    parts = {"attempts": [asdict(a) for a in attempts], "position": asdict(state.position)}
    return json.dumps(parts).encode() + b"\n" + encode(dict(state.tensors))


def _whole(states: Iterable[bytes]) -> Iterator[tuple[list[Training], State | None]]:
    """The ended attempts and the state of the present one, of each that can be read; at last those
    of a trial that begins."""
    for content in states:
        head, _, tensors = content.partition(b"\n")
        try:
            parts = json.loads(head)
            position = parts["position"]
            position["curve"] = _curve(position["curve"])
            attempts = [
                Training(
                    **{
                        **attempt,
                        "curve": _curve(attempt["curve"]),
                        "validation": Judgement(**attempt["validation"]),
                    }
                )
                for attempt in parts["attempts"]
            ]
            yield attempts, State(tensors=decode(tensors), position=Position(**position))
        except (ValueError, LookupError, TypeError, AttributeError, SafetensorError):
            continue  # of an earlier release
    yield [], None


def _curve(rows: Iterable[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**row) for row in rows)


def _restarts(trial: Trial) -> int:
    return trial.protocol.recipe.restarts


def _model(trial: Trial, recipe: Recipe, data: Data, attempt: int) -> SqueezeNet:
    """The trial's network with the initial weights of an attempt (from 0)."""
    model = SqueezeNet(trial.architecture)
    model.to(memory_format=torch.channels_last)  # a quarter faster on a processor
    pictures = None
    if recipe.init == "lsuv":
        pictures, _ = next(data.train_batches(recipe.batch_size, trial.seed, 1))
    initialise(model, recipe.init, trial.seed, pictures, attempt)
    return model


def run(argument: tuple[Trial, Path, Store], tell: Tell) -> dict[str, Any] | None:
    """In a worker: execute a trial on one thread and leave it in a results folder.

    Tells (epoch, val_top1) each epoch; returns the record's row, or None where another's record
    is there. Raises `Later` where another process trains the trial.
    """
    trial, folder, store = argument
    with claim(folder, trial.trial_id) as standing:
        if standing == "held":
            raise Later
        row = _train_and_save(trial, folder, store, tell) if standing == "mine" else None
        checkpoints.clear(folder, trial.trial_id)
        return row


def _train_and_save(trial: Trial, folder: Path, store: Store, tell: Tell) -> dict[str, Any] | None:
    torch.set_num_threads(1)
    _keep_memory()
    outcome = execute(
        trial,
        lambda epoch, accuracy: _say(tell, epoch, accuracy),
        store=store,
        on_step=Keeper(folder, trial.trial_id, tell),
        states=checkpoints.newest(folder, trial.trial_id),
    )
    files = {"curve.csv": curve_csv(outcome.curves), "weights.safetensors": encode(outcome.weights)}
    if save(folder, outcome.record, files):
        return outcome.record.row()
    print(f"{trial.trial_id}: another's record was first, this one is discarded", file=sys.stderr)
    return None


def _say(tell: Tell, epoch: int, accuracy: float) -> None:
    """Tell an epoch's end; a trial that shall stop does so where its state is kept."""
    with suppress(Stopped):
        tell((epoch, accuracy))


# What a trial takes ---------------------------------------------------------------------------


class _Enough(Exception):
    """A training has been watched for long enough."""


class Watch:
    """Times the steps of a training, judgements between them left out; ends it with `_Enough`.

    The first step is no step like the others: `first` is when it was done, `steps` and `seconds`
    are of those after it.
    """

    def __init__(self, seconds: float) -> None:
        self.first = 0.0
        self.steps, self.seconds = 0, 0.0
        self._enough, self._last, self._step = seconds, 0.0, 0

    def __call__(self, step: int, _: object) -> None:
        """Told how many steps are done: after each, and after each batch that is judged."""
        now = time.perf_counter()
        if not self.first:
            self.first = now
        elif step > self._step:
            self.steps, self.seconds = self.steps + 1, self.seconds + now - self._last
        self._last, self._step = now, step
        if self.steps >= LEAST_STEPS and self.seconds >= self._enough:
            raise _Enough


def measure(argument: tuple[Trial, Store, float], _: Tell) -> dict[str, float]:
    """In a worker: train a trial for some seconds, keep nothing, and say what its parts take.

    `entered` is when it began, on this machine's monotonic clock; `ready`, `step` and `judge` are
    seconds until the first step, of a step, and of judging a picture; `private` and `shared` are
    bytes of this process's memory at its most and of what it was forked with, `header` those that a
    file of weights has more than its weights. However short or wild its recipe is, the trial is
    trained for long enough.
    """
    entered = time.monotonic()
    trial, store, seconds = argument
    torch.set_num_threads(1)
    _keep_memory()
    load(trial.protocol, store)  # what is made once for all trials is no trial's
    start = time.perf_counter()
    data, watch = load(trial.protocol, store), Watch(seconds)
    try:
        _attempt(_endless(trial), data, [], None, lambda *_: None, watch)
        raise RuntimeError(f"{trial.trial_id} ended before its steps could be timed")
    except _Enough:
        before = _memory()  # while its loaders live
    step = watch.seconds / watch.steps
    model = _model(trial, trial.protocol.recipe, data, 0)
    judged = _seconds_of_judging(model, data, _together(trial), seconds / JUDGING)
    private, shared = map(max, before, _memory())
    weights = _weights(model)
    return {
        "entered": entered,
        "ready": max(watch.first - start - step, 0.0),
        "step": step,
        "judge": judged,
        "private": private,
        "shared": shared,
        "header": len(encode(weights)) - sum(w.nbytes for w in weights.values()),
    }


def _endless(trial: Trial) -> Trial:
    """A trial whose training takes steps of the same kind, and does not end by itself."""
    protocol = trial.protocol
    recipe = replace(protocol.recipe, epochs=ENDLESS, lr=IDLE, dead_after=0, ladder="none")
    return replace(trial, protocol=replace(protocol, recipe=recipe))


def _seconds_of_judging(model: nn.Module, data: Data, together: int, seconds: float) -> float:
    """Seconds that judging a picture takes, measured for some `seconds`; the first batch is not."""
    start, pictures = 0.0, 0

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal start, pictures
        yield next(iter(data.batches(data.validation, together)))
        start = time.perf_counter()
        while True:
            for x, y in data.batches(data.validation, together):
                pictures += len(y)
                yield x, y
                if time.perf_counter() - start >= seconds:
                    return

    judge(model, batches)
    return (time.perf_counter() - start) / pictures


def _memory() -> tuple[int, int]:
    """The most bytes of memory that this process had to itself, with those of its children, and
    those of its server."""
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
    """What Linux says of a process's memory, bytes by name."""
    sizes = {}
    for name in ("status", "smaps_rollup"):
        for line in Path(f"/proc/{process}/{name}").read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith(" kB"):
                sizes[key] = 1024 * int(value.removesuffix(" kB"))
    return sizes


# Keeping its state ----------------------------------------------------------------------------


class Keeper:
    """Keeps a trial's state now and then, and when the trial is asked to stop; it stops there.

    One state is kept of a step: what is judged behind it is judged again.

    Raises `Stopped` then, and `OSError` where the state cannot be written.
    """

    def __init__(self, folder: Path, trial_id: str, tell: Tell) -> None:
        self._folder, self._trial_id, self._tell = folder, trial_id, tell
        self._due, self._kept = time.monotonic() + KEEP_EVERY, 0

    def __call__(self, step: int, state: Callable[[], bytes]) -> None:
        """Told how many steps are done; keeps the `state` where that is due."""
        stopping, start = self._tell.stopping, time.monotonic()
        if step > self._kept and (stopping or start >= self._due):
            checkpoints.keep(self._folder, self._trial_id, step, state())
            end = time.monotonic()
            self._due, self._kept = end + max(KEEP_EVERY, KEEP_SHARE * (end - start)), step
        if stopping:
            raise Stopped


def _together(trial: Trial) -> int:
    """How many pictures are judged at a time: fewer calls for small ones, less memory for large."""
    return max(EVALUATION_PIXELS // trial.protocol.image_size**2, 32)


def _keep_memory() -> None:
    """Have glibc keep what is freed: else each step asks the system for its maps anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)


def curve_csv(curves: Sequence[Sequence[Epoch]]) -> bytes:
    """The curves of all attempts (from 1) as CSV: a line per epoch."""
    names = [f.name for f in fields(Epoch)]
    lines = [",".join(["attempt", *names])]
    for attempt, curve in enumerate(curves, 1):
        lines += [",".join(str(v) for v in (attempt, *astuple(epoch))) for epoch in curve]
    return "\n".join([*lines, ""]).encode()


def _answer(
    trial: Trial,
    model: nn.Module,
    data: Data,
    attempts: Sequence[Training],
    look: Callable[[], None],
) -> Answer:
    trained = attempts[-1]
    test = judge(model, lambda: told(data.batches(data.test, _together(trial)), look))
    validation = trained.validation
    price = cost(trial.architecture, trial.protocol.image_size)
    last = trained.curve[-1] if trained.curve else None
    return Answer(
        params=price.params,
        macs=price.macs,
        activations=price.activations,
        peak_activation_bytes=price.peak_activation_bytes,
        size_bytes=price.size_bytes,
        status=status_of(
            val_top1=validation.top1,
            guess=validation.guess,
            missed=validation.missed,
            step=trained.diverged_step,
        ),
        top1=test.top1,
        top5=test.top5,
        loss=test.loss,
        val_top1=validation.top1,
        val_loss=validation.loss,
        train_top1=last.train_top1 if last else 0.0,
        train_loss=last.train_loss if last else float("nan"),
        classes_predicted=validation.predicted,
        steps=trained.steps,
        diverged_step=trained.diverged_step,
        dead_step=trained.dead_step,
        restarts=len(attempts) - 1,
    )


def _circumstance(seconds: float) -> Circumstance:
    versions = {
        "dse": importlib.metadata.version("squeezenet-dse"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return Circumstance(
        seconds=round(seconds, 3),
        device="cpu",
        threads=torch.get_num_threads(),
        machine=platform.machine() or "unknown",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=" ".join(f"{name}={version}" for name, version in versions.items()),
    )
