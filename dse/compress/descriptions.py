"""Networks without norm as plain JSON values, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, fields, replace
from typing import Any

import torch
from torch import nn

from dse.space.alexnet import AlexNet, Convolution
from dse.space.architecture import Architecture, Layout, Metaparameters, generate
from dse.space.rules import integer
from dse.training.alexnet import AlexNetModule
from dse.training.network import SqueezeNet
from dse.training.networks import network_of

SMALLEST = {"filters": 1, "kernel": 1, "stride": 1, "padding": 0, "groups": 1, "pool": 0}
"""The smallest values of AlexNet's convolutions, in the order in which they are listed."""

LARGEST = 2**16

SIDES = range(1, 2049)
"""Sides of images, pixels."""


def describe(network: nn.Module) -> dict[str, Any]:
    """A network without its norms as JSON values: what differs from the published one.

    Raises `ValueError` for a network of another kind.
    """
    if isinstance(network, SqueezeNet):
        return _described_squeezenet(network.architecture)
    if isinstance(network, AlexNetModule):
        return _described_alexnet(network)
    raise ValueError(f"`network` must be a SqueezeNet or an AlexNet, got {type(network).__name__}")


def build(description: Mapping[str, Any]) -> nn.Module:
    """The network of a description, with tensors on torch's `meta` device: shapes without memory.

    Raises `ValueError` for anything that `describe` does not write.
    """
    values = dict(description)
    try:
        architecture, image_size = KINDS[values.pop("network")](values)
        with torch.device("meta"):
            return network_of(architecture, image_size)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"`architecture` must describe a network: {error!r}") from None


def check_described(network: nn.Module) -> None:
    """Raise `ValueError` unless the network's description gives the same one, without norms: each
    field of its architecture, and what its layers are."""
    description, own = describe(network), _facts(network)
    again = _facts(build(description))
    lost = [name for name, value in own.items() if again.get(name) != value]
    if lost:
        raise ValueError(
            "`network` must be what its description builds: dse/compress/descriptions.py leaves "
            f"out {', '.join(lost[:3])}"
        )


def _facts(network: Any) -> dict[str, Any]:
    """The fields of a network's architecture, and its layers' kernels, strides, groups ..."""
    architecture = _without_norm(network.architecture)
    found = {item.name: getattr(architecture, item.name) for item in fields(architecture)}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found[name] = [getattr(layer, value) for value in layer.__constants__]
    return found


def _without_norm(counts: Any) -> Any:
    if isinstance(counts, Architecture):
        return replace(counts, layout=replace(counts.layout, norm="none"))
    return replace(counts, norm="none")


def _changed(value: Any, default: Any) -> dict[str, Any]:
    own, usual = asdict(value), asdict(default)
    return {name: own[name] for name in own if own[name] != usual[name]}


# SqueezeNet -------------------------------------------------------------------------------------


def _described_squeezenet(a: Architecture) -> dict[str, Any]:
    return {
        "network": "squeezenet",
        "classes": a.num_classes,
        "channels": a.in_channels,
        **({} if a.bypass == "none" else {"bypass": a.bypass}),
        "s1x1": [fire.s1x1 for fire in a.fires],
        "e1x1": [fire.e1x1 for fire in a.fires],
        "e3x3": [fire.e3x3 for fire in a.fires],
        **_changed(_without_norm(a).layout, Layout()),
    }


def _squeezenet(values: dict[str, Any]) -> tuple[Architecture, int]:
    """The architecture that `generate` gives for these filters, whatever metaparameters they had;
    and any side of its images."""
    squeezes, ones, threes = (list(values.pop(name)) for name in ("s1x1", "e1x1", "e3x3"))
    widths = [one + three for one, three in zip(ones, threes, strict=True)]
    bypass = Metaparameters(bypass=values.pop("bypass", "none"))
    facts = {"num_classes": values.pop("classes"), "in_channels": values.pop("channels")}
    layout = Layout(**values)
    if layout.norm != "none" or min(*ones, *threes) < 1:
        raise ValueError("no norm, and filters of both kinds in each Fire module")
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
    return replace(network, layout=layout, fires=fires), 1


# AlexNet ----------------------------------------------------------------------------------------


def _described_alexnet(network: AlexNetModule) -> dict[str, Any]:
    """With the smallest images that give its first linear layer as many inputs as it has."""
    a = _without_norm(network.architecture)
    inputs = network.fc6.in_features
    own = _changed(a, AlexNet())
    if "convolutions" in own:
        own["convolutions"] = [list(astuple(conv)) for conv in a.convolutions]
    if "linear" in own:
        own["linear"] = list(a.linear)
    size = next(side for side in SIDES if _inputs(a, side) == inputs)
    return {"network": "alexnet", "image_size": size, **own}


def _inputs(a: AlexNet, image_size: int) -> int:
    """Inputs of the first linear layer for images of a size; 0 where they are too small."""
    try:
        *_, side = a.map_sizes(image_size).values()
    except ValueError:
        return 0
    return side**2 * a.convolutions[-1].filters


def _alexnet(values: dict[str, Any]) -> tuple[AlexNet, int]:
    image_size = values.pop("image_size")
    if image_size not in SIDES:
        raise ValueError(f"images of {image_size} pixels")
    if "convolutions" in values:
        values["convolutions"] = tuple(_convolution(row) for row in values["convolutions"])
    if "linear" in values:
        fc6, fc7 = (integer(1, LARGEST).accept("linear", n) for n in values["linear"])
        values["linear"] = (fc6, fc7)
    network = AlexNet(**values)
    if network.norm != "none" or len(network.convolutions) != len(AlexNet().convolutions):
        raise ValueError("no norm, and as many convolutions as published")
    return network, image_size


def _convolution(row: list[Any]) -> Convolution:
    numbers = {
        name: integer(SMALLEST[name], LARGEST).accept(name, value)
        for name, value in zip(SMALLEST, map(int, row), strict=True)
    }
    return Convolution(**{**numbers, "pool": bool(numbers["pool"])})


KINDS: Mapping[str, Callable[[dict[str, Any]], tuple[Architecture | AlexNet, int]]] = {
    "squeezenet": _squeezenet,
    "alexnet": _alexnet,
}
