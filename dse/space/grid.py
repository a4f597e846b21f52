"""The cost of whole grids of networks at once, as arrays."""

from __future__ import annotations

from collections.abc import Callable
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
    round_half_up,
)
from dse.space.cost import Cost, Count, total, walk
from dse.space.rules import expect, mistakes, split

_CHUNK = 8192  # points at a time, so that the arrays of one step stay in the CPU's cache


def cost_grid(
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

    >>> cost_grid(Layout(), 224, sr=[0.125, 0.25]).params
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
    count = int(np.prod(shape, dtype=np.int64))

    flat = {
        n: c.reshape(-1) if c.size == 1 else np.broadcast_to(c, shape).reshape(-1)
        for n, c in columns.items()
    }
    parts = np.empty((5, count), dtype=np.int64)
    conv10 = conv10_filters(layout, int(num_classes))
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        chunk = {n: c if c.size == 1 else c[start:stop] for n, c in flat.items()}
        part = total(
            walk(
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
