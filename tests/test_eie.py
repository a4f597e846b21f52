"""The simulator of EIE: equal to the dense network, and its counts are those of the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from dse.coding.tensors import Shared
from dse.compress.eie import Counts, interleaved, multiply, simulated
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.space.cost import cost
from dse.training.network import SqueezeNet


def shared(random: np.random.Generator, shape: tuple[int, ...], density: float) -> Shared:
    codebook = np.concatenate([[0], np.sort(random.normal(size=15))]).astype(np.float32)
    kept = random.random(shape) < density
    codes = np.where(kept, random.integers(1, 16, shape), 0).astype(np.uint8)
    return Shared(codes=codes, codebook=codebook)


@pytest.mark.parametrize("elements", [1, 3, 64])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_the_stored_form_holds_the_matrix(elements: int, density: float) -> None:
    random = np.random.default_rng(0)
    for shape in [(1, 1), (7, 5), (200, 9), (70, 3, 3, 3), (0, 4), (4, 0)]:
        tensor = shared(random, shape, density)
        stored = interleaved(tensor, elements)
        dense = tensor.dense().reshape(shape[0], math.prod(shape[1:]))
        assert np.array_equal(stored.matrix().toarray(), dense)
        assert all(e.zeros.max(initial=0) <= 15 for e in stored.elements)


def test_counts_of_a_matrix_written_by_hand() -> None:
    codes = np.zeros((40, 2), np.uint8)
    codes[0, 0] = codes[20, 0] = codes[39, 1] = 1
    stored = interleaved(Shared(codes=codes, codebook=np.float32([0, 2])), 1)
    assert stored.elements[0].zeros.tolist() == [0, 15, 3, 15, 15, 7]
    assert stored.fillers == 3
    counts = Counts()
    product = multiply(stored, np.float32([[1, 0, 3], [0, 0, 5]]), counts)
    assert product[[0, 20, 39]].tolist() == [[2, 0, 6], [2, 0, 6], [0, 0, 10]]
    assert counts == Counts(dense=240, weights=9, multiplications=5, touched=9, cycles=9)
    spread = Counts()
    multiply(
        interleaved(Shared(codes=codes, codebook=np.float32([0, 2])), 20),
        np.ones((2, 1), "f4"),
        spread,
    )
    assert (spread.touched, spread.cycles) == (3, 3)


def test_a_network_is_equal_to_the_dense_one() -> None:
    architecture = generate(
        Metaparameters(base_e=16, incr_e=16, bypass="complex"), LAYOUTS["px16"], num_classes=10
    )
    network = SqueezeNet(architecture).eval()
    random, weights = np.random.default_rng(1), {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            weights[f"{name}.weight"] = tensor = shared(random, tuple(module.weight.shape), 0.3)
            module.weight.data = torch.from_numpy(tensor.dense())
            module.bias.data.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = network(x).detach()
    with simulated(network, weights) as counts:
        measured = network(x)
    assert torch.allclose(measured, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(network(x), expected)
    total = {name: sum(getattr(c, name) for c in counts.values()) for name in Counts.__slots__}
    assert total["dense"] == 2 * cost(architecture, 16).macs
    assert 0.25 < total["weights"] / total["dense"] < 0.35
    assert total["multiplications"] < total["weights"]  # zero activations after ReLU
    assert total["touched"] >= total["multiplications"]


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.randn(2, 4, 9, 9)),
        (nn.Conv2d(4, 6, (3, 1), dilation=2), torch.randn(1, 4, 9, 7)),
        (nn.Linear(12, 5), torch.randn(3, 12)),
    ],
    ids=["grouped", "dilated", "linear"],
)
def test_layers_of_all_kinds(layer: nn.Conv2d | nn.Linear, x: torch.Tensor) -> None:
    network = nn.Sequential(layer)
    tensor = shared(np.random.default_rng(3), tuple(layer.weight.shape), 0.5)
    layer.weight.data = torch.from_numpy(tensor.dense())
    expected = network(x).detach()
    with simulated(network, {"0.weight": tensor}, elements=4):
        assert torch.allclose(network(x), expected, rtol=1e-4, atol=1e-4)


def test_mistakes_are_one_line() -> None:
    tensor = shared(np.random.default_rng(0), (4, 4), 0.5)
    with pytest.raises(ValueError, match="`elements` must be at least 1, got 0"):
        interleaved(tensor, 0)
    with (
        pytest.raises(ValueError, match=r"got fc\.weight"),
        simulated(nn.Sequential(), {"fc.weight": tensor}),
    ):
        pass
