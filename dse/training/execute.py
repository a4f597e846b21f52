"""One trial executed: the one place where network, data and training meet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from dse.data.memory import Data, load
from dse.data.resident import on_device
from dse.data.store import DEFAULT, Store
from dse.space.cost import cost
from dse.training import cuda
from dse.training.circumstance import Places, changes, circumstance, places
from dse.training.cuda import CudaStep
from dse.training.initial import initialise
from dse.training.judge import Judgement, judge
from dse.training.loop import CPU, Epoch, OnEpoch, State, Training, train
from dse.training.networks import network_of
from dse.training.ranks import ALONE, Ranks, Shared
from dse.training.state import Unreadable, decode, encode
from dse.training.step import Mismatch, TrainStep
from dse.trial.question import SEMANTICS, Trial
from dse.trial.recipe import Recipe
from dse.trial.record import Answer, Record, status_of

PIXELS_AT_A_TIME = {"cpu": 2**16, "cuda": 2**21}
"""Approximate number of pixels of an image plane that are judged at a time, by device."""

STEPS: dict[str, type[TrainStep]] = {"cpu": TrainStep, "cuda": CudaStep}

OnState = Callable[[int, Callable[[], bytes]], None]
"""Called after each step with the number of steps a trial has done, and a function that gives its
state as bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All that a finished trial leaves: its record, its weights, each attempt's curve.

    `sparse` are the weights at the end of the sparse phase of a dense-sparse-dense training.
    """

    record: Record
    curves: tuple[tuple[Epoch, ...], ...]
    weights: dict[str, Tensor]
    sparse: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Callbacks:
    """What is called while a trial runs; what a callback raises ends the trial.

    `on_epoch` and `on_judged` are those of `train`; `on_judged` is called on the test set too.
    `on_resume` is called at the start with `val_top1` of each epoch that the attempt has behind it.
    """

    on_epoch: OnEpoch = lambda epoch, val_top1: None
    on_step: OnState = lambda step, state: None
    on_judged: Callable[[], None] = lambda: None
    on_resume: Callable[[Sequence[float]], None] = lambda curve: None


def execute(
    trial: Trial,
    callbacks: Callbacks = Callbacks(),
    *,
    store: Store = DEFAULT,
    states: Iterable[bytes] = (),
    device: torch.device = CPU,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Train one configuration from scratch on a device and judge it once on the whole test set.

    A dead run is restarted as the recipe's ladder says. The trial resumes from the first usable
    one of `states`, to the same end. Raises `ValueError` where the data are not the declared
    ones, or the trial is of an earlier version of what training means. On one machine's CPU
    and with one thread, equal trials give equal answers and bit-equal weights; a GPU gives others,
    which are as good. Each of several processes calls this, and gets the same outcome.
    """
    if trial.semantics != SEMANTICS:
        raise ValueError(f"`semantics` must be {SEMANTICS} to train, got {trial.semantics}")
    start = time.perf_counter()
    if device.type == "cuda":
        cuda.prepare(trial.protocol.recipe.precision)
    data = on_device(load(trial.protocol, store), device)
    model, attempts, start, before = _first_attempt(
        trial, data, states, callbacks, device, ranks, start
    )
    while attempts[-1].dead_step >= 0 and len(attempts) <= trial.protocol.recipe.restarts:
        model, training = train_attempt(
            trial, data, attempts, None, callbacks, device, ranks, start, before
        )
        attempts = [*attempts, training]  # its checkpoints hold the list before it
    together = images_at_a_time(trial, device)
    mine = Shared(data, ranks, trial.protocol.recipe.iter_size)
    test = judge(model, lambda: mine.batches(data.test, together), callbacks.on_judged, ranks)
    return Outcome(
        record=Record(
            trial=trial,
            answer=_answer(trial, attempts, test),
            circumstance=circumstance(time.perf_counter() - start, device, ranks.count, before),
        ),
        curves=tuple(attempt.curve for attempt in attempts),
        weights=weights_of(model),
        sparse=attempts[-1].sparse,
    )


def _first_attempt(
    trial: Trial,
    data: Data,
    states: Iterable[bytes],
    callbacks: Callbacks,
    device: torch.device,
    ranks: Ranks,
    start: float,
) -> tuple[nn.Module, list[Training], float, Places]:
    """The attempt to resume, or the first one where no state is usable, with those before it.

    Then when the trial would have started without a pause, where it now started at `start`, and
    where it was trained before.
    """
    for attempts, state, seconds, before in _resumable(states):
        with suppress(Mismatch):  # of an earlier release
            callbacks.on_resume([e.val_top1 for e in state.position.curve] if state else [])
            began = start - seconds
            model, training = train_attempt(
                trial, data, attempts, state, callbacks, device, ranks, began, before
            )
            return model, [*attempts, training], began, before
    raise AssertionError("an attempt from the start is never a mismatch")


