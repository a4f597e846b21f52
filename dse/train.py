"""A model, data and a `Recipe` -> a trained model, its curve and its accuracy.

Nothing here knows what the model is: anything from pictures to class scores will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch._dynamo  # every optimizer imports it, in 1.5 s: here once, before workers are forked
from torch import Tensor, nn
from torch.nn import functional as F

from dse.protocol import Recipe, random_seed


class Pictures(Protocol):
    """What training asks of its data: see `dse.data.Data`."""

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        ...

    def train_batches(
        self, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch (from 1): pictures and labels."""
        ...


Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Batches of a whole part, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A model judged on a whole part: percent, nats per picture, and classes ever predicted."""

    top1: float
    top5: float
    loss: float
    classes_predicted: int
    pictures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One row of a curve; `epoch` counts from 1, `lr` is that of the epoch's last step."""

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float
    val_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A finished training: its curve, the last judgement, and how many steps it took.

    `diverged_step` is the first step (from 0) whose loss or gradient was not finite, or -1.
    """

    curve: tuple[Epoch, ...]
    validation: Judgement
    steps: int
    diverged_step: int


OnEpoch = Callable[[int, float], bool]
"""Told each epoch's number (from 1) and `val_top1` in percent; False ends the training."""


@torch.random.fork_rng(devices=[])
def train(
    model: nn.Module,
    data: Pictures,
    validation: Batches,
    recipe: Recipe,
    *,
    seed: int,
    on_epoch: OnEpoch = lambda epoch, accuracy: True,
) -> Training:
    """Train `model` in place as the recipe says; judge it on `validation` after each epoch.

    Each step's dropout comes from the stream (seed, "step", step). Training ends at once where a
    loss or its gradient is not finite; the model then is what it was before that step.
    """
    steps_per_epoch = data.steps(recipe.batch_size)
    total = recipe.epochs * steps_per_epoch
    optimizer = _optimizer(model, recipe)
    curve: list[Epoch] = []
    step, diverged = 0, -1
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        losses = correct = seen = 0.0
        for x, y in data.train_batches(recipe.batch_size, seed, epoch):
            rate = learning_rate(recipe, step, steps_per_epoch, total)
            torch.default_generator.manual_seed(random_seed(seed, "step", step))
            loss, hits = _step(model, optimizer, recipe, x, y, rate)
            if math.isnan(loss):
                diverged = step
                break
            step += 1
            losses, correct, seen = losses + loss * len(y), correct + hits, seen + len(y)
        judged = judge(model, validation)
        if seen:
            curve.append(
                Epoch(
                    epoch=epoch,
                    lr=learning_rate(recipe, step - 1, steps_per_epoch, total),
                    train_loss=losses / seen,
                    train_top1=100 * correct / seen,
                    val_top1=judged.top1,
                    val_loss=judged.loss,
                )
            )
        if diverged >= 0 or not on_epoch(epoch, judged.top1):
            break
    return Training(curve=tuple(curve), validation=judged, steps=step, diverged_step=diverged)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    x: Tensor,
    y: Tensor,
    rate: float,
) -> tuple[float, int]:
    """One step; returns its loss and how many of its pictures were right, before the step.

    The loss is NaN, and the model as it was, where the loss or its gradient is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    before = [buffer.clone() for buffer in model.buffers()]  # a pass changes a norm's statistics
    with _arithmetic(recipe.precision):
        scores = model(x)
    loss = F.cross_entropy(scores.float(), y)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip or math.inf)
    value = loss.item()
    if not math.isfinite(value + norm.item()):
        for buffer, old in zip(model.buffers(), before, strict=True):
            buffer.copy_(old)
        return math.nan, 0
    optimizer.step()
    return value, int((scores.argmax(1) == y).sum())


def _arithmetic(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD. Scales and shifts of norms are not decayed; weights and biases are (as in Caffe)."""
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in module.parameters(recurse=False)
    }
    groups = [
        {"params": [p for p in model.parameters() if (id(p) in norms) == apart], "weight_decay": d}
        for apart, d in ((False, recipe.weight_decay), (True, 0.0))
    ]
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, total: int) -> float:
    """The learning rate of `step` (from 0) of `total` steps.

    >>> recipe = Recipe(lr=1.0, warmup=0.0, schedule="linear")
    >>> [learning_rate(recipe, step, 2, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    warm = round(recipe.warmup * steps_per_epoch)
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(total - warm, 1)
    return recipe.lr * SCHEDULES[recipe.schedule](share)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "step": lambda share: 0.1 ** int(3 * share),
    "constant": lambda share: 1.0,
}
"""Share of the steps behind warm-up (0 to 1) -> share of the peak learning rate."""


@torch.no_grad()
def judge(model: nn.Module, batches: Batches) -> Judgement:
    """Judge a model on a whole part (any number of pictures, the last batch smaller)."""
    model.eval()
    first = five = pictures = 0
    loss = 0.0
    predicted: set[int] = set()
    for x, y in batches():
        scores = model(x).float()
        best = scores.topk(min(5, scores.shape[1]), 1).indices
        first += int((best[:, 0] == y).sum())
        five += int((best == y[:, None]).sum())
        loss += F.cross_entropy(scores, y, reduction="sum").item()
        pictures += len(y)
        predicted.update(best[:, 0].tolist())
    return Judgement(
        top1=100 * first / pictures,
        top5=100 * five / pictures,
        loss=loss / pictures,
        classes_predicted=len(predicted),
        pictures=pictures,
    )
