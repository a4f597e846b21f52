"""Codes the weights of one tensor: which are zero, their signs and their magnitudes.

Weights are coded in blocks of (output, input) pairs along diagonals, so that what is known of
each output and of each input grows alike; within a block one place of the kernel after the other.
For each weight a value is expected (a linear regression on the weights before it: its kernel's,
and the means of its output and input) and a spread about it. Both, in coarse classes, choose the
probabilities: a logistic distribution, corrected by what was counted in the class so far.

`docs/adaptive_coder.md` has the formulas. All arithmetic is exact, see `dse.coding.exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from dse.coding.exact import Integers, Reals, solve
from dse.coding.level_tables import Tables
from dse.coding.levels import UNIT, Levels
from dse.coding.range_coder import Coder

Levelled = NDArray[np.int16]

SHRINK = 8
"""A mean starts as that of the tensor, with the weight of so many values."""

NEAR = 8
"""A weight's neighbours: at most so many of its kernel."""

RIDGE = 10.0 * UNIT * UNIT
MEANS = 5
"""Features of a weight that are not its neighbours: four means and a constant."""

MOST_PLACES, FEWEST_PAIRS = 64, 64
"""A kernel of more places, or of fewer pairs, is seen as so many inputs of one place each."""

FEWEST = 4
"""An output or input of fewer weights has no statistics of its own."""

FIRST, LONGEST = 16, 1 << 13
"""Pairs of the first block, and of any at most: a limit of memory."""

FINE = 4096
"""Regression coefficients are whole numbers of 1/4096."""


def code_levels(
    coder: Coder, shape: tuple[int, ...], levels: Levels, known: Integers | None
) -> Levelled:
    """The levels (see `Levels`) of a tensor's weights, in C order; `known` is None in a decoder."""
    rows, columns, places, width = _grid(shape)
    found = np.zeros((rows * columns, places), np.int16)
    if found.size:
        levels.code_scale(coder, known)
    if levels.kept:
        given = None if known is None else known.astype(np.int16).reshape(found.shape)
        _State(coder, levels, rows, columns, _neighbours(places, width)).code(found, given)
    return found.ravel()


