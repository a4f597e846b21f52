"""Claims that follow from other published numbers by arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import groupby, pairwise
from operator import floordiv, mul, sub

from dse.paper import related
from dse.paper.evidence import Evidence, Value
from dse.paper.published import (
    IMAGENET_VALIDATION_IMAGES,
    OLD_SOLVER,
    SOLVER,
    TABLE_1,
    TABLE_1_PARAMS,
    TABLE_1_PARAMS_AFTER,
    TABLE_2,
    TABLE_3,
)
from dse.paper.table1 import biases
from dse.space.cost import BYTES

Number = int | Decimal
Check = tuple[Callable[..., Value], tuple[Number, ...]]


def number(printed: object) -> Decimal:
    """A printed number, exactly."""
    return Decimal(str(printed))


# The numbers --------------------------------------------------------------------------------

CONVOLUTIONS = [row for row in TABLE_1 if row.depth == 1]
FIRES = [row for row in TABLE_1 if row.depth == 2]
WIDTHS = tuple(row.output[2] for row in FIRES)
SQUEEZES = tuple(row.s1x1 or 0 for row in FIRES)
CONV10, AVGPOOL10 = TABLE_1[-2:]
AVGPOOL10_SIDE = int(AVGPOOL10.filter.partition("x")[0])
KEPT = tuple(row.params_after or 0 for row in TABLE_1 if row.params_after)
BIASES = sum(biases(row) for row in TABLE_1)
SIZES = {row.key: number(row.size) for row in TABLE_2}
BITS = {row.key: number(row.data_type.removesuffix(" bit")) for row in TABLE_2[-3:]}
NONE, SIMPLE = TABLE_3[:2]
ALEXNET = tuple(layer.params for layer in related.ALEXNET_CAFFE)
MILLION = 10**6


# The arithmetic -----------------------------------------------------------------------------


def _total(*counts: int) -> int:
    return sum(counts)


def _ratio(*numbers: Number) -> Decimal:
    """The sum of all numbers but the last, divided by the last."""
    return Decimal(sum(numbers[:-1])) / numbers[-1]


def _shared(values: Iterable[object]) -> str:
    """The value that all share; all distinct ones where they differ."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _steps(*widths: int) -> str:
    return _shared(b - a for a, b in pairwise(widths))


def _runs(*widths: int) -> str:
    """How many neighbours have one width."""
    return _shared(len([*run]) for _, run in groupby(widths))


def _shares(*counts: int) -> str:
    """The first half of the numbers, each divided by its partner in the second half."""
    half = len(counts) // 2
    pairs = zip(counts[:half], counts[half:], strict=True)
    return _shared((Decimal(part) / whole).normalize() for part, whole in pairs)


def _pooled(side: int, kernel: int, channels: int) -> str:
    """The output of average pooling with stride 1."""
    return f"{side - kernel + 1}x{side - kernel + 1}x{channels}"


def _bytes(bytes_each: int, *counts: int) -> int:
    return bytes_each * sum(counts)


def _kept(after: int, before: int, n_biases: int) -> Decimal:
    """Percent of the weights that pruning keeps; biases are never pruned and do not count."""
    return 100 * Decimal(after - n_biases) / (before - n_biases)


def _kept_in_file(entries: int, fillers: int, params: int, n_biases: int) -> Decimal:
    return _kept(entries - fillers + n_biases, params, n_biases)


