"""Probabilities of a weight's level by class: is it 0, its sign, its magnitude.

The levels of a tensor are 0 and its other values, numbered by magnitude: -n .. -1 the negative
ones, 1 .. m the positive ones. A class is what is expected of a weight, coarsely: the spread of
its value (relative to the tensor's mean) and how far its expected value is from 0, in spreads.
"""

from __future__ import annotations

import numpy as np

from dse.compress.exact import Integers, Reals, logistic, middles, octaves, total
from dse.compress.range_coder import Coder
from dse.compress.tensors import Floats

UNIT, FAR = 256, 4095
"""Values are whole numbers of 1/256 of the root mean square of the weights that are not 0."""

CELLS = 128
"""Magnitudes with a probability of their own, of each sign; of more, the low bits are raw."""

SCALE = 0.85
"""The scale of the logistic distribution for a mean absolute deviation of 1."""

SPREADS, SPREAD_STEPS, LEANS, LEAN_STEPS = 16, 4, 12, 4
"""Classes of zeros and signs: buckets of spread per octave, and of |lean| (0, 1/4, ...)."""

TIMID, SIGN_TIMID = 20.0, 20.0
"""Weights that a class must have seen to be believed as much as the distribution."""

MAG_SPREADS, MAG_STEPS, MAG_LEANS, MAG_LEAN_STEPS = 8, 2, 7, 1.5
"""Classes of magnitudes; the lean, now with its sign, is rounded to 1/1.5."""

BINS, BIN_TIMID, CELL_TIMID, POWER = 16, 80.0, 8.0, 0.5
LEAST = 1e-7


class Levels:
    """The levels of a tensor, from its values, lowest magnitude first: `negative` and
    `positive`, float32 (those of values below and above 0)."""

    def __init__(self, negative: Floats, positive: Floats) -> None:
        self.counts = (len(negative), len(positive))
        self.shift = max((max(self.counts) - 1 >> 7).bit_length(), 0)
        sizes = [
            np.where(np.isfinite(m), np.abs(m), 0).astype(np.float64) for m in (negative, positive)
        ]
        self.largest = max(1e-300, *(float(m.max(initial=0)) for m in sizes))
        self._sizes, self.kept, self.density = sizes, 0, 0.0

    def code_scale(self, coder: Coder, known: Integers | None) -> None:
        """Codes the share of weights that are not 0, and their root mean square."""
        header = None if known is None else self._measure(known)
        self.kept, fraction = (int(n) for n in coder.below(np.array([256, 256]), header))
        self.density = min(max(self.kept, 1), 254) / 255
        unit = self.largest / (1 + fraction / 8)
        scaled = [np.rint(np.minimum(m / unit, 16) * UNIT).clip(0, FAR) for m in self._sizes]
        self.table = np.concatenate([-scaled[0][::-1], [0.0], scaled[1]])
        self.edges = self._edges(scaled)

    def _measure(self, known: Integers) -> Integers:
        nonzero = known[known != 0]
        share = len(nonzero) / len(known)
        kept = 0 if share == 0 else 255 if share == 1 else min(max(round(share * 255), 1), 254)
        sizes = np.concatenate([self._sizes[0][::-1], [0.0], self._sizes[1]]) / self.largest
        square = float((sizes[nonzero + self.counts[0]] ** 2).mean()) if kept else 1.0
        fraction = 255 if square == 0 else min(max(round(8 * (square**-0.5 - 1)), 0), 255)
        return np.array([kept, fraction])

    def values(self, levels: Integers) -> Reals:
        """The values of levels, whole numbers."""
        found: Reals = self.table[levels + self.counts[0]]
        return found

    def _edges(self, scaled: list[Reals]) -> Reals:
        """Where the cells of each sign begin and end (2, cells + 1): half way between values."""
        cells = max((n + (1 << self.shift) - 1) >> self.shift for n in self.counts)
        edges = np.zeros((2, cells + 1))
        for side, values in enumerate(scaled):
            if not len(values):
                continue
            middle = values[
                np.minimum(
                    np.arange(0, len(values), 1 << self.shift) + (1 << self.shift) // 2,
                    len(values) - 1,
                )
            ]
            between = (middle[1:] + middle[:-1]) / 2
            first = 2 * middle[0] - between[0] if len(middle) > 1 else middle[0] / 2
            last = 2 * middle[-1] - between[-1] if len(middle) > 1 else middle[0] * 1.5
            n = len(middle)
            edges[side, 0], edges[side, 1:n], edges[side, n:] = max(first, 0), between, last
        return edges