def _grid(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Outputs, inputs, places of a kernel and places of one of its rows."""
    rows, columns = (*shape, 1, 1)[:2]
    kernel = shape[2:]
    places = prod(kernel)
    if places > MOST_PLACES or rows * columns < FEWEST_PAIRS:
        return rows, columns * places, 1, 1
    return rows, columns, places, kernel[-1] if kernel else 1


def _neighbours(places: int, width: int) -> list[tuple[int, list[int]]]:
    """The kernel's places in coding order, each with those coded before it that are nearest.

    A 3x3 kernel starts at its middle, then edges, then corners.
    """
    order = [4, 1, 3, 5, 7, 0, 2, 6, 8] if (places, width) == (9, 3) else list(range(places))

    def distance(a: int, b: int) -> int:
        return abs(a // width - b // width) + abs(a % width - b % width)

    return [
        (here, sorted(order[:i], key=lambda other: (distance(here, other), other))[:NEAR])
        for i, here in enumerate(order)
    ]


def _blocks(rows: int, columns: int, places: int) -> Iterator[tuple[Integers, Integers]]:
    """The outputs and inputs of the pairs of each block.

    A diagonal has pairs whose output and input rise together. Blocks are whole diagonals: first
    few, then half as many as before them, up to a limit.
    """
    long, short = max(rows, columns), min(rows, columns)
    limit = min(max(rows * columns // 16, 4096 // places), LONGEST)
    start = 0
    while start < long:
        size = min(max(start * short // 2, FIRST), limit)
        stop = min(start + -(-size // short), long)
        across = np.arange(short)
        along = (np.arange(start, stop)[:, None] - across) % long
        across = np.broadcast_to(across, along.shape)
        yield (
            (along.ravel(), across.ravel()) if rows >= columns else (across.ravel(), along.ravel())
        )
        start = stop


class _State:
    """What is known of a tensor while it is coded."""

    def __init__(
        self,
        coder: Coder,
        levels: Levels,
        rows: int,
        columns: int,
        kernel: list[tuple[int, list[int]]],
    ) -> None:
        self.coder, self.kernel, self.rows, self.columns = coder, kernel, rows, columns
        self.levels, self.tables = levels, Tables(levels)
        self.places = len(kernel)
        # Of each output and input: sums of deviations and of values, and how many pairs.
        sides = [
            rows if columns * self.places >= FEWEST else 1,
            columns if rows * self.places >= FEWEST else 1,
        ]
        self.spread = [np.zeros(n) for n in sides]
        self.sums = [np.zeros((n, self.places)) for n in sides]
        self.seen = [np.zeros(n) for n in sides]
        self.place_spread, self.pairs = np.zeros(self.places), 0
        features = MEANS + 2 * min(NEAR, self.places - 1)
        self.squares = np.tile(np.eye(features) * RIDGE, (self.places, 1, 1))
        self.products = np.zeros((self.places, features))

    def code(self, found: Levelled, known: Levelled | None) -> None:
        """Codes all weights; fills `found` (pairs, places)."""
        for outputs, inputs in _blocks(self.rows, self.columns, self.places):
            pairs = outputs * self.columns + inputs
            given = None if known is None else known[pairs].T.astype(np.int64)
            found[pairs] = self._code_block(outputs, inputs, given).T

    def _code_block(self, outputs: Integers, inputs: Integers, known: Integers | None) -> Integers:
        """The levels of a block's weights (places, pairs)."""
        ends = [
            np.minimum(end, len(seen) - 1)  # 0 where they have no statistics of their own
            for end, seen in zip((outputs, inputs), self.seen, strict=True)
        ]
        mean = self._mean_spread()
        self.tables.refresh(mean)
        means, spread = self._means(ends), self._spread(ends, mean)
        values, off = np.zeros((2, self.places, len(spread)))
        levels = np.zeros(values.shape, np.int64)
        weights = np.rint(solve(self.squares, self.products) * FINE)
        weights = np.minimum(np.maximum(weights, -(2.0**20)), 2.0**20)
        for place, near in self.kernel:
            features = _features(means, place, values[near])
            expected = weights[place, : len(features)] @ features / FINE
            ratio = spread * self._place_ratio(place, mean)
            if self.places > 1:
                around = off[near].sum(axis=0)
                ratio = ratio * np.sqrt((around + 2 * mean) / ((len(near) + 2) * mean))
            given = None if known is None else known[place]
            levels[place] = self.tables.code(self.coder, expected, ratio, given)
            values[place] = self.levels.values(levels[place])
            deviation = np.minimum(np.abs(values[place] - np.rint(expected)), 1 << 14)
            off[place] = np.where(levels[place] == 0, self.tables.zero_deviation, deviation)
            self._learn(place, features, values[place])
        self._count(ends, values, off)
        return levels

    def _mean_spread(self) -> float:
        """The mean deviation of all weights so far."""
        weights = self.pairs * self.places
        return float((self.place_spread.sum() + UNIT // 2) / (weights + 1))

    def _place_ratio(self, place: int, mean: float) -> float:
        """The mean deviation of a place of the kernel, in units of the mean."""
        own = (self.place_spread[place] + SHRINK * mean) / (self.pairs + SHRINK)
        return float(own / mean)

    def _spread(self, ends: list[Integers], mean: float) -> Reals:
        """The spread expected of each pair, in units of the mean: its output's by its input's."""
        ratios = [
            (spread[end] + SHRINK * mean) / (seen[end] * self.places + SHRINK) / mean
            for end, spread, seen in zip(ends, self.spread, self.seen, strict=True)
        ]
        return ratios[0] * ratios[1]

    def _means(self, ends: list[Integers]) -> list[tuple[Reals, Reals]]:
        """For each side, the mean value of each pair's output or input: of all places, of each."""
        found = []
        for end, sums, seen in zip(ends, self.sums, self.seen, strict=True):
            own, count = sums[end], seen[end]
            whole = np.rint(own.sum(axis=1) / (count * self.places + SHRINK))
            found.append((whole, np.rint(own / (count + SHRINK)[:, None]).T))
        return found

    def _learn(self, place: int, features: Reals, values: Reals) -> None:
        n = len(features)
        self.squares[place, :n, :n] += features @ features.T
        self.products[place, :n] += features @ values

    def _count(self, ends: list[Integers], values: Reals, off: Reals) -> None:
        for end, spread, sums, seen in zip(ends, self.spread, self.sums, self.seen, strict=True):
            np.add.at(seen, end, 1)
            np.add.at(spread, end, off.sum(axis=0))
            cells = end * self.places + np.arange(self.places)[:, None]
            np.add.at(sums.reshape(-1), cells.ravel(), values.ravel())
        self.place_spread += off.sum(axis=1)
        self.pairs += off.shape[1]


def _features(means: list[tuple[Reals, Reals]], place: int, near: Reals) -> Reals:
    """What a weight's value is expected from (features, pairs): whole numbers."""
    (row, rows), (column, columns) = means
    constant = np.full(len(row), float(UNIT))
    fixed = np.stack([row, column, rows[place], columns[place], constant])
    roots = np.rint(np.sign(near) * np.sqrt(np.abs(near) * UNIT))
    return np.concatenate([fixed, near, roots])
