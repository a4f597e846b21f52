"""Moves the codes of shared weights to cheaper ones where that matters little.

The codebooks stay, with fewer significant bits. For small losses this takes fewer bytes than fixed
point, whose steps have to be much finer than the values that many weights share.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from distillation.distill import DAMPING, fixed
from distillation.feedback import round_filters
from distillation.fisher import Fisher
from dse.coding import tensors
from dse.coding.tensors import CompressedModel, Floats, Shared
from dse.compress.shared import stored

SIGNIFICANT_BITS = 9
"""Of the values in codebooks. With 8, their rounding alone makes half of the divergence."""

LOG2_BIAS_STEP = -6
PASSES = 2
"""Each counts anew how often codes occur, and so what they cost."""


def recoded(model: CompressedModel, fisher: Fisher, price: float) -> CompressedModel:
    """A model whose codes are the ones that cost least, a bit at `price` nats of KL divergence.

    Weights that are 0 stay 0, and others may become 0. All filters of a layer matter alike.
    """
    found: dict[str, tensors.Tensor] = {}
    for name, tensor in model.tensors.items():
        if isinstance(tensor, Shared):
            found[name] = _recoded(tensor, fisher.inputs[name], price)
        else:
            numbers = torch.from_numpy(tensor.dense() * 2.0**-LOG2_BIAS_STEP).round()
            found[name] = fixed(numbers, LOG2_BIAS_STEP)
    return replace(model, tensors=found)


def _recoded(tensor: Shared, inputs: Tensor, price: float) -> Shared:
    values = torch.from_numpy(tensor.dense()).double().flatten(1)
    curvature = inputs.double() / len(values)  # of a filter, in the mean
    curvature.diagonal().mul_(1 + DAMPING).add_(1e-6 * curvature.diagonal().mean())
    codebook = torch.from_numpy(np.unique(np.append(_significant(tensor.codebook), 0))).double()
    kept, now = values != 0, values
    for _ in range(PASSES):
        codes = (codebook - now.flatten()[:, None]).abs().argmin(1)
        counts = torch.bincount(codes, minlength=len(codebook)).double()
        bits = math.log2(values.numel()) - counts.clamp(min=0.5).log2()
        cheapest = partial(_cheapest, codebook=codebook, prices=2 * price * bits)
        now = round_filters(values, kept, curvature, cheapest)
    weight = now.float().view(tensor.shape).numpy()
    return stored(weight, weight != 0)


def _cheapest(aim: Tensor, weight: Tensor, *, codebook: Tensor, prices: Tensor) -> Tensor:
    """For each `aim` the value of the codebook whose squared error times `weight` and price
    together are least."""
    costs = weight[:, None] * (codebook - aim[:, None]) ** 2 + prices
    return codebook[costs.argmin(1)]


def _significant(values: Floats) -> Floats:
    """Values rounded to `SIGNIFICANT_BITS`."""
    mantissas, exponents = np.frexp(values.astype(np.float64))
    rounded = np.round(mantissas * 2**SIGNIFICANT_BITS) / 2**SIGNIFICANT_BITS
    found: Floats = np.ldexp(rounded, exponents).astype(np.float32)
    return found
