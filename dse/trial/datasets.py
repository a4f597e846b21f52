"""The published data sets: their facts, and digests of their contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """Facts about a data set; those of a published one are checked when its files are read.

    Labels are 0 .. `num_classes` - 1. `image_size` is the side of an image in pixels; `train` and
    `test` count images. `mean` and `std` are of the training pixels on a scale of 0 to 1, one
    number per channel. `digest` is a SHA-256 that fixes every image and label; `DATA_SETS` says of
    which bytes.
    """

    num_classes: int
    channels: int
    image_size: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str


DATA_SETS: Mapping[str, DataSet] = {
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
"""The data sets whose images are held in memory.

- `digits`: scikit-learn's 1,797 handwritten digits (UCI), split once into 1,197 + 600. The digest
  is of the values 0 .. 16 and the labels, as published.
- `cifar10`, `cifar100` (its fine labels): Krizhevsky, "Learning Multiple Layers of Features from
  Tiny Images", 2009. The digest of `cifar10` is of its training images (n, h, w, channels), their
  labels, the test images and their labels, all uint8 in published order; that of `cifar100` is
  its published archive's.
- `mnist` (LeCun et al. 1998), `fashion_mnist` (arXiv:1708.07747). The digest is of the
  hexadecimal SHA-256s of the four published files, joined.
"""


def num_classes(data: str, manifest: str) -> int:
    """Classes of a data set; the manifest of a folder of images begins with them.

    >>> num_classes("cifar100", "none"), num_classes("image_folder", "2-10-4-0123456789abcdef0123")
    (100, 2)
    """
    return DATA_SETS[data].num_classes if manifest == "none" else int(manifest.split("-")[0])
