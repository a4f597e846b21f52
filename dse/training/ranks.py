"""One trial over several processes of this machine: who they are, and what each of them computes.

All draw the same order and augmentation, and each computes a share of each batch. What a step does
is added up over the processes, so that all have the same weights after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed

from dse.data.memory import Data
from dse.trial.protocol import parts


@dataclass(frozen=True, slots=True)
class Ranks:
    """A process, by its number `rank` (from 0), of the `count` that train one trial."""

    rank: int = 0
    count: int = 1

    def parts(self, images: int, iter_size: int) -> list[tuple[int, slice]]:
        """The parts of a batch that this process computes, with their numbers.

        With an `iter_size` of 1 it is a share of the only part, which may be empty; else there may
        be none.
        """
        every = parts(images, iter_size)
        if iter_size == 1:
            return [(0, self.share(images))]
        each = iter_size // self.count
        return list(enumerate(every))[self.rank * each : (self.rank + 1) * each]

    def of_batch(self, images: int, iter_size: int) -> slice:
        """The images of a batch that this process computes."""
        mine = self.parts(images, iter_size)
        return slice(mine[0][1].start, mine[-1][1].stop) if mine else slice(0, 0)

    def share(self, images: int) -> slice:
        """This process's share of so many images."""
        start, stop = (images * rank // self.count for rank in (self.rank, self.rank + 1))
        return slice(start, stop)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, of one type, by their sums over the processes: one message for all."""
        if self.count == 1:
            return
        every = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in every])
        distributed.all_reduce(flat)
        sums = torch.split(flat, [tensor.numel() for tensor in every])
        for tensor, total in zip(every, sums, strict=True):
            tensor.copy_(total.view(tensor.shape))


ALONE = Ranks()


@dataclass(frozen=True, slots=True)
class Shared:
    """What one of several processes needs of the data: `dse.training.loop.Images`."""

    data: Data
    ranks: Ranks
    iter_size: int

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        return self.data.steps(batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's images of each batch, and the labels of the whole batch."""
        if self.ranks.count == 1:
            return self.data.train_batches(batch_size, seed, epoch, start)
        return self.data.train_batches(
            batch_size, seed, epoch, start, lambda size: self.ranks.of_batch(size, self.iter_size)
        )

    def batches(self, part: Any, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of a part, in batches."""
        if self.ranks.count > 1:
            mine = self.ranks.share(len(part))
            labels = {} if hasattr(part, "images") else {"labels": part.labels[mine]}
            part = replace(part, rows=part.rows[mine], **labels)
        return self.data.batches(part, batch_size)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def batch_norm(x: Tensor, norm: torch.nn.BatchNorm2d) -> Tensor:
    """`norm`'s training mode with the statistics of all processes' images.

    `x` is (b, channels, h, w), where b may be 0 in some process. The variance is that of the
    differences from the common mean, as sums of squares would lose digits.
    """
    numbers, momentum = x.float(), norm.momentum or 0.0
    size = numbers.new_full((1,), x.numel() / x.shape[1])
    sums: Tensor = _Sum.apply(torch.cat([numbers.sum((0, 2, 3)), size]))
    count = sums[-1].detach()
    centred = numbers - (mean := sums[:-1] / count)[:, None, None]
    variance: Tensor = _Sum.apply(centred.square().sum((0, 2, 3))) / count
    with torch.no_grad():
        for running, now in (
            (norm.running_mean, mean),
            (norm.running_var, variance * count / (count - 1)),
        ):
            if running is not None:
                running.lerp_(now, momentum)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    whole = centred * scale[:, None, None] + norm.bias[:, None, None]
    return whole.to(x.dtype)
