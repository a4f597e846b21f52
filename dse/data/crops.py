"""Crops of streamed images: the authors', and torchvision's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

Numbers = NDArray[np.float64]
Crop = Callable[[Tensor, int, Numbers], Tensor]
"""(image (3, h, w), side, random numbers in [0, 1), (24)) -> (3, side, side). Crops for
evaluation use no random numbers."""


def _centre(image: Tensor, side: int, random: Numbers) -> Tensor:
    """The authors' evaluation: stretched to a square, its middle."""
    del random
    return _middle(_stretched(image, side), side)


def _crop(image: Tensor, side: int, random: Numbers) -> Tensor:
    """The authors' training: stretched to a square, a random place in it."""
    square = _stretched(image, side)
    top, left = (int(share * (square.shape[1] - side + 1)) for share in random[:2])
    return square[:, top : top + side, left : left + side]


def _crop_flip(image: Tensor, side: int, random: Numbers) -> Tensor:
    return _flipped(_crop(image, side, random), random[2])


def _resized_crop_flip(image: Tensor, side: int, random: Numbers) -> Tensor:
    """torchvision's RandomResizedCrop (8% to all of the area, aspect 3/4 to 4/3), then a flip."""
    top, left, height, width = _part_of(image.shape[1], image.shape[2], random)
    area = image[None, :, top : top + height, left : left + width]
    # As pixels without gaps: planes take three times as long, with the copy of the result.
    pixels = area.contiguous(memory_format=torch.channels_last)
    return _flipped(TF.resize(pixels, [side, side], antialias=True)[0], random[22])


def _part_of(height: int, width: int, random: Numbers) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part: the first of ten tries that fits the image,
    else the middle in the nearest allowed aspect."""
    low, high = 3 / 4, 4 / 3
    for area_share, shape_share in random[:20].reshape(10, 2):
        area = height * width * (0.08 + 0.92 * area_share)
        shape = low * (high / low) ** shape_share
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(random[20] * (height - h + 1)), int(random[21] * (width - w + 1)), h, w
    w, h = min(width, round(height * high)), min(height, round(width / low))
    return (height - h) // 2, (width - w) // 2, h, w


def _shorter(image: Tensor, side: int, random: Numbers) -> Tensor:
    """torchvision's evaluation: the shorter side resized (to 256 for 224), the middle."""
    del random
    return _middle(TF.resize(image, [round(side * 256 / 224)], antialias=True), side)


def _stretched(image: Tensor, side: int) -> Tensor:
    """Resized to a square (256 for 227) whatever its aspect, as in the authors' LMDB."""
    whole = round(side * 256 / 227)
    square: Tensor = TF.resize(image, [whole, whole], antialias=True)
    return square


def _middle(image: Tensor, side: int) -> Tensor:
    top, left = (round((length - side) / 2) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def _flipped(image: Tensor, share: float) -> Tensor:
    return image.flip(2) if share < 0.5 else image


class Crops(NamedTuple):
    """How an augmentation crops images for training and for evaluation."""

    train: Crop
    evaluate: Crop


CROPS = {
    "none": Crops(_centre, _centre),
    "crop": Crops(_crop, _centre),
    "crop_flip": Crops(_crop_flip, _centre),
    "resized_crop_flip": Crops(_resized_crop_flip, _shorter),
}
