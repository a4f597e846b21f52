"""Bits of a payload: numbers, tables of prefix codes, and symbols in them, written and read.

`docs/compressed_format.md` has them bit by bit. A table is not written again where the last one of
as many symbols does.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
from bitarray import bitarray
from bitarray.util import ba2int, canonical_decode
from numpy.typing import ArrayLike, NDArray

from dse.coding.prefix import (
    LONGEST,
    Integers,
    candidates,
    canonical,
    complete,
    stream_bits,
    words,
)

Symbols = NDArray[np.uint16]

ORDER_BITS = 2

TOO_SHORT = "its payload ends too soon"

CHUNK = 1 << 13
"""Symbols read at a time: the memory that they take in between is not that of a whole tensor."""


# Writing ----------------------------------------------------------------------------------------


class Writer:
    """Collects bits. `tables` are the last codes written, by their number of symbols."""

    def __init__(self, tables: Mapping[int, Integers]) -> None:
        self.bits, self.tables = bitarray(), dict(tables)

    def numbers(self, values: ArrayLike, widths: ArrayLike) -> None:
        """Numbers, each in as many bits as its width, the highest bit first."""
        values, widths = np.atleast_1d(values, widths)
        after = np.repeat(np.cumsum(widths), widths) - np.arange(widths.sum()) - 1
        found = np.repeat(values, widths) >> after & 1
        packed = bitarray()
        packed.frombytes(np.packbits(found.astype(np.uint8)).tobytes())
        self.bits += packed[: len(found)]

    def symbols(self, symbols: Symbols, alphabet: int, counts: Integers | None = None) -> None:
        """Symbols below `alphabet` in the code that gives the fewest bits, its table included.

        `counts` are those of the symbols that the code is for (default: these).
        """
        if counts is None:
            counts = np.bincount(symbols, minlength=alphabet)
        found = [(lengths, table(lengths)) for lengths in candidates(counts)]
        last = self.tables.get(alphabet)
        if last is not None and not counts[last == 0].any():
            found.append((last, LAST))
        lengths, (values, widths) = min(
            found, key=lambda code: stream_bits(code[0], counts) + int(code[1][1].sum())
        )
        self.numbers(values, widths)
        self.tables[alphabet] = lengths
        if np.count_nonzero(lengths) > 1:
            self.numbers(words(lengths)[symbols], lengths[symbols])


Numbers = tuple[Integers, Integers]
"""Numbers, and the bits of each."""

LAST: Numbers = (np.array([1]), np.array([1]))
"""Denotes the last table of as many symbols."""


def table(lengths: Integers) -> Numbers:
    """A code's table: a 0, the length of symbol 0, an order k; then, run by run of equal lengths of
    the others, the step to the length and how many there are.

    A run is in the Exp-Golomb code of order k, all else in that of order 0. A step is 1 or 2, 3 or
    4, ... for 1, 2, ... in the direction of the step before it, or against it (at first: down). The
    first one, 0 or 1, 2, ... for 0, +1, -1, ..., leads from the length of equal words.
    """
    first, others = lengths[:1], lengths[1:]
    starts = np.flatnonzero(np.diff(others, prepend=-1))
    runs, levels = np.diff(starts, append=len(others)), others[starts]
    steps = np.diff(levels, prepend=usual_length(len(lengths)))
    ahead = steps * np.concatenate([[1, -1], np.sign(steps[1:])])[: len(steps)]
    coded = np.where(ahead > 0, 2 * ahead - 2, -2 * ahead - 1)
    coded[:1] += 1
    orders = [golomb(runs - 1, order) for order in range(1 << ORDER_BITS)]
    order = min(range(len(orders)), key=lambda k: int(orders[k][1].sum()))
    body = np.empty((2, 2 * len(runs)), np.int64)
    body[:, ::2], body[:, 1::2] = golomb(coded, 0), orders[order]
    top = np.array([[0, *golomb(first, 0)[0], order], [1, *golomb(first, 0)[1], ORDER_BITS]])
    values, widths = np.concatenate([top, body], axis=1)
    return values, widths


def usual_length(symbols: int) -> int:
    """Bits of the longest word where all are about equal."""
    return (symbols - 1).bit_length()


def golomb(numbers: Integers, order: int) -> Numbers:
    """The Exp-Golomb code of numbers from 0.

    >>> [part.tolist() for part in golomb(np.array([0, 5]), 1)]  # 10, 0111
    [[2, 7], [2, 4]]
    """
    values = numbers + (1 << order)
    return values, 2 * np.frexp(values)[1] - 1 - order


# Reading ----------------------------------------------------------------------------------------


class Reader:
    """Reads what `Writer` wrote. Raises `ValueError` for anything else."""

    def __init__(self, content: bytes) -> None:
        self.bits, self.at = bitarray(), 0
        self.tables: dict[int, Integers] = {}
        self.bits.frombytes(content)

    def number(self, width: int) -> int:
        """A number in so many bits."""
        part = self.bits[self.at : self.at + width]
        if len(part) < width:
            raise ValueError(TOO_SHORT)
        self.at += width
        return ba2int(part) if width else 0

    def golomb(self, order: int) -> int:
        """A number in the Exp-Golomb code."""
        one = self.bits.find(1, self.at, self.at + LONGEST)
        if one < 0:
            raise ValueError("its payload has no number where one must be")
        width, self.at = one - self.at + order + 1, one
        return self.number(width) - (1 << order)

    def symbols(self, count: int, alphabet: int) -> Symbols:
        """So many symbols below `alphabet`."""
        lengths = self._table(alphabet)
        order = canonical(lengths)
        if len(order) == 1:
            return np.full(count, order[0], np.uint16)
        if count > len(self.bits) - self.at:
            raise ValueError(TOO_SHORT)
        sizes = np.bincount(lengths[order]).tolist()
        part = self.bits[self.at : self.at + count * (len(sizes) - 1)]
        symbols = canonical_decode(part, sizes, order.tolist())
        found = np.empty(count, np.uint16)
        for start in range(0, count, CHUNK):
            chunk = found[start : start + CHUNK]
            try:
                chunk[:] = np.fromiter(islice(symbols, len(chunk)), np.uint16, len(chunk))
            except ValueError:  # of the iterator: the bits end inside a word
                raise ValueError(TOO_SHORT) from None
            self.at += int(lengths[chunk].sum())
        return found

    def _table(self, alphabet: int) -> Integers:
        if self.number(1):
            if alphabet not in self.tables:
                raise ValueError("its payload has no table of a Huffman code to use again")
            return self.tables[alphabet]
        lengths = np.empty(alphabet, np.int64)
        lengths[0], order = self.golomb(0), self.number(ORDER_BITS)
        start, length, direction = 1, usual_length(alphabet), 0
        while start < alphabet:
            step = self.golomb(0)
            if direction:
                direction *= -1 if step % 2 else 1
                length += direction * (step // 2 + 1)
            else:
                direction = -1
                length += (step + 1) // 2 * (1 if step % 2 else -1)
            run = self.golomb(order) + 1
            if not 0 <= length <= LONGEST or run > alphabet - start:
                raise ValueError("its table of a Huffman code is too long")
            lengths[start : start + run] = length
            start += run
        if not complete(lengths):
            raise ValueError("its table is not that of a complete Huffman code")
        self.tables[alphabet] = lengths
        return lengths

    def end(self) -> int:
        """The byte after the last bit; the bits between must be 0."""
        stop = -(-self.at // 8)
        if self.bits[self.at : 8 * stop].any():
            raise ValueError("its payload has bits after its codes")
        return stop