class Tables:
    """The probabilities of a tensor's levels by class, learned while it is coded."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        cells = levels.edges.shape[1] - 1
        self.cells, self.bin = cells, -(-cells // BINS)
        classes = SPREADS * LEANS
        self.zeros, self.signs = np.zeros((classes, 2)), np.zeros((classes, 2))
        self.cell_counts = np.zeros((2, cells))
        self.bin_counts = np.zeros((2, MAG_SPREADS * MAG_LEANS, BINS))
        full = np.array(levels.counts) + (1 << levels.shift) - 1 >> levels.shift
        self.real = np.arange(cells) < full[:, None]
        self.spreads = np.repeat(middles(SPREAD_STEPS, SPREADS), LEANS)
        leans = (np.arange(LEANS) + 0.5) / LEAN_STEPS
        leans[0] = 0.25 / LEAN_STEPS
        self.leans = np.tile(leans, SPREADS) * self.spreads
        self.magnitudes, self.nonzero = float(UNIT), 1.0

    def refresh(self, mean: float) -> None:
        """Finds the probabilities from the counts so far and the mean spread of values."""
        self.scale = mean * SCALE
        density = self.levels.density
        odds = (1 - density) / float(np.sqrt(density))
        threshold = self.magnitudes / self.nonzero * (odds / (1 + odds))
        self.zero_spread = float(np.rint(threshold / 2))
        edge = threshold / self.scale
        above = logistic((self.leans - edge) / self.spreads)
        below = logistic((-edge - self.leans) / self.spreads)
        self.zero = self._zeros(np.clip(1 - above - below, 1e-4, 1 - 1e-4))
        lean = np.clip(above / (above + below + 1e-9), 1e-3, 1 - 1e-3)
        self.sign = (self.signs[:, 1] + SIGN_TIMID * lean) / (
            self.signs[:, 0] + self.signs[:, 1] + SIGN_TIMID
        )
        if self.cells > 1:
            self.magnitude = self._magnitudes()

    def _zeros(self, chances: Reals) -> Reals:
        """The probability of 0 by class; `chances` by the distribution, whose odds are corrected
        by a factor so that it expects as many zeros as there were."""
        seen = self.zeros.sum(axis=1)
        if not seen.any():
            return np.full(len(seen), 1 - self.levels.density)
        whole = float(seen.sum()) + 1
        zeros = float(self.zeros[:, 1].sum()) + 0.5
        expected = float((seen * np.rint(chances * 65536)).sum()) / 65536 + 0.5
        factor = zeros / (whole - zeros) / (expected / (whole - expected))
        chances = chances * factor / (chances * factor + (1 - chances))
        believed: Reals = (self.zeros[:, 1] + TIMID * chances) / (seen + TIMID)
        return believed

    def _magnitudes(self) -> Reals:
        """Weights of the cells by sign and class (2 * classes, cells)."""
        edges, cells = self.levels.edges / self.scale, self.cells
        plain = np.maximum(np.diff(logistic(edges)), LEAST) * self.real
        plain = plain / np.maximum(total(plain), LEAST)
        timid = CELL_TIMID * cells
        seen = (self.cell_counts + timid * plain) / (self.cell_counts.sum(1)[:, None] + timid)

        spreads = middles(MAG_STEPS, MAG_SPREADS)[:, None, None]
        leans = (np.arange(MAG_LEANS) - MAG_LEANS // 2)[:, None] / MAG_LEAN_STEPS
        chances = np.diff(logistic(edges[:, None, None] / spreads - leans))
        ratio = np.maximum(chances, LEAST) / np.maximum(plain, LEAST)[:, None, None]
        weights = np.where(self.real[:, None, None], seen[:, None, None] * np.sqrt(ratio), 0.0)
        weights = weights.reshape(2, MAG_SPREADS * MAG_LEANS, cells)
        weights = weights / np.maximum(total(weights), LEAST)

        padded = np.zeros((*weights.shape[:2], BINS * self.bin))
        padded[..., :cells] = weights
        binned = padded.reshape(*weights.shape[:2], BINS, self.bin)
        sums = total(binned)[..., 0]
        counted = self.bin_counts.sum(axis=2)[..., None]
        learned = (self.bin_counts + BIN_TIMID * sums) / (counted + BIN_TIMID)
        binned = binned * (learned / np.maximum(sums, LEAST))[..., None]
        binned = binned.reshape(padded.shape)[..., :cells]
        found: Reals = np.maximum(binned, LEAST * self.real[:, None]).reshape(-1, cells)
        return found

    def code(
        self, coder: Coder, expected: Reals, spread: Reals, known: Integers | None
    ) -> Integers:
        """Codes levels, given their expected values and their spreads relative to the mean."""
        lean = expected / (spread * self.scale)
        away = np.minimum(np.abs(lean) * LEAN_STEPS, LEANS - 1).astype(np.int64)
        classes = octaves(spread, SPREAD_STEPS, SPREADS) * LEANS + away
        if self.levels.kept == 255:
            kept = np.arange(len(lean))
        else:
            given = None if known is None else (known == 0).astype(np.int64)
            zero = coder.bits(self.zero[classes], given)
            self.zeros += np.bincount(classes * 2 + zero, minlength=self.zeros.size).reshape(-1, 2)
            kept = np.flatnonzero(zero == 0)
        known = None if known is None else known[kept]
        lean, classes, spread = lean[kept], classes[kept], spread[kept]
        side = self._code_sign(coder, lean, classes, known)
        levels = self._code_magnitude(coder, np.where(side > 0, lean, -lean), spread, side, known)
        found = np.zeros(len(expected), np.int64)
        found[kept] = np.where(side > 0, levels, -levels)
        self.magnitudes += float(np.abs(self.levels.values(found)).sum())
        self.nonzero += len(kept)
        return found

    def _code_sign(
        self, coder: Coder, lean: Reals, classes: Integers, known: Integers | None
    ) -> Integers:
        """The signs, 0 or 1, of weights that are not 0."""
        if 0 in self.levels.counts:
            return np.full(len(lean), 1 - self.levels.counts.index(0))
        ahead = lean > 0
        chances = np.where(ahead, self.sign[classes], 1 - self.sign[classes])
        side = coder.bits(chances, None if known is None else (known > 0).astype(np.int64))
        agrees = (side == ahead).astype(np.int64)
        self.signs += np.bincount(classes * 2 + agrees, minlength=self.signs.size).reshape(-1, 2)
        return side

    def _code_magnitude(
        self, coder: Coder, lean: Reals, spread: Reals, side: Integers, known: Integers | None
    ) -> Integers:
        """The magnitudes, from 1; `lean` along the sign."""
        shift = self.levels.shift
        cell = np.zeros(len(side), np.int64)
        given = None if known is None else np.abs(known) - 1
        if self.cells > 1:
            towards = np.floor(lean * MAG_LEAN_STEPS + 0.5).clip(-(MAG_LEANS // 2), MAG_LEANS // 2)
            rows = side * MAG_SPREADS + octaves(spread, MAG_STEPS, MAG_SPREADS)
            rows = rows * MAG_LEANS + towards.astype(np.int64) + MAG_LEANS // 2
            cell = coder.symbols(self.magnitude, rows, None if given is None else given >> shift)
            bins = rows * BINS + cell // self.bin
            self.bin_counts += np.bincount(bins, minlength=self.bin_counts.size).reshape(
                self.bin_counts.shape
            )
            cells = side * self.cells + cell
            self.cell_counts += np.bincount(cells, minlength=self.cell_counts.size).reshape(
                self.cell_counts.shape
            )
        if shift:
            low = coder.below(
                np.full(len(cell), 1 << shift), None if given is None else given & (1 << shift) - 1
            )
            cell = (cell << shift) + low
        if (cell >= np.array(self.levels.counts)[side]).any():
            raise ValueError("it has a code beyond its alphabet")
        return cell + 1
