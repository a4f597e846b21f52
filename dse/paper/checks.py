"""How each claim is computed: from the space, its cost, or other published numbers.

A claim without a check needs a network trained on ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial

from dse.paper import published as paper
from dse.paper.claims import CLAIMS
from dse.paper.table1 import biases, pruned, table1, tensors
from dse.space.architecture import (
    FIRES,
    LAYOUTS,
    MAX_PIXELS,
    V1_0,
    Metaparameters,
    generate,
    map_sizes,
)
from dse.space.cost import BYTES, Cost, cost
from dse.space.rules import split

Value = int | Decimal | str
Compute = Callable[[], Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How a claim is computed, and the name of the comparison with what was printed."""

    comparison: str
    compute: Compute


ROW_1 = {row.layer: row for row in paper.TABLE_1}
ROW_2 = {row.key: row for row in paper.TABLE_2}
ROW_3 = {row.bypass: row for row in paper.TABLE_3}
FIRE_ROWS = [row for row in paper.TABLE_1 if row.depth == 2]
WIDTHS = [row.output[2] for row in FIRE_ROWS]
PUBLISHED = {claim.id: claim.published for claim in CLAIMS}
CROP = paper.SOLVER.crop_size
MILLION = Decimal(10) ** 6


# Networks of the space ----------------------------------------------------------------------


def _cost(layout: str, image_size: int) -> Cost:
    return cost(generate(Metaparameters(), LAYOUTS[layout]), image_size)


def _size(**metaparameters: object) -> int:
    """Bytes of a network of the space in v1.0's layout."""
    values = Metaparameters(**metaparameters)  # type: ignore[arg-type]
    return int(cost(generate(values), CROP).size_bytes)


def _operations(layout: str) -> Decimal:
    """Operations in 10**9, two for each multiply-accumulate, at the authors' picture size."""
    return 2 * Decimal(_cost(layout, CROP).macs) / 10**9


@cache
def _rows(layout: str = "v1_0") -> Mapping[str, paper.Table1Row]:
    """The pruned rows of Table 1, computed."""
    rows = table1(generate(Metaparameters(), LAYOUTS[layout]), CROP)
    return {row.layer: row for row in pruned(rows)}


def _cell(layer: str, column: str) -> Value:
    value: Value = getattr(_rows()[layer], column)
    return value


def _filters(layer: str) -> str:
    row = _rows()[layer]
    return f"{row.s1x1}/{row.e1x1}/{row.e3x3}"


def _smallest_picture(layout: str) -> int:
    """Side of the smallest picture that a layout accepts, pixels."""

    def fits(side: int) -> bool:
        try:
            return bool(map_sizes(LAYOUTS[layout], side))
        except ValueError:
            return False

    return next(side for side in range(1, MAX_PIXELS) if fits(side))


def _picture() -> str:
    """The smallest picture whose conv1 map is Table 1's."""
    wanted, channels = ROW_1["conv1"].output[0], ROW_1["input"].output[2]
    sides = range(_smallest_picture("v1_0"), MAX_PIXELS)
    side = next(side for side in sides if map_sizes(V1_0, side)["conv1"] == wanted)
    return f"{side}x{side}x{channels}"


def _pools() -> str:
    names = {1: "conv1", **{number: f"fire{number}" for number in FIRES}}
    return ", ".join(names[number] for number in split(V1_0.pool_after))


# Published numbers --------------------------------------------------------------------------


