"""How networks are trained: data set facts, `Recipe`, `Protocol`, and their random streams.

"Training protocol" is the paper's word (section 5.1). Named protocols and recipes are pages of
`sweeps/`; the defaults here are those of `sweeps/squeezenet.yaml`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from dse.space.rules import Rule, check, flag, integer, knob, one_of, real, words


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The facts of a data set that identify it; declared here and checked when it is loaded.

    `mean` and `std` are of the training pixels on a scale of 0 to 1, one number per channel.
    `digest` is a SHA-256 that fixes every picture and label: see `DATA_SETS` of what.
    """

    num_classes: int
    channels: int
    image_size: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str


DATA_SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "digits": DataSet(
            num_classes=10,
            channels=1,
            image_size=8,
            train=1197,
            test=600,
            mean=(0.305,),
            std=(0.376,),
            digest="87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
        ),
        "cifar10": DataSet(
            num_classes=10,
            channels=3,
            image_size=32,
            train=50_000,
            test=10_000,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            digest="80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660",
        ),
        "cifar100": DataSet(
            num_classes=100,
            channels=3,
            image_size=32,
            train=50_000,
            test=10_000,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            digest="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
        "mnist": DataSet(
            num_classes=10,
            channels=1,
            image_size=28,
            train=60_000,
            test=10_000,
            mean=(0.1307,),
            std=(0.3081,),
            digest="1380708c276834e082dc47a936e95f5bca5ac9f0fdbab891b17ac77badd8b079",
        ),
        "fashion_mnist": DataSet(
            num_classes=10,
            channels=1,
            image_size=28,
            train=60_000,
            test=10_000,
            mean=(0.2860,),
            std=(0.3530,),
            digest="ba2e37a64f59ed31e1b1407ccf40ff95278a2d525d06ea8c38f7184d9b82b731",
        ),
    }
)
"""The sets whose pictures are held in memory.

- `digits`: scikit-learn's 1,797 handwritten digits (UCI), split once into 1,197 + 600. The digest
  is of the values 0 .. 16 and the labels, as published.
- `cifar10`, `cifar100` (its fine labels): Krizhevsky, "Learning Multiple Layers of Features from
  Tiny Images", 2009. The digest of `cifar10` is of its training pictures (n, h, w, channels), their
  labels, the test pictures and their labels, all uint8 in published order; that of `cifar100` is
  its published archive's.
- `mnist` (LeCun et al. 1998), `fashion_mnist` (arXiv:1708.07747). The digest is of the
  hexadecimal SHA-256s of the four published files, one behind the other.
"""


