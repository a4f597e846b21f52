"""A model judged on a whole part of the data: accuracy, loss, and the classes it predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dse.trial.protocol import chance

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""The batches of a whole part, in order: pictures (b, channels, h, w), labels int64 (b)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How a model does on a whole part: accuracies in percent, the loss in nats per picture.

    `predicted` is the number of classes predicted at least once, `missed` the number of classes of
    the part that never were. `guess` is the top-1 accuracy that guessing may reach: `chance`, or
    the share of the most frequent class where that is more.
    """

    top1: float
    top5: float
    loss: float
    predicted: int
    missed: int
    guess: float


@torch.no_grad()
def judge(
    model: nn.Module, batches: Batches, after_batch: Callable[[], None] = lambda: None
) -> Judgement:
    """Judge a model in eval mode on a whole part; leaves the model's mode as it was.

    The part has any number of pictures, and its last batch may be smaller. `after_batch` is called
    after each batch; what it raises ends the judgement.
    """
    training = model.training
    model.eval()
    try:
        return _judgement(model, batches, after_batch)
    finally:
        model.train(training)


def _judgement(model: nn.Module, batches: Batches, after_batch: Callable[[], None]) -> Judgement:
    top1 = top5 = 0
    loss = 0.0
    predicted: set[int] = set()
    counts: Counter[int] = Counter()
    for x, y in batches():
        scores = model(x).float()
        best = scores.topk(min(5, scores.shape[1]), 1).indices
        top1 += int((best[:, 0] == y).sum())
        top5 += int((best == y[:, None]).sum())
        loss += F.cross_entropy(scores, y, reduction="sum").item()
        counts.update(y.tolist())
        predicted.update(best[:, 0].tolist())
        after_batch()
    pictures = counts.total()
    return Judgement(
        top1=100 * top1 / pictures,
        top5=100 * top5 / pictures,
        loss=loss / pictures,
        predicted=len(predicted),
        missed=len(counts.keys() - predicted),
        guess=max(chance(pictures, scores.shape[1]), 100 * max(counts.values()) / pictures),
    )
