"""Networks described and folded: equal to the trained ones over the whole space."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import random_points
from torch import nn

from dse.compress.networks import build, compressed, dense_state, describe, fold, module
from dse.compress.tensors import CompressedModel, Dense
from dse.space.architecture import LAYOUTS, V1_1, Architecture, Metaparameters, generate
from dse.training.network import SqueezeNet

NARROW = Metaparameters(base_e=8, incr_e=8, pct3x3=0.3, sr=0.25)
WITH_NORM = partial(replace, norm="batch")


def trained(architecture: Architecture, seed: int = 0) -> SqueezeNet:
    """A network whose norms have statistics, scales and shifts of their own."""
    network = SqueezeNet(architecture).eval()
    torch.manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.2, 2.0)
    return network


@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folded_network_has_the_outputs_of_the_one_with_norm(layout: str, bypass: str) -> None:
    own = replace(LAYOUTS[layout], norm="batch", head_relu=False)
    point = NARROW if own.expand_filters == "none" else Metaparameters()
    architecture = generate(replace(point, bypass=bypass), own, num_classes=7)
    network = trained(architecture)
    folded = fold(network)
    pictures = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected, got = network.double()(pictures.double()), folded(pictures)
    torch.testing.assert_close(
        got.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max())
    )
    assert folded.architecture == replace(architecture, layout=replace(own, norm="none"))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


def test_descriptions_give_back_every_architecture_of_the_space() -> None:
    for point in random_points(30, seed=5):
        layout = replace(point.layout, norm="none")
        architecture = generate(
            point.metaparameters,
            layout,
            num_classes=point.num_classes,
            in_channels=point.in_channels,
        )
        with torch.device("meta"):
            network = SqueezeNet(architecture)
        description = json.loads(json.dumps(describe(network)))
        assert build(description).architecture == architecture


def test_a_description_has_only_what_differs_from_v1_0() -> None:
    with torch.device("meta"):
        text = json.dumps(describe(SqueezeNet(generate(Metaparameters(), V1_1))))
    assert "pool_after" in text
    assert "conv1_stride" not in text
    assert len(text) < 350


@pytest.mark.parametrize(
    "change",
    [
        {"network": "lenet"},
        {"s1x1": [1, 2]},
        {"s1x1": 3},
        {"e1x1": [0] * 8},
        {"e3x3": [10**9] * 8},
        {"classes": "ten"},
        {"classes": 0},
        {"norm": "batch"},
        {"unknown": 1},
        {"conv1_filters": -1},
        {"bypass": ["none"]},
        {"e1x1": [1.5] * 8},
        {"dropout": float("nan")},
    ],
    ids=str,
)
def test_a_description_of_no_network_is_refused(change: dict[str, object]) -> None:
    with torch.device("meta"):
        description = describe(SqueezeNet(generate(NARROW, V1_1)))
    build(description)
    with pytest.raises(ValueError, match="`architecture` must describe a network"):
        build(description | change)


def test_values_of_a_network_are_a_network_again() -> None:
    network = fold(trained(generate(NARROW, WITH_NORM(LAYOUTS["px8"]), num_classes=5)))
    model = compressed(network, {})
    again = module(model)
    pictures = torch.randn(3, 3, 12, 12)
    assert not again.training
    assert torch.equal(again(pictures), network(pictures))
    assert dense_state(model).keys() == network.state_dict().keys()


def test_tensors_of_another_network_are_refused() -> None:
    network = fold(trained(generate(NARROW, LAYOUTS["px8"], num_classes=5)))
    model = compressed(network, {})
    names = list(model.tensors)
    random.Random(0).shuffle(names)
    for name in names[:3]:
        rest = {n: t for n, t in model.tensors.items() if n != name}
        wrong = Dense(values=np.zeros((1, 2, 3), np.float32))
        for tensors in (rest, {**rest, name: wrong}, {**model.tensors, "other.weight": wrong}):
            with pytest.raises(ValueError, match="`tensors` must have"):
                module(CompressedModel(architecture=model.architecture, tensors=tensors))


def test_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="got Linear"):
        fold(nn.Linear(2, 2))
