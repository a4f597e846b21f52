"""A data set as train, validation and test sets, and their batches.

The images of a set stay uint8, (count, h, w, channels), in one place that no part copies: for
published sets a file that all processes map. The split into parts is fixed per data set and the
same for every seed; a smaller `train_share` is a part of a larger one, with the same images held
out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dse.data import cache
from dse.data.cache import Arrays
from dse.data.formats import Bytes
from dse.data.store import DEFAULT, DataError, Store
from dse.trial.datasets import DataSet
from dse.trial.protocol import Mine, Protocol, epoch_steps, random_seed, whole

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """The `rows`, int64 (n), of a set's images that belong to a part, in its order.

    `images`, uint8 (all, h, w, channels), and `labels`, int64 (all), are the whole set's.
    """

    images: Bytes
    labels: Numbers
    rows: Numbers

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The three parts of a data set under one protocol, and its facts."""

    train: Part
    validation: Part
    test: Part
    facts: DataSet
    augment: str

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        return epoch_steps(len(self.train), batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, mine: Mine = whole
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalised batches of one epoch: float32 (b, channels, h, w), int64 (b).

        The order is a function of (seed, epoch), the augmentation of these and of the batch's
        number (from 0): from `start` on the batches are those of the whole epoch. Only the images
        of a batch that are `mine` are made; all labels are given.
        """
        part, changes = self.train, AUGMENTATIONS[self.augment]
        order = epoch_order(part, seed, epoch)
        random, side = torch.Generator(), part.images.shape[1]
        for number in range(start, self.steps(batch_size)):
            rows = order[number * batch_size : (number + 1) * batch_size]
            random.manual_seed(random_seed(seed, "augment", f"{epoch}/{number}"))
            drawn, some = changes.draw(len(rows), side, random), mine(len(rows))
            images = changed(part.images.take(rows[some], axis=0), drawn.of(some))
            yield self.normalise(images), torch.from_numpy(part.labels[rows])

    def batches(self, part: Part, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches of the whole of `part`, in order."""
        for start in range(0, len(part), batch_size):
            rows = part.rows[start : start + batch_size]
            images = part.images.take(rows, axis=0)
            yield self.normalise(images), torch.from_numpy(part.labels[rows])

    def normalise(self, images: Bytes) -> Tensor:
        """Images of this set, normalised: see `normalise`."""
        return normalise(images, self.facts)


def epoch_order(part: Part, seed: int, epoch: int) -> Numbers:
    """The rows of a part in the order in which an epoch takes them."""
    return part.rows[_permutation(len(part), random_seed(seed, "order", epoch))]


def normalise(images: Bytes, facts: DataSet) -> Tensor:
    """Normalise uint8 images (n, h, w, channels) with the declared mean and deviation.

    Returns float32 (n, channels, h, w), channels last in memory.
    """
    count, height, width, channels = images.shape
    mean = (torch.tensor(facts.mean) * 255).repeat(width)
    std = (torch.tensor(facts.std) * 255).repeat(width)
    # Line by line: six times as fast as three numbers for each pixel.
    lines = torch.from_numpy(images).view(count * height, width * channels).float()
    lines.sub_(mean).div_(std)
    if channels == 1:
        return lines.view(count, 1, height, width)
    return lines.view(count, height, width, channels).permute(0, 3, 1, 2)


def load(protocol: Protocol, store: Store = DEFAULT) -> Data:
    """The data of a protocol: verified against the declared facts, resized and split.

    Raises `DataError` where they are missing or not the declared ones.
    """
    if protocol.data == "image_folder":
        from dse.data import stream  # imports torchvision, which no other set needs

        return cast(Data, stream.load(protocol, store))  # another class of the same interface
    source = _arrays(protocol, store)
    order = _permutation(len(source.train_labels), random_seed(0, "split", protocol.data))
    held_out, kept = protocol.validation_images, protocol.train_images
    labels = source.train_labels.astype(np.int64)
    return Data(
        train=Part(source.train_images, labels, order[held_out : held_out + kept]),
        validation=Part(source.train_images, labels, order[:held_out]),
        test=Part(
            source.test_images,
            source.test_labels.astype(np.int64),
            np.arange(len(source.test_labels)),
        ),
        facts=protocol.facts,
        augment=protocol.augment,
    )


def _arrays(protocol: Protocol, store: Store) -> Arrays:
    """A set's arrays, with images of the protocol's size."""
    resize = partial(resized, side=protocol.image_size)
    if protocol.data == "digits":
        train, train_labels, test, test_labels = digits(protocol.facts)
        return Arrays(resize(train), train_labels, resize(test), test_labels)
    if protocol.image_size == protocol.facts.image_size:
        return cache.arrays(protocol.data, store)
    return cache.resized(protocol.data, store, protocol.image_size, resize)


def _permutation(count: int, seed: int) -> Numbers:
    random = torch.Generator().manual_seed(seed)
    numbers: Numbers = torch.randperm(count, generator=random).numpy()
    return numbers


def resized(images: Bytes, side: int) -> Bytes:
    """Images (n, h, w, channels) resized bilinearly to (n, side, side, channels), uint8."""
    if images.shape[1:3] == (side, side):
        return images
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
    resized = F.interpolate(
        torch.from_numpy(planes),
        size=(side, side),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    whole = resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return whole.contiguous().numpy()


def digits(facts: DataSet) -> Arrays:
    """The embedded digits, their values 0 .. 16 stretched to 0 .. 255, split once at random.

    digits.txt names their source. Raises `DataError` unless they have the declared digest.
    """
    table = np.loadtxt(Path(__file__).with_name("digits.csv.gz"), np.uint8, delimiter=",")
    values, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1]
    digest = hashlib.sha256(values.tobytes() + labels.tobytes()).hexdigest()
    if digest != facts.digest:
        raise DataError(f"`data` digits must have the digest {facts.digest}, got {digest}")
    order = _permutation(len(labels), random_seed(0, "test", "digits"))
    images = digits_to_bytes(values)[order]
    cut, labels = facts.train, labels[order]
    return Arrays(images[:cut], labels[:cut], images[cut:], labels[cut:])


def digits_to_bytes(values: NDArray[Any]) -> Bytes:
    """Stretch the digits' published values, 0 .. 16, to uint8 values of 0 .. 255."""
    return np.round(values * (255 / 16)).astype(np.uint8)


# Augmentations ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """The changes of one batch, an entry per image; empty where nothing was drawn.

    Each image is padded with `margin` pixels of zeros and the window at (`y`, `x`), each in
    0 .. 2 * margin, is cut out; those in `mirrored` are flipped.
    """

    margin: int
    y: Numbers
    x: Numbers
    mirrored: NDArray[np.bool_]

    def of(self, some: slice) -> Drawn:
        """The changes of some of the images."""
        return replace(self, y=self.y[some], x=self.x[some], mirrored=self.mirrored[some])


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Random changes: a shift by at most `margin(side)` pixels; a flip of every second image."""

    margin: Callable[[int], int] = lambda side: 0
    flip: bool = False

    def draw(self, count: int, side: int, random: torch.Generator) -> Drawn:
        """The changes of a batch of `count` images."""
        margin = self.margin(side)
        moves = (2, count) if margin else (2, 0)
        y, x = torch.randint(0, 2 * margin + 1, moves, generator=random).numpy()
        mirrored = torch.randint(0, 2, (count * self.flip,), generator=random).numpy()
        return Drawn(margin=margin, y=y, x=x, mirrored=mirrored.astype(bool))


def changed(images: Bytes, drawn: Drawn) -> Bytes:
    """Images (b, h, w, channels) after the drawn changes."""
    count, height, width, channels = images.shape
    if margin := drawn.margin:
        padded = np.zeros((count, height + 2 * margin, width + 2 * margin, channels), np.uint8)
        padded[:, margin:-margin, margin:-margin] = images
        lines = padded.reshape(count, height + 2 * margin, -1)
        windows = sliding_window_view(lines, (height, width * channels), (1, 2))[:, :, ::channels]
        images = windows[np.arange(count), drawn.y, drawn.x].reshape(images.shape)
    if len(drawn.mirrored):
        pixels = images.view(f"V{channels}")  # a pixel's channels move together
        pixels[drawn.mirrored] = pixels[drawn.mirrored][:, :, ::-1]
    return images


AUGMENTATIONS = {
    "none": Augmentation(),
    "shift": Augmentation(margin=lambda side: 1),
    "crop": Augmentation(margin=lambda side: side // 8),
    "crop_flip": Augmentation(margin=lambda side: side // 8, flip=True),
}
