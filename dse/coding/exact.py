"""Arithmetic that gives equal results on every machine.

A decoder must find the encoder's probabilities to the last bit. So everything here is additions,
multiplications, divisions and square roots of single numbers in a given order, which IEEE 754
defines exactly; sums whose order a machine may choose are of whole numbers below 2**53.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


def logistic(x: Reals) -> Reals:
    """The logistic function 1 / (1 + exp(-x)), with (1 - |x|/256)**256 as exp(-|x|).

    >>> logistic(np.array([0.0, 2.0, -2.0])).round(4).tolist()
    [0.5, 0.8816, 0.1184]
    """
    power = 1 - np.minimum(np.abs(x), 64) / 256
    for _ in range(8):
        power = power * power
    return np.where(x < 0, power, 1.0) / (1 + power)


def total(values: Reals) -> Reals:
    """The sum along the last axis, from first to last."""
    found = values[..., 0]
    for i in range(1, values.shape[-1]):
        found = found + values[..., i]
    return found


def octaves(ratios: Reals, steps: int, buckets: int) -> Integers:
    """The place of each positive ratio among buckets of 1/`steps` octave (1, 2, 4 or 8; linear
    within an octave); the middle bucket starts at 1.

    >>> octaves(np.array([0.001, 0.5, 0.99, 1.0, 1.5, 1000.0]), 2, 8).tolist()
    [0, 2, 3, 4, 5, 7]
    """
    bits = np.maximum(ratios, 2.0**-60).view(np.int64) >> (53 - steps.bit_length())
    bits = bits - (1023 * steps - buckets // 2)
    found: Integers = np.minimum(np.maximum(bits, 0), buckets - 1)
    return found


def middles(steps: int, buckets: int) -> Reals:
    """The ratios in the middle of the buckets of `octaves`.

    >>> middles(2, 4).tolist()
    [0.625, 0.875, 1.25, 1.75]
    """
    octave, step = np.divmod(np.arange(buckets) - buckets // 2, steps)
    return np.ldexp(1 + (step + 0.5) / steps, octave)


def solve(matrices: Reals, sides: Reals) -> Reals:
    """Solutions (k, n) of k systems of equations: positive definite (k, n, n) and (k, n)."""
    rows = np.concatenate([matrices, sides[..., None]], axis=2)
    for i in range(rows.shape[1]):
        pivot = rows[:, i, :] / rows[:, i, i, None]
        rows = rows - rows[:, :, i, None] * pivot[:, None, :]
        rows[:, i, :] = pivot
    solutions: Reals = rows[:, :, -1]
    return solutions


def tree(counts: Reals, chances: Reals, priors: tuple[float, float]) -> Reals:
    """Probabilities of the symbols of each row (rows, symbols), from their counts and from chances.

    The symbols are the leaves of a binary tree. At each branch, the counts of both sides are added
    to their share, by the chances, of a prior: `priors` are for the first three branches from the
    root and for the others (a Polya tree).
    """
    rows, symbols = counts.shape
    depth = (symbols - 1).bit_length()
    both = np.zeros((2, rows, 1 << depth))
    both[:, :, :symbols] = counts, chances
    levels = [both]
    for _ in range(depth):
        levels.append(levels[-1][..., ::2] + levels[-1][..., 1::2])
    found = np.ones((rows, 1))
    for level in range(depth):
        seen, expected = np.repeat(levels[depth - level], 2, axis=2)
        own, share = levels[depth - level - 1]
        prior = priors[level >= 3]
        chance = share / np.maximum(expected, 1e-30)
        found = np.repeat(found, 2, axis=1) * (own + prior * chance) / (seen + prior)
    return found[:, :symbols]
