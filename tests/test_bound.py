"""The order-0 bound of compressed networks."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from random_tensors import network

from dse.coding.bound import bound, entropy, tensor_bound
from dse.coding.tensors import Dense, FixedPoint, LowRank, Shared, Sparse


def bernoulli(kept: int, places: int) -> float:
    """Bits of which of some places are kept."""
    p = kept / places
    return places * (-p * log2(p) - (1 - p) * log2(1 - p))


def test_entropy_is_that_of_the_textbook() -> None:
    assert entropy(np.array([1, 1, 1, 1, 0])) == pytest.approx(8)
    assert entropy(np.array([1, 3])) == pytest.approx(bernoulli(1, 4))
    assert entropy(np.array([7])) == entropy(np.array([0, 0])) == entropy(np.array([], int)) == 0


def test_codes_positions_and_codebook_add_up() -> None:
    codes = np.zeros((10, 10), np.uint8)
    codes[:3] = 1 + np.arange(10) % 2  # 30 kept, of two values
    tensor = Shared(codes=codes, codebook=np.array([0, -1, 1], np.float32))
    assert 8 * tensor_bound(tensor) == pytest.approx(30 + bernoulli(30, 100) + 2 * 32)


def test_a_pruned_tensor_has_its_values_and_their_places() -> None:
    kept = np.arange(64) < 4
    tensor = Sparse(kept=kept, values=np.ones(4, np.float32))
    assert 8 * tensor_bound(tensor) == pytest.approx(4 * 32 + bernoulli(4, 64))


def test_numbers_that_are_not_zero_count_in_fixed_point() -> None:
    numbers = np.array([0, 0, 1, -1, 2, -2, 0, 0], np.int16)
    tensor = FixedPoint(numbers=numbers, width=8, fraction_length=4)
    assert 8 * tensor_bound(tensor) == pytest.approx(4 * 2 + 8)


def test_float_values_are_raw() -> None:
    values = np.ones((3, 5), np.float32)
    factors = LowRank(shape=(3, 5), scheme="matrix", left=values[:, :2], right=values[:2])
    assert tensor_bound(Dense(values=values)) == 60
    assert tensor_bound(factors) == 4 * (6 + 10)
    assert bound(network(Dense(values=values), factors)) == 60 + 64
