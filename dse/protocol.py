"""How networks are trained: data set facts, `Recipe`, `Protocol`, and their random streams.

"Training protocol" is the paper's word (section 5.1). Named protocols and recipes are pages of
`sweeps/`; the defaults here are those of `sweeps/squeezenet.yaml`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dse.rules import check, flag, integer, knob, one_of, real


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The facts of a data set that identify it; declared here and checked when it is loaded.

    `mean` and `std` are of the training pixels on a scale of 0 to 1, one number per channel.
    `digest` is the SHA-256 of the pictures and labels as they are published.
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
    }
)
"""`digits`: scikit-learn's 1,797 handwritten digits (UCI), split once into 1,197 + 600."""


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
    init: str = knob("he", one_of("he", "xavier"), "initial weights")
    precision: str = knob("fp32", one_of("fp32", "bf16"), "arithmetic of the convolutions")

    def __post_init__(self) -> None:
        check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` must be false where `momentum` is 0, got true")


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Which pictures a network is trained and judged on, and how.

    Raises `ValueError` for a value outside its rule, and for shares that leave fewer than two
    pictures to train on.
    """

    data: str = knob("digits", one_of(*DATA_SETS), "data set")
    image_size: int = knob(12, integer(1, 2048), "side of the pictures, pixels")
    augment: str = knob("none", one_of("none", "shift"), "random changes of training pictures")
    validation_share: float = knob(
        0.25, real(0, 1, above=True, below=True), "share of the training set held out"
    )
    train_share: float = knob(0.5, real(0, 1, above=True), "share of the rest that is trained on")
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check(self)
        if self.train_pictures < 2:
            raise ValueError(
                f"`train_share` must leave 2 pictures to train on of the "
                f"{self.facts.train - self.validation_pictures} that `validation_share` "
                f"{self.validation_share:g} leaves, got {self.train_share:g}"
            )

    @property
    def facts(self) -> DataSet:
        """The declared facts of this protocol's data set."""
        return DATA_SETS[self.data]

    @property
    def validation_pictures(self) -> int:
        """Pictures of the training set that are held out, at least one."""
        return max(round(self.validation_share * self.facts.train), 1)

    @property
    def train_pictures(self) -> int:
        """Pictures that are trained on, at least two."""
        return round(self.train_share * (self.facts.train - self.validation_pictures))


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
