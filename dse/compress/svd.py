"""Low rank: each layer's matrix as the product of two factors.

A linear layer and a 1x1 convolution are factored directly (Denton 2014, arXiv:1404.0736). A kxk
convolution becomes either kxk filters followed by a 1x1 convolution (Zhang 2015, arXiv:1505.06798)
or a vertical followed by a horizontal one (Jaderberg 2014, arXiv:1405.3866), whichever is smaller.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dse.coding.heads import SCHEMES
from dse.coding.tensors import CompressedModel, Floats, LowRank
from dse.compress.networks import compressed, floats, layers, norms
from dse.compress.retrain import Retraining, constrain, originals, release_all, retrain
from dse.trial.compression import Settings


def svd(network: nn.Module, training: Retraining | None, settings: Settings) -> CompressedModel:
    """Factor the layers of a network in place, retrain the factors, and fold the norms into them.

    A layer whose factors would not be smaller than its weight keeps it.
    """
    products: dict[str, Product] = {}
    for name, layer in layers(network).items():
        factors = smallest(floats(layer.weight), settings)
        if factors is not None:
            products[name] = Product(factors)
            constrain(layer, products[name])
    retrain(network, training, settings, settings.retrain_epochs)
    scales, own = norms(network), {}
    for name, product in products.items():
        left, right = originals(layers(network)[name])
        if name in scales:  # a row of the weight is one of `left`, or as many as it has columns
            factor, _ = scales[name]
            left = left * factor.repeat_interleave(len(left) // len(factor))[:, None]
        own[f"{name}.weight"] = product.stored(left, right)
    release_all(network)
    return compressed(network, own)


def smallest(weight: Floats, settings: Settings) -> LowRank | None:
    """The smallest factors that keep `energy`, or the best ones of the size that `factors` allows;
    none where they are not smaller than the weight."""
    schemes = SCHEMES if weight.ndim == 4 and weight.shape[2] > 1 else SCHEMES[:1]
    found = [factor(weight, scheme, settings) for scheme in schemes]
    best, _ = min(found, key=lambda f: -f[1] if settings.factors else size(f[0]))
    return best if size(best) < weight.size else None


def factor(weight: Floats, scheme: str, settings: Settings) -> tuple[LowRank, float]:
    """The factors of a weight under a scheme of `LowRank`, and the share of the squared singular
    values that they keep: what is dropped is the squared error of their product."""
    matrix = as_matrix(weight, scheme)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    kept = np.cumsum(s**2) / max(float(np.sum(s**2)), np.finfo(np.float64).tiny)
    if settings.factors:
        rank = max(int(settings.factors * weight.size / sum(matrix.shape)), 1)
    else:
        rank = int(np.searchsorted(kept, settings.energy * kept[-1])) + 1
    rank = min(rank, len(s))
    root = np.sqrt(s[:rank])
    factors = LowRank(
        shape=weight.shape,
        scheme=scheme,
        left=(u[:, :rank] * root).astype(np.float32),
        right=(root[:, None] * v[:rank]).astype(np.float32),
    )
    return factors, float(kept[rank - 1])


def size(factors: LowRank) -> int:
    """The number of values of both factors."""
    return factors.left.size + factors.right.size


def as_matrix(weight: Floats, scheme: str) -> NDArray[np.float64]:
    """A weight as the matrix that `LowRank` describes for a scheme."""
    if scheme == "matrix":
        return weight.reshape(len(weight), -1).astype(np.float64)
    out, inputs, height, width = weight.shape
    grid = weight.transpose(0, 3, 1, 2).reshape(out * width, inputs * height)
    return grid.astype(np.float64)


class Product(nn.Module):
    """A weight as the product of two trained factors."""

    def __init__(self, start: LowRank) -> None:
        super().__init__()
        self._start = start

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """(rows, rank), (rank, columns) -> the weight."""
        product = left @ right
        if self._start.scheme == "matrix":
            return product.view(self._start.shape)
        out, inputs, height, width = self._start.shape
        return product.view(out, width, inputs, height).permute(0, 2, 3, 1).contiguous()

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weight -> the factors that it starts with."""
        left, right = (torch.from_numpy(f) for f in (self._start.left, self._start.right))
        return left.to(weight.device), right.to(weight.device)

    def stored(self, left: Tensor, right: Tensor) -> LowRank:
        """The factors as they are stored."""
        return replace(self._start, left=floats(left), right=floats(right))