INITS = ("he", "xavier", "lsuv")
RUNGS = ("rate", "warmup", "he", "lsuv")
"""A quarter of the learning rate; twice the warm-up, at least an epoch; an initialisation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to train any network.

    The learning rate rises linearly over `warmup` epochs to `lr` and then follows `schedule`
    down to 0, which it would reach one step behind the last (`step`: a tenth after each third of
    the steps). `clip` bounds the norm of the whole gradient; 0 is no bound.

    Raises `ValueError` for a value outside its rule, and for Nesterov's momentum of 0.
    """

    epochs: int = knob(20, integer(1, 10_000), "passes over the training part")
    batch_size: int = knob(96, integer(2, 65_536), "pictures of one step")
    lr: float = knob(0.15, real(0, 1e6, above=True), "peak learning rate")
    schedule: str = knob(
        "linear", one_of("linear", "cosine", "step", "constant"), "learning rate after warm-up"
    )
    warmup: float = knob(2.0, real(0, 1000), "epochs of rising learning rate")
    momentum: float = knob(0.9, real(0, 1, below=True), "momentum of SGD")
    nesterov: bool = knob(True, flag(), "Nesterov's momentum")
    weight_decay: float = knob(5e-4, real(0, 1), "L2 penalty on all weights, norms left out")
    clip: float = knob(1.0, real(0, 1e6), "largest gradient norm (0: no bound)")
    init: str = knob("he", one_of(*INITS), "initial weights")
    precision: str = knob("fp32", one_of("fp32", "bf16"), "arithmetic of the convolutions")
    dead_after: int = knob(
        30, integer(0, 1_000_000), "lifeless steps in a row, behind warm-up, that end it (0: none)"
    )
    ladder: str = knob(
        "rate-warmup-lsuv", words(*RUNGS, most=8), "what each restart of a dead run changes"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` must be false where `momentum` is 0, got true")
        if self.ladder != "none" and not self.dead_after:
            raise ValueError(f"`ladder` must be none where `dead_after` is 0, got {self.ladder}")

    @property
    def restarts(self) -> int:
        """How often a dead run may be restarted: the rungs of the ladder."""
        return 0 if self.ladder == "none" else len(self.ladder.split("-"))

    def restarted(self, restarts: int) -> Recipe:
        """The recipe after that many restarts: so many rungs of the ladder are taken.

        >>> again = Recipe(lr=0.4, warmup=2, dead_after=9, ladder="rate-lsuv").restarted(2)
        >>> again.lr, again.warmup, again.init
        (0.1, 2.0, 'lsuv')
        """
        recipe = self
        for rung in self.ladder.split("-")[: min(restarts, self.restarts)]:
            if rung == "rate":
                recipe = replace(recipe, lr=recipe.lr / 4)
            elif rung == "warmup":
                recipe = replace(recipe, warmup=min(max(2 * recipe.warmup, 1.0), 1000.0))
            else:
                recipe = replace(recipe, init=rung)
        return recipe


def _manifest() -> Rule:
    """What a folder of pictures holds: see `image_folder.Manifest.text`."""

    def read(value: Any) -> str:
        found = re.fullmatch(r"([1-9][0-9]*)-([1-9][0-9]*)-([1-9][0-9]*)-[0-9a-f]{20}", value)
        if value != "none" and not found:
            raise ValueError
        classes, train, test = map(int, found.groups()) if found else (2, 2, 2)
        if not 2 <= classes <= min(train, test) <= max(train, test) < 2**31:
            raise ValueError
        return str(value)

    return Rule("none, or CLASSES-TRAIN-TEST-DIGEST", read)


AUGMENTATIONS = ("none", "shift", "crop", "crop_flip", "resized_crop_flip")
"""`shift`: by up to a pixel, zeros come in; `crop`: by up to an eighth of the side (of a folder's
pictures: somewhere in them); `flip`: every other one is mirrored; `resized_crop`: any part of them.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Which pictures a network is trained and judged on, and how.

    Raises `ValueError` for a value outside its rule, and for shares that leave fewer than two
    pictures to train on.
    """

    data: str = knob("digits", one_of(*DATA_SETS, "image_folder"), "data set")
    manifest: str = knob("none", _manifest(), "what `data.root` holds: filled in for image_folder")
    image_size: int = knob(12, integer(1, 2048), "side of the pictures, pixels")
    augment: str = knob("none", one_of(*AUGMENTATIONS), "random changes of training pictures")
    normalise: str = knob(
        "dataset",
        one_of("dataset", "caffe"),
        "dataset: its mean and deviation; caffe: minus R 123, G 117, B 104 of 255, not divided",
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
        if self.train_pictures < 2:
            raise ValueError(
                f"`train_share` must leave 2 pictures to train on of the "
                f"{self.facts.train - self.validation_pictures} that `validation_share` "
                f"{self.validation_share:g} leaves, got {self.train_share:g}"
            )

    def _check_folder(self) -> None:
        """A folder of pictures is known by its manifest, any other set by its name."""
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
        """The declared facts of this protocol's data set.

        Those of a folder of pictures are in its manifest; its pictures have any size (0), and the
        mean and deviation are ImageNet's, those of torchvision's recipes.
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
    def validation_pictures(self) -> int:
        """Pictures of the training set that are held out, at least one."""
        return max(round(self.validation_share * self.facts.train), 1)

    @property
    def train_pictures(self) -> int:
        """Pictures that are trained on, at least two."""
        return round(self.train_share * (self.facts.train - self.validation_pictures))


def chance(pictures: int, classes: int) -> float:
    """The top-1 accuracy (percent) up to which a network may as well be guessing.

    Three standard deviations above guessing, over `pictures` (at least 1) of `classes` (at least
    2) that are equally frequent.

    >>> round(chance(300, 10), 1)
    15.2
    """
    share = 1 / classes
    return 100 * (share + 3 * math.sqrt(share * (1 - share) / pictures))


def check_held_out(protocol: Protocol) -> None:
    """Raise `ValueError` where too few pictures are held out to tell a network that knows all from
    one that guesses, or that knows one class alone: it would never count as one that learned."""
    classes, held_out = protocol.facts.num_classes, protocol.validation_pictures
    least = max(9 // (classes - 1) + 1, 2)  # with fewer, a guess may be all right
    if held_out < least:
        raise ValueError(
            f"`validation_share` must hold out at least {least} of {protocol.facts.train} pictures "
            f"of {classes} classes, to tell what was learned from a guess, got "
            f"{protocol.validation_share:g}, which is {held_out}"
        )


def epoch_steps(pictures: int, batch_size: int) -> int:
    """Batches of one epoch. The last one may be smaller; a last one of a single picture is left
    out, because batch norm has no variance of it.

    >>> epoch_steps(449, 96), epoch_steps(449, 64)
    (5, 7)
    """
    whole, rest = divmod(pictures, batch_size)
    return whole + (rest > 1)


def random_seed(seed: int, purpose: str, key: str | int = "") -> int:
    """The seed (63 bits) of one random stream: a function of the trial's seed and a purpose.

    `key` names a layer, an epoch or a step. Streams are independent of each other and of how
    many numbers another one drew, so that two networks of one seed share what they can share.

    >>> random_seed(0, "init", "conv1") == random_seed(0, "init", "conv1")
    True
    >>> random_seed(0, "init", "conv1") == random_seed(1, "init", "conv1")
    False
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
