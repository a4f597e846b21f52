"""A data set as verified train, validation and test tensors, and their batches.

Pictures stay uint8, (count, channels, height, width), until a batch is made of them. The split
into parts is fixed per data set and the same for every seed; a smaller `train_share` is a part
of a larger one, with the same pictures held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dse.protocol import DataSet, Protocol, random_seed


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures, uint8 (n, channels, h, w), and their labels, int64 (n)."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The three parts of a data set under one protocol, and its facts."""

    train: Part
    validation: Part
    test: Part
    facts: DataSet
    augment: str

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch. The last one may be smaller; a last one of a single picture is
        left out, because batch norm has no variance of it.
        """
        whole, rest = divmod(len(self.train), batch_size)
        return whole + (rest > 1)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalised batches of one epoch: float32 (b, channels, h, w), int64 (b).

        Order and augmentation are functions of (seed, epoch).
        """
        order = _permutation(len(self.train), random_seed(seed, "order", epoch))
        random = torch.Generator().manual_seed(random_seed(seed, "augment", epoch))
        for chosen in torch.split(order, batch_size)[: self.steps(batch_size)]:
            pictures = AUGMENTATIONS[self.augment](self.train.pictures[chosen], random)
            yield self.normalise(pictures), self.train.labels[chosen]

    def batches(self, part: Part, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches of the whole of `part`, in order."""
        for start in range(0, len(part), batch_size):
            stop = start + batch_size
            yield self.normalise(part.pictures[start:stop]), part.labels[start:stop]

    def normalise(self, pictures: Tensor) -> Tensor:
        """uint8 pictures as float32 of about mean 0 and deviation 1, by the declared facts."""
        mean = torch.tensor(self.facts.mean).view(-1, 1, 1) * 255
        std = torch.tensor(self.facts.std).view(-1, 1, 1) * 255
        return (pictures.float() - mean) / std


def load(protocol: Protocol) -> Data:
    """The data of a protocol: read, verified against the declared facts, resized and split.

    Raises `ValueError` where the data are not the declared ones.
    """
    train, test = READERS[protocol.data](protocol.facts)
    order = _permutation(len(train), random_seed(0, "split", protocol.data))
    held_out, kept = protocol.validation_pictures, protocol.train_pictures

    def part(source: Part, chosen: Tensor) -> Part:
        return Part(_resized(source.pictures[chosen], protocol.image_size), source.labels[chosen])

    return Data(
        train=part(train, order[held_out : held_out + kept]),
        validation=part(train, order[:held_out]),
        test=part(test, torch.arange(len(test))),
        facts=protocol.facts,
        augment=protocol.augment,
    )


def _permutation(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Bilinear, to `side` x `side`, as uint8."""
    if pictures.shape[-1] == side:
        return pictures
    resized = F.interpolate(
        pictures.float(), size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255).to(torch.uint8)


# Readers: data set -> training set and test set, as published ---------------------------------


def _digits(facts: DataSet) -> tuple[Part, Part]:
    """scikit-learn's digits, values 0 .. 16 stretched to 0 .. 255, split once at random.

    Its file is read without importing it, which takes a second in each process.
    """
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(path), delimiter=",", dtype=np.uint8)
    values, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    found = hashlib.sha256(values.tobytes() + labels.tobytes()).hexdigest()
    if found != facts.digest:
        raise ValueError(f"`data` digits must have the digest {facts.digest}, got {found}")
    pictures = torch.from_numpy(np.round(values * (255 / 16)).astype(np.uint8))[:, None]
    order = _permutation(len(labels), random_seed(0, "test", "digits"))
    whole = Part(pictures[order], torch.from_numpy(labels.astype(np.int64))[order])
    cut = facts.train
    return (
        Part(whole.pictures[:cut], whole.labels[:cut]),
        Part(whole.pictures[cut:], whole.labels[cut:]),
    )


READERS = {"digits": _digits}


# Augmentations: uint8 pictures and a random stream -> pictures of the same shape ---------------


def _unchanged(pictures: Tensor, random: torch.Generator) -> Tensor:
    del random
    return pictures


def _shifted(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Each picture moved by -1, 0 or 1 pixels in each direction; zeros come in."""
    count, _, height, width = pictures.shape
    dy, dx = torch.randint(0, 3, (2, count, 1), generator=random)
    rows = (torch.arange(height) + dy)[:, None, :, None]
    columns = (torch.arange(width) + dx)[:, None, None, :]
    each = torch.arange(count)[:, None, None, None]
    channel = torch.arange(pictures.shape[1])[None, :, None, None]
    return F.pad(pictures, (1, 1, 1, 1))[each, channel, rows, columns]


AUGMENTATIONS = {"none": _unchanged, "shift": _shifted}
