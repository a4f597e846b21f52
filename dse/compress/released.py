"""The authors' released network: SqueezeNet v1.0 for ImageNet, pruned, with shared weights."""

from __future__ import annotations

from collections.abc import Mapping

from dse.space.architecture import FIRES, LAYOUTS, Architecture, Metaparameters, generate

LAYOUT = "v1_0_caffe"
"""The authors' v1.0: conv10 with padding 1."""


def architecture() -> Architecture:
    """The released network's architecture."""
    return generate(Metaparameters(), LAYOUTS[LAYOUT])


def shapes(network: Architecture) -> dict[str, tuple[int, ...]]:
    """The shape of each convolution's weight (filters, inputs, h, w), in the network's order, for a
    network without bypass convolutions and with one conv10."""
    layout, channels = network.layout, network.layout.conv1_filters
    kernel = layout.conv1_kernel
    found: dict[str, tuple[int, ...]] = {"conv1": (channels, network.in_channels, kernel, kernel)}
    for number, fire in zip(FIRES, network.fires, strict=True):
        k = fire.squeeze_kernel
        found[f"fire{number}.squeeze"] = (fire.s1x1, channels, k, k)
        found[f"fire{number}.expand1x1"] = (fire.e1x1, fire.s1x1, 1, 1)
        found[f"fire{number}.expand3x3"] = (fire.e3x3, fire.s1x1, 3, 3)
        channels = fire.filters
    found["conv10"] = (network.num_classes, channels, 1, 1)
    return found


SHAPES: Mapping[str, tuple[int, ...]] = shapes(architecture())
