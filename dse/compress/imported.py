"""Weights that were not trained here, compressed without data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from dse.coding.container import encode
from dse.compress.descriptions import build, describe
from dse.compress.fit import fit
from dse.compress.measure import stored_density
from dse.space.architecture import Architecture
from dse.training.network import SqueezeNet
from dse.training.torchvision_names import from_torchvision
from dse.trial.compression import Settings

OF_TORCHVISION = "features.0.weight"
"""A tensor that only torchvision's names have."""


def compress(
    content: bytes, architecture: Architecture, keys: Sequence[str], settings: Settings
) -> tuple[bytes, int, float]:
    """A file of weights compressed: the new file, the weights' bytes at fp32, and the density that
    is stored (see `stored_density`).

    The network is the one in the file's metadata, which `decode` writes, else `architecture`.
    Raises `ValueError` where the file is not safetensors or not of this network, or where `keys`,
    those that the user gave for `architecture`, contradict the metadata.
    """
    try:
        weights = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a type of number unknown to torch
        raise ValueError(f"the file must be safetensors: {error}") from None
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or name.endswith("num_batches_tracked")):
            raise ValueError(f"the weights must be real numbers: {name} is {tensor.dtype}")
    network = SqueezeNet(_of_metadata(content, architecture, keys) or architecture)
    _fill(network, weights)
    model = fit(network.eval(), None, settings)
    size = sum(4 * t.numel() for t in network.state_dict().values() if t.is_floating_point())
    return encode(model, settings.coder), size, stored_density(model)


def _of_metadata(
    content: bytes, architecture: Architecture, keys: Sequence[str]
) -> Architecture | None:
    """The network in the metadata of a file; None where `decode` did not write it."""
    try:
        description = json.loads(_metadata(content).get("architecture", "null"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(description, dict) or "network" not in description:
        return None
    try:
        own = build(description)
    except ValueError:
        return None
    if not isinstance(own, SqueezeNet):
        raise ValueError(f"the network must be a SqueezeNet, got {description['network']}")
    with torch.device("meta"):
        asked = SqueezeNet(architecture)
    if keys and describe(asked) != describe(own):
        given = ", ".join(f"`{key}`" for key in keys)
        raise ValueError(f"{given} must give the network in the file's metadata, or be left out")
    return own.architecture


def has_formats(content: bytes) -> bool:
    """Whether a file of weights has the fixed-point formats of activations, as `decode` writes them
    into its metadata; `compress` does not read them."""
    return "activations" in _metadata(content)


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__") or {}


def _fill(network: SqueezeNet, weights: Mapping[str, Tensor]) -> None:
    """Give a network its weights, by this project's names or torchvision's."""
    if OF_TORCHVISION in weights:
        try:
            weights = from_torchvision(network.architecture.layout, weights)
        except ValueError as error:
            raise ValueError(f"{error}; keys such as layout=v1_1 choose the network") from None
    for name, own in network.state_dict().items():
        if name in weights and weights[name].shape != own.shape:
            shapes = f"{tuple(own.shape)}, got {tuple(weights[name].shape)}"
            raise ValueError(
                f"the weights must be of this network: {name} must have shape {shapes}"
            )
    result = network.load_state_dict(weights, strict=False)
    missing = [name for name in result.missing_keys if not name.endswith("num_batches_tracked")]
    for names, state in (missing, "missing"), (result.unexpected_keys, "left over"):
        if names:
            raise ValueError(f"the weights must be of this network: {names[0]} is {state}")
    if not all(bool(t.isfinite().all()) for t in network.state_dict().values()):
        raise ValueError("the weights must be finite")
