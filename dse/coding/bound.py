"""The order-0 bound of a compressed network: what no code of single symbols can go below.

A coder that sees more than one symbol at a time may.
"""

from __future__ import annotations

from math import log2

import numpy as np
from numpy.typing import NDArray

from dse.coding.heads import split
from dse.coding.tensors import CompressedModel, Tensor


def bound(model: CompressedModel) -> float:
    """The bound of all tensors of a network, bytes."""
    return sum(map(tensor_bound, model.tensors.values()))


def tensor_bound(tensor: Tensor) -> float:
    """The bound of one tensor, bytes: the entropy of its codes that are not 0, the entropy of where
    they are (Bernoulli), and its float32 values as they are (a codebook without its first 0).

    >>> from dse.coding.tensors import Shared
    >>> codes = np.array([0, 1, 2, 0, 0, 0, 0, 0], np.uint8)
    >>> book = np.array([0, -1, 1], np.float32)
    >>> round(8 * tensor_bound(Shared(codes=codes, codebook=book)), 2)  # 2 + 6.49 + 64 bits
    72.49
    """
    codes, floats = split(tensor)
    counts = np.bincount(codes)
    kept = int(counts[1:].sum())
    bits = entropy(counts[1:]) + entropy(np.array([len(codes) - kept, kept]))
    return bits / 8 + floats.nbytes


def entropy(counts: NDArray[np.int64]) -> float:
    """Bits of symbols with these counts at their order-0 entropy.

    >>> entropy(np.array([2, 1, 1, 0]))
    6.0
    """
    total = int(counts.sum())
    return float(sum(n * log2(total / n) for n in counts[counts > 0].tolist()))
