"""Fitting a network to fewer bytes: what each method promises of its values."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dse.coding.container import CODERS, decode, encode
from dse.coding.tensors import CompressedModel, Dense, FixedPoint, LowRank, Shared, Sparse, same
from dse.compress.fit import METHODS, fit
from dse.compress.networks import first_convolution, fold, layers, module
from dse.compress.prune import densities
from dse.compress.retrain import Retraining, val_top1
from dse.compress.sensitivity import sensitivity
from dse.compress.svd import size
from dse.compress.weights import WITH_DATA
from dse.data.memory import load
from dse.data.resident import on_device
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.training.execute import execute
from dse.training.network import SqueezeNet
from dse.trial.compression import Settings
from dse.trial.densities import joined
from dse.trial.protocol import Protocol
from dse.trial.question import Trial
from dse.trial.recipe import Recipe

SHORT = {"retrain_epochs": 2, "retrain_lr": 0.5}
TRIAL = Trial(
    metaparameters=Metaparameters(base_e=8, incr_e=8, sr=0.5),
    layout=replace(LAYOUTS["px8"], norm="batch", head_relu=False, dropout=0.2),
    protocol=Protocol(image_size=8, recipe=Recipe(epochs=20, batch_size=96)),
)


@pytest.fixture(scope="module")
def network() -> SqueezeNet:
    """A small network that has learned the digits."""
    model = SqueezeNet(TRIAL.architecture)
    model.load_state_dict(execute(TRIAL).weights, strict=False)
    return model.eval()


@pytest.fixture(scope="module")
def training() -> Retraining:
    return Retraining(data=load(TRIAL.protocol), recipe=TRIAL.protocol.recipe, seed=TRIAL.seed)


def weights(model: CompressedModel) -> dict[str, object]:
    return {n: t for n, t in model.tensors.items() if n.endswith("weight")}


# Every method -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(network: SqueezeNet, training: Retraining) -> dict[str, CompressedModel]:
    """The network compressed by each method."""
    return {method: fit(network, training, settings(method)) for method in METHODS}


def settings(method: str) -> Settings:
    return Settings(method=method, bits=5, density=0.25, energy=0.8, **SHORT)


@pytest.mark.parametrize("method", METHODS)
def test_equal_requests_give_equal_networks(
    method: str,
    network: SqueezeNet,
    training: Retraining,
    fitted: dict[str, CompressedModel],
) -> None:
    seen: list[int] = []
    heard = replace(training, on_epoch=lambda epoch, val: seen.append(epoch))
    before = {n: t.clone() for n, t in network.state_dict().items()}
    torch.manual_seed(99)
    assert same(fitted[method], fit(network, heard, settings(method)))
    assert seen == [1, 2]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} of the trained network has changed"
    assert list(fitted[method].tensors) == list(fold(network).state_dict())


def test_another_seed_gives_another_network(
    network: SqueezeNet, training: Retraining, fitted: dict[str, CompressedModel]
) -> None:
    assert not same(fitted["none"], fit(network, replace(training, seed=1), settings("none")))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_survives_its_file(method: str, fitted: dict[str, CompressedModel]) -> None:
    for coder in CODERS:
        assert same(decode(encode(fitted[method], coder)), fitted[method])


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_epochs_of_retraining_are_as_many_as_asked_for(
    epochs: int, network: SqueezeNet, training: Retraining
) -> None:
    seen: list[int] = []
    heard = replace(training, on_epoch=lambda epoch, val: seen.append(epoch))
    fit(network, heard, Settings(rounds=2, retrain_epochs=epochs))
    assert seen == list(range(1, epochs + 1))


@pytest.mark.parametrize("method", ["svd", "prune", "deep_compression"])
def test_retraining_recovers_accuracy(
    method: str, network: SqueezeNet, training: Retraining
) -> None:
    own = Settings(method=method, density=0.3, energy=0.7, retrain_lr=1.0)
    lost, kept = (
        val_top1(module(fit(network, training, replace(own, retrain_epochs=n))), training)
        for n in (0, 4)
    )
    assert kept > lost + 10


def test_no_method_retrains_without_data(network: SqueezeNet) -> None:
    for method in METHODS:
        with pytest.raises(ValueError, match="`retrain_epochs` must be 0 without data"):
            fit(network, None, Settings(method=method, retrain_epochs=1))


def test_a_network_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got Linear"):
        fit(nn.Linear(2, 2), None, Settings(retrain_epochs=0))


def test_a_network_that_a_file_cannot_describe_is_not_trained(
    network: SqueezeNet, training: Retraining
) -> None:
    """A field of a Fire module, or of a layer, that `describe` does not know."""
    unheard = replace(training, on_epoch=lambda epoch, val: pytest.fail("it was trained"))
    wired, dilated = copy.deepcopy(network), copy.deepcopy(network)
    first, *others = network.architecture.fires
    fires = (replace(first, squeeze_stride=2), *others)
    wired.architecture = replace(network.architecture, fires=fires)
    dilated.fire3.expand3x3.dilation = (2, 2)
    for one, lost in ((wired, "fires"), (dilated, "fire3.expand3x3")):
        with pytest.raises(ValueError, match=f"must be what its description builds.* {lost}$"):
            fit(one, unheard, Settings(retrain_epochs=1))


def test_weights_that_are_not_finite_are_refused(network: SqueezeNet) -> None:
    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken.conv10.weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="`model` must have finite weights"):
        fit(broken, None, Settings(retrain_epochs=0))


def test_a_retraining_that_diverges_is_a_clear_error(
    network: SqueezeNet, training: Retraining
) -> None:
    wild = replace(training, recipe=replace(training.recipe, lr=1e5, clip=0.0))
    with pytest.raises(ValueError, match="`retrain_lr` must be smaller"):
        fit(network, wild, Settings(method="none", retrain_epochs=2, retrain_lr=10))


def test_what_a_callback_raises_ends_the_fitting(network: SqueezeNet, training: Retraining) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(network, replace(training, on_batch=stop), Settings(**SHORT))


def test_none_is_the_folded_network(network: SqueezeNet) -> None:
    model = fit(network, None, Settings(method="none", retrain_epochs=0))
    images = torch.randn(4, 1, 8, 8)
    assert all(isinstance(tensor, Dense) for tensor in model.tensors.values())
    assert torch.equal(module(model)(images), fold(network)(images))


# Pruning ----------------------------------------------------------------------------------------


def test_pruned_weights_are_zero_after_retraining(
    network: SqueezeNet, training: Retraining
) -> None:
    model = fit(network, training, Settings(method="prune", density=0.25, **SHORT))
    dense = module(model).state_dict()
    kept: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for name, tensor in weights(model).items():
        assert isinstance(tensor, Sparse)
        kept[name], sizes[name] = tensor.kept.sum(), tensor.kept.size
        assert np.count_nonzero(dense[name].numpy()) <= kept[name] == len(tensor.values)
    first = f"{first_convolution(network)}.weight"
    assert kept.pop(first) == sizes.pop(first)
    assert sum(kept.values()) == pytest.approx(0.25 * sum(sizes.values()), abs=len(sizes))
    assert min(kept.values()) >= 1
    assert kept["fire2.squeeze.weight"] / sizes["fire2.squeeze.weight"] > 0.25  # narrow


def test_pruning_keeps_the_largest_folded_weights(network: SqueezeNet) -> None:
    model = fit(network, None, Settings(method="prune", density=0.5, retrain_epochs=0))
    folded = layers(fold(network))
    for name, tensor in weights(model).items():
        assert isinstance(tensor, Sparse)
        weight = folded[name.removesuffix(".weight")].weight.detach().numpy()
        assert np.array_equal(tensor.values, weight[tensor.kept])
        if not tensor.kept.all():
            assert np.abs(weight[~tensor.kept]).max() <= np.abs(tensor.values).min()


@pytest.mark.parametrize("method", ["prune", "deep_compression"])
def test_layers_have_their_own_densities_and_the_others_share_one(
    method: str, network: SqueezeNet
) -> None:
    own = {"conv1": 0.5, "fire9.expand3x3": 0.125, "conv10": 0.2}
    every = dict.fromkeys(layers(network), 0.25)

    def kept(**values: str) -> dict[str, tuple[int, int]]:
        one = Settings(method=method, density=0.4, retrain_epochs=0, **values)
        model = fit(network, None, one).tensors
        sizes = {name: layer.weight.numel() for name, layer in layers(network).items()}
        found = {n: np.count_nonzero(model[f"{n}.weight"].dense()) for n in sizes}
        return {name: (count, sizes[name]) for name, count in found.items()}

    for densities_of in (own, every):
        counts = kept(densities=joined(densities_of))
        for name, density in densities_of.items():
            count, size_of = counts.pop(name)
            assert count == max(round(density * size_of), 1)
        rest, whole = map(sum, zip(*counts.values(), strict=True)) if counts else (0, 0)
        assert rest == pytest.approx(0.4 * whole, abs=1)
    with pytest.raises(ValueError, match=r"`densities` must name layers .*, got fc6$"):
        kept(densities="fc6:0.5")


def test_quality_prunes_by_standard_deviations(network: SqueezeNet) -> None:
    for name, density in densities(network, Settings(quality=1.2, densities="conv10:0.1")).items():
        weight = layers(fold(network))[name].weight.detach().numpy()
        expected = np.mean(np.abs(weight) >= 1.2 * weight.std())
        assert density == (1.0 if name == first_convolution(network) else expected)


def test_rounds_prune_a_part_each_and_end_at_one_density(
    network: SqueezeNet, training: Retraining
) -> None:
    once, twice = (
        fit(network, training, Settings(method="prune", density=0.1, rounds=n, **SHORT))
        for n in (1, 2)
    )
    assert not same(once, twice)
    for name, tensor in weights(once).items():
        other = twice.tensors[name]
        assert isinstance(tensor, Sparse)
        assert isinstance(other, Sparse)
        assert tensor.kept.sum() == other.kept.sum()


def test_the_sensitivity_of_a_layer_falls_with_its_density(
    network: SqueezeNet, training: Retraining
) -> None:
    table = sensitivity(network, training, densities=(1.0, 0.5, 0.02))
    assert list(table.columns) == ["layer", "density", "val_top1"]
    assert len(table) == 3 * len(layers(network))
    whole = table[table.density == 1.0].val_top1
    assert whole.nunique() == 1
    assert whole.iloc[0] == pytest.approx(val_top1(network, training))
    assert table[table.density == 0.02].val_top1.mean() < whole.iloc[0] - 3


# Shared weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 8])
def test_a_layer_has_at_most_two_to_the_bits_values(
    bits: int, network: SqueezeNet, training: Retraining
) -> None:
    model = fit(network, training, Settings(bits=bits, density=0.4, **SHORT))
    dense = module(model).state_dict()
    for name, tensor in weights(model).items():
        assert isinstance(tensor, Shared)
        assert len(np.unique(dense[name].numpy())) <= 2**bits
        assert len(tensor.codebook) <= 2**bits
        assert tensor.codebook[0] == 0
        assert np.all(np.diff(tensor.codebook[1:]) > 0)
        assert set(np.unique(tensor.codes)) | {0} == set(range(len(tensor.codebook)))


@pytest.mark.parametrize("bias_bits", [0, 8])
def test_biases_are_stored_as_asked_for(
    bias_bits: int, network: SqueezeNet, training: Retraining
) -> None:
    model = fit(network, training, Settings(bits=8, bias_bits=bias_bits, **SHORT))
    for name, tensor in model.tensors.items():
        if name.endswith("bias"):
            assert isinstance(tensor, FixedPoint if bias_bits else Dense)
            assert isinstance(tensor, Dense) or tensor.width == bias_bits


def test_shared_values_are_short(fitted: dict[str, CompressedModel]) -> None:
    for tensor in weights(fitted["deep_compression"]).values():
        assert isinstance(tensor, Shared)
        low = tensor.codebook.view(np.uint32) % 2 ** (23 - 5 - 2)  # of 23 bits of mantissa
        assert not low.any()


def test_norms_have_the_statistics_of_the_last_weights(
    network: SqueezeNet, training: Retraining
) -> None:
    slow = copy.deepcopy(network)
    for norm in slow.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.fill_(50.0)
    own = Settings(method="none", retrain_epochs=1, retrain_lr=1e-6)
    again = module(fit(slow, training, own))
    assert val_top1(again, training) > val_top1(network, training) - 5


# Low rank ---------------------------------------------------------------------------------------


def test_factors_are_smaller_or_the_weight_stays(fitted: dict[str, CompressedModel]) -> None:
    model = fitted["svd"]
    kinds = {type(tensor) for tensor in weights(model).values()}
    assert kinds == {Dense, LowRank}
    for tensor in weights(model).values():
        if isinstance(tensor, LowRank):
            assert size(tensor) < np.prod(tensor.shape)


def test_factors_with_norms_folded_have_the_networks_outputs(network: SqueezeNet) -> None:
    model = fit(network, None, Settings(method="svd", energy=1.0, retrain_epochs=0))
    images = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(
        module(model)(images), network(images).detach(), rtol=1e-3, atol=1e-3
    )
    halves = fit(network, None, Settings(method="svd", factors=0.5, retrain_epochs=0))
    assert any(isinstance(t, LowRank) and t.scheme == "spatial" for t in halves.tensors.values())


# Fixed point ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 5])
def test_a_network_in_fixed_point_has_the_accuracy_that_was_fitted(
    bits: int, network: SqueezeNet, training: Retraining
) -> None:
    seen: list[float] = []
    heard = replace(training, on_epoch=lambda epoch, val: seen.append(val))
    model = fit(network, heard, Settings(method="ristretto", bits=bits, **SHORT))
    assert {type(tensor) for tensor in model.tensors.values()} == {FixedPoint}
    assert list(model.activations) == ["input", *layers(network)]
    widths = {tensor.width for tensor in weights(model).values()}
    assert len(widths) == 1
    assert widths <= {bits, 4, 2, 1}
    assert seen[-1] == val_top1(module(model), training)  # activations are rounded in both


def test_outputs_of_layers_have_their_formats(network: SqueezeNet, training: Retraining) -> None:
    own = Settings(method="ristretto", retrain_epochs=0, margin=100)
    model = fit(network, training, own)
    assert {width for width, _ in model.activations.values()} == {1}  # any loss is allowed
    decoded, seen = module(model), {}
    for name, layer in layers(decoded).items():
        layer.register_forward_hook(lambda _, x, y, name=name: seen.update({name: y}))
    with torch.no_grad():
        decoded(torch.randn(2, 1, 8, 8))
    for name, y in seen.items():
        step = 2.0 ** -model.activations[name][1]
        assert set(y.unique().tolist()) <= {0.0, -step}


def test_fixed_point_needs_data(network: SqueezeNet) -> None:
    for method in {*METHODS} - {*WITH_DATA}:
        fit(network, None, Settings(method=method, retrain_epochs=0))
    assert "ristretto" in WITH_DATA
    with pytest.raises(ValueError, match="`method` ristretto needs the data"):
        fit(network, None, Settings(method="ristretto", retrain_epochs=0))


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_fits_as_a_cpu_does(method: str, network: SqueezeNet, training: Retraining) -> None:
    device = torch.device("cuda")
    there = replace(training, data=on_device(training.data, device), device=device)
    own = Settings(method=method, retrain_epochs=4)
    model = fit(network, there, own)
    ours = val_top1(module(fit(network, training, own)), training)
    assert val_top1(module(model), training) == pytest.approx(ours, abs=6)
