"""Networks for compression: their description as JSON values, and batch norm folded away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dse.compress import tensors
from dse.compress.rounding import quantised
from dse.compress.tensors import CompressedModel, Dense, Floats
from dse.space.architecture import Architecture, Layout, Metaparameters, generate
from dse.training.network import SqueezeNet

Layer = nn.Conv2d | nn.Linear

INPUT = "input"
"""The name of a network's input among the layers whose activations have a format."""


def layers(network: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers by name, in the network's order."""
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def first_convolution(network: nn.Module) -> str:
    """The name of the layer that reads the picture."""
    return next(iter(layers(network)))


# Descriptions -----------------------------------------------------------------------------------


def describe(network: nn.Module) -> dict[str, Any]:
    """A network without norm as JSON values; of its layout, only what differs from v1.0.

    Raises `ValueError` for a network of another kind.
    """
    if not isinstance(network, SqueezeNet):
        raise ValueError(f"`network` must be a SqueezeNet, got {type(network).__name__}")
    a = network.architecture
    own, default = asdict(a.layout), asdict(Layout())
    return {
        "network": "squeezenet",
        "classes": a.num_classes,
        "channels": a.in_channels,
        **({} if a.bypass == "none" else {"bypass": a.bypass}),
        "s1x1": [fire.s1x1 for fire in a.fires],
        "e1x1": [fire.e1x1 for fire in a.fires],
        "e3x3": [fire.e3x3 for fire in a.fires],
        **{name: value for name, value in own.items() if value != default[name]},
    }


def build(description: Mapping[str, Any]) -> nn.Module:
    """The network of a description, with tensors on torch's `meta` device: shapes without memory.

    Raises `ValueError` for anything that `describe` does not write.
    """
    try:
        network = _squeezenet(dict(description))
        with torch.device("meta"):
            module = SqueezeNet(network)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"`architecture` must describe a network: {error!r}") from None
    return module


def _squeezenet(values: dict[str, Any]) -> Architecture:
    if values.pop("network") != "squeezenet":
        raise ValueError("unknown `network`")
    squeezes, ones, threes = (list(values.pop(name)) for name in ("s1x1", "e1x1", "e3x3"))
    widths = [one + three for one, three in zip(ones, threes, strict=True)]
    bypass = Metaparameters(bypass=values.pop("bypass", "none"))
    facts = {"num_classes": values.pop("classes"), "in_channels": values.pop("channels")}
    layout = Layout(**values)
    if layout.norm != "none":
        raise ValueError("`norm` must be none")
    listed = replace(
        layout,
        squeeze_filters="-".join(map(str, squeezes)),
        expand_filters="-".join(map(str, widths)),
    )
    network = generate(bypass, listed, **facts)
    fires = tuple(
        replace(fire, e1x1=one, e3x3=three)
        for fire, one, three in zip(network.fires, ones, threes, strict=True)
    )
    if min(*ones, *threes) < 1:
        raise ValueError("a Fire module must have filters of both kinds")
    return replace(network, layout=layout, fires=fires)


# Folding ----------------------------------------------------------------------------------------


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """A copy of a network whose batch norms are part of the convolutions before them.

    In eval mode both give the same outputs up to rounding. A network without norm is copied.
    Raises `ValueError` for a network of another kind.
    """
    if not isinstance(network, SqueezeNet):
        raise ValueError(f"`network` must be a SqueezeNet, got {type(network).__name__}")
    a = network.architecture
    plain = SqueezeNet(replace(a, layout=replace(a.layout, norm="none")))
    found = norms(network)
    state: dict[str, Tensor | None] = {}
    for name, layer in layers(network).items():
        weight, bias = layer.weight, layer.bias
        if name in found:
            scale, bias = found[name]
            weight = weight.double() * scale.view(-1, 1, 1, 1)
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    plain.load_state_dict(state)
    plain.to(device=next(network.parameters()).device)
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


def dense_state(model: CompressedModel) -> dict[str, Floats]:
    """The values of all tensors by name ("fire2.squeeze.weight"), as in `weights.safetensors`."""
    return {name: np.ascontiguousarray(tensor.dense()) for name, tensor in model.tensors.items()}


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
    state = {name: torch.from_numpy(values.copy()) for name, values in dense_state(model).items()}
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
