"""Compression by a network's own outputs: rescaling, prices, and fine-tuning without labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from distillation.distill import Fit, Student, distil, divergence, moved
from distillation.fisher import Fisher, measure
from distillation.rescale import optimise
from torch import Tensor

from dse.coding.bound import bound
from dse.coding.tensors import FixedPoint
from dse.compress.networks import module
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.training.network import SqueezeNet

SMALL = Metaparameters(base_e=16, incr_e=0, sr=0.5)
LAYOUT = replace(LAYOUTS["px8"], head_relu=False)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Random blocks of colour: what a network says about them differs."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(96, 3, 4, 4, generator=generator)
        .repeat_interleave(4, 2)
        .repeat_interleave(4, 3)
    )


@pytest.fixture(scope="module")
def network(pictures: Tensor) -> SqueezeNet:
    """A small network of random weights, half of them kept, whose outputs differ by picture."""
    torch.manual_seed(0)
    own = SqueezeNet(generate(SMALL, LAYOUT, num_classes=10)).eval()
    with torch.no_grad():
        for name, p in own.named_parameters():
            p.mul_(3.5 * (torch.rand_like(p) < 0.5) if name.endswith("weight") else 0)
        own.conv10.weight.mul_(2 / own(pictures).std(0).mean())
    return own


@pytest.fixture(scope="module")
def fisher(network: SqueezeNet, pictures: Tensor) -> Fisher:
    return measure(network, pictures[:32].split(1))


def student(network: SqueezeNet, fisher: Fisher, **values: object) -> Student:
    return Student(network, fisher, Fit(**values))  # type: ignore[arg-type]


def examples(network: SqueezeNet, pictures: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    target = network(pictures).detach()
    return lambda drawn: (pictures[drawn], target[drawn])


def kl(network: SqueezeNet, own: Callable[[Tensor], Tensor], pictures: Tensor) -> float:
    with torch.no_grad():
        return float(divergence(network(pictures), own(pictures)).mean())


def test_scales_do_not_change_what_the_network_computes(
    network: SqueezeNet, fisher: Fisher, pictures: Tensor
) -> None:
    fine = student(network, fisher, price=1e-12)
    scales = [f for name, f in fine.factors.items() if name == "fire3.squeeze.weight"]
    assert float(scales[0].log().std()) > 0.01  # channels do have scales of their own
    whole = module(fine.compressed())
    torch.testing.assert_close(whole(pictures), network(pictures), rtol=0.01, atol=0.05)


def test_steps_follow_the_price_and_how_much_a_layer_matters(
    network: SqueezeNet, fisher: Fisher
) -> None:
    weights = {
        n.removesuffix(".weight"): p.detach().numpy()
        for n, p in network.named_parameters()
        if "weight" in n
    }
    known = {name: fisher.diagonal[f"{name}.weight"].numpy() for name in weights}
    steps = [optimise(weights, known, network.architecture, p).log2_steps for p in (1e-5, 1.6e-4)]
    assert np.mean([steps[1][n] - steps[0][n] for n in weights]) == pytest.approx(2, abs=0.4)
    known["conv10"] = known["conv10"] * 256
    finer = optimise(weights, known, network.architecture, 1e-5).log2_steps
    assert finer["conv10"] < steps[0]["conv10"]


def test_a_higher_price_gives_a_smaller_network_of_larger_divergence(
    network: SqueezeNet, fisher: Fisher, pictures: Tensor
) -> None:
    students = [student(network, fisher, price=price) for price in (1e-6, 1e-5, 1e-4)]
    sizes = [bound(own.compressed()) for own in students]
    losses = [kl(network, own, pictures) for own in students]
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)


def test_fine_tuning_lowers_the_divergence_on_other_pictures(
    network: SqueezeNet, fisher: Fisher, pictures: Tensor
) -> None:
    own = student(network, fisher, price=3e-4, updates=40, batch=16, lr=0.02)
    before, size = kl(network, own, pictures[32:]), bound(own.compressed())
    distil(own, examples(network, pictures), 32)
    after = kl(network, own, pictures[32:])
    assert after < 0.8 * before
    assert bound(own.compressed()) < 1.05 * size


def test_the_file_is_the_network_that_was_tuned(
    network: SqueezeNet, fisher: Fisher, pictures: Tensor
) -> None:
    own = student(network, fisher, price=1e-4, updates=5)
    distil(own, examples(network, pictures), 32)
    model = own.compressed()
    assert all(isinstance(tensor, FixedPoint) for tensor in model.tensors.values())
    torch.testing.assert_close(module(model)(pictures), own(pictures).detach())
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):  # what was pruned stays pruned
            assert not model.tensors[name].dense()[parameter.detach().numpy() == 0].any()


def test_divergence_and_moved_pictures() -> None:
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


def test_networks_whose_channels_share_scales_are_refused(fisher: Fisher) -> None:
    bypass = SqueezeNet(generate(replace(SMALL, bypass="simple"), LAYOUT, num_classes=10))
    with pytest.raises(ValueError, match="no bypass connections"):
        Student(bypass, fisher, Fit(price=1e-6))
