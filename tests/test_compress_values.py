"""Clusters, factors and fixed points: the arithmetic of the methods of compression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dse.compress.prune import keep
from dse.compress.retrain import constrain
from dse.compress.rounding import activation_fraction, quantised, weight_fraction
from dse.compress.shared import SharedValues, entries, k_means, rounded, share, stored
from dse.compress.svd import as_matrix, factor, size, smallest
from dse.trial.compression import Settings


def test_keep_takes_at_least_one_weight_and_the_first_of_equal_ones() -> None:
    assert keep(np.ones((2, 2), np.float32), 0.5).tolist() == [[True, True], [False, False]]
    assert keep(np.ones(9, np.float32), 0.01).sum() == 1


def test_the_gradient_of_a_shared_value_is_that_of_all_its_weights() -> None:
    layer = nn.Linear(3, 2, bias=False)
    codes = np.array([[1, 2, 0], [2, 2, 1]])
    constraint = SharedValues(codes, np.array([0.0, -1.0, 0.5], np.float32))
    constrain(layer, constraint)
    torch.testing.assert_close(layer.weight, torch.tensor([[-1.0, 0.5, 0.0], [0.5, 0.5, -1.0]]))
    (layer.weight * torch.arange(1.0, 7.0).view(2, 3)).sum().backward()
    scaled = layer.parametrizations.weight.original  # each value times sqrt(its weights)
    by_hand = torch.tensor([1.0 + 6.0, 2.0 + 4.0 + 5.0]) / torch.tensor([2.0, 3.0]).sqrt()
    torch.testing.assert_close(scaled.grad, by_hand)


def test_a_step_moves_a_shared_value_by_the_mean_gradient_of_its_weights() -> None:
    layer = nn.Linear(3, 1, bias=False)
    constrain(layer, SharedValues(np.array([[1, 1, 1]]), np.array([0.0, 2.0], np.float32)))
    (layer.weight * torch.tensor([[1.0, 2.0, 6.0]])).sum().backward()
    with torch.no_grad():
        scaled = layer.parametrizations.weight.original
        scaled -= 0.1 * scaled.grad
    torch.testing.assert_close(layer.weight, torch.full((1, 3), 2.0 - 0.1 * 3.0))


def test_clusters_of_few_distinct_values_are_exact() -> None:
    values = np.repeat([-3.0, -2.5, 0.25, 7.0], 5)
    np.random.default_rng(0).shuffle(values)
    assigned, means = k_means(values, 15)
    np.testing.assert_allclose(means[assigned], values)
    assert len(means) == 4


def test_clusters_are_the_nearest_means() -> None:
    values = np.random.default_rng(1).standard_normal(2000) ** 3
    assigned, means = k_means(values, 31)
    assert len(means) == 31
    assert np.all(np.diff(means) > 0)
    distances = np.abs(values[:, None] - means)
    np.testing.assert_allclose(np.abs(values - means[assigned]), distances.min(1))
    linear = np.linspace(values.min(), values.max(), 31)
    before = (np.abs(values[:, None] - linear).min(1) ** 2).mean()
    assert ((values - means[assigned]) ** 2).mean() < 0.2 * before


def test_rounding_keeps_the_given_digits() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    short = rounded(values, 8)
    assert np.max(np.abs(short / values - 1)) <= 2.0**-8
    assert np.max(np.abs(short / values - 1)) > 2.0**-9
    assert np.array_equal(rounded(short, 8), short)


def test_small_layers_share_fewer_values() -> None:
    counts = [entries(count, 31) for count in (1, 10, 100, 1000, 10**9)]
    assert counts == sorted(counts)
    assert counts[-1] == 30
    assert counts[2] < 25


@pytest.mark.parametrize("count", [1, 2, 40])
def test_shared_weights_are_stored_exactly(count: int) -> None:
    weight = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
    kept = keep(weight, 0.5)
    codes, codebook = share(weight, kept, 15)
    tensor = stored(codebook[codes], kept)
    assert np.array_equal(tensor.dense(), codebook[codes])


@pytest.mark.parametrize(
    ("scheme", "shape"),
    [("matrix", (6, 20)), ("matrix", (8, 4, 3, 3)), ("spatial", (8, 4, 3, 5))],
)
def test_what_is_dropped_is_the_error_of_the_product(scheme: str, shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for energy in (0.3, 0.8, 1.0):
        factors, kept = factor(weight, scheme, Settings(energy=energy))
        error = np.sum((weight - factors.dense()) ** 2) / np.sum(weight**2)
        assert error == pytest.approx(1 - kept, abs=1e-6)
        assert kept >= energy - 1e-9
        rank = factors.left.shape[1]
        values = np.linalg.svd(as_matrix(weight, scheme), compute_uv=False) ** 2
        assert rank == 1 or values[: rank - 1].sum() < energy * values.sum()


def test_the_size_of_the_factors_can_be_given() -> None:
    weight = np.random.default_rng(0).standard_normal((32, 16, 3, 3)).astype(np.float32)
    for share_of_weights in (0.25, 0.5):
        factors = smallest(weight, Settings(method="svd", factors=share_of_weights))
        assert factors is not None
        assert 0.8 * share_of_weights * weight.size < size(factors)
        assert size(factors) <= share_of_weights * weight.size


def test_fractions_are_those_of_ristretto() -> None:
    # quantization.cpp of pmgysel/caffe: il = ceil(log2(max) + 1) for weights, ceil(log2(max)) for
    # activations; fl = bw - il.
    for largest, weights_il, activations_il in [
        (0.2, -1, -2),
        (0.25, -1, -2),
        (0.9, 1, 0),
        (1.0, 1, 0),
        (1.1, 2, 1),
        (3.0, 3, 2),
        (100.0, 8, 7),
    ]:
        for width in (4, 8, 16):
            assert weight_fraction(largest, width) == width - weights_il
            assert activation_fraction(largest, width) == width - activations_il


def test_fixed_point_rounds_half_to_even_and_saturates() -> None:
    x = torch.tensor([0.125, 0.375, -0.125, -0.375, 1.9, 7.9, -9.0, 0.0])
    assert quantised(x, 4, 2).tolist() == [0.0, 0.5, 0.0, -0.5, 1.75, 1.75, -2.0, 0.0]
    assert quantised(x, 1, 0).tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0]


def test_weights_that_fit_are_at_most_half_a_step_off() -> None:
    x = torch.randn(1000)
    for width in (3, 8, 16):
        fraction = weight_fraction(float(x.abs().max()), width)
        rounded_x = quantised(x, width, fraction)
        inside = rounded_x < (2 ** (width - 1) - 1) * 2.0**-fraction
        assert (x - rounded_x)[inside].abs().max() <= 2.0 ** -(fraction + 1)


def test_zeros_and_tiny_values_have_a_point_too() -> None:
    for largest in (0.0, 1e-45):
        for width in (1, 16):
            fraction = weight_fraction(largest, width)
            assert quantised(torch.tensor([largest]), width, fraction).tolist() == [0.0]
            assert abs(activation_fraction(largest, width)) < 64


def test_gradients_pass_through_rounding() -> None:
    x = torch.tensor([0.3, 5.0], requires_grad=True)
    (quantised(x, 4, 2) * torch.tensor([2.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0]
