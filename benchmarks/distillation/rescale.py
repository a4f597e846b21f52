"""Steps of fixed point for a network, by how much each weight matters, and the scales they need.

Channels of a network of convolutions and ReLUs can be rescaled without changing what it computes:
a filter times `a`, and the weights that read its output divided by `a`. So one step for a whole
layer, a power of two, can be right for channels that matter differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from dse.space.architecture import FIRES, Architecture

Doubles = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.floating]]

ITERATIONS = 60


def sources(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """For each convolution, those whose outputs it reads, concatenated; conv1 reads the picture.

    Raises `ValueError` for a network with bypass connections or more than one conv10, where other
    layers share a channel's scale.
    """
    if architecture.bypass != "none" or len(architecture.conv10_filters) > 1:
        raise ValueError("the network must have no bypass connections and one conv10")
    found: dict[str, tuple[str, ...]] = {"conv1": ()}
    before: tuple[str, ...] = ("conv1",)
    for number in FIRES:
        squeeze = f"fire{number}.squeeze"
        found[squeeze] = before
        before = (f"fire{number}.expand1x1", f"fire{number}.expand3x3")
        found |= dict.fromkeys(before, (squeeze,))
    return found | {"conv10": before}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """`log2_steps` of each layer's weights, and the factors of weights (filters, inputs, 1, 1) and
    of biases (filters) that rescale the network."""

    log2_steps: Mapping[str, int]
    weight_factors: Mapping[str, Doubles]
    bias_factors: Mapping[str, Doubles]


def optimal_step(sensitivity: float, price: float) -> int:
    """The logarithm of the step, to base 2, at which a bit costs `price`: for a mean sensitivity of
    weights, `sensitivity * step**2 / 12 = price / log(2)`. From -20 to 0.

    >>> optimal_step(12, math.log(2) / 4)
    -1
    """
    if sensitivity <= 0:
        return 0
    return min(0, max(-20, round(0.5 * math.log2(12 * price / math.log(2) / sensitivity))))


def optimise(
    weights: Arrays, sensitivity: Arrays, architecture: Architecture, price: float
) -> Scales:
    """The steps and scales at which an error costs as much as the bits that would lower it.

    `weights` and `sensitivity` (the Fisher information of each weight) are by layer, (filters,
    inputs, kh, kw). With `s` the step of a weight as the original network has it, minimises

        sum of sensitivity * s**2 / 24   (a rounding error's share of the KL divergence, nats)
        + `price` * sum of log2(root mean square of the layer's weights / step)   (bits)

    first over real steps and scales, then over the scales alone, with steps of powers of two.
    """
    groups = _groups(weights, sensitivity, sources(architecture))
    start = np.log(2) * np.array([optimal_step(mean, price) for mean in groups.mean_sensitivity])
    scales, steps = _minimise(groups, price, np.zeros(groups.channels), start, free=True)
    log2_steps = np.round(steps / np.log(2)).astype(int)
    scales, _ = _minimise(groups, price, scales, log2_steps * np.log(2), free=False)
    outs = {name: np.exp(np.append(scales, 0)[own]) for name, own in groups.outputs.items()}
    ins = {name: np.exp(np.append(scales, 0)[own]) for name, own in groups.inputs.items()}
    return Scales(
        log2_steps=dict(zip(weights, log2_steps.tolist(), strict=True)),
        weight_factors={n: (outs[n][:, None] / ins[n][None])[:, :, None, None] for n in weights},
        bias_factors=outs,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Groups:
    """The weights of a network by layer, filter and input channel: arrays with an entry for each
    group. A scale's number is its channel's; `channels` is that of what is not rescaled."""

    channels: int
    outputs: dict[str, NDArray[np.int64]]
    inputs: dict[str, NDArray[np.int64]]
    mean_sensitivity: list[float]
    layer: NDArray[np.int64]
    output: NDArray[np.int64]
    input: NDArray[np.int64]
    sensitivity: Doubles
    energy: Doubles
    count: Doubles  # of weights, for each layer


def _groups(weights: Arrays, sensitivity: Arrays, reads: Mapping[str, tuple[str, ...]]) -> _Groups:
    outputs: dict[str, NDArray[np.int64]] = {}
    channels = 0
    for name in reads:
        if name != "conv10":
            outputs[name] = np.arange(channels, channels := channels + len(weights[name]))
    outputs["conv10"] = np.full(len(weights["conv10"]), channels)
    inputs = {n: np.concatenate([outputs[r] for r in own]) for n, own in reads.items() if own}
    inputs["conv1"] = np.full(weights["conv1"].shape[1], channels)
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for number, (name, weight) in enumerate(weights.items()):
        kept = weight != 0
        row, column = np.nonzero(kept.any((2, 3)))
        parts.append((
            np.full(len(row), number), outputs[name][row], inputs[name][column],
            (sensitivity[name] * kept).sum((2, 3), np.float64)[row, column],
            np.square(weight, dtype=np.float64).sum((2, 3))[row, column],
        ))  # fmt: skip
    layer, output, input_, known, energy = (np.concatenate(p) for p in zip(*parts, strict=True))
    count = np.array([max(1, np.count_nonzero(w)) for w in weights.values()], np.float64)
    return _Groups(
        channels=channels, outputs=outputs, inputs=inputs, count=count,
        mean_sensitivity=(np.bincount(layer, known, len(count)) / count).tolist(),
        layer=layer, output=output, input=input_, sensitivity=known, energy=energy,
    )  # fmt: skip


def _minimise(
    groups: _Groups, price: float, scales: Doubles, steps: Doubles, *, free: bool
) -> tuple[Doubles, Doubles]:
    """Log scales and log steps (fixed unless `free`) at the least cost, in bits."""
    channels, layers = groups.channels, len(steps)

    def cost(point: Doubles) -> tuple[float, Doubles]:
        own = np.append(point[:channels], 0)
        step = point[channels:] if free else steps
        factor = own[groups.output] - own[groups.input]
        error = groups.sensitivity * np.exp(2 * (step[groups.layer] - factor)) / (24 * price)
        power = groups.energy * np.exp(2 * factor)
        total = np.bincount(groups.layer, power, layers) + 1e-300
        bits = groups.count * (0.5 * np.log(total / groups.count) - step) / np.log(2)
        slope = power * (groups.count / total)[groups.layer] / np.log(2) - 2 * error
        by_channel = np.bincount(groups.output, slope, channels + 1)
        by_channel -= np.bincount(groups.input, slope, channels + 1)
        by_step = 2 * np.bincount(groups.layer, error, layers) - groups.count / np.log(2)
        gradient = np.concatenate([by_channel[:channels], by_step if free else []])
        return float(error.sum() + bits.sum()), gradient

    start = np.concatenate([scales, steps if free else []])
    options = {"maxiter": ITERATIONS, "maxcor": 20}
    found = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=[(-20, 20)] * len(start), options=options
    ).x
    return found[:channels], found[channels:] if free else steps
