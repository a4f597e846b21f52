"""Huffman coding of a network's tensors, layer by layer, as in Deep Compression.

A pruned layer is a list of entries: a relative index (the zeros before the entry) and a code.
A gap too long for an index gets a filler, an entry of code 0. Indices and codes have a Huffman
code each. In the authors' files an index has 4 bits; here each layer has the width, 2 .. 8 bits,
that makes it smallest, or 0: every place is an entry, and zeros are among the codes.

Source: Han, Mao and Dally, arXiv:1510.00149. The bits are in `docs/compressed_format.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np
from bitarray import bitarray

from dse.coding.bits import Reader, Writer
from dse.coding.bound import entropy
from dse.coding.heads import Codes, Head, head, join, split
from dse.coding.prefix import Integers
from dse.coding.relative import entries, gaps
from dse.coding.tensors import Tensor

WIDTHS = (0, 2, 3, 4, 5, 6, 7, 8)
"""Bits of a relative index, by the number that says which."""

WIDTH_BITS = 3


def encode(tensors: Sequence[Tensor]) -> bytes:
    """The payload of some tensors: the bits of all codes, then all float32 values."""
    heads, parts = [head(tensor) for tensor in tensors], [split(tensor) for tensor in tensors]
    coded = [(parts[place][0], heads[place].alphabet) for place in _order(heads)]
    large = sum(1 for _ in takewhile(lambda own: len(own[0]) >= own[1], coded))
    bits, tables = _written(coded[:large], {})
    bits += min((_written(coded[large:], tables, pool)[0] for pool in (False, True)), key=len)
    bits.fill()
    return bits.tobytes() + b"".join(floats.astype("<f4").tobytes() for _, floats in parts)


def decode(payload: bytes, heads: Sequence[Head]) -> list[Tensor]:
    """The tensors of `heads` in a payload. Raises `ValueError` for one that is damaged."""
    reader = Reader(payload)
    parts = [np.zeros(own.size if own.alphabet else 0, np.uint16) for own in heads]
    for place in _order(heads):
        parts[place] = _read(reader, heads[place])
    start = reader.end()
    counts = [own.floats(codes) for own, codes in zip(heads, parts, strict=True)]
    if len(payload) - start != 4 * sum(counts):
        raise ValueError("its values have another length")
    tensors = []
    for own, codes, count in zip(heads, parts, counts, strict=True):
        floats = np.frombuffer(payload, "<f4", count, start).astype(np.float32)
        tensors.append(join(own, codes, floats))
        start += 4 * count
    return tensors


def _written(
    coded: Sequence[tuple[Codes, int]], tables: Mapping[int, Integers], pool: bool = False
) -> tuple[bitarray, Mapping[int, Integers]]:
    """The bits of several tensors' codes, each with its alphabet, and the tables after them.

    A tensor of fewer codes than symbols, such as a bias, is too small for a table of its own: with
    `pool`, the first of them has a code that is made for all.
    """
    bits, pooled = bitarray(), dict[int, Integers]()
    small = [own for own in coded if len(own[0]) < own[1]] if pool else []
    for codes, alphabet in small:
        counts = np.bincount(codes, minlength=alphabet)
        pooled[alphabet] = counts + pooled.get(alphabet, 0)
    for codes, alphabet in coded:
        counts_of_all = pooled.pop(alphabet, None) if len(codes) < alphabet else None
        written = _smallest(codes, alphabet, tables, counts_of_all)
        bits += written.bits
        tables = written.tables
    return bits, tables


# One tensor's codes -----------------------------------------------------------------------------


def _order(heads: Sequence[Head]) -> list[int]:
    """The tensors with codes, the largest first: their tables serve smaller ones as well."""
    coded = [place for place, own in enumerate(heads) if own.alphabet and own.size]
    return sorted(coded, key=lambda place: -heads[place].size)


def _smallest(
    codes: Codes, alphabet: int, tables: Mapping[int, Integers], pooled: Integers | None = None
) -> Writer:
    """A tensor's codes, with the width of index that gives the fewest bits.

    Width 0 is tried unless nine tenths are zeros, the others unless nine tenths are not. With
    counts of `pooled` codes, it is width 0 and a code for those.
    """
    size, kept, before = len(codes), codes[codes != 0], gaps(codes)
    found = []
    if 10 * len(kept) >= size or pooled is not None:
        found.append(Writer(tables))
        found[-1].numbers(WIDTHS.index(0), WIDTH_BITS)
        found[-1].symbols(codes, alphabet, pooled)
    indexed = 10 * len(kept) <= 9 * size and pooled is None
    for width in _widths(before, tables) if indexed else ():
        indices, values = entries(before, kept, width)
        found.append(Writer(tables))
        found[-1].numbers([WIDTHS.index(width), len(values)], [WIDTH_BITS, size.bit_length()])
        if len(values):
            found[-1].symbols(indices, 1 << width)
            found[-1].symbols(values, alphabet)
    return min(found, key=lambda writer: len(writer.bits))


def _widths(before: Integers, tables: Mapping[int, Integers]) -> list[int]:
    """The width of index with the fewest bits at their entropy, and those that have a table and
    need little more."""
    bits = {width: _estimate(before, width) for width in WIDTHS[1:]}
    least = min(bits.values())
    return [w for w in bits if bits[w] == least or (1 << w in tables and bits[w] < least + 50)]


def _estimate(before: Integers, width: int) -> float:
    """Bits of indices at their entropy, and of the fillers' codes."""
    last = (1 << width) - 1
    fillers = int((before >> width).sum())
    counts = np.bincount(before & last, minlength=last + 1)
    counts[last] += fillers
    return entropy(counts) + entropy(np.array([len(before), fillers]))


def _read(reader: Reader, own: Head) -> Codes:
    """A tensor's codes."""
    width = WIDTHS[reader.number(WIDTH_BITS)]
    if not width:
        return reader.symbols(own.size, own.alphabet)
    codes = np.zeros(own.size, np.uint16)
    count = reader.number(own.size.bit_length())
    if count > own.size:
        raise ValueError("it has more entries than places")
    if count:
        indices = reader.symbols(count, 1 << width)
        indices += 1
        places = indices.cumsum(dtype=np.int64)
        places -= 1
        if places[-1] >= own.size:
            raise ValueError("its indices lead out of a layer")
        codes[places] = reader.symbols(count, own.alphabet)
    return codes
