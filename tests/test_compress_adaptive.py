"""The adaptive coder gives every tensor back, and codes what depends on its neighbours in fewer
bytes than symbol by symbol."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dse.coding import adaptive, authors, container
from dse.coding.bound import bound
from dse.coding.exact import logistic, octaves, solve
from dse.coding.heads import head
from dse.coding.tensors import (
    CompressedModel,
    Dense,
    FixedPoint,
    LowRank,
    Shared,
    Sparse,
    Tensor,
    same,
)
from dse.compress.released import SHAPES as V1_0
from dse.compress.released import read_released

RELEASED = Path(__file__).parents[2] / "shared" / "data" / "compressed_SqueezeNet.net"
SHAPES = [(), (0,), (1,), (7,), (5, 0, 3, 3), (1, 1, 1, 1), (3, 40), (40, 3), (4, 6, 3, 3)]
SHAPES += [(6, 5, 1, 1), (3, 2, 5, 5), (2, 2, 12, 12), (3, 2, 1, 3), (2, 3, 4)]


def network(tensors: Sequence[Tensor]) -> CompressedModel:
    return CompressedModel(architecture={}, tensors={str(i): t for i, t in enumerate(tensors)})


def decoded(tensors: Sequence[Tensor]) -> list[Tensor]:
    return adaptive.decode(adaptive.encode(tensors), [head(tensor) for tensor in tensors])


def anything(shape: tuple[int, ...], rng: np.random.Generator) -> list[Tensor]:
    """A tensor of each kind, of any density, widths, and any bits as float32."""

    def floats(*sizes: int) -> np.ndarray:
        bits = rng.integers(0, 1 << 32, sizes, dtype=np.uint32)
        return bits.view(np.float32) if rng.random() < 0.5 else rng.normal(0, 1, sizes).astype("f4")

    length, width = int(rng.integers(1, 257)), int(rng.integers(1, 17))
    kept = rng.random(shape) < rng.choice([0, 0.01, 0.3, 0.99, 1])
    codes = np.where(kept, rng.integers(0, length, shape), 0).astype(np.uint8)
    book = np.concatenate([np.zeros(1, np.float32), floats(length - 1)])
    numbers = rng.integers(-(1 << width - 1), 1 << width - 1, shape) * kept
    made: list[Tensor] = [
        Dense(values=floats(*shape)),
        Sparse(kept=kept, values=floats(int(kept.sum()))),
        Shared(codes=codes, codebook=np.sort(book) if (book >= 0).all() else book),
        FixedPoint(numbers=numbers.astype(np.int16), width=width, fraction_length=3),
    ]
    if shape:
        columns, rank = int(np.prod(shape[1:])), int(rng.integers(0, 4))
        left, right = floats(shape[0], rank), floats(rank, columns)
        made.append(LowRank(shape=shape, scheme="matrix", left=left, right=right))
    return made


def trained(correlation: float, seed: int = 0) -> Shared:
    """A pruned 3x3 convolution of shared weights; neighbours in a kernel are correlated."""
    rng = np.random.default_rng(seed)
    noise, common = rng.normal(size=(64, 32, 3, 3)), rng.normal(size=(64, 32, 1, 1))
    weight = (1 - correlation) ** 0.5 * noise + correlation**0.5 * common
    places = np.linspace(-4, 4, 62)
    book = np.concatenate([[0], places[np.abs(places) > 0.9]]).astype(np.float32)
    codes = np.abs(weight[..., None] - book[1:]).argmin(axis=-1) + 1
    return Shared(codes=np.where(np.abs(weight) < 0.9, 0, codes).astype(np.uint8), codebook=book)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_tensor_comes_back_bit_for_bit(shape: tuple[int, ...]) -> None:
    for seed in range(6):
        tensors = anything(shape, np.random.default_rng([seed, *shape]))
        assert same(network(decoded(tensors)), network(tensors))


def test_tensors_of_a_network_are_coded_together() -> None:
    rng = np.random.default_rng(1)
    tensors = [tensor for shape in SHAPES for tensor in anything(shape, rng)]
    assert same(network(decoded(tensors)), network(tensors))
    assert decoded([]) == []


def test_correlated_weights_need_fewer_bytes_than_the_bound_and_noise_hardly_more() -> None:
    related, noise = network([trained(0.7)]), network([trained(0.0)])
    sizes = [len(adaptive.encode(list(net.tensors.values()))) for net in (related, noise)]
    assert sizes[0] < 0.9 * bound(related)
    assert sizes[1] < 1.01 * bound(noise)


def test_zeros_at_the_end_of_mantissas_take_no_bits() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    short = (values.view(np.uint32) >> 11 << 11).view(np.float32)
    tensors = [
        Dense(values=short),
        Shared(codes=np.zeros((2, 2), np.uint8), codebook=np.zeros(1, "f4")),
    ]
    assert same(network(decoded(tensors)), network(tensors))
    saved = len(adaptive.encode([Dense(values=values)])) - len(adaptive.encode([tensors[0]]))
    assert abs(saved - 1000 * 11 / 8) < 10


def test_the_payload_is_equal_on_every_machine() -> None:
    payload = adaptive.encode([trained(0.5), *anything((4, 6, 3, 3), np.random.default_rng(0))])
    assert hashlib.sha256(payload).hexdigest()[:16] == "7f9a9a58f619fa67"


def test_a_damaged_payload_is_refused_or_has_the_declared_shapes() -> None:
    rng = np.random.default_rng(0)
    tensors = anything((4, 6, 3, 3), rng)
    payload, heads = adaptive.encode(tensors), [head(tensor) for tensor in tensors]
    refused = 0
    for _ in range(200):
        bad = bytearray(payload[: int(rng.integers(0, len(payload) + 1))])
        for place in rng.integers(0, max(len(bad), 1), 3 * bool(bad)):
            bad[place] = rng.integers(256)
        try:
            assert [head(tensor) for tensor in adaptive.decode(bytes(bad), heads)] == heads
        except ValueError:
            refused += 1
    assert refused > 100


def test_exact_arithmetic_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(-20, 20, 1001)
    assert np.abs(logistic(x) - 1 / (1 + np.exp(-x))).max() < 0.01
    assert (np.diff(logistic(x)) >= 0).all()
    roots = rng.normal(size=(4, 6, 9))
    matrices, sides = roots @ roots.transpose(0, 2, 1) + np.eye(6), rng.normal(size=(4, 6))
    expected = np.linalg.solve(matrices, sides[..., None])[..., 0]
    np.testing.assert_allclose(solve(matrices, sides), expected, rtol=1e-9)
    assert octaves(np.array([0.0, 1e300]), 4, 16).tolist() == [0, 15]


@pytest.mark.skipif(not RELEASED.exists(), reason="needs the released file")
def test_the_released_network_takes_515_132_bytes_or_541_165_with_huffman_codes() -> None:
    published = authors.read(RELEASED.read_bytes(), V1_0)
    model = read_released(RELEASED.read_bytes())
    for name, tensor in published.items():
        assert (model.tensors[name].dense() == tensor.dense()).all()
    content = container.encode(model)
    assert len(content) == 515_132
    assert len(container.encode(model, "huffman")) == 541_165
    assert same(container.decode(content), model)
