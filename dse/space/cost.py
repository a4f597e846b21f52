"""The exact cost of every network of the space, known before one is trained.

All costs are integers from closed forms, at batch 1, for one architecture (`cost`, `layers`)
or for whole grids at once (`dse.space.grid`), with the same formulas. Nothing here imports torch.

Conventions, each checked against the real module in the tests:

- `params`: weights and biases of the convolutions and linear layers; with norm, a convolution has
  no bias and its norm has a scale and a shift.
- `macs`: multiply-accumulates of these layers, padding included (as torch's flop counter).
- `activations`: outputs of these layers (pycls' definition).
- `peak_activation_bytes`: float32 inference with norm folded into the convolutions. A tensor
  lives from the operation that makes it to the last one that reads it; ReLU and the sum of a
  bypass work in place; a Fire module runs squeeze, expand1x1, expand3x3, concatenation, then its
  wire.
- `size_bytes`: float32 parameters and, with norm, its two running statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dse.space.alexnet import AlexNet
from dse.space.architecture import (
    FIRES,
    Architecture,
    Layout,
    map_sizes,
)
from dse.space.rules import expect, split

BYTES = 4
"""Bytes of a float32."""

# A count is an int for one architecture, an int64 array for a grid: the formulas are the same.
Count = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The cost of a network at batch 1: integers, or int64 arrays of one shape for a grid."""

    params: Count
    macs: Count
    activations: Count
    peak_activation_bytes: Count
    size_bytes: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost:
    """One layer's share: `side` and `channels` of its output map, then the counts.

    `live` is the number of activations alive while it runs.
    """

    name: str
    side: int
    channels: Count
    params: Count
    statistics: Count
    macs: Count
    activations: Count
    live: Count


def cost(architecture: Architecture | AlexNet, image_size: int) -> Cost:
    """The cost of one network for square images of `image_size` pixels (1 .. 2048).

    >>> from dse.space.architecture import Metaparameters, generate
    >>> cost(generate(Metaparameters()), 224).params
    1248424

    Raises `ValueError` where the image is too small for the network.
    """
    return total(layers(architecture, image_size))


def layers(architecture: Architecture | AlexNet, image_size: int) -> list[LayerCost]:
    """Each layer's share of the cost, in order: conv1, pool1, fire2, ... conv10, pool10; of
    AlexNet conv1, pool1, conv2, ... fc8."""
    if isinstance(architecture, AlexNet):
        return list(_alexnet(architecture, image_size))
    expect("architecture", architecture, Architecture)
    a = architecture
    return list(
        walk(
            a.layout,
            image_size,
            in_channels=a.in_channels,
            conv10=a.conv10_filters,
            squeeze=[f.s1x1 for f in a.fires],
            expand3x3=[f.e3x3 for f in a.fires],
            expand=[f.filters for f in a.fires],
            wires=[None if f.wire == "none" else 1 for f in a.fires],
            conv=[1 if f.wire == "conv" else None for f in a.fires],
        )
    )


def mebibytes(size_bytes: float) -> float:
    """Bytes as MiB (2**20 bytes): the unit that the paper's "MB" labels mean."""
    return size_bytes / 2**20