def _released_bytes(code_bits: int, n_biases: int, *counts: int) -> int:
    """Bytes in the released file's layout: counts, codebooks, biases, codes, 4-bit indices."""
    tables = len(counts) * (BYTES + (1 << code_bits) * BYTES) + n_biases * BYTES
    return tables + sum(-(-n * code_bits // 8) + -(-n * 4 // 8) for n in counts)


# By comparison ------------------------------------------------------------------------------

_EXACT: dict[str, Check] = {
    "table1.avgpool10.output": (_pooled, (CONV10.output[0], AVGPOOL10_SIDE, CONV10.output[2])),
    "table1.total.params_after": (_total, KEPT),
    "section5.1.dimensions": (mul, (3, len(FIRES))),
    "section5.1.incr_e": (_steps, WIDTHS[::2]),
    "section5.1.freq": (_runs, WIDTHS),
    "section5.1.pct3x3": (_shares, (*(row.e3x3 or 0 for row in FIRES), *WIDTHS)),
    "section5.1.sr": (_shares, (*SQUEEZES, *WIDTHS)),
    "section6.bottleneck": (_shares, (*WIDTHS, *SQUEEZES)),
    "solver.batch": (mul, (SOLVER.batch_size, SOLVER.iter_size)),
    "solver.max_iter": (
        lambda steps, batch, new_batch: steps * batch // new_batch,
        (OLD_SOLVER.max_iter, OLD_SOLVER.images_per_step, SOLVER.images_per_step),
    ),
    "solver.test": (floordiv, (IMAGENET_VALIDATION_IMAGES, SOLVER.test_batch_size)),
    "released.bytes": (_released_bytes, (8, BIASES, *related.RELEASED_ENTRIES)),
    "released.convolutions": (
        lambda single, each, fires: single + each * fires,
        (len(CONVOLUTIONS), 3, len(FIRES)),
    ),
    "alexnet.caffe.params": (_total, ALEXNET),
    "torchvision.alexnet.params": (
        _total,
        tuple(layer.params for layer in related.ALEXNET_TORCHVISION),
    ),
}

_ROUNDED: dict[str, Check] = {
    "table1.sparsity": (
        lambda *numbers: 100 - _kept(*numbers),
        (CONV10.params_after or 0, CONV10.params or 0, biases(CONV10)),
    ),
    "table2.squeezenet_6bit.released_layout": (
        lambda *numbers: Decimal(_released_bytes(*numbers)) / MILLION,
        (6, BIASES, *related.RELEASED_ENTRIES),
    ),
    "section4.sparsity_8bit": (
        _kept_in_file,
        (sum(related.RELEASED_ENTRIES), related.RELEASED_FILLERS, TABLE_1_PARAMS, BIASES),
    ),
    "section4.sparsity_6bit": (_kept, (TABLE_1_PARAMS_AFTER, TABLE_1_PARAMS, BIASES)),
    "section6.gain_top1": (sub, (number(SIMPLE.top1), number(NONE.top1))),
    "section6.gain_top5": (sub, (number(SIMPLE.top5), number(NONE.top5))),
    "section7.dsd": (sub, (number(related.DSD_TOP1), number(NONE.top1))),
    "pruning.params": (_ratio, (*ALEXNET, MILLION)),
}

_RATIO: dict[str, Check] = {
    **{
        f"table2.{row.key}.ratio": (_ratio, (SIZES["alexnet"], SIZES[row.key]))
        for row in TABLE_2
        if row.ratio > 1
    },
    "section4.smaller": (_ratio, (SIZES["deep_compression"], SIZES["squeezenet"])),
    "section4.compressed": (_ratio, (SIZES["squeezenet"], SIZES["squeezenet_6bit"])),
    "section4.speedup_8bit": (_ratio, (BITS["squeezenet"], BITS["squeezenet_8bit"])),
    "section4.speedup_6bit": (_ratio, (BITS["squeezenet"], BITS["squeezenet_6bit"])),
    "pruning.ratio": (_ratio, (*ALEXNET, related.PRUNED_ALEXNET_PARAMS)),
    "deep_compression.ratio": (_ratio, (SIZES["alexnet"], number(related.QUANTIZED_ALEXNET_MB))),
}

_SIZE_LABEL: dict[str, Check] = {
    "table2.alexnet.size": (_bytes, (BYTES, *ALEXNET)),
    "table2.pruning.size": (_bytes, (BYTES, related.PRUNED_ALEXNET_PARAMS)),
    "deep_compression.alexnet_size": (_bytes, (BYTES, *ALEXNET)),
}

ARITHMETIC: Mapping[str, Evidence] = {
    id: Evidence(kind="arithmetic", comparison=comparison, function=function, inputs=inputs)
    for comparison, checks in (
        ("exact", _EXACT),
        ("rounded", _ROUNDED),
        ("ratio", _RATIO),
        ("size label", _SIZE_LABEL),
    )
    for id, (function, inputs) in checks.items()
}
"""By the claim's id."""
