"""A trained network and settings -> a compressed network, as values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import nn

from dse.coding.tensors import CompressedModel
from dse.compress.descriptions import check_described
from dse.compress.fixed_point import ristretto
from dse.compress.networks import compressed
from dse.compress.prune import prune
from dse.compress.retrain import Retraining, retrain
from dse.compress.shared import deep_compression
from dse.compress.svd import svd
from dse.trial.compression import Settings

Method = Callable[[nn.Module, Retraining | None, Settings], CompressedModel]


def none(network: nn.Module, training: Retraining | None, settings: Settings) -> CompressedModel:
    """Retrain a network in place, fold its norms, and keep every weight as it is."""
    retrain(network, training, settings, settings.retrain_epochs)
    return compressed(network, {})


METHODS: Mapping[str, Method] = {
    "none": none,
    "svd": svd,
    "prune": prune,
    "deep_compression": deep_compression,
    "ristretto": ristretto,
}


def fit(model: nn.Module, training: Retraining | None, settings: Settings) -> CompressedModel:
    """Compress a trained network, which stays as it is.

    Batch norm is folded into the convolutions: before weights are shared or rounded, and else at
    the end, because a network that was pruned or factored recovers sooner with its norms.
    `training` is what the network is retrained with; None for weights that were not trained here,
    which then are not retrained (`retrain_epochs` must be 0).

    Nothing is chosen by the test set. Equal requests give equal values on one machine's CPU
    with one thread. Raises `ValueError` for a network that the method cannot take, where data are
    needed and missing, and where retraining diverges.
    """
    if training is None and settings.retrain_epochs:
        raise ValueError(
            f"`retrain_epochs` must be 0 without data to train on, got {settings.retrain_epochs}"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise ValueError("`model` must have finite weights, got infinite ones or NaN")
    check_described(model)  # a network that cannot be stored is not trained
    network = copy.deepcopy(model)
    if training is not None:
        network.to(training.device)
    return METHODS[settings.method](network, training, settings)