def size_label(size_bytes: int) -> str:
    """The size as the paper's Figure 3 prints it: MiB rounded up, as `ls -lh` does.

    One decimal below 10, a whole number above.

    >>> size_label(4 * 1_248_424), size_label(4 * 3_404_392)
    ('4.8', '13')
    """
    tenths = -(-size_bytes * 10 // 2**20)
    return f"{tenths // 10}.{tenths % 10}" if tenths < 100 else str(-(-size_bytes // 2**20))


# The formulas -------------------------------------------------------------------------------


def walk(
    layout: Layout,
    image_size: int,
    *,
    in_channels: int,
    conv10: tuple[int, ...],
    squeeze: list[Count],
    expand3x3: list[Count],
    expand: list[Count],
    wires: list[Count],
    conv: list[Count],
) -> Iterator[LayerCost]:
    """Each layer's cost.

    `wires` is 1 where a Fire module has a wire and `conv` where that is a 1x1 convolution; None
    means no network has one there.
    """
    sides = map_sizes(layout, image_size)
    pools, strided = split(layout.pool_after), split(layout.strided_fires)
    norm = layout.norm == "batch"

    def entry(
        name: str, channels: Count, live: Count, *,
        weights: Count = 0, filters: Count = 0, normed: bool = norm,
    ) -> LayerCost:  # fmt: skip
        """A layer of `weights` and of `filters`, each with a bias or a norm."""
        side = sides.get(name, 1)
        return LayerCost(
            name=name,
            side=side,
            channels=channels,
            params=weights + (2 * filters if normed else filters),
            statistics=2 * filters if normed else 0,
            macs=side * side * weights,
            activations=side * side * filters,
            live=live,
        )

    # `here` is the number of activations in the next layer's input.
    channels: Count = layout.conv1_filters
    here: Count = sides["conv1"] ** 2 * channels
    weights: Count = layout.conv1_kernel**2 * in_channels * channels
    image = int(image_size) ** 2 * in_channels
    yield entry("conv1", channels, image + here, weights=weights, filters=channels)

    for number in (1, *FIRES):
        if number > 1:
            i, name = number - 2, f"fire{number}"
            s, e, e3 = squeeze[i], expand[i], expand3x3[i]
            k = 3 if number in strided else 1
            weights = s * (k * k * channels + e + 8 * e3)  # e1x1 + 9 e3x3 = e + 8 e3x3
            filters = s + e
            if conv[i] is not None:
                wire = conv[i] * e
                weights, filters = weights + channels * wire, filters + wire

            # Alive at most: input and squeeze; both expands and the squeeze; both expands and
            # their concatenation (a 1x1 wire takes no more). A wire keeps the input alive.
            area = sides[name] ** 2
            before, here, reduced = here, area * e, area * s
            busy = here + _most(reduced, here)
            if wires[i] is not None:
                busy = busy + wires[i] * before
            live = _most(before + reduced, busy)
            channels = e
            yield entry(name, channels, live, weights=weights, filters=filters)
        if number in pools:
            name = f"pool{number}"
            before, here = here, sides[name] ** 2 * channels
            yield entry(name, channels, before + here)

    # Parts of a split conv10 are concatenated.
    total, side = sum(conv10), sides["conv10"]
    done = side * side * total
    live = here + done if len(conv10) == 1 else _most(here + done, 2 * done)
    yield entry("conv10", total, live, weights=channels * total, filters=total, normed=False)
    yield entry("pool10", total, done + total)


def _alexnet(a: AlexNet, image_size: int) -> Iterator[LayerCost]:
    """Each layer's cost; while one runs, its input and its output are alive."""
    sides, norm = a.map_sizes(image_size), a.norm == "batch"
    channels, here = a.in_channels, image_size**2 * a.in_channels
    for number, conv in enumerate(a.convolutions, 1):
        weights = conv.filters * (channels // conv.groups) * conv.kernel**2
        channels, area = conv.filters, sides[f"conv{number}"] ** 2
        before, here = here, area * channels
        yield LayerCost(
            name=f"conv{number}",
            side=sides[f"conv{number}"],
            channels=channels,
            params=weights + (2 if norm else 1) * channels,
            statistics=2 * channels if norm else 0,
            macs=area * weights,
            activations=here,
            live=before + here,
        )
        if conv.pool:
            side = sides[f"pool{number}"]
            before, here = here, side**2 * channels
            yield LayerCost(
                name=f"pool{number}",
                side=side,
                channels=channels,
                params=0,
                statistics=0,
                macs=0,
                activations=0,
                live=before + here,
            )
    for number, outputs in enumerate((*a.linear, a.num_classes), 6):
        yield LayerCost(
            name=f"fc{number}",
            side=1,
            channels=outputs,
            params=(here + 1) * outputs,
            statistics=0,
            macs=here * outputs,
            activations=outputs,
            live=here + outputs,
        )
        here = outputs


def _most(a: Count, b: Count) -> Count:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)


def total(steps: Iterable[LayerCost]) -> Cost:
    """The cost of all layers together."""
    params: Count = 0
    macs = activations = statistics = peak = params
    for step in steps:
        params = params + step.params
        macs = macs + step.macs
        activations = activations + step.activations
        statistics = statistics + step.statistics
        peak = _most(peak, step.live)
    return Cost(
        params=params,
        macs=macs,
        activations=activations,
        peak_activation_bytes=BYTES * peak,
        size_bytes=BYTES * (params + statistics),
    )
