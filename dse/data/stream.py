"""A folder of images, too large for memory, as batches that are decoded during training.

`Stream` has the interface of `dse.data.memory.Data`. Loader processes decode and crop, ahead of the
training; the trial's own process collects the crops, copies them to the device as bytes, and
normalises them there. Batches do not depend on the number of loaders, nor on the device: order and
augmentation are functions of (seed, epoch) and of an image's place in the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dse.data import folder
from dse.data.loaders import CHUNK, Cropper, Files, cropped, slots_for
from dse.data.store import Store
from dse.trial.datasets import DataSet
from dse.trial.protocol import Mine, Protocol, epoch_steps, random_seed, whole

CPU = torch.device("cpu")

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""R, G, B of 255: the authors' mean (forresti/SqueezeNet, train_val.prototxt; there B, G, R)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images by their line in the manifest, int64 (n), and their labels, int64 (n)."""

    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """The three parts of a folder of images under one protocol, and its facts; batches are on
    `device`.

    Iterating raises `DataError` for an image that is broken or has changed.
    """

    train: Part
    validation: Part
    test: Part
    facts: DataSet
    protocol: Protocol
    files: Files
    loaders: int
    device: torch.device = CPU

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch, counted as `dse.data.memory.Data` does."""
        return epoch_steps(len(self.train), batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, mine: Mine = whole
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalised batches of one epoch, from batch number `start` (from 0) on.

        float32 (b, 3, image_size, image_size) in channels_last, int64 (b). Only the images of a
        batch that are `mine` are decoded; all labels are given.
        """
        order = _permutation(len(self.train), random_seed(seed, "order", epoch))
        chosen = order[start * batch_size : self.steps(batch_size) * batch_size]
        part = Part(self.train.rows[chosen], self.train.labels[chosen])
        return self._batches(part, batch_size, random_seed(seed, "augment", epoch), mine)

    def batches(self, part: Part, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches of the whole of `part`, in order, cropped for evaluation."""
        return self._batches(part, batch_size, None)

    def _batches(
        self, part: Part, batch_size: int, key: int | None, mine: Mine = whole
    ) -> Iterator[tuple[Tensor, Tensor]]:
        chunks = (
            chunk.tolist()
            for rows in torch.split(part.rows, batch_size)
            for chunk in torch.split(rows[mine(len(rows))], CHUNK)
            if len(chunk)
        )
        slots = slots_for(self.loaders, ahead=math.ceil(batch_size / CHUNK) + 1)
        crops = cropped(Cropper(self.files, self.protocol, key, slots), chunks, self.loaders)
        side, pinned = self.protocol.image_size, self.device.type == "cuda"
        scale = scale_of(self.protocol, self.device)
        for start in range(0, len(part), batch_size):
            y = part.labels[start : start + batch_size]
            count = len(y[mine(len(y))])
            x = torch.empty(count, side, side, 3, dtype=torch.uint8, pin_memory=pinned)
            for into in torch.split(x, CHUNK) if count else ():
                into.copy_(next(crops)[: len(into)])
            labels = y.pin_memory() if pinned else y
            yield (
                normalised(x.to(self.device, non_blocking=True), *scale),
                labels.to(self.device, non_blocking=True),
            )


def scale_of(protocol: Protocol, device: torch.device = CPU) -> tuple[Tensor, Tensor | None]:
    """What a protocol subtracts from a line of pixels, and divides it by, float32 (3 w).

    `dataset` has about mean 0 and deviation 1; `caffe` stays on the scale of 0 to 255 and in
    the order R, G, B, where the authors' networks take B, G, R.
    """
    side, facts = protocol.image_size, protocol.facts
    if protocol.normalise == "caffe":
        return torch.tensor(CAFFE_MEAN).repeat(side).to(device), None
    mean, std = torch.tensor([m * 255 for m in facts.mean]), torch.tensor(facts.std) * 255
    return mean.repeat(side).to(device), std.repeat(side).to(device)


def normalised(images: Tensor, mean: Tensor, std: Tensor | None) -> Tensor:
    """uint8 (n, h, w, 3) normalised by a `scale_of`: float32 (n, 3, h, w), channels last.

    Line by line, which is several times as fast as three numbers for each pixel.
    """
    lines = torch.sub(images.view(-1, len(mean)), mean)
    if std is not None:
        lines.div_(std)
    return lines.view(images.shape).permute(0, 3, 1, 2)


def load(protocol: Protocol, store: Store) -> Stream:
    """The folder `store.root`, split like any other data set.

    Raises `DataError` where it is not the folder that the protocol's manifest names.
    """
    manifest = folder.planned(protocol, store)
    classes = torch.arange(len(manifest.classes)).repeat(2)
    labels = classes.repeat_interleave(torch.tensor(manifest.train + manifest.test))
    order = _permutation(protocol.facts.train, random_seed(0, "split", protocol.data))
    held_out, kept = protocol.validation_images, protocol.train_images

    def part(rows: Tensor) -> Part:
        return Part(rows, labels[rows])

    return Stream(
        train=part(order[held_out : held_out + kept]),
        validation=part(order[:held_out]),
        test=part(torch.arange(protocol.facts.train, len(labels))),
        facts=protocol.facts,
        protocol=protocol,
        files=Files.of(store.root, manifest.listing),
        loaders=store.loaders,
    )


def _permutation(number: int, seed: int) -> Tensor:
    return torch.randperm(number, generator=torch.Generator().manual_seed(seed))