def _resumable(
    states: Iterable[bytes],
) -> Iterator[tuple[list[Training], State | None, float, Places]]:
    """The dead attempts, state, seconds and places in each of `states` that can be read; finally, a
    fresh start."""
    for content in states:
        with suppress(Unreadable):  # of an earlier release
            yield decode(content)
    yield [], None, 0.0, {}


def train_attempt(
    trial: Trial,
    data: Data,
    before: Sequence[Training],
    state: State | None,
    callbacks: Callbacks,
    device: torch.device = CPU,
    ranks: Ranks = ALONE,
    start: float = 0.0,
    before_here: Places = MappingProxyType({}),
) -> tuple[nn.Module, Training]:
    """Train the attempt that follows the dead ones `before`, from its state if there is one.

    `data` are on `device`. `start` is when the trial started, by `time.perf_counter`, and
    `before_here` are the places where it was trained before: a line says what is different now.
    """
    recipe = trial.protocol.recipe.restarted(len(before))
    model = build(trial, recipe, data, len(before))
    if device.type == "cuda":
        model.to(device, memory_format=cuda.FORMATS[recipe.precision])  # type: ignore[call-overload]
    together = images_at_a_time(trial, device)
    steps = sum(attempt.steps for attempt in before)
    resumes = state is not None and ranks.rank == 0
    different = [changes(before_here, places(device, ranks.count))] if resumes else []

    def on_step(step: int, current: Callable[[], State]) -> None:
        if different and (text := different.pop()):  # now that the state has been restored
            print(f"{trial.trial_id}: resumes with {text}", file=sys.stderr)

        def now() -> bytes:
            seconds, where = time.perf_counter() - start, places(device, ranks.count, before_here)
            return encode(before, current(), trial.question, seconds, where)

        callbacks.on_step(steps + step, now)

    mine = Shared(data, ranks, recipe.iter_size)
    training = train(
        model,
        mine,
        lambda: mine.batches(data.validation, together),
        recipe,
        seed=trial.seed,
        state=state,
        device=device,
        train_step=STEPS[device.type],
        ranks=ranks,
        on_epoch=callbacks.on_epoch,
        on_step=on_step,
        on_judged=callbacks.on_judged,
    )
    return model, training


def build(trial: Trial, recipe: Recipe, data: Data, attempt: int) -> nn.Module:
    """The trial's network with the initial weights of an attempt (from 0), on the CPU: they
    are the same for every device."""
    model = network_of(trial.architecture, trial.protocol.image_size)
    model.to(memory_format=torch.channels_last)  # a quarter faster on a CPU
    images = None
    if recipe.init == "lsuv":
        images = next(data.train_batches(recipe.batch_size, trial.seed, 1))[0].cpu()
    initialise(model, recipe.init, trial.seed, images, attempt)
    return model


def images_at_a_time(trial: Trial, device: torch.device = CPU) -> int:
    """How many images are judged at a time: fewer calls for small ones, less memory for large."""
    return max(PIXELS_AT_A_TIME[device.type] // trial.protocol.image_size**2, 32)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights in CPU memory."""
    return {
        name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def _answer(trial: Trial, attempts: Sequence[Training], test: Judgement) -> Answer:
    """The answer of a trial: its status is decided on the validation set alone."""
    training = attempts[-1]
    validation = training.validation
    size = cost(trial.architecture, trial.protocol.image_size)
    last = training.curve[-1] if training.curve else None
    return Answer(
        params=size.params,
        macs=size.macs,
        activations=size.activations,
        peak_activation_bytes=size.peak_activation_bytes,
        size_bytes=size.size_bytes,
        status=status_of(
            val_top1=validation.top1,
            guess=validation.guess,
            missed=validation.missed,
            step=training.diverged_step,
        ),
        top1=test.top1,
        top5=test.top5,
        loss=test.loss,
        val_top1=validation.top1,
        val_loss=validation.loss,
        train_top1=last.train_top1 if last else 0.0,
        train_loss=last.train_loss if last else float("nan"),
        classes_predicted=validation.predicted,
        steps=training.steps,
        diverged_step=training.diverged_step,
        dead_step=training.dead_step,
        restarts=len(attempts) - 1,
    )
