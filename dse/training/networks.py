"""The torch module of an architecture, whichever kind of network it is."""

from __future__ import annotations

from torch import nn

from dse.space.alexnet import AlexNet
from dse.space.architecture import Architecture
from dse.training.alexnet import AlexNetModule
from dse.training.network import SqueezeNet


def network_of(architecture: Architecture | AlexNet, image_size: int) -> nn.Module:
    """A network with torch's own initial weights, for square images of `image_size` pixels:
    (batch, in_channels, image_size, image_size) -> class scores, (batch, num_classes)."""
    if isinstance(architecture, AlexNet):
        return AlexNetModule(architecture, image_size)
    return SqueezeNet(architecture)
