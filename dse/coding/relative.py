"""Relative indices: the weights that are kept, each with the number of zeros before it.

A gap too long for an index gets fillers, entries with the largest index and code 0 (Han 2016,
arXiv:1510.00149).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX_BITS = 4
"""Bits of an index in the authors' files and in EIE."""

Integers = NDArray[np.int64]
Codes = NDArray[np.uint16]


def gaps(codes: NDArray[Any]) -> Integers:
    """The zeros before each code (n) that is not 0.

    >>> gaps(np.array([0, 5, 6, 0])).tolist()
    [1, 0]
    """
    return np.diff(np.flatnonzero(codes), prepend=-1) - 1


def entries(gaps: Integers, codes: NDArray[Any], width: int) -> tuple[Codes, Codes]:
    """Relative indices of `width` bits and codes of all entries, fillers included.

    >>> [part.tolist() for part in entries(np.array([1, 9]), np.array([5, 6]), 2)]
    [[1, 3, 3, 1], [5, 0, 0, 6]]
    """
    last = (1 << width) - 1
    ends = np.cumsum((gaps >> width) + 1)
    total = int(ends[-1]) if len(ends) else 0
    indices, values = np.full(total, last, np.uint16), np.zeros(total, np.uint16)
    indices[ends - 1] = gaps & last
    values[ends - 1] = codes
    return indices, values
