"""Dynamic fixed point for weights and activations: Ristretto (Gysel 2016, arXiv:1605.06402)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter

import torch
from torch import Tensor, nn

from dse.coding.tensors import CompressedModel
from dse.compress.fixed_values import round_layer, rounded_values
from dse.compress.networks import INPUT, compressed, fold, layers, round_activations
from dse.compress.retrain import (
    Retraining,
    release,
    retrain,
    tune,
    val_top1,
)
from dse.compress.rounding import activation_fraction
from dse.trial.compression import Settings, stages

WIDTHS = (16, 8, 4, 2, 1)
"""The widths that are tried, bits."""

BATCHES = 10
"""Training batches over which the largest activations are taken."""

Formats = Mapping[str, tuple[int, int]]


def ristretto(
    network: nn.Module, training: Retraining | None, settings: Settings
) -> CompressedModel:
    """Retrain a network in place, fold its norms, give its weights and activations fixed points,
    and retrain with these.

    The widths are those of three groups: weights of convolutions, weights of linear layers, and
    activations. Each is the narrowest that loses at most `margin` points of `val_top1` while the
    others are floats; for weights, `bits` is the widest. A bias has the width of its layer's weight
    and a point of its own (Ristretto's shares the weight's: folded biases are larger).

    Raises `ValueError` without images to measure activations on.
    """
    if training is None:
        raise ValueError("`method` ristretto needs the data that the network was trained on")
    first, tuning = stages(settings.retrain_epochs)
    retrain(network, training, settings, first)
    network = fold(network)
    least = val_top1(network, training) - settings.margin

    widths = _weight_widths(network, training, settings.bits, least)
    own = _activation_formats(network, training, least)
    for name, layer in layers(network).items():
        round_layer(layer, widths[name])
    with rounded(network, own):
        tune(network, training, settings, tuning, first)
    return compressed(network, rounded_values(network), own)


def narrowest(widths: Iterable[int], top1: Callable[[int], float], least: float) -> int:
    """The last of descending widths before the first whose accuracy is below `least`; the first
    one where there is none.

    >>> narrowest((8, 4, 2), {8: 90.0, 4: 89.6, 2: 50.0}.__getitem__, 89.5)
    4
    """
    best, *rest = widths
    if top1(best) < least:
        return best
    for width in rest:
        if top1(width) < least:
            break
        best = width
    return best


# Weights ----------------------------------------------------------------------------------------


def _weight_widths(
    network: nn.Module, training: Retraining, bits: int, least: float
) -> dict[str, int]:
    """The width of each layer's weights: one for all convolutions, one for all linear layers."""
    allowed = (bits, *(width for width in WIDTHS if width < bits))
    found: dict[str, int] = {}
    for kind in (nn.Conv2d, nn.Linear):
        group = {name: m for name, m in layers(network).items() if isinstance(m, kind)}

        def top1(width: int, group: Iterable[nn.Module] = tuple(group.values())) -> float:
            for layer in group:
                round_layer(layer, width)
            try:
                return val_top1(network, training)
            finally:
                for layer in group:
                    for name in ("weight", "bias"):
                        release(layer, name, keep=False)

        if group:
            found |= dict.fromkeys(group, narrowest(allowed, top1, least))
    return found


# Activations ------------------------------------------------------------------------------------


@torch.no_grad()
def activations(network: nn.Module, training: Retraining) -> dict[str, float]:
    """The largest magnitude of the input and of each layer's output over ten training batches."""
    largest = dict.fromkeys((INPUT, *layers(network)), 0.0)

    def see(name: str, x: Tensor) -> None:
        largest[name] = max(largest[name], float(x.abs().max()))

    handles = [
        layer.register_forward_hook(lambda _, x, y, name=name: see(name, y))
        for name, layer in layers(network).items()
    ]
    batches = training.data.train_batches(training.recipe.batch_size, training.seed, 1)
    for x, _ in islice(batches, BATCHES):
        see(INPUT, x)
        network(x)
    for handle in handles:
        handle.remove()
    return largest


def formats(largest: Mapping[str, float], width: int, spare: int) -> dict[str, tuple[int, int]]:
    """The format of each activation, (width, fraction length), with `spare` integer bits more than
    Ristretto's."""
    return {
        name: (width, activation_fraction(value, width) - spare) for name, value in largest.items()
    }


def _activation_formats(
    network: nn.Module, training: Retraining, least: float
) -> dict[str, tuple[int, int]]:
    """The formats of the narrowest width that is accurate enough, with the better of two points.

    With Ristretto's, values above half of the largest power of two saturate. Networks whose
    activations have no long tail lose many points by that at any width; with one integer bit more
    nothing saturates.
    """
    largest = activations(network, training)

    @functools.cache
    def best(width: int) -> tuple[float, dict[str, tuple[int, int]]]:
        tried = [formats(largest, width, spare) for spare in (0, 1)]
        return max(((_top1_with(network, training, own), own) for own in tried), key=itemgetter(0))

    return best(narrowest(WIDTHS, lambda width: best(width)[0], least))[1]


@contextmanager
def rounded(network: nn.Module, own: Formats) -> Iterator[None]:
    """A network's activations have their formats within this context."""
    handles = round_activations(network, own)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _top1_with(network: nn.Module, training: Retraining, own: Formats) -> float:
    with rounded(network, own):
        return val_top1(network, training)
