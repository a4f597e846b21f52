"""Prefix codes: made from counts, stored as the lengths of their code words, written and read.

A code is its `lengths`: for each symbol the bits of its word, 0 for a symbol that has none. Words
are canonical: in the order of length, then of symbol, counted upwards. A code of one symbol has
length 1 by convention, and the symbol takes no bits.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from bitarray import bitarray
from bitarray.util import ba2int, canonical_decode, canonical_huffman, int2ba
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Symbols = NDArray[np.uint16]

LONGEST = 31
"""Bits of a code word, at most."""

LENGTH_BITS = 5

WINDOWS = (1, 5, 17, 65)
"""Neighbouring symbols over which counts are averaged before a code is made. Where symbols are in
the order of the weights' values, the table then shrinks by more than the data grow."""


# Making a code ----------------------------------------------------------------------------------


def fit(counts: Integers) -> Integers:
    """The lengths of a code for symbols with these counts: the one with the fewest bits, those of
    its table included."""
    codes = [_equal(len(counts))] + [_huffman(_smooth(counts, w)) for w in _windows(counts)]
    return min(codes, key=lambda lengths: stream_bits(lengths, counts) + table_bits(lengths))


def stream_bits(lengths: Integers, counts: Integers) -> int:
    """Bits of symbols with these counts in a code."""
    return 0 if np.count_nonzero(lengths) == 1 else int(lengths @ counts)


def _windows(counts: Integers) -> list[int]:
    return [w for w in WINDOWS if w == 1 or w < len(counts) <= 256]


def _smooth(counts: Integers, window: int) -> Integers:
    """Sums of counts over a window, 0 where a count is; the first symbol (zeros) stays apart."""
    if window == 1:
        return counts
    sums = np.convolve(counts[1:], np.ones(window, np.int64), "same")
    return np.where(counts == 0, 0, np.concatenate([counts[:1] * window, sums]))


def _equal(symbols: int) -> Integers:
    """The complete code of all symbols whose words differ by at most one bit.

    >>> _equal(5).tolist(), _equal(1).tolist()
    ([2, 2, 2, 3, 3], [1])
    """
    bits = max(1, (symbols - 1).bit_length())
    lengths = np.full(symbols, bits)
    lengths[: (1 << bits) - symbols] -= symbols > 1
    return lengths


def _huffman(counts: Integers) -> Integers:
    """The lengths of Huffman's code.

    >>> _huffman(np.array([1, 0, 1, 2])).tolist()
    [2, 0, 2, 1]
    """
    used = np.flatnonzero(counts)
    _, sizes, symbols = canonical_huffman(
        dict(zip(used.tolist(), counts[used].tolist(), strict=True))
    )
    if len(sizes) > LONGEST + 1:
        return _huffman((counts + 1) // 2)
    lengths = np.zeros(len(counts), np.int64)
    lengths[symbols] = np.repeat(np.arange(len(sizes)), sizes)
    return lengths


# Its table --------------------------------------------------------------------------------------


def write_table(lengths: Integers) -> bitarray:
    """The first length in 5 bits; then, run by run of equal lengths, how many there are, and the
    step to the next length: +1, -1, +2, ... as 1, 2, 3, ... Both are in Elias's gamma code."""
    runs, steps = _runs(lengths)
    bits = int2ba(int(lengths[0]), LENGTH_BITS)
    bits += gamma(int(runs[0]))
    for step, run in zip(steps.tolist(), runs[1:].tolist(), strict=True):
        bits += gamma(step)
        bits += gamma(run)
    return bits


def table_bits(lengths: Integers) -> int:
    """Bits of a code's table."""
    numbers = np.concatenate(_runs(lengths))
    return LENGTH_BITS + int((2 * np.floor(np.log2(numbers)) + 1).sum())


def _runs(lengths: Integers) -> tuple[Integers, Integers]:
    """How long each run of equal lengths is, and the steps between them as numbers from 1."""
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    steps = np.diff(lengths[starts])
    return np.diff(starts, append=len(lengths)), np.where(steps > 0, 2 * steps - 1, -2 * steps)


def gamma(number: int) -> bitarray:
    """Elias's gamma code of a number from 1: as many zeros as it has bits after the first, then it.

    >>> gamma(1).to01(), gamma(5).to01()
    ('1', '00101')
    """
    return int2ba(number, 2 * number.bit_length() - 1)


# Writing and reading ----------------------------------------------------------------------------


def write(symbols: Symbols, lengths: Integers) -> bitarray:
    """The words of symbols, one after the other."""
    bits = bitarray()
    if np.count_nonzero(lengths) > 1:
        bits.encode(_words(lengths), symbols.tolist())
    return bits


def _words(lengths: Integers) -> dict[int, bitarray]:
    words, word, before = {}, 0, 0
    for symbol, length in zip(*_canonical(lengths), strict=True):
        word <<= length - before
        words[symbol], before = int2ba(word, length), length
        word += 1
    return words


def _canonical(lengths: Integers) -> tuple[list[int], list[int]]:
    """The symbols that have words, in canonical order, and the lengths of their words."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    return order.tolist(), lengths[order].tolist()


class Reader:
    """Reads what the functions above wrote; raises `ValueError` for anything else."""

    def __init__(self, content: bytes) -> None:
        self.bits, self.at = bitarray(), 0
        self.bits.frombytes(content)

    def number(self, bits: int) -> int:
        """A number of so many bits."""
        part = self.bits[self.at : self.at + bits]
        if len(part) < bits:
            raise ValueError("its payload ends too soon")
        self.at += bits
        return ba2int(part) if bits else 0

    def gamma(self) -> int:
        """A number in Elias's gamma code."""
        first = self.bits.find(1, self.at, self.at + 32)
        if first < 0:
            raise ValueError("its payload has no number where one must be")
        zeros, self.at = first - self.at, first
        return self.number(zeros + 1)

    def table(self, symbols: int) -> Integers:
        """The lengths of a code's words, which must be a complete prefix code."""
        lengths = np.zeros(symbols, np.int64)
        length, start = self.number(LENGTH_BITS), 0
        while True:
            run = self.gamma()
            if not 0 <= length <= LONGEST or run > symbols - start:
                raise ValueError("its table of a Huffman code is too long")
            lengths[start : start + run] = length
            start += run
            if start == symbols:
                break
            step = self.gamma()
            length += step // 2 + 1 if step % 2 else -step // 2
        used = lengths[lengths > 0]
        if used.tolist() != [1] and (1 << LONGEST >> used).sum() != 1 << LONGEST:
            raise ValueError("its table is not a complete Huffman code")
        return lengths

    def symbols(self, count: int, lengths: Integers) -> Symbols:
        """So many symbols in a code."""
        order, sizes = _canonical(lengths)
        if len(order) == 1:
            return np.full(count, order[0], np.uint16)
        if count > len(self.bits) - self.at:
            raise ValueError("its payload ends too soon")
        words = canonical_decode(self.bits[self.at :], np.bincount(sizes).tolist(), order)
        found = np.fromiter(islice(words, count), np.uint16, count)
        self.at += int(lengths @ np.bincount(found, minlength=len(lengths)))
        return found

    def end(self) -> int:
        """The byte after the last bit; bits before it must be 0."""
        stop = -(-self.at // 8)
        if self.bits[self.at : 8 * stop].any():
            raise ValueError("its payload has bits after its codes")
        return stop
