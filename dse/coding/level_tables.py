"""Probabilities of a weight's level by class: is it 0, its sign, its magnitude.

A class is what is expected of a weight, coarsely: the spread of its value, relative to the mean of
the tensor, and its lean: how far its expected value is from 0, in units of that spread. The
probabilities start as those of a logistic distribution and come closer to what is counted.
"""

from __future__ import annotations

import numpy as np

from dse.coding.exact import Integers, Reals, logistic, middles, octaves, total, tree
from dse.coding.levels import UNIT, Levels
from dse.coding.range_coder import Coder

SCALE = 0.85
"""The scale of the logistic distribution for a mean absolute deviation of 1."""

SPREADS, SPREAD_STEPS = 16, 4
LEANS, LEAN_STEPS = 12, 4
"""Classes of zeros and signs: buckets of spread, 4 in an octave; of |lean|, 1/4 wide."""

CELL_SPREADS, CELL_SPREAD_STEPS = 8, 2
CELL_LEANS, CELL_LEAN_STEPS = 11, 2
"""Classes of magnitudes; here the lean is that towards the sign, rounded to 1/2."""

BINS = 16
"""The cells of a sign in so many parts: what is counted in a class."""

ZERO_PRIOR, SIGN_PRIOR, BIN_PRIOR = 20.0, 20.0, 150.0
"""The distribution counts as much as so many weights of a class."""

TREE_PRIORS = (16.0, 60.0)
"""The same for the cells of all classes: at each branch of the first three, of the others."""

GROWN = 1.1
"""Magnitudes' probabilities are found again after so much growth: that takes time."""

LEAST = 1e-7


