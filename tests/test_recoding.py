"""Codes moved to cheaper ones: rounding with feedback, and the information that it needs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from recoding.feedback import Choose, round_filters
from recoding.fisher import Fisher, divergence, measure
from recoding.recode import optimal_step, recoded
from released import moved, plain_bits
from torch import Tensor, nn

from dse.coding.container import encode
from dse.coding.tensors import CompressedModel, Dense, Shared
from dse.compress.networks import compressed, floats, module
from dse.compress.shared import share
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.training.network import SqueezeNet


def cheapest(aim: Tensor, weight: Tensor, *, price: float) -> Tensor:
    """The whole number whose squared error times `weight`, and `price` times its magnitude, cost
    least."""
    numbers = torch.arange(-40.0, 41)
    costs = weight[:, None] * (numbers - aim[:, None]) ** 2 + price * numbers.abs()
    return numbers[costs.argmin(1)]


def test_plain_codes_are_counted_with_all_that_decodes_them() -> None:
    """Gaps of 15 and 16 zeros take no filler and one; a dense tensor also codes its zeros."""
    codebook = np.arange(3, dtype=np.float32)
    sparse = np.zeros(33, np.uint8)
    sparse[[15, 32]] = 1, 2
    dense = np.ones(33, np.uint8)
    dense[4] = 0
    found = [plain_bits(Shared(codes=codes, codebook=codebook)) for codes in (sparse, dense)]
    assert found == [2 * 32 + 3 * 10, 2 * 32 + 33 * 6]


FREE = partial(cheapest, price=0.0)


def alike(values: Tensor, kept: Tensor, curvature: Tensor, choose: Choose) -> Tensor:
    """Filters that matter alike, rounded."""
    return round_filters(values, kept, curvature, choose, torch.ones(len(values)))


@pytest.fixture
def values() -> Tensor:
    return 4 * torch.randn(100, 24, generator=torch.Generator().manual_seed(0))


def together(n: int) -> Tensor:
    """A curvature of weights whose inputs rise and fall together."""
    inputs = torch.randn(200, n, generator=torch.Generator().manual_seed(1)) + 2
    return inputs.T @ inputs / 200


def cost(errors: Tensor, curvature: Tensor) -> float:
    return float(((errors @ curvature) * errors).sum())


def test_feedback_lowers_the_cost_of_rounding_to_a_third(values: Tensor) -> None:
    curvature, kept = together(24), torch.ones(100, 24, dtype=torch.bool)
    codes = alike(values, kept, curvature, FREE)
    assert (codes == codes.round()).all()
    plain = cost(values - values.round(), curvature)
    assert cost(values - codes, curvature) < plain / 3
    alone = alike(values, kept, torch.eye(24), FREE)
    torch.testing.assert_close(alone, values.round())


def test_pruned_weights_stay_0_and_filters_are_independent(values: Tensor) -> None:
    kept = torch.rand(100, 24, generator=torch.Generator().manual_seed(2)) < 0.4
    kept[3] = False
    codes = alike(values * kept, kept, together(24), FREE)
    assert not codes[~kept].any()
    own = alike(values[5:6] * kept[5:6], kept[5:6], together(24), FREE)
    torch.testing.assert_close(codes[5:6], own)


def test_what_matters_less_gets_fewer_bits(values: Tensor) -> None:
    kept, curvature = torch.ones(100, 24, dtype=torch.bool), torch.eye(24)
    curvature.diagonal()[12:] = 100
    choose = partial(cheapest, price=0.3)
    codes = alike(values, kept, curvature, choose)
    lost = values.round().abs().mean(0) - codes.abs().mean(0)
    assert lost[:12].mean() > 0.1
    assert abs(float(lost[12:].mean())) < 0.01


def test_the_information_predicts_the_divergence() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    images = torch.randn(2000, 2, 3, 3)
    found = measure(network, images.split(1))
    for name, total in found.inputs.items():
        torch.testing.assert_close(found.diagonal[name].flatten(1).sum(0), total.diagonal())
    with torch.no_grad():
        before = network(images)
        network[3].bias[2] += 0.05
        shifted = float(divergence(before, network(images)).mean())
    assert shifted == pytest.approx(float(found.diagonal["3.bias"][2]) * 0.05**2 / 2, rel=0.1)


def shared_weights() -> Shared:
    rng = np.random.default_rng(0)
    codebook = np.append(0, np.sort(rng.normal(size=200))).astype(np.float32)
    codes = np.where(rng.random((60, 40)) < 0.5, rng.integers(1, 201, (60, 40)), 0)
    return Shared(codes=codes.astype(np.uint8), codebook=codebook)


def test_codes_that_matter_little_are_moved_to_cheaper_ones() -> None:
    weight, bias = shared_weights(), Dense(values=np.linspace(-1, 1, 60, dtype=np.float32))
    model = CompressedModel(architecture={}, tensors={"a.weight": weight, "a.bias": bias})
    own = {"a.weight": torch.ones(60, 40), "a.bias": torch.ones(60)}
    fisher = Fisher(diagonal=own, inputs={"a.weight": 60 * torch.eye(40)})
    sizes, errors = [], []
    for price in (1e-9, 1e-4, 1e-2):
        found = recoded(model, fisher, price)
        sizes.append(len(encode(found, "adaptive")))
        error = found.tensors["a.weight"].dense() - weight.dense()
        errors.append(float(np.abs(error).max()))
        assert not found.tensors["a.weight"].dense()[weight.codes == 0].any()
        wrong = np.abs(found.tensors["a.bias"].dense() - bias.values).max()
        assert 0 < wrong <= 2.0 ** (optimal_step(1, price) - 1)
    assert errors[0] <= 1e-3 * np.abs(weight.codebook).max()
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert sizes[2] < 0.9 * sizes[0]


def test_filters_that_matter_little_change_more_but_not_those_of_classes() -> None:
    weight = shared_weights()
    own = torch.ones(60, 40)
    own[30:] = 0.01
    for name, least, most in (("a.weight", 1.5, 10), ("conv10.weight", 0.8, 1.2)):
        model = CompressedModel(architecture={}, tensors={name: weight})
        fisher = Fisher(diagonal={name: own}, inputs={name: 60 * torch.eye(40)})
        error = np.abs(recoded(model, fisher, 1e-3).tensors[name].dense() - weight.dense())
        assert least < error[30:].mean() / error[:30].mean() < most


def test_a_network_is_smaller_and_less_alike_at_a_higher_price() -> None:
    torch.manual_seed(0)
    architecture = generate(
        Metaparameters(base_e=8, incr_e=0, sr=0.5),
        replace(LAYOUTS["px8"], head_relu=False),
        num_classes=10,
    )
    images = torch.randn(96, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    network = SqueezeNet(architecture).eval()
    own = {}
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.mul_(3.5 * (torch.rand_like(p) < 0.5) if name.endswith("weight") else 0)
        network.conv10.weight.mul_(2 / network(images).std(0).mean())
        for name, p in network.named_parameters():
            if name.endswith("weight"):
                codes, codebook = share(floats(p), floats(p) != 0, 255)
                own[name] = Shared(codes=codes.astype(np.uint8), codebook=codebook)
    model = compressed(network, own)
    released = module(model)
    fisher = measure(released, images.split(1))
    sizes, lost = [], []
    for price in (1e-8, 1e-6, 1e-4):
        found = recoded(model, fisher, price)
        sizes.append(len(encode(found, "adaptive")))
        with torch.no_grad():
            lost.append(float(divergence(released(images), module(found)(images)).mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert lost == sorted(lost)
    assert sizes[-1] < 0.3 * len(encode(model, "adaptive"))
    assert 0 < lost[0] < 1e-4
    assert lost[-1] > 1e-3


def test_divergence_and_moved_images() -> None:
    one = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    other = torch.log(torch.tensor([[0.25, 0.5, 0.25]]))
    assert float(divergence(one, one + 3)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(one, other)) == pytest.approx(0.25 * math.log(2), rel=1e-5)
    plain = torch.randn(8, 1, 9, 9)
    copies = moved(plain, 0, torch.Generator().manual_seed(0))
    mirrored = [
        torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(plain, copies, strict=True)
    ]
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, copies, strict=True)]
    assert any(same)
    assert any(mirrored)
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
