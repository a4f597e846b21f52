"""A reader of adaptive payloads written from docs/adaptive_coder.md, in plain Python: of shared
tensors and dense ones."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import Any

import numpy as np
from adaptive_weights import Weights, clip

List = list[Any]


# Bits -------------------------------------------------------------------------------------------


class Bits:
    def __init__(self, payload: bytes) -> None:
        count, *self.words = np.frombuffer(payload, "<u4").tolist()
        assert count % (1 << 31) == len(self.words)
        self.low, self.width = 0, (1 << 64) - 1
        self.point, self.at = (self.words[0] << 32) + self.words[1], 2
        self.lows = [self.below(24), self.below(24)] if count >> 31 else [0, 0]

    def read(self, starts: List) -> int:
        step = self.width >> 24
        quantile = (self.point - self.low) % (1 << 64) // step
        i = max(i for i, start in enumerate(starts) if start <= quantile)
        self.low = (self.low + step * starts[i]) % (1 << 64)
        self.width = step * ([*starts, 1 << 24][i + 1] - starts[i])
        if self.width < 1 << 32:
            word = self.words[self.at] if self.at < len(self.words) else 0
            self.low, self.width = (self.low << 32) % (1 << 64), self.width << 32
            self.point, self.at = ((self.point << 32) + word) % (1 << 64), self.at + 1
        return i

    def symbol(self, weights: List) -> int:
        sums = [0.0]
        for weight in weights:
            sums.append(sums[-1] + weight)
        scale = ((1 << 24) - len(weights)) / sums[-1]
        return self.read([floor(s * scale) + i for i, s in enumerate(sums[:-1])])

    def bit(self, p: float) -> int:
        q = clip(p, 2**-16, 1 - 2**-16)
        return self.symbol([1 - q, q])

    def below(self, n: int) -> int:
        """As an alphabet of n equal parts, without listing them."""
        if n == 1:
            return 0
        part, step = (1 << 24) // n, self.width >> 24
        i = min((self.point - self.low) % (1 << 64) // step // part, n - 1)
        assert self.read([0, i * part, (i + 1) * part] if i < n - 1 else [0, i * part]) == 1
        return i


def chunks(places: List) -> Iterator[List]:
    start = 0
    while start < len(places):
        size = clip(start // 2, 8, 8192)
        yield places[start : start + size]
        start += size


# Float32 values and codebooks -------------------------------------------------------------------


def read_arrays(bits: Bits, counts: List, low: int) -> List:
    arrays, before = [], [0] * 256
    for count in counts:
        e, g, values = [0] * 256, [0] * 2, []
        for chunk in chunks([0] * count):
            start = [(x + 0.05) * (24 / (sum(before) + 0.05 * 256)) for x in before]
            exponents = [bits.symbol([n + s for n, s in zip(e, start, strict=True)]) for _ in chunk]
            signs = [bits.symbol([n + 1 for n in g]) for _ in chunk]
            for x, y in zip(exponents, signs, strict=True):
                values.append((y << 31) + (x << 23) + (bits.below(1 << 23 - low) << low))
                e[x] += 1
                g[y] += 1
        before = [a + b for a, b in zip(before, e, strict=True)]
        arrays.append(values)
    return arrays


def read_codebooks(bits: Bits, lengths: List) -> List:
    heads: List = []
    for n in lengths:
        negative, moved = bits.below(n + 1), bits.below(2)
        heads.append((negative, [bits.below(n) for _ in range(n)] if moved else list(range(n))))
    parts = [part for (k, order) in heads for part in (k, len(order) - k)]
    ends, start = [], 0
    for part in parts:
        ends += [(start, start + part - 1)] if part else []
        start += part
    places = sorted({place for end in ends for place in end})
    low = bits.lows[0]
    found = [v >> low for v in read_arrays(bits, [len(places)], low)[0]]
    value = dict(zip(places, found, strict=True))
    w = [[0.25] * 64 for _ in range(9)]
    while ends := [(a, b) for a, b in ends if b - a > 1]:
        for chunk in chunks(ends):
            ks = [min((b - a).bit_length() - 1, 8) for a, b in chunk]
            sizes = [(value[b] - value[a]) // 64 + 1 for a, b in chunk]
            found = [bits.symbol(w[k]) for k in ks]
            lows = [12 if size > 1 << 22 else 0 for size in sizes]
            high = [bits.below((s - 1 >> n) + 1) for s, n in zip(sizes, lows, strict=True)]
            for (a, b), part, size, n, top in zip(chunk, found, sizes, lows, high, strict=True):
                value[(a + b) // 2] = value[a] + part * size + (top << n) + bits.below(1 << n)
            for k, part in zip(ks, found, strict=True):
                for q in (part, 63 - part):
                    for shift, n in zip(range(-2, 3), (1, 2, 3, 2, 1), strict=True):
                        w[k][clip(q + shift, 0, 63)] += n / 16
        middles = [(a + b) // 2 for a, b in ends]
        ends = [(a, m) for (a, _), m in zip(ends, middles, strict=True)] + [
            (m, b) for (_, b), m in zip(ends, middles, strict=True)
        ]
    books, start = [], 0
    for negative, order in heads:
        lists = [value[start + i] << low for i in range(len(order))]
        rising = [v + (1 << 31) for v in lists[:negative][::-1]] + lists[negative:]
        books.append([v for _, v in sorted(zip(order, rising, strict=True))])
        start += len(order)
    return books


def read(payload: bytes, heads: List) -> List:
    """For each head, (shape, entries of the codebook) or the number of values: codes and bits of
    the codebook, or bits of the values."""
    bits = Bits(payload)
    shared = [head for head in heads if isinstance(head, tuple)]
    books = read_codebooks(bits, [n for _, n in shared])
    tensors = []
    for (shape, _), book in zip(shared, books, strict=True):
        codes: List = [
            sorted((v % (1 << 31), i) for i, v in enumerate(book, 1) if v >> 31 == sign)
            for sign in (1, 0)
        ]
        sizes = [
            np.array([v for v, _ in side], np.uint32).view(np.float32).tolist() for side in codes
        ]
        levels = Weights(bits, shape, sizes).read()
        tensors.append([codes[n > 0][abs(n) - 1][1] if n else 0 for n in levels])
    arrays = read_arrays(bits, [head for head in heads if isinstance(head, int)], bits.lows[1])
    return [tensors, books, arrays]
