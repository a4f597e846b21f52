"""Part of `adaptive_reader`: the weights of one tensor, as in docs/adaptive_coder.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from math import floor, frexp, ldexp, prod, sqrt
from operator import mul
from typing import Any

List = list[Any]


def clip(x: Any, low: Any, high: Any) -> Any:
    return min(max(x, low), high)


def logistic(x: float) -> float:
    p = 1 - min(abs(x), 64) / 256
    for _ in range(8):
        p = p * p
    return p / (1 + p) if x < 0 else 1 / (1 + p)


def octave(r: float, a: int, n: int) -> int:
    fraction, exponent = frexp(max(r, 2.0**-60))
    q = (exponent - 1) * a + floor((fraction * 2 - 1) * a)
    return clip(q + n // 2, 0, n - 1)


def middle(i: int, a: int, n: int) -> float:
    q = i - n // 2
    return ldexp(1 + (q % a + 0.5) / a, q // a)


def solve(g: List, side: List) -> List:
    rows = [[*row, s] for row, s in zip(g, side, strict=True)]
    for i in range(len(rows)):
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]


class Weights:
    """Reads the levels of one tensor from the magnitudes of its negative and other values."""

    def __init__(self, bits: Any, shape: tuple[int, ...], sizes: List) -> None:
        self.bits = bits
        self.k, f = bits.below(256), bits.below(256)
        self.d = clip(self.k, 1, 254) / 255
        u = max(1e-300, *(max(m, default=0.0) for m in sizes)) / (1 + f / 8)
        self.sizes = [[min(round(min(v / u, 16) * 256), 4095) for v in m] for m in sizes]
        self.cells, self.shift = self.cut()
        self.r, self.q, self.places, self.w = self.grid(shape)
        self.z: Any = defaultdict(lambda: [0, 0])
        self.g: Any = defaultdict(lambda: [0, 0])
        self.bins: Any = defaultdict(lambda: [0] * 16)
        self.counts = [[0] * (len(self.edges[0]) - 1) for _ in range(2)]
        self.total, self.kept, self.found_at = 256, 1, 0.0

    def cut(self) -> tuple[List, int]:
        shift = (max(*map(len, self.sizes), 1) - 1 >> 7).bit_length()
        cells = [-(-len(m) // (1 << shift)) for m in self.sizes]
        self.edges = []
        for values, c in zip(self.sizes, cells, strict=True):
            mids = [
                values[min((i << shift) + (1 << shift) // 2, len(values) - 1)] for i in range(c)
            ]
            half = [(a + b) / 2 for a, b in pairwise(mids)]
            if not mids:
                self.edges.append([0.0] * (max(cells) + 1))
                continue
            first = max(2 * mids[0] - half[0], 0) if half else mids[0] / 2
            last = 2 * mids[-1] - half[-1] if half else mids[0] * 1.5
            self.edges.append([first, *half] + [last] * (max(cells) - c + 1))
        return cells, shift

    @staticmethod
    def grid(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        r, q = (*shape, 1, 1)[:2]
        places = prod(shape[2:])
        if places > 64 or r * q < 64:
            return r, q * places, 1, 1
        return r, q, places, shape[-1] if shape[2:] else 1

    def order(self) -> List:
        """Places in coding order, each with its neighbours."""
        w, order = self.w, list(range(self.places))
        if (self.places, w) == (9, 3):
            order = [4, 1, 3, 5, 7, 0, 2, 6, 8]

        def nearest(i: int) -> Callable[[int], tuple[int, int]]:
            here = order[i]
            return lambda p: (abs(p // w - here // w) + abs(p % w - here % w), p)

        return [(p, sorted(order[:i], key=nearest(i))[:8]) for i, p in enumerate(order)]

    def read(self) -> List:
        """The levels in C order."""
        r, q, k = self.r, self.q, self.places
        levels = [[0] * k for _ in range(r * q)]
        if not self.k:
            return [n for pair in levels for n in pair]
        alone = [q * k < 4, r * k < 4]
        sides: Any = [defaultdict(lambda: [0, 0, [0] * k]) for _ in range(2)]  # n, A, V
        b, n = [0] * k, 0
        size = 5 + 2 * min(8, k - 1)
        gram = [[[655360.0 * (i == j) for j in range(size)] for i in range(size)] for _ in range(k)]
        side = [[0.0] * size for _ in range(k)]
        long, short, start = max(r, q), min(r, q), 0
        while start < long:
            limit = min(max(r * q // 16, 4096 // k), 8192)
            stop = min(start + -(-min(max(start * short // 2, 16), limit) // short), long)
            pairs = [((t - j) % long, j) for t in range(start, stop) for j in range(short)]
            pairs = pairs if r >= q else [(o, i) for i, o in pairs]
            ends = [[sides[s][0 if alone[s] else pair[s]] for s in (0, 1)] for pair in pairs]
            start = stop
            m = (sum(b) + 128) / (n * k + 1)
            self.refresh(m)
            spread = [
                ((o[1] + 8 * m) / (o[0] * k + 8) / m) * ((i[1] + 8 * m) / (i[0] * k + 8) / m)
                for o, i in ends
            ]
            means = [
                [round(sum(e[2]) / (e[0] * k + 8)) for e in end]
                + [[round(v / (e[0] + 8)) for v in e[2]] for e in end]
                for end in ends
            ]
            values, off = ([[0] * k for _ in pairs] for _ in range(2))
            c = [
                [clip(round(x * 4096), -(2**20), 2**20) for x in solve(*gs)]
                for gs in zip(gram, side, strict=True)
            ]
            for p, near in self.order():
                ratio = (b[p] + 8 * m) / (n + 8) / m
                features, expected, rs = [], [], []
                for i, (one, two, ones, twos) in enumerate(means):
                    v = [values[i][j] for j in near]
                    roots = [
                        round((x > 0) * 2 * sqrt(abs(x) * 256) - sqrt(abs(x) * 256)) for x in v
                    ]
                    features.append([one, two, ones[p], twos[p], 256, *v, *roots])
                    expected.append(sum(map(mul, c[p], features[-1])) / 4096)
                    rs.append(spread[i] * ratio)
                    if k > 1:
                        around = sum(off[i][j] for j in near)
                        rs[-1] = rs[-1] * sqrt((around + 2 * m) / ((len(near) + 2) * m))
                for i, level in enumerate(self.place(expected, rs)):
                    value = self.value(level)
                    deviation = min(abs(value - round(expected[i])), 2**14)
                    values[i][p], off[i][p] = value, deviation if level else round(self.t / 2)
                    levels[pairs[i][0] * q + pairs[i][1]][p] = level
                    for a, x in enumerate(features[i]):
                        side[p][a] += x * value
                        for j, y in enumerate(features[i]):
                            gram[p][a][j] += x * y
            for i, end in enumerate(ends):
                for e in end:
                    e[0], e[1] = e[0] + 1, e[1] + sum(off[i])
                    e[2] = [x + y for x, y in zip(e[2], values[i], strict=True)]
                b = [x + y for x, y in zip(b, off[i], strict=True)]
            n += len(pairs)
        return [n for pair in levels for n in pair]

    def value(self, level: int) -> int:
        return self.sizes[1][level - 1] if level > 0 else -self.sizes[0][-level - 1] if level else 0

    def refresh(self, m: float) -> None:
        self.s = m * 0.85
        o = (1 - self.d) / sqrt(self.d)
        self.t = self.total / self.kept * (o / (1 + o))
        up, down = {}, {}
        for c in range(16 * 12):
            r = middle(c // 12, 4, 16)
            lean = ((c % 12 + 0.5) / 4 if c % 12 else 1 / 16) * r
            up[c] = logistic((lean - self.t / self.s) / r)
            down[c] = logistic((-self.t / self.s - lean) / r)
        p = {c: clip(1 - up[c] - down[c], 1e-4, 1 - 1e-4) for c in up}
        seen = {c: sum(self.z[c]) for c in up}
        whole, ones = sum(seen.values()), sum(self.z[c][1] for c in up)
        self.zero = dict.fromkeys(up, 1 - self.d)
        if whole:
            x = sum(seen[c] * round(p[c] * 65536) for c in up) / 65536 + 0.5
            a = (ones + 0.5) / (whole + 1 - (ones + 0.5)) / (x / (whole + 1 - x))
            p = {c: p[c] * a / (p[c] * a + (1 - p[c])) for c in up}
            self.zero = {c: (self.z[c][1] + 20 * p[c]) / (seen[c] + 20) for c in up}
        q = {c: clip(up[c] / (up[c] + down[c] + 1e-9), 1e-3, 1 - 1e-3) for c in up}
        self.sign = {c: (self.g[c][1] + 20 * q[c]) / (sum(self.g[c]) + 20) for c in up}
        if len(self.counts[0]) > 1 and self.kept >= 1.1 * self.found_at:
            self.found_at, self.weights = self.kept, [self.magnitudes(sign) for sign in (0, 1)]

    def magnitudes(self, sign: int) -> Any:
        edges, c = [x / self.s for x in self.edges[sign]], len(self.counts[0])
        real = [i < self.cells[sign] for i in range(c)]
        p = [
            max(logistic(b) - logistic(a), 1e-7) * ok
            for (a, b), ok in zip(pairwise(edges), real, strict=True)
        ]
        empty = [0] * ((1 << (c - 1).bit_length()) - c)
        ps, ns = [p + empty], [self.counts[sign] + empty]
        while len(ps[0]) > 1:
            ps.insert(0, [a + b for a, b in zip(ps[0][::2], ps[0][1::2], strict=True)])
            ns.insert(0, [a + b for a, b in zip(ns[0][::2], ns[0][1::2], strict=True)])
        q = [1.0]
        for depth in range(1, len(ps)):
            a = 16 if depth <= 3 else 60
            up, seen = ps[depth - 1], ns[depth - 1]
            q = [
                q[i // 2]
                * (ns[depth][i] + a * (ps[depth][i] / max(up[i // 2], 1e-30)))
                / (seen[i // 2] + a)
                for i in range(len(ps[depth]))
            ]
        found, size = {}, -(-c // 16)
        for spread in range(8):
            for number in range(11):
                r, lean = middle(spread, 2, 8), (number - 5) / 2
                f = [logistic(x / r - lean) for x in edges]
                h = [
                    q[i] * sqrt(max(f[i + 1] - f[i], 1e-7) / p[i]) if real[i] else 0.0
                    for i in range(c)
                ]
                h += [0.0] * (16 * size - c)
                j = [sum(h[i * size + 1 : (i + 1) * size], h[i * size]) for i in range(16)]
                n, all_j = self.bins[sign, spread, number], sum(j[1:], j[0])
                y = [x / max(all_j, 1e-7) for x in j]
                factor = [(n[i] + 150 * y[i]) / (sum(n) + 150) / max(j[i], 1e-7) for i in range(16)]
                found[spread, number] = [
                    max(h[i] * factor[i // size], 1e-7) * real[i] for i in range(c)
                ]
        return found

    def place(self, expected: List, rs: List) -> List:
        """The levels of the weights of one place of a block."""
        leans = [e / (r * self.s) for e, r in zip(expected, rs, strict=True)]
        classes = [
            octave(r, 4, 16) * 12 + floor(min(abs(x) * 4, 11))
            for x, r in zip(leans, rs, strict=True)
        ]
        zeros = [self.k < 255 and self.bits.bit(self.zero[c]) for c in classes]
        kept = [i for i, zero in enumerate(zeros) if not zero]
        if all(self.sizes):
            signs = []
            for i in kept:
                chance = self.sign[classes[i]]
                signs.append(self.bits.bit(chance if leans[i] > 0 else 1 - chance))
            for i, sign in zip(kept, signs, strict=True):
                self.g[classes[i]][sign == (leans[i] > 0)] += 1
        else:
            signs = [int(not self.sizes[0])] * len(kept)
        cells, rows = [0] * len(kept), []
        if len(self.counts[0]) > 1:
            for i, sign in zip(kept, signs, strict=True):
                y = leans[i] if sign else -leans[i]
                rows.append((sign, octave(rs[i], 2, 8), floor(clip(y * 2 + 5.5, 0, 10))))
            cells = [self.bits.symbol(self.weights[row[0]][row[1:]]) for row in rows]
            for row, cell in zip(rows, cells, strict=True):
                self.bins[row][cell // -(-len(self.counts[0]) // 16)] += 1
                self.counts[row[0]][cell] += 1
        lows = [self.bits.below(1 << self.shift) for _ in kept]
        for c, zero in zip(classes, zeros, strict=True):
            self.z[c][zero] += self.k < 255
        found = [0] * len(classes)
        for i, sign, cell, low in zip(kept, signs, cells, lows, strict=True):
            size = (cell << self.shift) + low + 1
            found[i] = size if sign else -size
            self.total += abs(self.value(found[i]))
        self.kept += len(kept)
        return found
