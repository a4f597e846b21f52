"""A model judged on a whole part of the data: accuracy, loss, and the classes it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dse.training.ranks import ALONE, Ranks
from dse.trial.protocol import chance

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""The batches of a whole part, in order: images (b, channels, h, w), labels int64 (b)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How a model does on a whole part: accuracies in percent, the loss in nats per image.

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
    model: nn.Module,
    batches: Batches,
    after_batch: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> Judgement:
    """Judge a model in eval mode on a whole part; leaves the model's mode as it was.

    The part has any number of images, and its last batch may be smaller. `after_batch` is called
    after each batch; what it raises ends the judgement. Each of several processes has some of the
    batches, and gets the judgement on all.
    """
    training = model.training
    model.eval()
    try:
        sums = _summed(model, batches, after_batch)
    finally:
        model.train(training)
    ranks.add_up([sums.numbers])
    return sums.judgement()


def _summed(model: nn.Module, batches: Batches, after_batch: Callable[[], None]) -> _Sums:
    sums = None
    for x, y in batches():
        scores = model(x).float()
        sums = sums or _Sums(scores)
        sums.add(scores, y)
        after_batch()
    if sums is None:
        raise ValueError("a part must have images to be judged on, got none")
    return sums


class _Sums:
    """Sums over batches, on their device: they are read once, at the end."""

    def __init__(self, scores: Tensor) -> None:
        """`scores` (b, classes) says how many classes there are, and where."""
        classes = scores.shape[1]
        self.numbers = torch.zeros(3 + 2 * classes, dtype=torch.float64, device=scores.device)
        views = torch.split(self.numbers, [2, 1, classes, classes])
        self._hits, self._loss, self._counts, self._predicted = views  # hits: top-1, top-5

    def add(self, scores: Tensor, y: Tensor) -> None:
        """Add a batch: class scores (b, classes), labels (b)."""
        best = scores.topk(min(5, scores.shape[1]), 1).indices
        right = best == y[:, None]
        self._hits += torch.stack([right[:, 0].sum(), right.sum()])
        self._loss += F.cross_entropy(scores, y, reduction="sum")
        self._counts.index_add_(0, y, torch.ones_like(y, dtype=torch.float64))
        self._predicted.index_fill_(0, best[:, 0], 1.0)

    def judgement(self) -> Judgement:
        """What the sums say."""
        top1, top5 = map(int, self._hits.tolist())
        counts = [int(count) for count in self._counts.tolist()]
        predicted = [found > 0 for found in self._predicted.tolist()]
        images = sum(counts)
        return Judgement(
            top1=100 * top1 / images,
            top5=100 * top5 / images,
            loss=self._loss.item() / images,
            predicted=sum(predicted),
            missed=sum(1 for n, found in zip(counts, predicted, strict=True) if n and not found),
            guess=max(chance(images, len(counts)), 100 * max(counts) / images),
        )
