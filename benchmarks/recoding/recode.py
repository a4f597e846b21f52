"""Moves the codes of shared weights to cheaper ones where that matters little.

The values that weights share stay, with fewer significant bits; biases become fixed point.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dse.coding import tensors
from dse.coding.tensors import CompressedModel, FixedPoint, Floats, Shared
from dse.compress.shared import rounded, stored
from recoding.feedback import round_filters
from recoding.fisher import Fisher

SIGNIFICANT_BITS = range(5, 17)
"""Of the values in a codebook; each layer has its own number."""

DAMPING = 0.01
"""The share by which each weight's own information is raised when weights are rounded together."""

PASSES = 20
"""Each counts anew how often codes occur, and so what they cost: frequent ones become more so."""


def recoded(model: CompressedModel, fisher: Fisher, price: float) -> CompressedModel:
    """A model whose codes are the ones that cost least, a bit at `price` nats of KL divergence.

    Weights that are 0 stay 0, and others may become 0.
    """
    found: dict[str, tensors.Tensor] = {}
    for name, tensor in model.tensors.items():
        if isinstance(tensor, Shared):
            found[name] = _Layer(name, tensor, fisher).recoded(price)
        else:
            found[name] = _fixed(tensor.dense(), float(fisher.diagonal[name].mean()), price)
    return replace(model, tensors=found)


class _Layer:
    """A tensor of shared weights, and what errors of it cost."""

    def __init__(self, name: str, tensor: Shared, fisher: Fisher) -> None:
        self.tensor = tensor
        self.values = torch.from_numpy(tensor.dense()).double().flatten(1)
        self.kept = self.values != 0
        curvature = fisher.inputs[name].double() / len(self.values)  # of a filter, in the mean
        curvature.diagonal().mul_(1 + DAMPING).add_(1e-6 * curvature.diagonal().mean())
        self.curvature = curvature
        self.importance = torch.ones(len(self.values), dtype=torch.double)
        if not name.startswith("conv10"):  # there all classes matter alike
            own = fisher.diagonal[name].double().flatten(1)
            mean = (own * self.kept).sum(1) / self.kept.sum(1).clamp(min=1)
            self.importance = (mean / mean.mean()).clamp(min=1e-3).sqrt()

    def recoded(self, price: float) -> Shared:
        codebook, now = self.codebook(price), self.values
        for _ in range(PASSES):
            codes = (codebook - now.flatten()[:, None]).abs().argmin(1)
            counts = torch.bincount(codes, minlength=len(codebook)).double()
            bits = math.log2(now.numel()) - counts.clamp(min=0.5).log2()
            cheapest = partial(_cheapest, codebook=codebook, prices=2 * price * bits)
            now = round_filters(self.values, self.kept, self.curvature, cheapest, self.importance)
        weight = now.float().view(self.tensor.shape).numpy()
        return stored(weight, weight != 0)

    def codebook(self, price: float) -> Tensor:
        """The values, and 0, with as many significant bits as cost least."""
        codebook, codes = self.tensor.codebook, self.tensor.codes

        def cost(bits: int) -> float:
            coarse = torch.from_numpy(rounded(codebook, bits)[codes]).double().flatten(1)
            errors = coarse * self.kept - self.values
            lost = ((errors @ self.curvature) * errors).sum(1) @ self.importance / 2
            return float(lost) + price * bits * len(codebook)

        values = rounded(codebook, min(SIGNIFICANT_BITS, key=cost))
        return torch.from_numpy(np.unique(np.append(values, 0))).double()


def _fixed(values: Floats, sensitivity: float, price: float) -> FixedPoint:
    """Values in fixed point of at most 16 bits, with the step at which a bit costs `price`."""
    largest = math.frexp(float(np.abs(values).max()))[1]
    step = max(largest - 14, optimal_step(sensitivity, price))
    numbers = np.round(values * 2.0**-step).astype(np.int16)
    width = max(int(numbers.max()), -int(numbers.min()) - 1).bit_length() + 1
    return FixedPoint(numbers=numbers, width=width, fraction_length=-step)


def optimal_step(sensitivity: float, price: float) -> int:
    """The logarithm of the step, to base 2, at which a bit costs `price`: for a mean sensitivity,
    `sensitivity * step**2 / 12 = price / log(2)`. From -20 to 0.

    >>> optimal_step(12, math.log(2) / 4)
    -1
    """
    if sensitivity <= 0:
        return 0
    return min(0, max(-20, round(0.5 * math.log2(12 * price / math.log(2) / sensitivity))))


def _cheapest(aim: Tensor, weight: Tensor, *, codebook: Tensor, prices: Tensor) -> Tensor:
    """For each `aim` the value of the codebook whose squared error times `weight` and price
    together are least."""
    costs = weight[:, None] * (codebook - aim[:, None]) ** 2 + prices
    return codebook[costs.argmin(1)]
