"""A folder of pictures, too large for memory, as batches that are decoded during training.

`Stream` has the interface of `dse.data.memory.Data`. Loader processes decode and crop; the trial's
own process normalises the crops. Batches do not depend on the number of loaders: order and
augmentation are functions of (seed, epoch) and of a picture's place in the manifest.
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

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""R, G, B of 255: the authors' mean (forresti/SqueezeNet, train_val.prototxt; there B, G, R)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures by their line in the manifest, int64 (n), and their labels, int64 (n)."""

    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """The three parts of a folder of pictures under one protocol, and its facts.

    Iterating raises `DataError` for a picture that is broken or has changed.
    """

    train: Part
    validation: Part
    test: Part
    facts: DataSet
    protocol: Protocol
    files: Files
    loaders: int

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch, counted as `dse.data.memory.Data` does."""
        return epoch_steps(len(self.train), batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, mine: Mine = whole
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalised batches of one epoch, from batch number `start` (from 0) on.

        float32 (b, 3, image_size, image_size) in channels_last, int64 (b). Only the pictures of a
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
        side = self.protocol.image_size
        batches = range(0, len(part), batch_size)
        chunks = (
            chunk.tolist()
            for rows in torch.split(part.rows, batch_size)
            for chunk in torch.split(rows[mine(len(rows))], CHUNK)
            if len(chunk)
        )
        slots = slots_for(self.loaders, ahead=math.ceil(batch_size / CHUNK) + 1)
        crops = cropped(Cropper(self.files, self.protocol, key, slots), chunks, self.loaders)
        for batch in batches:
            y = part.labels[batch : batch + batch_size]
            count = len(y[mine(len(y))])
            x = torch.empty(count, 3, side, side, memory_format=torch.channels_last)
            for into in torch.split(x, CHUNK) if count else ():
                normalise(next(crops)[: len(into)], into, self.protocol)
            yield x, y


def normalise(pictures: Tensor, into: Tensor, protocol: Protocol) -> None:
    """Normalise uint8 (n, h, w, 3) as the protocol says, into float32 (n, 3, h, w), channels last.

    `dataset` has about mean 0 and deviation 1; `caffe` stays on the scale of 0 to 255 and in
    the order R, G, B, where the authors' networks take B, G, R.
    """
    caffe, facts = protocol.normalise == "caffe", protocol.facts
    mean = torch.tensor(CAFFE_MEAN if caffe else [m * 255 for m in facts.mean])
    # Line by line: several times as fast as three numbers for each pixel.
    lines = into.permute(0, 2, 3, 1).view(-1, 3 * into.shape[3])
    torch.sub(pictures.view(lines.shape), mean.repeat(into.shape[3]), out=lines)
    if not caffe:
        lines.div_((torch.tensor(facts.std) * 255).repeat(into.shape[3]))


def load(protocol: Protocol, store: Store) -> Stream:
    """The folder `store.root`, split like any other data set.

    Raises `DataError` where it is not the folder that the protocol's manifest names.
    """
    manifest = folder.planned(protocol, store)
    classes = torch.arange(len(manifest.classes)).repeat(2)
    labels = classes.repeat_interleave(torch.tensor(manifest.train + manifest.test))
    order = _permutation(protocol.facts.train, random_seed(0, "split", protocol.data))
    held_out, kept = protocol.validation_pictures, protocol.train_pictures

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
