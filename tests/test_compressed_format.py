"""The documented format is enough: a plain reader, written from `docs/compressed_format.md`."""

from __future__ import annotations

import hashlib
import json
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_tensors import network, random_tensor

from dse.coding import container
from dse.coding.header import DICTIONARY
from dse.coding.tensors import CompressedModel

FROM_DOCS = Path(__file__).parents[1] / "docs" / "compressed_header.txt"
NUMBERS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}  # of each kind, between kind and shape
Row = tuple[int, list[int], list[int]]


class Bits:
    """The bits of a payload, with the tables that were read."""

    def __init__(self, payload: bytes) -> None:
        self.bits, self.at = "".join(f"{byte:08b}" for byte in payload), 0
        self.tables: dict[int, list[int]] = {}

    def number(self, width: int) -> int:
        self.at += width
        return int(self.bits[self.at - width : self.at] or "0", 2)

    def golomb(self, k: int) -> int:
        zeros = self.bits.index("1", self.at) - self.at
        return self.number(2 * zeros + k + 1) - (1 << k)

    def table(self, symbols: int) -> list[int]:
        if self.number(1):
            return self.tables[symbols]
        lengths, k = [self.golomb(0)], self.number(2)
        length, ahead = (symbols - 1).bit_length(), 0
        while len(lengths) < symbols:
            step = self.golomb(0)
            if not ahead:
                length, ahead = length + (-(step // 2), (step + 1) // 2)[step % 2], -1
            else:
                ahead = -ahead if step % 2 else ahead
                length += ahead * (step // 2 + 1)
            lengths += [length] * (self.golomb(k) + 1)
        self.tables[symbols] = lengths
        return lengths

    def stream(self, count: int, symbols: int) -> list[int]:
        lengths = self.table(symbols)
        coded = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
        if len(coded) == 1:
            return [coded[0][1]] * count
        words, word = {}, "".zfill(coded[0][0])
        for length, symbol in coded:
            words[word := word.ljust(length, "0")] = symbol
            word = f"{int(word, 2) + 1:0{length}b}"
        found: list[int] = []
        while len(found) < count:
            start = self.at
            while self.bits[start : self.at] not in words:
                self.at += 1
            found.append(words[self.bits[start : self.at]])
        return found

    def codes(self, row: Row) -> list[int]:
        kind, numbers, shape = row
        symbols = {1: 2, 2: numbers[0] if numbers else 0, 3: 1 << numbers[0] if numbers else 0}[
            kind
        ]
        n = self.number(3)
        if not n:
            return self.stream(prod(shape), symbols)
        codes, place = [0] * prod(shape), -1
        if entries := self.number(prod(shape).bit_length()):
            indices = self.stream(entries, 1 << n + 1)
            for index, code in zip(indices, self.stream(entries, symbols), strict=True):
                place += index + 1
                codes[place] = code
        return codes


def rows(heads: list[list[int]]) -> list[Row]:
    found: list[Row] = []
    for head in heads:
        if head == [5]:
            found.append((0, [], found[-1][2][:1]))
        else:
            shape = 1 + NUMBERS[head[0]]
            found.append((head[0], head[1:shape], head[shape:]))
    return found


def tensor(row: Row, codes: list[int], values: Any) -> NDArray[Any]:
    """A tensor as an array; `values(n)` gives the next n float32 values."""
    kind, numbers, shape = row
    if kind == 1:
        kept = np.array(codes, bool).reshape(shape)
        found = np.zeros(shape, np.float32)
        found[kept] = values(int(kept.sum()))
        return found
    if kind == 2:
        book = np.append(np.float32(0), values(numbers[0] - 1))
        return book[np.array(codes, int)].reshape(shape)
    if kind == 3:
        half = 1 << numbers[0] - 1
        whole = [0, *range(-half, 0), *range(1, half)]
        return np.array([whole[code] * 2.0 ** -numbers[1] for code in codes]).reshape(shape)
    if kind == 0:
        return np.array(values(prod(shape)).reshape(shape))
    (rank, scheme), (out, inputs, height, width) = numbers, shape
    lines = out * width if scheme else out
    left = values(lines * rank).reshape(lines, rank).astype(float)
    right = values(rank * prod(shape) // lines).reshape(rank, prod(shape) // lines).astype(float)
    if scheme:
        return (left @ right).reshape(out, width, inputs, height).transpose(0, 2, 3, 1)
    return (left @ right).reshape(shape)


def read(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header of a file, and its tensors."""
    assert content[:5] == b"DSEc\x01"
    assert hashlib.blake2b(content[:-8], digest_size=8).digest() == content[-8:]
    inflate = zlib.decompressobj(wbits=-15, zdict=FROM_DOCS.read_bytes())
    header = json.loads(inflate.decompress(content[5:-8]))
    bits, heads = Bits(inflate.unused_data), rows(header["heads"])
    codes: list[list[int]] = [[] for _ in heads]
    for n in sorted(range(len(heads)), key=lambda n: -prod(heads[n][2])):
        if heads[n][0] in (1, 2, 3) and prod(heads[n][2]):
            codes[n] = bits.codes(heads[n])
    rest = inflate.unused_data[-(-bits.at // 8) :]

    def values(count: int) -> NDArray[np.float32]:
        nonlocal rest
        found, rest = np.frombuffer(rest, "<f4", count), rest[4 * count :]
        return found

    tensors = [tensor(*part, values) for part in zip(heads, codes, strict=True)]
    assert not rest
    return header, dict(zip(header["names"], tensors, strict=True))


def test_the_dictionary_is_in_the_documentation() -> None:
    assert FROM_DOCS.read_bytes() == DICTIONARY


def test_a_reader_written_from_the_documentation_finds_the_same_network() -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        model: CompressedModel = network(
            *(random_tensor(rng) for _ in range(20)), activations={"conv1": (8, 5)}
        )
        header, tensors = read(container.encode(model, "huffman"))
        assert header["architecture"] == model.architecture
        assert header["activations"] == {"conv1": [8, 5]}
        assert list(tensors) == list(model.tensors)
        for name, own in model.tensors.items():
            np.testing.assert_array_equal(own.dense(), tensors[name].astype(np.float32), name)