class Tables:
    """The probabilities of a tensor's levels by class, learned while it is coded."""

    def __init__(self, levels: Levels) -> None:
        self.levels, self.cells = levels, max(levels.cells)
        self.bin = -(-self.cells // BINS)
        self.zeros, self.signs = np.zeros((2, SPREADS * LEANS, 2))
        self.cell_counts = np.zeros((2, self.cells))
        self.bin_counts = np.zeros((2, CELL_SPREADS * CELL_LEANS, BINS))
        self.real = np.arange(self.cells) < np.array(levels.cells)[:, None]
        leans = (np.arange(LEANS) + 0.5) / LEAN_STEPS
        leans[0] = 0.25 / LEAN_STEPS
        self.spreads = np.repeat(middles(SPREAD_STEPS, SPREADS), LEANS)
        self.leans = np.tile(leans, SPREADS) * self.spreads
        self.magnitudes, self.nonzero, self.refreshed = float(UNIT), 1.0, 0.0

    def refresh(self, mean: float) -> None:
        """Finds the probabilities from the counts so far and the mean deviation of values."""
        self.scale = mean * SCALE
        density = self.levels.density
        # Where an exponential distribution is cut to leave this density, roughly.
        odds = (1 - density) / float(np.sqrt(density))
        threshold = self.magnitudes / self.nonzero * (odds / (1 + odds))
        self.zero_deviation = float(np.rint(threshold / 2))
        edge = threshold / self.scale
        above = logistic((self.leans - edge) / self.spreads)
        below = logistic((-edge - self.leans) / self.spreads)
        self.zero = self._zeros(np.clip(1 - above - below, 1e-4, 1 - 1e-4))
        ahead = np.clip(above / (above + below + 1e-9), 1e-3, 1 - 1e-3)
        self.sign = (self.signs[:, 1] + SIGN_PRIOR * ahead) / (self.signs.sum(1) + SIGN_PRIOR)
        if self.cells > 1 and self.nonzero >= GROWN * self.refreshed:
            self.cell, self.refreshed = self._cells(), self.nonzero

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
        found: Reals = (self.zeros[:, 1] + ZERO_PRIOR * chances) / (seen + ZERO_PRIOR)
        return found

    def _cells(self) -> Reals:
        """Weights of the cells by sign and class (2 * classes, cells)."""
        edges, real = self.levels.edges / self.scale, self.real[:, None]
        plain = np.maximum(np.diff(logistic(edges)), LEAST) * self.real
        spreads = middles(CELL_SPREAD_STEPS, CELL_SPREADS)[:, None, None]
        leans = (np.arange(CELL_LEANS) - CELL_LEANS // 2)[:, None] / CELL_LEAN_STEPS
        chances = np.diff(logistic(edges[:, None, None] / spreads - leans))
        chances = chances.reshape(2, CELL_SPREADS * CELL_LEANS, self.cells)
        # Half as far from the plain distribution as the class's, in logarithms.
        bent = np.sqrt(np.maximum(chances, LEAST) / np.where(real, plain[:, None], 1.0))
        weights = np.zeros((*bent.shape[:2], BINS * self.bin))
        weights[..., : self.cells] = (
            bent * (tree(self.cell_counts, plain, TREE_PRIORS) * self.real)[:, None]
        )
        weights = weights.reshape(*bent.shape[:2], BINS, self.bin)
        sums = total(weights)
        shares = sums / np.maximum(total(sums), LEAST)[..., None]
        seen = self.bin_counts.sum(axis=2, keepdims=True)
        learned = (self.bin_counts + BIN_PRIOR * shares) / (seen + BIN_PRIOR)
        weights = weights * (learned / np.maximum(sums, LEAST))[..., None]
        weights = weights.reshape(*bent.shape[:2], -1)[..., : self.cells]
        found: Reals = np.maximum(weights, LEAST * real).reshape(-1, self.cells)
        return found

    def code(
        self, coder: Coder, expected: Reals, spread: Reals, known: Integers | None
    ) -> Integers:
        """Codes levels, given their expected values and their spreads relative to the mean."""
        lean = expected / (spread * self.scale)
        away = np.minimum(np.abs(lean) * LEAN_STEPS, LEANS - 1).astype(np.int64)
        classes = octaves(spread, SPREAD_STEPS, SPREADS) * LEANS + away
        kept = np.arange(len(lean))
        if self.levels.kept < 255:
            given = None if known is None else (known == 0).astype(np.int64)
            zero = coder.bits(self.zero[classes], given)
            _count(self.zeros, classes, zero)
            kept = np.flatnonzero(zero == 0)
        given = None if known is None else known[kept]
        lean = lean[kept]
        positive = self._code_sign(coder, lean, classes[kept], given)
        toward = np.where(positive, lean, -lean)
        sizes = self._code_magnitude(coder, toward, spread[kept], positive, given)
        found = np.zeros(len(expected), np.int64)
        found[kept] = np.where(positive, sizes, -sizes)
        self.magnitudes += float(np.abs(self.levels.values(found)).sum())
        self.nonzero += len(kept)
        return found

    def _code_sign(
        self, coder: Coder, lean: Reals, classes: Integers, known: Integers | None
    ) -> Integers:
        """Whether weights that are not 0 are positive, 0 or 1."""
        if 0 in self.levels.counts:
            return np.full(len(lean), 1 - self.levels.counts.index(0))
        ahead = lean > 0
        chances = np.where(ahead, self.sign[classes], 1 - self.sign[classes])
        given = None if known is None else (known > 0).astype(np.int64)
        positive = coder.bits(chances, given)
        _count(self.signs, classes, positive == ahead)
        return positive

    def _code_magnitude(
        self, coder: Coder, lean: Reals, spread: Reals, positive: Integers, known: Integers | None
    ) -> Integers:
        """Magnitudes, numbered from 1, of weights whose lean is that towards their sign."""
        shift, cell = self.levels.shift, np.zeros(len(lean), np.int64)
        given = None if known is None else np.abs(known) - 1
        if self.cells > 1:
            half = CELL_LEANS // 2
            steps = np.floor(
                np.minimum(np.maximum(lean * CELL_LEAN_STEPS + (half + 0.5), 0), 2 * half)
            ).astype(np.int64)
            rows = positive * CELL_SPREADS + octaves(spread, CELL_SPREAD_STEPS, CELL_SPREADS)
            rows = rows * CELL_LEANS + steps
            cell = coder.symbols(self.cell, rows, None if given is None else given >> shift)
            _count(self.bin_counts, rows, cell // self.bin)
            _count(self.cell_counts, positive, cell)
        if shift:
            low = None if given is None else given & (1 << shift) - 1
            cell = (cell << shift) + coder.below(np.full(len(cell), 1 << shift), low)
        if (cell >= np.array(self.levels.counts)[positive]).any():
            raise ValueError("it has a code beyond its alphabet")
        return cell + 1


def _count(counts: Reals, classes: Integers, symbols: Integers) -> None:
    """Adds symbols to the counts of their classes (..., symbols)."""
    places = classes * counts.shape[-1] + symbols
    counts += np.bincount(places, minlength=counts.size).reshape(counts.shape)
