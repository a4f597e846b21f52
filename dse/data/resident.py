"""A data set on a device: batches are cut out and normalised there.

`Resident` has the interface of `dse.data.memory.Data` and the same batches: order and augmentation
are drawn on the CPU, from the same streams, and the images stay uint8 until they are
normalised. A stream, whose set is too large for that, copies its batches itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor

from dse.data.memory import AUGMENTATIONS, Data, Numbers, epoch_order
from dse.trial.protocol import Mine, random_seed, whole

PIXELS = 2**21
"""Approximate number of pixels of an image plane that are cut out at a time: enough that a batch
takes a few microseconds, and less than 100 MB."""

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Part:
    """As `dse.data.memory.Part`, with tensors on a device."""

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def on_device(data: Data, device: torch.device) -> Data:
    """The same data with their batches on `device`; data on a CPU stay as they are."""
    if device.type == "cpu":
        return data
    if isinstance(data, Data):
        return cast(Data, Resident(data, device))  # another class of the same interface
    return cast(Data, replace(data, device=device))


class Resident:
    """`Data` whose images are all on a device. Nothing here waits for the device."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self._data, self._device = data, device
        self._mean = (torch.tensor(data.facts.mean) * 255).to(device)
        self._std = (torch.tensor(data.facts.std) * 255).to(device)
        images, labels = data.train.images, data.train.labels
        train = torch.tensor(images).to(device), torch.tensor(labels).to(device)
        self.train = Part(*train, torch.from_numpy(data.train.rows).to(device))
        self.validation = Part(*train, torch.from_numpy(data.validation.rows).to(device))
        test = torch.tensor(data.test.images).to(device), torch.tensor(data.test.labels)
        self.test = Part(test[0], test[1].to(device), torch.from_numpy(data.test.rows).to(device))

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        return self._data.steps(batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, mine: Mine = whole
    ) -> Batches:
        """The batches of `Data.train_batches`, on the device.

        Some are cut out at a time, twice as many each time up to `PIXELS`. The next ones are drawn
        one by one while the device computes on these.
        """
        order = epoch_order(self._data.train, seed, epoch)
        numbers = range(start, self.steps(batch_size))
        tables = (self._draw(order, batch_size, seed, epoch, number) for number in numbers)
        most = max(PIXELS // (batch_size * self.train.images[0, ..., 0].numel()), 1)
        drawn = list(islice(tables, 1))
        while drawn:
            cut = self._cut_out(np.concatenate(drawn, 1))
            drawn = []
            for batch in zip(*(torch.split(t, batch_size) for t in cut), strict=True):
                yield batch[0][mine(len(batch[1]))], batch[1]
                drawn += islice(tables, min(2, most - len(drawn)))

    def batches(self, part: Part, batch_size: int = 256) -> Batches:
        """The batches of `Data.batches`, on the device."""
        for rows in torch.split(part.rows, batch_size):
            images = part.images.index_select(0, rows)
            yield self._normalise(images), part.labels.index_select(0, rows)

    def _draw(self, order: Numbers, batch_size: int, seed: int, epoch: int, number: int) -> Numbers:
        """A batch's rows, shifts down and across, and flips (0 or 1): int64 (4, b)."""
        rows = order[number * batch_size : (number + 1) * batch_size]
        random = torch.Generator()
        random.manual_seed(random_seed(seed, "augment", f"{epoch}/{number}"))
        side = self._data.train.images.shape[1]
        drawn = AUGMENTATIONS[self._data.augment].draw(len(rows), side, random)
        table = np.zeros((4, len(rows)), np.int64)
        table[0] = rows
        for line, changes in zip(table[1:], (drawn.y, drawn.x, drawn.mirrored), strict=True):
            line[: len(changes)] = changes
        return table

    def _cut_out(self, table: Numbers) -> tuple[Tensor, Tensor]:
        """The images and labels of the batches that were drawn, from tables side by side."""
        host = torch.from_numpy(table)
        if self._device.type == "cuda":
            host = host.pin_memory()  # else the copy waits
        rows, y, x, mirrored = host.to(self._device, non_blocking=True)
        images = self.train.images
        margin = AUGMENTATIONS[self._data.augment].margin(images.shape[1])
        windows = cut_out(images, rows, y - margin, x - margin, mirrored.bool())
        return self._normalise(windows), self.train.labels.index_select(0, rows)

    def _normalise(self, images: Tensor) -> Tensor:
        return images.float().sub_(self._mean).div_(self._std).permute(0, 3, 1, 2)


def cut_out(images: Tensor, rows: Tensor, y: Tensor, x: Tensor, mirrored: Tensor) -> Tensor:
    """Windows of the images in `rows`, uint8 (b, h, w, channels), zero outside of the image.

    `y` and `x` (b) are their upper left corners, `mirrored` (b) says which are flipped.
    """
    _, height, width, channels = images.shape
    down, across = (torch.arange(side, device=images.device) for side in (height, width))
    ys = y[:, None] + down
    xs = x[:, None] + torch.where(mirrored[:, None], across.flip(0), across)
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None, :]
    lines = rows[:, None] * height + ys.clamp(0, height - 1)
    pixels = lines[:, :, None] * width + xs.clamp(0, width - 1)[:, None, :]
    found = images.view(-1, channels).index_select(0, pixels.view(-1))
    return found.view(*pixels.shape, channels).mul_(inside[..., None])
