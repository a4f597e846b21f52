"""Networks and their compressed values, and batch norm folded into convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from dse.coding import tensors
from dse.coding.tensors import CompressedModel, Dense, Floats
from dse.compress.descriptions import build, describe
from dse.compress.rounding import quantised

Layer = nn.Conv2d | nn.Linear

INPUT = "input"
"""The name of a network's input among the layers whose activations have a format."""


def layers(network: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers by name, in the network's order."""
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def dropouts(network: nn.Module) -> list[nn.Dropout]:
    """The dropouts, in the network's order."""
    return [module for module in network.modules() if isinstance(module, nn.Dropout)]


def first_convolution(network: nn.Module) -> str:
    """The name of the layer that reads the image."""
    return next(iter(layers(network)))


# Folding ----------------------------------------------------------------------------------------


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """A copy of a network whose batch norms are part of the convolutions before them.

    In eval mode both give the same outputs up to rounding. A network without norm is copied.
    Raises `ValueError` for a network of another kind.
    """
    plain = build(describe(network))
    found = norms(network)
    state: dict[str, Tensor] = {}
    for name, layer in layers(network).items():
        weight, bias = layer.weight, layer.bias
        if name in found:
            scale, bias = found[name]
            weight = weight.double() * scale.view(-1, 1, 1, 1)
        assert bias is not None, "a layer without norm has a bias"
        state |= {f"{name}.weight": weight.float().clone(), f"{name}.bias": bias.float().clone()}
    plain.load_state_dict(state, assign=True)
    for own, old in zip(dropouts(plain), dropouts(network), strict=True):
        own.p = old.p  # pruning shrinks it
    return plain.to(memory_format=torch.channels_last).eval()


@torch.no_grad()
def norms(network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """What batch norm does in eval mode to the outputs of a convolution, by its name: a factor and
    a summand, float64 (filters); convolutions without norm are left out.

    A norm called `X_norm` follows the convolution `X`, or `X1x1` and `X3x3`, whose outputs are
    concatenated.
    """
    known, found = layers(network), {}
    for norm_name, norm in network.named_modules():
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None:
            continue
        assert norm.running_mean is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        stem, first = norm_name.removesuffix("_norm"), 0
        for name in (stem, f"{stem}1x1", f"{stem}3x3"):
            if name in known:
                rows = slice(first, first := first + len(known[name].weight))
                found[name] = (scale[rows], shift[rows])
    return found


# Values -----------------------------------------------------------------------------------------


def compressed(
    network: nn.Module,
    own: Mapping[str, tensors.Tensor],
    activations: Mapping[str, tuple[int, int]] | None = None,
) -> CompressedModel:
    """The values of a network with its norms folded; what is not in `own` is stored as it is."""
    plain = fold(network)
    return CompressedModel(
        architecture=describe(plain),
        tensors={
            name: own[name] if name in own else Dense(values=floats(tensor))
            for name, tensor in plain.state_dict().items()
        },
        activations=activations or {},
    )


def floats(tensor: Tensor) -> Floats:
    """A tensor's values as a float32 array of its own, in C order."""
    return np.array(tensor.detach().cpu().numpy(), np.float32, order="C")


def module(model: CompressedModel) -> nn.Module:
    """The network of compressed values, in eval mode; its activations have their formats.

    Raises `ValueError` where the tensors are not those of the architecture.
    """
    network = build(model.architecture)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in model.tensors.items()}
    for name in [*wanted, *got]:
        if wanted.get(name) != got.get(name):
            raise ValueError(
                f"`tensors` must have {name} of shape {wanted.get(name)}, got {got.get(name)}"
            )
    values = {name: np.array(tensor.dense(), order="C") for name, tensor in model.tensors.items()}
    state = {name: torch.from_numpy(array) for name, array in values.items()}
    network.load_state_dict(state, assign=True)
    round_activations(network, model.activations)
    return network.to(memory_format=torch.channels_last).eval()


def round_activations(
    network: nn.Module, formats: Mapping[str, tuple[int, int]]
) -> list[torch.utils.hooks.RemovableHandle]:
    """Have each layer's output, and the input, rounded to its format (width, fraction length).

    Raises `ValueError` for a layer that the network does not have.
    """
    known, handles = layers(network), []
    for name, (width, fraction) in formats.items():
        if name == INPUT:
            handles.append(
                network.register_forward_pre_hook(
                    lambda _, x, w=width, f=fraction: (quantised(x[0], w, f),)
                )
            )
        elif name in known:
            handles.append(
                known[name].register_forward_hook(
                    lambda _, x, y, w=width, f=fraction: quantised(y, w, f)
                )
            )
        else:
            raise ValueError(f"`activations` must name layers of the network, got {name}")
    return handles