def _same(values: Iterable[Value]) -> str:
    """The value that all Fire modules share (or all values, where they differ)."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _marker(points: Sequence[paper.Point], value: float) -> str:
    return next(str(point.top5) for point in points if point.value == value)


def _top5_of_size(size_label: str) -> str:
    return next(str(p.top5) for p in paper.FIGURE_3A if p.size_label == size_label)


def _gain(column: str) -> Decimal:
    simple, none = (Decimal(str(getattr(ROW_3[b], column))) for b in ("simple", "none"))
    return simple - none


def _params(network: Iterable[paper.Layer]) -> int:
    return sum(layer.params for layer in network)


def _ratio(large: str, small: str) -> Decimal:
    """One size of Table 2 to another, both as printed."""
    return Decimal(ROW_2[large].size) / Decimal(ROW_2[small].size)


def _accuracy(key: str, column: str) -> Decimal:
    return 100 - Decimal(str(getattr(paper.ALEXNET_RESULTS[key], f"{column}_error")))


def _conv10_sparsity() -> Decimal:
    row = ROW_1["conv10"]
    kept = Decimal((row.params_after or 0) - biases(row)) / ((row.params or 0) - biases(row))
    return 100 * (1 - kept)


# The released compressed file ---------------------------------------------------------------


def _all_biases() -> int:
    return sum(biases(row) for row in paper.TABLE_1)


def _released_weights() -> int:
    return sum(paper.RELEASED_ENTRIES) - paper.RELEASED_FILLERS


def _released_bytes(code_bits: int) -> int:
    """Bytes of the released file's layout: counts, codebooks, biases, codes, 4-bit indices."""
    counts = paper.RELEASED_ENTRIES
    tables = len(counts) * (BYTES + (1 << code_bits) * BYTES) + _all_biases() * BYTES
    return tables + sum(-(-n * code_bits // 8) + -(-n * 4 // 8) for n in counts)


def _released_kib() -> int:
    return -(-_released_bytes(8) // 2**10)


def six_bit_bytes() -> Decimal:
    """Table 1's parameters at 6 bits and a 4-bit index for each weight of a sparse tensor."""
    dense, inputs = 0, ROW_1["input"].output[2]
    for row in paper.TABLE_1:
        if row.kept:
            pairs = zip(tensors(row, inputs), row.kept, strict=True)
            dense += sum(weights for weights, kept in pairs if kept == 100)
        inputs = row.output[2]
    sparse = paper.TABLE_1_PARAMS_AFTER - _all_biases() - dense
    return Decimal(6 * paper.TABLE_1_PARAMS_AFTER + 4 * sparse) / 8


# The checks, by comparison ------------------------------------------------------------------

_FIGURES = (("a", paper.FIGURE_3A), ("b", paper.FIGURE_3B))

_EXACT: dict[str, Compute] = {
    "section3.3.fires": lambda: len(generate(Metaparameters()).fires),
    "section3.3.pools": _pools,
    **{f"table1.{layer}.output": partial(_cell, layer, "shape") for layer in ROW_1},
    "table1.input.output": _picture,
    **{f"table1.{row.layer}.filters": partial(_filters, row.layer) for row in FIRE_ROWS},
    **{
        f"table1.{row.layer}.{column}": partial(_cell, row.layer, column)
        for row in paper.TABLE_1
        for column in ("kept_filter", "params", "params_after")
        if getattr(row, column)
    },
    "table1.total.params": lambda: int(_cost("v1_0", CROP).params),
    "table1.total.params_after": lambda: sum(row.params_after or 0 for row in paper.TABLE_1),
    "table1.conv10.authors_output": lambda: _rows("v1_0_caffe")["conv10"].shape,
    "section5.1.dimensions": lambda: 3 * len(generate(Metaparameters()).fires),
    "section5.1.base_e": lambda: WIDTHS[0],
    "section5.1.freq": lambda: WIDTHS.count(WIDTHS[0]),
    "section5.1.incr_e": lambda: _same(
        b - a for a, b in zip(WIDTHS[::2], WIDTHS[2::2], strict=False)
    ),
    "section5.1.pct3x3": lambda: _same(Decimal(r.e3x3 or 0) / r.output[2] for r in FIRE_ROWS),
    "section5.1.sr": lambda: _same(Decimal(r.s1x1 or 0) / r.output[2] for r in FIRE_ROWS),
    "section5.2.first": lambda: _top5_of_size("4.8"),
    "section5.2.best": lambda: _top5_of_size("19"),
    "section5.2.plateau": lambda: _marker(paper.FIGURE_3A, 1.0),
    "section5.3.plateau": lambda: _marker(paper.FIGURE_3B, 0.5),
    **{
        f"figure3{name}.{point.value}.printed": partial(_marker, points, point.value)
        for name, points in _FIGURES
        for point in points
        if point.printed is not None
    },
    "figure3.shared": lambda: _marker(paper.FIGURE_3B, 0.5),
    "section6.simple": lambda: sum(
        fire.wire == "plain" for fire in generate(Metaparameters(bypass="simple")).fires
    ),
    "section6.bottleneck": lambda: _same(r.output[2] // (r.s1x1 or 1) for r in FIRE_ROWS),
    "solver.batch": lambda: paper.SOLVER.pictures_per_step,
    "solver.max_iter": lambda: (
        paper.OLD_SOLVER.max_iter
        * paper.OLD_SOLVER.pictures_per_step
        // paper.SOLVER.pictures_per_step
    ),
    "solver.test": lambda: paper.IMAGENET_VALIDATION_PICTURES // paper.SOLVER.test_batch_size,
    "released.size": _released_kib,
    "released.bytes": lambda: _released_bytes(8),
    "released.convolutions": lambda: (
        sum(row.depth == 1 for row in paper.TABLE_1) + 3 * len(FIRE_ROWS)
    ),
    "released.entries": lambda: sum(paper.RELEASED_ENTRIES),
    "released.weights": _released_weights,
    "alexnet.caffe.params": lambda: _params(paper.ALEXNET_CAFFE),
    "deep_compression.index_bits": lambda: paper.ALEXNET_DENSE_INDEX_BITS,
    "torchvision.alexnet.params": lambda: _params(paper.ALEXNET_TORCHVISION),
    "torchvision.v1_0.params": lambda: int(_cost("v1_0", 224).params),
    "torchvision.v1_1.params": lambda: int(_cost("v1_1", 224).params),
    "torchvision.v1_0.min_size": lambda: _smallest_picture("v1_0"),
    "torchvision.v1_1.min_size": lambda: _smallest_picture("v1_1"),
}

_ROUNDED: dict[str, Compute] = {
    "abstract.fewer_params": lambda: (
        Decimal(_params(paper.ALEXNET_CAFFE)) / _cost("v1_0", 224).params
    ),
    "section3.3.1.base_lr": lambda: Decimal(str(paper.SOLVER.base_lr)),
    "section3.3.1.dropout": lambda: 100 * Decimal(str(paper.SOLVER.dropout)),
    "table1.sparsity": _conv10_sparsity,
    **{
        f"table2.{row.key}.ratio": partial(_ratio, "alexnet", row.key)
        for row in paper.TABLE_2
        if row.ratio > 1
    },
    **{
        f"table2.{key}.{column}": partial(_accuracy, key, column)
        for key in paper.ALEXNET_RESULTS
        for column in ("top1", "top5")
    },
    "table2.svd.size": lambda: Decimal(str(paper.SVD_ALEXNET_MB)),
    "table2.squeezenet_8bit.size": lambda: Decimal(_released_kib()) / 1000,
    "table2.squeezenet_6bit.size": lambda: six_bit_bytes() / MILLION,
    "table2.squeezenet_6bit.released_layout": lambda: _released_bytes(6) / MILLION,
    "section4.smaller": lambda: _ratio("deep_compression", "squeezenet"),
    "section4.compressed": lambda: _ratio("squeezenet", "squeezenet_6bit"),
    "section4.sparsity_8bit": lambda: (
        100 * Decimal(_released_weights()) / (paper.TABLE_1_PARAMS - _all_biases())
    ),
    "section4.sparsity_6bit": lambda: (
        100 * Decimal(paper.TABLE_1_PARAMS_AFTER) / paper.TABLE_1_PARAMS
    ),
    "section4.speedup_8bit": lambda: Decimal(32) / 8,
    "section4.speedup_6bit": lambda: Decimal(32) / 6,
    "section6.gain_top1": lambda: _gain("top1"),
    "section6.gain_top5": lambda: _gain("top5"),
    "section7.dsd": lambda: Decimal(PUBLISHED["dsd.top1"]) - Decimal(str(ROW_2["squeezenet"].top1)),
    "v1_0.gflops": lambda: _operations("v1_0_caffe"),
    "v1_1.gflops": lambda: _operations("v1_1"),
    "v1_1.less_computation": lambda: _operations("v1_0_caffe") / _operations("v1_1"),
    "pruning.params": lambda: _params(paper.ALEXNET_CAFFE) / MILLION,
    "pruning.ratio": lambda: Decimal(_params(paper.ALEXNET_CAFFE)) / paper.PRUNED_ALEXNET_PARAMS,
    "deep_compression.ratio": lambda: (
        Decimal(ROW_2["alexnet"].size) / Decimal(str(paper.QUANTIZED_ALEXNET_MB))
    ),
    "torchvision.v1_0.gmacs": lambda: Decimal(_cost("v1_0", 224).macs) / 10**9,
    "torchvision.v1_1.gmacs": lambda: Decimal(_cost("v1_1", 224).macs) / 10**9,
    "zynqnet.params": lambda: Decimal(_cost("zynqnet", 256).params) / MILLION,
    "zynqnet.macs": lambda: Decimal(_cost("zynqnet", 256).macs) / MILLION,
    "zynqnet.top5": lambda: 100 - Decimal(str(paper.ZYNQNET_TOP5_ERROR)),
}

_SIZE_LABEL: dict[str, Compute] = {
    "table2.alexnet.size": lambda: BYTES * _params(paper.ALEXNET_CAFFE),
    "table2.pruning.size": lambda: BYTES * paper.PRUNED_ALEXNET_PARAMS,
    "table2.squeezenet.size": _size,
    **{f"figure3a.{p.value}.size": partial(_size, sr=p.value) for p in paper.FIGURE_3A},
    **{f"figure3b.{p.value}.size": partial(_size, sr=0.5, pct3x3=p.value) for p in paper.FIGURE_3B},
    **{f"table3.{bypass}.size": partial(_size, bypass=bypass) for bypass in ROW_3},
    "deep_compression.alexnet_size": lambda: BYTES * _params(paper.ALEXNET_CAFFE),
}

_BELOW: dict[str, Compute] = {
    "abstract.compressed": lambda: Decimal(ROW_2["squeezenet_6bit"].size),
}

CHECKS = {
    id: Check(comparison=comparison, compute=compute)
    for comparison, checks in (
        ("exact", _EXACT),
        ("rounded", _ROUNDED),
        ("size label", _SIZE_LABEL),
        ("below", _BELOW),
    )
    for id, compute in checks.items()
}
"""By the claim's id."""
