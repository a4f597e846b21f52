"""Weights and biases in fixed point, while a network is trained and as they are stored."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from dse.coding.tensors import FixedPoint
from dse.compress.networks import floats, layers
from dse.compress.retrain import constrain
from dse.compress.rounding import numbers, quantised, weight_fraction


class Rounded(nn.Module):
    """A tensor in fixed point; its gradient passes as if it were not rounded."""

    def __init__(self, width: int, fraction: int) -> None:
        super().__init__()
        self.width, self.fraction = width, fraction

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return quantised(x, self.width, self.fraction)


def round_layer(layer: nn.Module, width: int) -> None:
    """Round a layer's weight and bias to a width, each with the point that its values need."""
    round_values(layer, "weight", width)
    round_values(layer, "bias", width)


def round_values(layer: nn.Module, name: str, width: int) -> None:
    """Round a layer's `weight` or `bias` to a width, with the point that its values need."""
    largest = float(layer.get_parameter(name).detach().abs().max())
    constrain(layer, Rounded(width, weight_fraction(largest, width)), name)


def rounded_values(network: nn.Module) -> dict[str, FixedPoint]:
    """The tensors of a network that are rounded, by name ("conv1.bias")."""
    own = {}
    for name, layer in layers(network).items():
        for kind in ("weight", "bias"):
            constraints = getattr(layer, "parametrizations", {})
            rounded = constraints[kind][0] if kind in constraints else None
            if isinstance(rounded, Rounded):
                width, fraction = rounded.width, rounded.fraction
                values = floats(numbers(getattr(layer, kind), width, fraction))
                own[f"{name}.{kind}"] = FixedPoint(
                    numbers=values.astype(np.int16), width=width, fraction_length=fraction
                )
    return own
