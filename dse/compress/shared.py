"""Shared weights: Deep Compression (Han 2016, arXiv:1510.00149) up to its coding."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dse.coding.tensors import CompressedModel, Floats, Shared
from dse.compress.fixed_values import round_values, rounded_values
from dse.compress.networks import compressed, floats, fold, layers
from dse.compress.prune import Mask, pruned
from dse.compress.retrain import Retraining, constrain, release_all, tune
from dse.trial.compression import Settings, stages

ENTRY_BITS = 13
"""About what an entry of a codebook takes in a file, bits."""

SPARE_DIGITS = 3
"""A shared value has this many significant bits more than its code has bits: more would be noise
in the file. Values are float32 in training, and are rounded when it has ended."""

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


def deep_compression(
    network: nn.Module, training: Retraining | None, settings: Settings
) -> CompressedModel:
    """Prune a network in place, fold its norms, let the weights of each layer share at most
    2**`bits` values, 0 included, and retrain these.

    Biases have `bias_bits` in fixed point: as float32 they are up to a third of a small file.
    """
    first, tuning = stages(settings.retrain_epochs)
    masks = pruned(network, training, settings, first)
    network = fold(network)
    codes: dict[str, Indices] = {}
    for name, layer in layers(network).items():
        weights = floats(layer.weight)
        codes[name], codebook = share(weights, masks[name], 2**settings.bits - 1)
        constrain(layer, SharedValues(codes[name], codebook))
        if settings.bias_bits:
            round_values(layer, "bias", settings.bias_bits)
    tune(network, training, settings, tuning, first)
    biases = rounded_values(network)
    release_all(network)
    digits = settings.bits + SPARE_DIGITS
    own = biases | {
        f"{name}.weight": stored(rounded(floats(layer.weight), digits), masks[name])
        for name, layer in layers(network).items()
    }
    return compressed(network, own)


def share(weights: Floats, kept: Mask, most: int) -> tuple[Indices, Floats]:
    """The codes of a weight (0: pruned) and its codebook, whose entry 0 is 0."""
    codes = np.zeros(weights.shape, np.int64)
    if not kept.any():  # every weight is 0
        return codes, np.zeros(1, np.float32)
    assigned, centroids = k_means(weights[kept].astype(np.float64), entries(kept.sum(), most))
    codes[kept] = assigned + 1
    return codes, np.append(0.0, centroids).astype(np.float32)


def entries(count: int, most: int) -> int:
    """How many values `count` weights share, where a very large layer has `most`.

    A value takes `ENTRY_BITS` in the file besides the codes. The error of k values falls as
    1 / k**2, so that a bit saves as much error in every layer where
    k**2 * (1 + ENTRY_BITS * ln(2) * k / count) is the same.

    >>> entries(10**6, 31), entries(1000, 31), entries(50, 31)
    (30, 27, 15)
    """
    sizes = np.arange(1, most + 1)
    costs = sizes**2 * (1 + ENTRY_BITS * math.log(2) * sizes / count)
    return max(int(np.sum(costs <= most**2)), 1)


def stored(weights: Floats, kept: Mask) -> Shared:
    """A weight of at most 256 distinct values, 0 included, with a sorted codebook."""
    values, inverse = np.unique(weights[kept], return_inverse=True)
    codebook = np.append(np.float32(0), values[values != 0]).astype(np.float32)
    code = np.cumsum(values != 0) * (values != 0)
    codes = np.zeros(weights.shape, np.uint8)
    codes[kept] = code[inverse]
    return Shared(codes=codes, codebook=codebook)


def rounded(values: Floats, digits: int) -> Floats:
    """Values with so many significant bits: the nearest ones, ties to even.

    >>> rounded(np.array([1 / 3, -1e-7, 0.5], np.float32), 12).tolist()
    [0.3333740234375, -1.00000761449337e-07, 0.5]
    """
    fractions, exponents = np.frexp(values)
    nearest: Floats = np.ldexp(np.rint(np.ldexp(fractions, digits)), exponents - digits)
    return nearest


# Clusters ---------------------------------------------------------------------------------------


def k_means(values: Doubles, most: int, rounds: int = 100) -> tuple[Indices, Doubles]:
    """Clusters of numbers (n, at least one) by Lloyd's iteration: each one's cluster, int64 (n),
    and the ascending means, at most `most`.

    It starts from centroids at equal distances between the smallest and the largest value, which
    Han found to be best. A cluster without values takes half of the one with the largest squared
    error.

    >>> k_means(np.array([1.0, 9.0, 1.0, 2.0, 8.0]), 2)[0]
    array([0, 1, 0, 0, 1])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    sums, squares = (np.append(0.0, np.cumsum(ordered**n)) for n in (1, 2))
    centroids = np.linspace(ordered[0], ordered[-1], most)
    edges = np.zeros(0, np.int64)
    for _ in range(rounds):
        before = edges
        middles = (centroids[1:] + centroids[:-1]) / 2
        edges = np.unique([0, *np.searchsorted(ordered, middles, side="right"), len(values)])
        edges = _split(edges, sums, squares, most)
        centroids = np.diff(sums[edges]) / np.diff(edges)
        if np.array_equal(before, edges):
            break
    assigned = np.empty(len(values), np.int64)
    assigned[order] = np.repeat(np.arange(len(centroids)), np.diff(edges))
    return assigned, centroids


def _split(edges: Indices, sums: Doubles, squares: Doubles, most: int) -> Indices:
    """The edges of clusters in sorted values, with as many of the widest halved as are missing."""
    missing = most - (len(edges) - 1)
    if not missing:
        return edges
    counts = np.diff(edges)
    errors = np.diff(squares[edges]) - np.diff(sums[edges]) ** 2 / counts
    worst = np.argsort(-errors, kind="stable")[:missing]
    worst = worst[(counts[worst] > 1) & (errors[worst] > 1e-12 * squares[-1])]
    return np.union1d(edges, edges[worst] + counts[worst] // 2)


class SharedValues(nn.Module):
    """A weight whose entries share the values of a codebook; code 0 stays 0.

    What is trained is each value times the square root of the number of weights that share it.
    So a step moves a value along the mean of its weights' gradients: SGD on the weights, kept
    to equal steps where they share a value. (Han adds the gradients up, at a learning rate of its
    own.)
    """

    codes: Tensor
    scale: Tensor

    def __init__(self, codes: Indices, codebook: Floats) -> None:
        super().__init__()
        counts = np.bincount(codes.ravel(), minlength=len(codebook))[1:]
        self.shape = codes.shape
        self.register_buffer("codes", torch.from_numpy(codes.ravel()))
        self.register_buffer("scale", torch.from_numpy(1 / np.sqrt(counts)).float())
        self._start = torch.from_numpy(codebook[1:])

    def forward(self, scaled: Tensor) -> Tensor:
        """Scaled values (k) -> the weight."""
        values = torch.cat([scaled.new_zeros(1), scaled * self.scale])
        return values.index_select(0, self.codes).view(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight -> the scaled values that it starts with."""
        return self._start.to(weight.device) / self.scale
