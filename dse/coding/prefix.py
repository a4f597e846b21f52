"""Prefix codes: made from counts, and as words of bits.

A code is its `lengths`: for each symbol the bits of its word, 0 for a symbol that has none. Words
are canonical: in the order of length, then of symbol, counted upwards. A code of one symbol has
length 1 by convention, and the symbol takes no bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from bitarray.util import canonical_huffman
from numpy.typing import NDArray

Integers = NDArray[np.int64]

LONGEST = 31
"""Bits of a code word, at most."""

WINDOWS = (1, 3, 9)
"""Neighbouring symbols whose counts are averaged before a code is made. Where symbols are in the
order of the weights' values, the table then shrinks by more than the data grow."""


def candidates(counts: Integers) -> Iterable[Integers]:
    """Codes for symbols with these counts: Huffman's, and others that may need fewer bits
    together with their table. Symbol 0 has a word only where it occurs."""
    absent = counts[0] == 0 < counts.sum()
    yield np.concatenate([[0], equal(len(counts) - 1)]) if absent else equal(len(counts))
    yield huffman(counts)
    if len(counts) <= min(256, counts.sum()):
        for window in WINDOWS:
            if 2 * window < len(counts):
                smooth = _smooth(counts, window) + 1  # the code may serve other tensors as well
                smooth[0] *= not absent
                yield huffman(smooth)


def stream_bits(lengths: Integers, counts: Integers) -> int:
    """Bits of symbols with these counts in a code that has words for all of them."""
    return 0 if np.count_nonzero(lengths) == 1 else int(lengths @ counts)


def equal(symbols: int) -> Integers:
    """The complete code of all symbols whose words differ by at most one bit.

    >>> equal(5).tolist(), equal(1).tolist()
    ([2, 2, 2, 3, 3], [1])
    """
    bits = max(1, (symbols - 1).bit_length())
    lengths = np.full(symbols, bits)
    lengths[: (1 << bits) - symbols] -= symbols > 1
    return lengths


def huffman(counts: Integers) -> Integers:
    """The lengths of Huffman's code.

    >>> huffman(np.array([1, 0, 1, 2])).tolist()
    [2, 0, 2, 1]
    """
    used = np.flatnonzero(counts)
    frequencies = dict(zip(used.tolist(), counts[used].tolist(), strict=True))
    _, sizes, symbols = canonical_huffman(frequencies)
    if len(sizes) > LONGEST + 1:
        return huffman((counts + 1) // 2)
    lengths = np.zeros(len(counts), np.int64)
    lengths[symbols] = np.repeat(np.arange(len(sizes)), sizes)
    return lengths


def _smooth(counts: Integers, window: int) -> Integers:
    """Sums over neighbours with weights 1, 2 .. window .. 2, 1. The first symbol, a pruned weight,
    stays apart."""
    box = np.ones(window, np.int64)
    sums = np.convolve(counts[1:], np.convolve(box, box), "same")
    return np.concatenate([counts[:1] * window**2, sums])


def complete(lengths: Integers) -> bool:
    """Whether the lengths, at most `LONGEST`, are those of a prefix code without unused words.

    >>> complete(np.array([1, 2, 2])), complete(np.array([1, 1, 2])), complete(np.array([1, 2]))
    (True, False, False)
    """
    used = lengths[lengths > 0]
    if used.max(initial=0) > LONGEST:
        return False
    return used.tolist() == [1] or int((1 << LONGEST >> used).sum()) == 1 << LONGEST


def canonical(lengths: Integers) -> Integers:
    """The symbols that have words, in canonical order."""
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def words(lengths: Integers) -> Integers:
    """Each symbol's word as a number, its first bit the highest.

    >>> words(np.array([2, 0, 2, 1])).tolist()
    [2, 0, 3, 0]
    """
    order = canonical(lengths)
    spare = LONGEST - lengths[order]
    found = np.zeros(len(lengths), np.int64)
    found[order] = (np.cumsum(1 << spare) - (1 << spare)) >> spare
    return found
