"""A model, data and a `Recipe` -> a trained model, its curve and its accuracy.

Nothing here knows what the model is: anything from images to class scores will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from dse.training.judge import Batches, Judgement, judge
from dse.training.ranks import ALONE, Ranks
from dse.training.step import StepReport, TrainStep
from dse.trial.recipe import Recipe
from dse.trial.schedule import learning_rate

CPU = torch.device("cpu")


class Images(Protocol):
    """What training needs of its data; `dse.data` provides it."""

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        ...

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch (from 1), from batch `start` (from 0): images, labels."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One row of a curve: `epoch` counts from 1, `step` is the number of steps done at its end,
    `lr` the learning rate of the last one; accuracies in percent, losses in nats per image."""

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float
    val_loss: float


@dataclass(kw_only=True, slots=True)
class Position:
    """How far a training has come: all of its state except for tensors.

    `losses`, `correct` and `seen` are sums over the first `batches` batches of the current
    `epoch` (from 1); `lifeless` counts the last steps, after warm-up, that were so in a row.
    """

    epoch: int = 1
    batches: int = 0
    step: int = 0
    losses: float = 0.0
    correct: int = 0
    seen: int = 0
    lifeless: int = 0
    curve: tuple[Epoch, ...] = ()

    def add(self, report: StepReport) -> None:
        """Count the steps of a report."""
        self.step += report.steps
        self.batches += report.steps
        self.losses += report.loss
        self.correct += report.correct
        self.seen += report.images
        if report.steps:
            unbroken = report.lifeless == report.steps
            self.lifeless = report.lifeless + (self.lifeless if unbroken else 0)

    def next_epoch(self, curve: tuple[Epoch, ...]) -> None:
        """Begin the epoch after the current one; `curve` has the rows so far."""
        self.epoch, self.batches, self.curve = self.epoch + 1, 0, curve
        self.losses, self.correct, self.seen = 0.0, 0, 0


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A training between two steps: enough to resume it to the same end, bit for bit.

    `tensors` are the model's ("model.NAME"), the optimizer's ("momentum.NAME"), and those of a
    dense-sparse-dense training ("mask.NAME", "sparse.NAME").
    """

    tensors: Mapping[str, Tensor]
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A finished training: its curve, the last judgement, and its number of steps.

    `diverged_step` is the first step (from 0) whose loss or gradient was not finite, or -1; it is
    `steps` where the last step left a model whose loss on the validation set is not finite.
    `dead_step` is the number of steps after which the run was given up as dead, or -1. `sparse` are
    the model's weights at the end of the sparse phase; none where there was none.
    """

    curve: tuple[Epoch, ...]
    validation: Judgement
    steps: int
    diverged_step: int = -1
    dead_step: int = -1
    sparse: Mapping[str, Tensor] = field(default_factory=dict, compare=False)


OnEpoch = Callable[[int, float], None]
"""Called after each epoch with its number (from 1) and `val_top1` in percent."""

OnStep = Callable[[int, Callable[[], State]], None]
"""Called after steps with the number of steps done and a function that gives the state."""


@torch.random.fork_rng(devices=[])
def train(
    model: nn.Module,
    data: Images,
    validation: Batches,
    recipe: Recipe,
    *,
    seed: int,
    state: State | None = None,
    device: torch.device = CPU,
    train_step: type[TrainStep] = TrainStep,
    ranks: Ranks = ALONE,
    on_epoch: OnEpoch = lambda epoch, val_top1: None,
    on_step: OnStep = lambda step, state: None,
    on_judged: Callable[[], None] = lambda: None,
) -> Training:
    """Train `model` in place as the recipe says; judge it on `validation` after each epoch.

    Model and batches are on `device`, and `train_step` is one for it. Resumes from `state` if there
    is one, to the same end as if it had never stopped; raises `Mismatch` where it belongs to
    another training. `on_judged` is called after each batch that is judged. What a callback raises
    ends the training. Each of several processes trains the same model on its share of the data, as
    `dse.training.ranks.Shared` has it.

    Training ends early where a loss or its gradient is not finite (the model is then what it was
    before that step), and where the run is dead: `recipe.dead_after` steps in a row after warm-up
    were `lifeless`, and `validation` is at chance too. Both are noticed where a step reports.
    """
    steps_per_epoch = data.steps(recipe.batch_size)
    step = train_step(
        model, recipe, steps_per_epoch=steps_per_epoch, seed=seed, device=device, ranks=ranks
    )
    at = Position()
    if state is not None:
        at = replace(state.position)
        step.restore(state.tensors, at.step)

    def current_state() -> State:
        return State(tensors=step.tensors(), position=replace(at))

    def is_dead() -> bool:
        """Whether a run that looks lifeless is at chance too; else its steps count from 0."""
        if not 0 < recipe.dead_after <= at.lifeless:
            return False
        now = judge(model, validation, on_judged, ranks)
        at.lifeless = at.lifeless if now.top1 <= now.guess else 0
        return at.lifeless > 0

    model.train()
    judged, curve, diverged, dead = None, at.curve, False, False
    while at.epoch <= recipe.epochs and not (diverged or dead):
        batches = data.train_batches(recipe.batch_size, seed, at.epoch, at.batches)
        while not (dead := is_dead()) and (batch := next(batches, None)):
            step.begin()
            report = step(*batch)
            at.add(report)
            if diverged := report.diverged:
                break
            if report.steps:  # the model is where `at` says
                on_step(at.step, current_state)
        judged = judge(model, validation, on_judged, ranks)
        if at.seen:
            lr = learning_rate(recipe, at.step - 1, steps_per_epoch)
            curve = (*at.curve, _row(at, lr, judged))
        if not (diverged or dead):
            on_epoch(at.epoch, judged.top1)
            at.next_epoch(curve)
    if judged is None:  # it had stopped when only judging was left
        judged = judge(model, validation, on_judged, ranks)
    diverged = diverged or not (dead or math.isfinite(judged.loss))
    return Training(
        curve=curve,
        validation=judged,
        steps=at.step,
        diverged_step=at.step if diverged else -1,
        dead_step=at.step if dead else -1,
        sparse=step.sparse(),
    )


def _row(at: Position, lr: float, judged: Judgement) -> Epoch:
    """The row of the current epoch, or of what was trained of it."""
    return Epoch(
        epoch=at.epoch,
        step=at.step,
        lr=lr,
        train_loss=at.losses / at.seen,
        train_top1=100 * at.correct / at.seen,
        val_top1=judged.top1,
        val_loss=judged.loss,
    )
