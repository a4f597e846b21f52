"""The authors' released network: SqueezeNet v1.0 for ImageNet, pruned, with shared weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dse.coding.authors import read
from dse.coding.tensors import CompressedModel, Shared
from dse.compress.networks import compressed, layers
from dse.compress.shared import stored
from dse.space.architecture import LAYOUTS, Architecture, Metaparameters, generate
from dse.training.network import SqueezeNet


def architecture() -> Architecture:
    """The released network's architecture: the authors' v1.0, whose conv10 has padding 1."""
    return generate(Metaparameters(), LAYOUTS["v1_0_caffe"])


def shapes(network: Architecture) -> dict[str, tuple[int, ...]]:
    """The shape of each convolution's weight (filters, inputs, h, w), in the network's order."""
    with torch.device("meta"):
        found = layers(SqueezeNet(network))
    return {name: tuple(layer.weight.shape) for name, layer in found.items()}


SHAPES: Mapping[str, tuple[int, ...]] = shapes(architecture())


def read_released(content: bytes) -> CompressedModel:
    """The network in the content of `compressed_SqueezeNet.net`, with all its shared weights.

    Codebooks are sorted, which takes fewer bytes in a file; the weights are the same. Raises
    `AuthorsFormatError` for other bytes.
    """
    own = {
        name: stored(tensor.dense(), tensor.dense() != 0) if isinstance(tensor, Shared) else tensor
        for name, tensor in read(content, SHAPES).items()
    }
    return compressed(SqueezeNet(architecture()), own)
