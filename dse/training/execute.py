"""One trial executed: the one place where model, data and training meet."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor, nn

from dse.data.memory import Data, load
from dse.data.published import DEFAULT, Store
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
from dse.trial.question import SEMANTICS, Trial
from dse.trial.recipe import Recipe
from dse.trial.record import Answer, Circumstance, Record, status_of

EVALUATION_PIXELS = 2**16
"""Pixels of a picture plane that are judged at a time, about."""


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
            model, trained, look = attempt_training(trial, data, attempts, state, on_epoch, on_step)
            break
        except Foreign:
            continue  # of an earlier release
    attempts = [*attempts, trained]
    while attempts[-1].dead_step >= 0 and len(attempts) <= _restarts(trial):
        model, trained, look = attempt_training(trial, data, attempts, None, on_epoch, on_step)
        attempts = [*attempts, trained]
    answer = _answer(trial, model, data, attempts, look)
    record = Record(
        trial=trial, answer=answer, circumstance=_circumstance(time.perf_counter() - start)
    )
    curves = tuple(attempt.curve for attempt in attempts)
    return Outcome(record=record, curves=curves, weights=weights_of(model))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights; a norm's count of batches is none."""
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def attempt_training(
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
    model = build(trial, recipe, data, len(before))
    steps = sum(attempt.steps for attempt in before)
    last: list[tuple[int, Callable[[], State]]] = []

    def tell(step: int, now: Callable[[], State]) -> None:
        last[:] = [(step, now)]
        on_step(steps + step, lambda: _encoded(before, now()))

    trained = train(
        model,
        data,
        lambda: data.batches(data.validation, pictures_at_a_time(trial)),
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


def build(trial: Trial, recipe: Recipe, data: Data, attempt: int) -> SqueezeNet:
    """The trial's network with the initial weights of an attempt (from 0)."""
    model = SqueezeNet(trial.architecture)
    model.to(memory_format=torch.channels_last)  # a quarter faster on a processor
    pictures = None
    if recipe.init == "lsuv":
        pictures, _ = next(data.train_batches(recipe.batch_size, trial.seed, 1))
    initialise(model, recipe.init, trial.seed, pictures, attempt)
    return model


def pictures_at_a_time(trial: Trial) -> int:
    """How many pictures are judged at a time: fewer calls for small ones, less memory for large."""
    return max(EVALUATION_PIXELS // trial.protocol.image_size**2, 32)


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
    test = judge(model, lambda: told(data.batches(data.test, pictures_at_a_time(trial)), look))
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
