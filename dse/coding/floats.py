"""Codes float32 values: exponents and signs adaptively, mantissas as they are; codebooks as sorted
lists, whose entries lie about half way between their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dse.coding.exact import Integers, Reals
from dse.coding.range_coder import Coder
from dse.coding.tensors import Floats

MANTISSA, EXPONENTS = 23, 256
SIGN = 1 << 31

FIRST, LONGEST = 8, 1 << 13
"""The lengths of the first chunks of symbols, and of the last."""

COMMON, SHARED = 0.05, 24.0
"""An exponent's weight before any was seen; the weight of other tensors' exponents in all."""

GAPS, PARTS, BOOK = 9, 64, 16.0
"""A codebook's entry between two others is in one of 64 parts of what is between them; the parts'
probabilities are learned for each order of magnitude of the number of gaps."""


def low_zeros(arrays: Iterable[Floats]) -> int:
    """How many of the lowest bits of all mantissas are 0.

    >>> low_zeros([np.float32([0.5, 1.25]), np.float32([])]), low_zeros([])
    (21, 0)
    """
    together = 0
    for values in arrays:
        together |= int(np.bitwise_or.reduce(_bits(values), initial=0))
    mantissa = together % (1 << MANTISSA) + (1 << MANTISSA)
    return (mantissa & -mantissa).bit_length() - 1 if together else 0


def code_floats(
    coder: Coder, counts: Sequence[int], low: int, known: Sequence[Floats] | None
) -> list[Floats]:
    """Some arrays of `counts` values, bit for bit; `known` is None in a decoder. The `low` lowest
    bits of mantissas are 0."""
    found, all_seen = [], np.zeros(EXPONENTS)
    for i, count in enumerate(counts):
        start = (all_seen + COMMON) * (SHARED / (all_seen.sum() + COMMON * EXPONENTS))
        exponents, signs, values = np.zeros(EXPONENTS), np.zeros(2), np.empty(count, np.float32)
        for chunk in _chunks(count):
            bits: list[Integers | None] = [None] * 3
            if known is not None:
                bits = list(_fields(_bits(known[i][chunk]), low))
            size = chunk.stop - chunk.start
            exponent = coder.alike(exponents + start, size, bits[0])
            sign = coder.alike(signs + 1, size, bits[1])
            rest = coder.below(np.full(size, 1 << MANTISSA - low), bits[2]) << low
            exponents += np.bincount(exponent, minlength=EXPONENTS)
            signs += np.bincount(sign, minlength=2)
            values[chunk] = _floats((sign << 31) + (exponent << MANTISSA) + rest)
        all_seen += exponents
        found.append(values)
    return found


def _chunks(count: int) -> Iterator[slice]:
    """Chunks of symbols whose probabilities are those after the chunk before."""
    start = 0
    while start < count:
        stop = min(start + min(max(start // 2, FIRST), LONGEST), count)
        yield slice(start, stop)
        start = stop


def code_codebooks(
    coder: Coder, lengths: Sequence[int], low: int, known: Sequence[Floats] | None
) -> list[Floats]:
    """Some lists of `lengths` values, best if sorted, bit for bit; `known` is None in a decoder.
    The `low` lowest bits of mantissas are 0."""
    orders = [
        _code_order(coder, n, None if known is None else known[i]) for i, n in enumerate(lengths)
    ]
    # The magnitudes of each list's negative and other values, lowest first, one after the other.
    parts = [part for order, negative in orders for part in (negative, len(order) - negative)]
    sizes = np.array(parts, np.int64)
    ends = np.cumsum(sizes)
    bits = None
    if known is not None:
        rising = [_magnitudes(book, *order) for book, order in zip(known, orders, strict=True)]
        bits = np.concatenate([np.empty(0, np.int64), *rising])
    magnitudes = _code_sorted(coder, ends - sizes, ends - 1, low, bits)
    books, start = [], 0
    for order, negative in orders:
        mine = magnitudes[start : start + len(order)]
        start += len(order)
        values = np.concatenate([mine[:negative][::-1] + SIGN, mine[negative:]])
        book = np.empty(len(order), np.int64)
        book[order] = values
        books.append(_floats(book))
    return books


def _code_order(coder: Coder, length: int, book: Floats | None) -> tuple[Integers, int]:
    """Which entry is the lowest, which the next; and how many have a sign bit."""
    given, order = None, np.arange(length)
    if book is not None:
        bits = _bits(book)
        order = np.argsort(np.where(bits < SIGN, bits, SIGN - 1 - bits), kind="stable")
        moved = int((order != np.arange(length)).any())
        given = np.array([int((bits >= SIGN).sum()), moved])
    negative, moved = (int(n) for n in coder.below(np.array([length + 1, 2]), given))
    if moved:
        order = coder.below(np.full(length, length), None if book is None else order)
        if len(np.unique(order)) != length:
            raise ValueError("the order of a codebook names an entry twice")
    return order, negative


def _magnitudes(book: Floats, order: Integers, negative: int) -> Integers:
    rising = _bits(book)[order] % SIGN
    return np.concatenate([rising[:negative][::-1], rising[negative:]])


def _code_sorted(
    coder: Coder, first: Integers, last: Integers, low: int, known: Integers | None
) -> Integers:
    """Lists of rising magnitudes, at places first .. last each: their ends, then those half way
    between (by place), and so on."""
    found = np.zeros(int(last[-1]) + 1 if len(last) else 0, np.int64)
    first, last = first[first <= last], last[first <= last]
    ends = np.unique(np.concatenate([first, last]))
    given = None if known is None else [_floats(known[ends])]
    found[ends] = _bits(code_floats(coder, [len(ends)], low, given)[0]) % SIGN >> low
    known = None if known is None else known >> low
    weights = np.tile(BOOK / PARTS * np.ones(PARTS), (GAPS, 1))
    while len(first):
        first, last = first[last - first > 1], last[last - first > 1]
        middle = (first + last) // 2
        for chunk in _chunks(len(middle)):
            here, start = middle[chunk], found[first[chunk]]
            span = found[last[chunk]] - start
            if (span < 0).any():
                raise ValueError("a codebook's values fall")
            size = span // PARTS + 1
            gaps = np.frexp(last[chunk] - first[chunk])[1].astype(np.int64)  # bits of their number
            rows = np.minimum(gaps - 1, GAPS - 1)
            given = None if known is None else known[here] - start
            part = coder.symbols(weights, rows, None if given is None else given // size)
            rest = _code_below(coder, size, None if given is None else given % size)
            found[here] = start + part * size + rest
            _count(weights, rows, part)
        first, last = np.concatenate([first, middle]), np.concatenate([middle, last])
    return found << low


def _count(weights: Reals, rows: Integers, parts: Integers) -> None:
    """Adds to the weights of parts, of those next to them, and of their mirror images."""
    for part in (parts, PARTS - 1 - parts):
        for shift, sixteenths in ((-2, 1), (-1, 2), (0, 3), (1, 2), (2, 1)):
            places = rows * PARTS + np.clip(part + shift, 0, PARTS - 1)
            counts = np.bincount(places, minlength=weights.size).reshape(weights.shape)
            weights += counts * (sixteenths / 16)


def _code_below(coder: Coder, limits: Integers, known: Integers | None) -> Integers:
    """Numbers below limits of up to 2**26: large ones as a high and a low part."""
    shift = np.where(limits > 1 << 22, 12, 0)
    high = coder.below((limits - 1 >> shift) + 1, None if known is None else known >> shift)
    low = coder.below(1 << shift, None if known is None else known & (1 << shift) - 1)
    return (high << shift) + low


def _fields(bits: Integers, low: int) -> tuple[Integers, Integers, Integers]:
    """Exponents, signs and mantissas without their `low` lowest bits."""
    return (bits >> MANTISSA) % EXPONENTS, bits // SIGN, bits % (1 << MANTISSA) >> low


def _bits(values: Floats) -> Integers:
    return np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.int64)


def _floats(bits: Integers) -> Floats:
    found: NDArray[np.float32] = bits.astype(np.uint32).view(np.float32)
    return found
