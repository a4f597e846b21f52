"""Dynamic fixed point: numbers of some bits, each tensor with its own binary point.

Source: Ristretto (Gysel 2016, arXiv:1605.06402).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 2.0**-32
"""Values that are all smaller are rounded to 0."""


def weight_fraction(largest: float, width: int) -> int:
    """The fraction length for weights of at most `largest` in magnitude: `width - il` with
    `il = ceil(log2(largest) + 1)`, so that they all fit.

    >>> weight_fraction(0.9, 8), weight_fraction(3.0, 8)
    (7, 5)
    """
    return width - math.ceil(math.log2(max(largest, SMALLEST)) + 1)


def activation_fraction(largest: float, width: int) -> int:
    """The fraction length for activations: `il = ceil(log2(largest))`, a bit less than for weights,
    so that values above half of the largest power of two saturate.

    >>> activation_fraction(3.0, 8)
    6
    """
    return width - math.ceil(math.log2(max(largest, SMALLEST)))


def numbers(x: Tensor, width: int, fraction: int) -> Tensor:
    """`x` in units of 2**-`fraction`, rounded (half to even) and kept within `width` bits."""
    top = 2 ** (width - 1)
    return torch.round(x * 2.0**fraction).clamp(-top, top - 1)


def quantised(x: Tensor, width: int, fraction: int) -> Tensor:
    """`x` rounded to fixed point; the gradient passes as if it were not rounded."""
    y = numbers(x.detach(), width, fraction) * 2.0**-fraction
    return y + (x - x.detach())
