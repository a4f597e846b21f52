"""The exact cost of every network of the space, known before one is trained.

All costs are integers from closed forms, at batch 1, for one architecture (`cost`, `layers`)
or for whole grids at once (`grid`); both walk the same formulas. Nothing here imports torch.

Conventions, each checked against the real module in the tests:

- `params`: weights and biases of the convolutions; with norm, a convolution has no bias and its
  norm has a scale and a shift.
- `macs`: multiply-accumulates of the convolutions, padding included (as torch's flop counter).
- `activations`: outputs of the convolutions (pycls' definition).
- `peak_activation_bytes`: float32 inference with norm folded into the convolutions. A tensor
  lives from the operation that makes it to the last one that reads it; ReLU and the sum of a
  bypass work in place; a Fire module runs squeeze, expand1x1, expand3x3, concatenation, then its
  wire.
- `size_bytes`: float32 parameters and, with norm, its two running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dse.space.architecture import (
    FIRES,
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    conv10_filters,
    map_sizes,
    round_half_up,
)
from dse.space.rules import expect, mistakes, split

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


def cost(architecture: Architecture, image_size: int) -> Cost:
    """The cost of one network for square pictures of `image_size` pixels (1 .. 2048).

    >>> from dse.space.architecture import generate
    >>> cost(generate(Metaparameters()), 224).params
    1248424

    Raises `ValueError` where the picture is too small for the layout.
    """
    return _total(layers(architecture, image_size))


def layers(architecture: Architecture, image_size: int) -> list[LayerCost]:
    """Each layer's share of the cost, in order: conv1, pool1, fire2, ... conv10, pool10."""
    expect("architecture", architecture, Architecture)
    a = architecture
    return list(
        _walk(
            a.layout,
            image_size,
            in_channels=a.in_channels,
            conv10=conv10_filters(a.layout, a.num_classes),
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


def _walk(
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
    picture = int(image_size) ** 2 * in_channels
    yield entry("conv1", channels, picture + here, weights=weights, filters=channels)

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


def _most(a: Count, b: Count) -> Count:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)


def _total(steps: Iterable[LayerCost]) -> Cost:
    params: Count = 0
    macs: Count = 0
    activations: Count = 0
    statistics: Count = 0
    peak: Count = 0
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


# Whole grids --------------------------------------------------------------------------------

_CHUNK = 8192  # points at a time, so that the arrays of one step stay in the processor's cache


def grid(
    layout: Layout,
    image_size: int,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    **metaparameters: ArrayLike,
) -> Cost:
    """The cost of a whole grid of metaparameters in one layout, as int64 arrays.

    Each metaparameter is a value or an array; they are broadcast against each other and the
    result has the broadcast shape. The others keep their defaults.

    >>> grid(Layout(), 224, sr=[0.125, 0.25]).params
    array([1248424, 1967080])

    Raises `ValueError` as `generate` does, for the first bad value of each metaparameter.
    """
    expect("layout", layout, Layout)
    default = Metaparameters()
    names = Metaparameters.__slots__
    columns = {n: np.asarray(metaparameters.get(n, getattr(default, n))) for n in names}
    lines = [
        f"unknown metaparameter `{name}`; known are {', '.join(names)}"
        for name in sorted(set(metaparameters) - set(names))
    ]
    lines += mistakes(Architecture, {"num_classes": num_classes, "in_channels": in_channels})
    lines += _column_mistakes(columns, layout)
    if lines:
        raise ValueError("\n".join(lines))
    shape = np.broadcast_shapes(*(c.shape for c in columns.values()))
    total = int(np.prod(shape, dtype=np.int64))

    flat = {
        n: c.reshape(-1) if c.size == 1 else np.broadcast_to(c, shape).reshape(-1)
        for n, c in columns.items()
    }
    parts = np.empty((5, total), dtype=np.int64)
    conv10 = conv10_filters(layout, int(num_classes))
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        chunk = {n: c if c.size == 1 else c[start:stop] for n, c in flat.items()}
        part = _total(
            _walk(
                layout,
                image_size,
                in_channels=int(in_channels),
                conv10=conv10,
                **_fire_counts(chunk, layout),
            )
        )
        for row, name in enumerate(Cost.__slots__):
            parts[row, start:stop] = getattr(part, name)
    return Cost(**{n: parts[row].reshape(shape) for row, n in enumerate(Cost.__slots__)})


def _column_mistakes(columns: dict[str, NDArray[Any]], layout: Layout) -> list[str]:
    """The first mistake in each column, by itself or with the layout."""
    lines = []
    for name, column in columns.items():
        for value in _worst(column):
            wrong = mistakes(Metaparameters, {name: value})
            wrong = wrong or conflicts(Metaparameters(**{name: value}), layout)
            if wrong:
                lines += wrong
                break
    return lines


def _worst(column: NDArray[Any]) -> list[Any]:
    """Values of a column that break its rule if any does.

    Of numbers: the least and the greatest (a NaN would be both) and a fraction. Of others: all.
    """
    column = column.reshape(-1)
    if column.dtype.kind in "iuf" and column.size:
        fraction = column[np.argmax(column != np.floor(column))]
        return [column.min().item(), column.max().item(), fraction.item()]
    different = np.unique(column) if column.dtype.kind == "U" else column
    return list(dict.fromkeys(different.tolist()))


def _fire_counts(columns: dict[str, NDArray[Any]], layout: Layout) -> dict[str, list[Count]]:
    """Filters and wires of fire2 .. fire9 as arrays: `generate` for a whole grid."""
    base_e = columns["base_e"].astype(np.int64)
    incr_e = columns["incr_e"].astype(np.int64)
    freq = columns["freq"].astype(np.int64)
    steps = np.array([[i // max(f, 1) for f in range(len(FIRES) + 1)] for i in range(len(FIRES))])
    simple = columns["bypass"] == "simple"
    wide = columns["bypass"] == "complex"
    bypassed = bool((simple | wide).any())
    round_e3 = _rounding(columns["pct3x3"].astype(np.float64))
    round_s = _rounding(columns["sr"].astype(np.float64))
    listed_e, listed_s = split(layout.expand_filters), split(layout.squeeze_filters)
    strided = split(layout.strided_fires)

    counts: dict[str, list[Count]] = {
        n: [] for n in ("squeeze", "expand3x3", "expand", "wires", "conv")
    }
    inputs: Count = layout.conv1_filters
    for i, number in enumerate(FIRES):
        e = np.array([listed_e[i]]) if listed_e else base_e + incr_e * steps[i][freq]
        counts["expand"].append(e)
        counts["expand3x3"].append(np.minimum(np.maximum(round_e3(e), 1), e - 1))
        counts["squeeze"].append(listed_s[i] if listed_s else np.maximum(round_s(e), 1))
        if bypassed:
            kept = np.zeros(1, bool) if number in strided else e == inputs
            counts["wires"].append((wide | (simple & kept)).astype(np.int64))
            counts["conv"].append((wide & ~kept).astype(np.int64))
        else:
            counts["wires"].append(None)
            counts["conv"].append(None)
        inputs = e
    return counts


def _rounding(ratio: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """`round_half_up` of `ratio` for arrays of filter counts.

    Ratios of at most six decimals are whole millionths, whose products are exact in a double. For
    the others a double's product is off by a few parts in 2**53, so only those that close to a
    half need the decimal that the user wrote.
    """
    million = 1e6
    scaled = np.rint(ratio * million)
    short = scaled / million == ratio

    def by_millionths(e: NDArray[np.int64]) -> NDArray[np.int64]:
        product: NDArray[np.float64] = scaled * e
        return ((product + 0.5 * million) / million).astype(np.int64)

    def mixed(e: NDArray[np.int64]) -> NDArray[np.int64]:
        shifted = ratio * e + 0.5
        result = np.where(short, by_millionths(e), shifted.astype(np.int64))
        near = ~short & (np.abs(shifted - np.rint(shifted)) <= 1e-15 * shifted)
        ratios, filters = np.broadcast_arrays(ratio, e)
        for place in np.argwhere(near):
            at = tuple(place)
            result[at] = round_half_up(float(ratios[at]), int(filters[at]))
        return result

    return by_millionths if short.all() else mixed
