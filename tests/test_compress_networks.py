"""Networks described and folded: equal to the trained ones over the whole space."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import random_points
from test_fit import TRIAL
from torch import nn

from dse.coding.tensors import CompressedModel, Dense
from dse.compress.descriptions import build, check_described, describe
from dse.compress.fit import METHODS, fit
from dse.compress.networks import compressed, dropouts, fold, layers, module
from dse.compress.retrain import Retraining
from dse.data.memory import load
from dse.space.alexnet import AlexNet, small_alexnet
from dse.space.architecture import LAYOUTS, V1_1, Layout, Metaparameters, generate
from dse.training.network import SqueezeNet
from dse.training.networks import network_of
from dse.trial.compression import Settings
from dse.trial.densities import by_layer, joined, layer_names

NARROW = Metaparameters(base_e=8, incr_e=8, pct3x3=0.3, sr=0.25)


def small() -> nn.Module:
    layout = replace(LAYOUTS["px8"], norm="batch")
    return SqueezeNet(generate(NARROW, layout, num_classes=5))


def trained(network: nn.Module) -> nn.Module:
    """A network whose norms have statistics, scales and shifts of their own."""
    network.eval()
    torch.manual_seed(0)
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
    network = trained(SqueezeNet(architecture))
    folded = fold(network)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected, got = network.double()(images.double()), folded(images)
    torch.testing.assert_close(
        got.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max())
    )
    assert folded.architecture == replace(architecture, layout=replace(own, norm="none"))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    names = layer_names(architecture)
    assert names == tuple(layers(network))
    backwards = joined(dict.fromkeys(reversed(names), 0.5))
    assert by_layer().read(backwards) == joined(dict.fromkeys(names, 0.5))  # the network's order


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
        check_described(network)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("image_size", [8, 12, 28, 32])
def test_alexnet_is_described_and_folded(image_size: int, norm: str) -> None:
    architecture = small_alexnet(norm=norm, dropout=0.3, num_classes=4, in_channels=1)
    architecture = replace(architecture, linear=(32, 16))
    network = trained(network_of(architecture, image_size))
    folded = fold(network)
    images = torch.randn(2, 1, image_size, image_size)
    with torch.no_grad():
        expected, got = network.double()(images.double()), folded(images)
    torch.testing.assert_close(
        got.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max())
    )
    assert folded.architecture == replace(architecture, norm="none")


def test_a_folded_network_drops_as_much_as_the_one_with_norm() -> None:
    """Also after pruning, which shrinks dropout; its rate is the layout's at first."""
    network = network_of(small_alexnet(norm="batch", dropout=0.3, num_classes=4, in_channels=1), 32)
    for dropout in dropouts(network):
        dropout.p = 0.1
    assert [dropout.p for dropout in dropouts(fold(network))] == [0.1]


def test_the_published_alexnet_is_described_in_a_line() -> None:
    with torch.device("meta"):
        network = network_of(AlexNet(), 224)
    description = json.loads(json.dumps(describe(network)))
    again = build(description)
    assert again.architecture == AlexNet()
    assert again.fc6.weight.shape == network.fc6.weight.shape
    check_described(network)
    assert len(json.dumps(description)) < 50


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 2},
        {"image_size": "large"},
        {"convolutions": []},
        {"convolutions": [[8, 3, 1, 1, 1, 0]] * 4},
        {"convolutions": [[0, 3, 1, 1, 1, 0]] * 5},
        {"convolutions": [[8, 3, 1, -1, 1, 0]] * 5},
        {"convolutions": [[8, 3, 1, 1, 3, 0]] * 5},
        {"convolutions": 7},
        {"linear": [1, 2, 3]},
        {"linear": [-1, 2]},
        {"norm": "batch"},
    ],
    ids=str,
)
def test_a_description_of_no_alexnet_is_refused(change: dict[str, object]) -> None:
    architecture = small_alexnet(norm="none", dropout=0.3, num_classes=4, in_channels=1)
    with torch.device("meta"):
        description = describe(network_of(architecture, 32))
    build(description)
    with pytest.raises(ValueError, match="`architecture` must describe a network"):
        build(description | change)


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
    network = fold(trained(small()))
    model = compressed(network, {})
    again = module(model)
    images = torch.randn(3, 3, 12, 12)
    assert not again.training
    assert torch.equal(again(images), network(images))
    assert model.tensors.keys() == network.state_dict().keys()


def test_tensors_of_another_network_are_refused() -> None:
    network = fold(trained(small()))
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


@pytest.mark.parametrize("method", METHODS)
def test_alexnet_takes_every_method(method: str) -> None:
    trial = replace(TRIAL, network="alexnet", metaparameters=Metaparameters(), layout=Layout())
    training = Retraining(data=load(trial.protocol), recipe=trial.protocol.recipe, seed=0)
    network = network_of(replace(trial.architecture, linear=(32, 16)), 8).eval()
    model = fit(network, training, Settings(method=method, retrain_epochs=0))
    images = torch.randn(2, 1, 8, 8)
    assert module(model)(images).shape == (2, 10)
    assert layer_names(trial.architecture) == tuple(layers(network))
    if method == "none":
        torch.testing.assert_close(module(model)(images), network(images).detach())


@pytest.mark.parametrize("method", ["none", "svd", "prune", "deep_compression"])
def test_a_layer_whose_weights_are_all_0_takes_every_method(method: str) -> None:
    network = trained(small())
    with torch.no_grad():
        network.get_parameter("fire3.squeeze.weight").zero_()
    model = fit(network, None, Settings(method=method, retrain_epochs=0))
    assert not model.tensors["fire3.squeeze.weight"].dense().any()
    assert model.tensors["fire4.squeeze.weight"].dense().any()
