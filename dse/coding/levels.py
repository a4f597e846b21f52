"""The levels of a tensor: 0 and its other values, numbered by magnitude.

Levels -n .. -1 are the negative values, 1 .. m the others; -1 and 1 are the smallest.
"""

from __future__ import annotations

import numpy as np

from dse.coding.exact import Integers, Reals
from dse.coding.range_coder import Coder
from dse.coding.tensors import Floats

UNIT = 256
"""Values are whole numbers of 1/256 of the root mean square of the weights that are not 0."""

FAR = 4095
"""The largest value, in those units."""

CELLS = 128
"""Cells of magnitudes, of each sign: levels of a cell are equally probable."""


class Levels:
    """The levels of a tensor, from its values, float32, smallest magnitude first: `negative` and
    `positive`."""

    def __init__(self, negative: Floats, positive: Floats) -> None:
        self.counts = (len(negative), len(positive))
        self.shift = (max(*self.counts, 1) - 1 >> CELLS.bit_length() - 1).bit_length()
        self._sizes = [
            np.where(np.isfinite(m), np.abs(m), 0).astype(np.float64) for m in (negative, positive)
        ]
        self._largest = max(1e-300, *(float(m.max(initial=0)) for m in self._sizes))

    def code_scale(self, coder: Coder, known: Integers | None) -> None:
        """Codes the share of weights that are not 0 (0 and 255: none and all), and their root mean
        square."""
        header = None if known is None else self._measure(known)
        self.kept, fraction = (int(n) for n in coder.below(np.array([256, 256]), header))
        self.density = min(max(self.kept, 1), 254) / 255
        unit = self._largest / (1 + fraction / 8)
        scaled = [np.rint(np.minimum(m / unit, 16) * UNIT).clip(0, FAR) for m in self._sizes]
        self._values = np.concatenate([-scaled[0][::-1], [0.0], scaled[1]])
        self.cells = tuple(n + (1 << self.shift) - 1 >> self.shift for n in self.counts)
        self.edges = np.stack([self._edges(values) for values in scaled])

    def _measure(self, known: Integers) -> Integers:
        others = known[known != 0] + self.counts[0]
        share = len(others) / len(known)
        kept = round(share) * 255 if share in (0, 1) else min(max(round(share * 255), 1), 254)
        sizes = np.concatenate([self._sizes[0][::-1], [0.0], self._sizes[1]]) / self._largest
        squares = float((np.rint(sizes * FAR)[others] ** 2).sum()) if kept else 1.0
        ratio = FAR * float(np.sqrt(len(others) / max(squares, 1.0)))
        fraction = min(max(round(8 * (ratio - 1)), 0), 255)
        return np.array([kept, fraction])

    def values(self, levels: Integers) -> Reals:
        """The values of levels, whole numbers."""
        found: Reals = self._values[levels + self.counts[0]]
        return found

    def _edges(self, values: Reals) -> Reals:
        """Where the cells of a sign begin and end: half way between their middle values; those
        that the sign does not have are empty, at the end."""
        edges = np.zeros(max(self.cells) + 1)
        if len(values):
            middle = np.arange(0, len(values), 1 << self.shift) + (1 << self.shift) // 2
            middles = values[np.minimum(middle, len(values) - 1)]
            between = (middles[1:] + middles[:-1]) / 2
            # The first and the last cell reach as far on either side of their middle.
            first = 2 * middles[0] - between[0] if len(between) else middles[0] / 2
            last = 2 * middles[-1] - between[-1] if len(between) else middles[0] * 1.5
            edges[0] = max(first, 0)
            edges[1 : len(middles)] = between
            edges[len(middles) :] = last
        return edges
