"""What networks are trained and judged on: `Protocol`, and the random streams of a trial.

"Training protocol" is the paper's word (section 5.1). Named protocols are pages of `sweeps/`; the
defaults are those of `sweeps/squeezenet.yaml`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from dse.space.rules import Rule, check, integer, knob, one_of, real
from dse.trial.datasets import DATA_SETS, DataSet
from dse.trial.recipe import Recipe


def _manifest() -> Rule:
    """The contents of a folder of images, as `dse.data.folder.Manifest.text` writes them."""

    def read(value: Any) -> str:
        match = re.fullmatch(r"([1-9][0-9]*)-([1-9][0-9]*)-([1-9][0-9]*)-[0-9a-f]{20}", value)
        if value != "none" and not match:
            raise ValueError
        classes, train, test = map(int, match.groups()) if match else (2, 2, 2)
        if not 2 <= classes <= min(train, test) <= max(train, test) < 2**31:
            raise ValueError
        return str(value)

    return Rule("none, or CLASSES-TRAIN-TEST-DIGEST", read)


AUGMENTATIONS = ("none", "shift", "crop", "crop_flip", "resized_crop_flip")
"""`shift`: by up to a pixel, filled with zeros; `crop`: by up to an eighth of the side (of a
folder's images: at any place); `flip`: half of them are mirrored; `resized_crop`: any part of
them, resized."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Which images a network is trained and evaluated on, and how.

    Raises `ValueError` for a value outside its rule, for values that do not fit the data set, and
    for shares that leave fewer than two images to train on.
    """

    data: str = knob("digits", one_of(*DATA_SETS, "image_folder"), "data set")
    manifest: str = knob("none", _manifest(), "contents of `data.root`; filled in for image_folder")
    image_size: int = knob(12, integer(1, 2048), "side of the images, pixels")
    augment: str = knob("none", one_of(*AUGMENTATIONS), "random changes to training images")
    normalise: str = knob(
        "dataset",
        one_of("dataset", "caffe"),
        "dataset: subtract its mean, divide by its deviation (image_folder: ImageNet's); "
        "caffe: subtract R 123, G 117, B 104",
    )
    validation_share: float = knob(
        0.25, real(0, 1, above=True, below=True), "share of the training set held out"
    )
    train_share: float = knob(0.5, real(0, 1, above=True), "share of the rest that is trained on")
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check(self)
        self._check_folder()
        self._check_augment()
        if self.train_images < 2:
            raise ValueError(
                f"`train_share` must leave 2 images to train on of the "
                f"{self.facts.train - self.validation_images} that `validation_share` "
                f"{self.validation_share:g} leaves, got {self.train_share:g}"
            )

    def _check_folder(self) -> None:
        """A folder of images is identified by its manifest, other data sets by their name."""
        folder = self.data == "image_folder"
        if folder and self.manifest == "none":
            raise ValueError(
                "`manifest` must be CLASSES-TRAIN-TEST-DIGEST where `data` is image_folder, "
                "got none"
            )
        for name, neutral in (("manifest", "none"), ("normalise", "dataset")):
            if not folder and getattr(self, name) != neutral:
                raise ValueError(
                    f"`{name}` must be {neutral} where `data` is {self.data}, "
                    f"got {getattr(self, name)}"
                )

    def _check_augment(self) -> None:
        folder = self.data == "image_folder"
        if self.augment == ("shift" if folder else "resized_crop_flip"):
            known = ", ".join(name for name in AUGMENTATIONS if name != self.augment)
            raise ValueError(
                f"`augment` must be one of {known} where `data` is {self.data}, got {self.augment}"
            )
        if not folder and self.augment.startswith("crop") and self.image_size < 8:
            raise ValueError(
                f"`image_size` must be at least 8 where `augment` is {self.augment}, "
                f"got {self.image_size}"
            )

    @property
    def facts(self) -> DataSet:
        """Facts about this protocol's data set.

        Those of a folder of images are in its manifest; its images may have any size (0), and
        the mean and deviation are ImageNet's, as in torchvision's recipes.
        """
        if self.data in DATA_SETS:
            return DATA_SETS[self.data]
        classes, train, test, digest = self.manifest.split("-")
        return DataSet(
            num_classes=int(classes),
            channels=3,
            image_size=0,
            train=int(train),
            test=int(test),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            digest=digest,
        )

    @property
    def validation_images(self) -> int:
        """Images of the training set that are held out for validation, at least one."""
        return max(round(self.validation_share * self.facts.train), 1)

    @property
    def train_images(self) -> int:
        """Images that are trained on, at least two."""
        return round(self.train_share * (self.facts.train - self.validation_images))


def chance(images: int, classes: int) -> float:
    """The top-1 accuracy (percent) up to which a network may be guessing.

    That is three standard deviations above a guess's accuracy on `images` (at least 1) of
    `classes` (at least 2) that are equally frequent.

    >>> round(chance(300, 10), 1)
    15.2
    """
    share = 1 / classes
    return 100 * (share + 3 * math.sqrt(share * (1 - share) / images))


def check_held_out(protocol: Protocol) -> None:
    """Raise `ValueError` where too few images are held out to distinguish a perfect network from
    one that guesses or always predicts one class: no trial could ever be `learned`."""
    classes, held_out = protocol.facts.num_classes, protocol.validation_images
    least = max(9 // (classes - 1) + 1, 2)  # with fewer, a guess may get all of them right
    if held_out < least:
        raise ValueError(
            f"`validation_share` must hold out at least {least} of {protocol.facts.train} images "
            f"of {classes} classes, so that a guess cannot pass for learning, got "
            f"{protocol.validation_share:g}, which is {held_out}"
        )


def epoch_steps(images: int, batch_size: int) -> int:
    """Batches of one epoch. The last one may be smaller; a single last image is left out, because
    batch norm needs two for a variance.

    >>> epoch_steps(449, 96), epoch_steps(449, 64)
    (5, 7)
    """
    whole, rest = divmod(images, batch_size)
    return whole + (rest > 1)


def parts(images: int, iter_size: int) -> list[slice]:
    """The parts of a batch of so many images (at least 2), which are computed one by one.

    They differ by at most an image. A small last batch has fewer of them, so that each has at
    least 2 images.

    >>> parts(8, 2), parts(5, 4)
    ([slice(0, 4, None), slice(4, 8, None)], [slice(0, 2, None), slice(2, 5, None)])
    """
    count = max(min(iter_size, images // 2), 1)
    ends = [images * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


Mine = Callable[[int], slice]
"""Of a batch of so many images, those that one of several processes computes."""


def whole(images: int) -> slice:
    """All images of a batch."""
    return slice(images)


def random_seed(seed: int, purpose: str, key: str | int = "") -> int:
    """The seed (63 bits) of one random stream: a function of the trial's seed and a purpose.

    `key` names a layer, an epoch or a step. No stream depends on how many numbers another one
    drew, so two networks of one seed share as much randomness as they can.

    >>> random_seed(0, "init", "conv1") == random_seed(0, "init", "conv1")
    True
    >>> random_seed(0, "init", "conv1") == random_seed(1, "init", "conv1")
    False
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
