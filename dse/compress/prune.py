"""Magnitude pruning with retraining, in rounds (Han 2015, arXiv:1506.02626)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dse.coding.tensors import CompressedModel, Floats, Sparse
from dse.compress.networks import compressed, dropouts, first_convolution, floats, fold, layers
from dse.compress.retrain import Retraining, constrain, release_all, retrain
from dse.trial import densities as by_layer
from dse.trial.compression import Settings

Mask = NDArray[np.bool_]


def prune(network: nn.Module, training: Retraining | None, settings: Settings) -> CompressedModel:
    """Prune a network in place, retrain what is kept, and fold its norms."""
    masks = pruned(network, training, settings, settings.retrain_epochs)
    network = fold(network)
    weights = {name: floats(layer.weight) for name, layer in layers(network).items()}
    return compressed(
        network,
        {f"{n}.weight": Sparse(kept=m, values=weights[n][m]) for n, m in masks.items()},
    )


def pruned(
    network: nn.Module, training: Retraining | None, settings: Settings, epochs: int
) -> dict[str, Mask]:
    """Prune a network in place within some epochs of retraining: what is kept, by layer.

    Each of the `rounds` keeps the same share of what the one before kept, and has the same number
    of epochs. Weights are compared as they are after folding. Those that a round prunes are 0 from
    then on. The rates of dropout shrink with the density of the last layer, as Han's do.
    """
    targets = densities(network, settings)
    rounds = max(min(settings.rounds, epochs), 1)
    ends = [epochs * n // rounds for n in range(rounds + 1)]
    masks: dict[str, Mask] = {}
    rates = {dropout: dropout.p for dropout in dropouts(network)}
    for number, (done, end) in enumerate(pairwise(ends), 1):
        weights = folded_weights(network)
        for name, layer in layers(network).items():
            masks[name] = keep(weights[name], targets[name] ** (number / rounds))
            constrain(layer, Masked(torch.from_numpy(masks[name])))
        density = float(masks[name].mean())
        for dropout, rate in rates.items():
            dropout.p = rate * math.sqrt(density)
        retrain(network, training, settings, end - done, done)
    release_all(network)
    return masks


def densities(network: nn.Module, settings: Settings) -> dict[str, float]:
    """The share of weights to keep, by layer.

    Layers of `densities` have their own. `density` is the share of all other weights, and layers
    get their part by `scores`; with `quality`, a layer keeps the weights whose magnitude is at
    least so many of its standard deviations. The first convolution is kept whole, as in the paper's
    Table 1 and in DSD (arXiv:1607.04381): it has few weights, and all others depend on it.

    Raises `ValueError` where `densities` names a layer that the network does not have.
    """
    first = first_convolution(network)
    own = {} if settings.quality else by_layer.densities(settings.densities)
    if lines := by_layer.unknown_layers([settings.densities] if own else [], [layers(network)]):
        raise ValueError("\n".join(lines))
    weights = {n: w for n, w in folded_weights(network).items() if n not in (first, *own)}
    if settings.quality:
        shares = {
            name: float(np.mean(np.abs(own) >= settings.quality * own.std()))
            for name, own in weights.items()
        }
    elif not weights:
        shares = {}
    else:
        scored = {name: scores(own) for name, own in weights.items()}
        whole = np.sort(np.concatenate(list(scored.values())))[::-1]
        least = whole[max(round(settings.density * len(whole)), 1) - 1]
        shares = {name: float(np.mean(own >= least)) for name, own in scored.items()}
    return {first: 1.0, **shares, **own}


def scores(weights: Floats) -> NDArray[np.float64]:
    """What a layer's weights are worth compared with those of other layers, in ascending order.

    Each weight's square as a share of the squares of all that are at least as large (Lee 2021,
    arXiv:2010.07611). The largest has 1, so that no layer is emptied, and narrow layers stay
    denser than wide ones.

    >>> scores(np.array([1.0, -3.0], np.float32))
    array([0.1, 1. ])
    """
    squares = np.sort(weights.ravel().astype(np.float64) ** 2)
    return squares / np.maximum(np.cumsum(squares[::-1])[::-1], np.finfo(np.float64).tiny)


def folded_weights(network: nn.Module) -> dict[str, Floats]:
    """The weight of each layer after folding, by its name."""
    return {name: floats(layer.weight) for name, layer in layers(fold(network)).items()}


def keep(weights: Floats, density: float) -> Mask:
    """The places of the largest weights in magnitude: `density` of them, at least one, without
    those that are 0 already.

    >>> keep(np.array([0.5, -2.0, 1.0, 0.0], np.float32), 0.5)
    array([False,  True,  True, False])
    >>> keep(np.array([0.5, -2.0, 1.0, 0.0], np.float32), 1.0)
    array([ True,  True,  True, False])
    """
    count = max(round(density * weights.size), 1)
    mask = np.zeros(weights.size, np.bool_)
    mask[np.argsort(-np.abs(weights.ravel()), kind="stable")[:count]] = True
    kept: Mask = mask.reshape(weights.shape) & (weights != 0)
    return kept


class Masked(nn.Module):
    """A weight that is 0 where it is not kept."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        """A weight of any shape -> the same shape."""
        return weight * self.kept
