"""Huffman coding of a network's tensors, layer by layer, as in Deep Compression.

A pruned layer is a list of entries: a relative index (the zeros before the entry) and a code.
A gap too long for an index gets a filler, an entry of code 0. Indices and codes have a Huffman
code each. In the authors' files an index has 4 bits; here each layer has the width, 2 .. 8 bits,
that makes it smallest, or 0: every place is an entry, and zeros are among the codes.

Source: Han, Mao and Dally, arXiv:1510.00149. The bits are in `docs/compressed_format.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bitarray import bitarray
from bitarray.util import int2ba

from dse.compress.bound import entropy
from dse.compress.heads import Codes, Head, head, join, split
from dse.compress.prefix import Integers, Reader, fit, write, write_table
from dse.compress.tensors import Tensor

WIDTHS = (0, 2, 3, 4, 5, 6, 7, 8)
"""Bits of a relative index, by the three bits that say which."""


def encode(tensors: Sequence[Tensor]) -> bytes:
    """The payload of some tensors: the bits of all codes, then all float32 values."""
    bits, values = bitarray(), []
    for tensor in tensors:
        codes, floats = split(tensor)
        values.append(floats.astype("<f4").tobytes())
        if len(codes):
            bits += _smallest(codes, head(tensor).alphabet)
    bits.fill()
    return bits.tobytes() + b"".join(values)


def decode(payload: bytes, heads: Sequence[Head]) -> list[Tensor]:
    """The tensors of `heads` in a payload. Raises `ValueError` for one that is damaged."""
    reader = Reader(payload)
    parts = [_read(reader, own) for own in heads]
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


def _smallest(codes: Codes, alphabet: int) -> bitarray:
    """The bits of a tensor's codes, with the width of index that gives the fewest.

    Zeros are coded where at most four fifths of a layer are, indices where at least a tenth is.
    """
    size, kept = len(codes), np.flatnonzero(codes)
    found = []
    if 5 * len(kept) >= size:
        found.append(_width(0) + _coded(codes, alphabet))
    if 10 * len(kept) <= 9 * size:
        gaps = np.diff(kept, prepend=-1) - 1
        width = min(WIDTHS[1:], key=lambda bits: _estimate(gaps, bits))
        indices, entries = _entries(gaps, codes[kept], width)
        count = int2ba(len(entries), size.bit_length())
        streams = _coded(indices, 1 << width) + _coded(entries, alphabet)
        found.append(_width(width) + count + streams)
    return min(found, key=len)


def _width(width: int) -> bitarray:
    return int2ba(WIDTHS.index(width), 3)


def _coded(symbols: Codes, alphabet: int) -> bitarray:
    """A table and the symbols in its code; nothing for no symbols."""
    if not len(symbols):
        return bitarray()
    lengths = fit(np.bincount(symbols, minlength=alphabet))
    return write_table(lengths) + write(symbols, lengths)


def _estimate(gaps: Integers, width: int) -> float:
    """Bits of indices at their entropy, and of the fillers' codes."""
    last = (1 << width) - 1
    fillers = int((gaps >> width).sum())
    counts = np.bincount(gaps & last, minlength=last + 1)
    counts[last] += fillers
    return entropy(counts) + entropy(np.array([len(gaps), fillers]))


def _entries(gaps: Integers, codes: Codes, width: int) -> tuple[Codes, Codes]:
    """Relative indices and codes of a layer's entries, fillers included.

    >>> [part.tolist() for part in _entries(np.array([1, 9]), np.array([5, 6]), 2)]
    [[1, 3, 3, 1], [5, 0, 0, 6]]
    """
    last = (1 << width) - 1
    ends = np.cumsum((gaps >> width) + 1)
    total = int(ends[-1]) if len(ends) else 0
    indices, entries = np.full(total, last, np.uint16), np.zeros(total, np.uint16)
    indices[ends - 1] = gaps & last
    entries[ends - 1] = codes
    return indices, entries


def _read(reader: Reader, own: Head) -> Codes:
    """A tensor's codes."""
    if not (own.alphabet and own.size):
        return np.zeros(own.size if own.alphabet else 0, np.uint16)
    width = WIDTHS[reader.number(3)]
    if not width:
        return reader.symbols(own.size, reader.table(own.alphabet))
    codes = np.zeros(own.size, np.uint16)
    count = reader.number(own.size.bit_length())
    if count > own.size:
        raise ValueError("it has more entries than places")
    if count:
        places = reader.symbols(count, reader.table(1 << width)).cumsum(dtype=np.int64)
        places += np.arange(count)
        if places[-1] >= own.size:
            raise ValueError("its indices lead out of a layer")
        codes[places] = reader.symbols(count, reader.table(own.alphabet))
    return codes
