"""Claims that a network of the space decides: built by `dse.space`, then counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

from dse.paper.evidence import Build, Evidence, Value, network
from dse.paper.published import FIGURE_3A, FIGURE_3B, SOLVER, TABLE_1, TABLE_3, Table1Row
from dse.paper.related import ALEXNET_CAFFE
from dse.paper.table1 import pruned, table1
from dse.space.architecture import MAX_PIXELS, Layout, map_sizes
from dse.space.cost import cost

CROP = SOLVER.crop_size
MILLION, BILLION = Decimal(10) ** 6, Decimal(10) ** 9
ALEXNET_PARAMS = sum(layer.params for layer in ALEXNET_CAFFE)


def _params(build: Build, layout: str) -> int:
    return int(cost(build(layout), 224).params)


def _macs(build: Build, image_size: int, layout: str, unit: Decimal) -> Decimal:
    return Decimal(cost(build(layout), image_size).macs) / unit


def _size(build: Build, **metaparameters: object) -> int:
    """Bytes in v1.0's layout."""
    return int(cost(build(**metaparameters), CROP).size_bytes)


def _operations(build: Build, layout: str) -> Decimal:
    """Operations in 10**9, two for each multiply-accumulate, at the authors' image size."""
    return 2 * _macs(build, CROP, layout, BILLION)


# Table 1 ------------------------------------------------------------------------------------


def _row(build: Build, layer: str, layout: str = "v1_0") -> Table1Row:
    """A row of Table 1, with its numbers after pruning."""
    rows = pruned(table1(build(layout), CROP))
    return next(row for row in rows if row.layer == layer)


def _cell(build: Build, layer: str, column: str, layout: str = "v1_0") -> Value:
    value: Value = getattr(_row(build, layer, layout), column)
    return value


def _filters(build: Build, layer: str) -> str:
    row = _row(build, layer)
    return f"{row.s1x1}/{row.e1x1}/{row.e3x3}"


def _image(build: Build) -> str:
    """The smallest image whose conv1 map is as large as Table 1's."""
    layout, wanted = build().layout, TABLE_1[1].output[0]
    sides = range(_smallest_side(layout), MAX_PIXELS)
    side = next(side for side in sides if map_sizes(layout, side)["conv1"] >= wanted)
    return f"{side}x{side}x{TABLE_1[0].output[2]}"


def _smallest_side(layout: Layout) -> int:
    """Side of the smallest image that a layout accepts, pixels."""

    def fits(side: int) -> bool:
        try:
            return bool(map_sizes(layout, side))
        except ValueError:
            return False

    return next(side for side in range(1, MAX_PIXELS) if fits(side))


def _smallest_image(build: Build, layout: str) -> int:
    return _smallest_side(build(layout).layout)


# By comparison ------------------------------------------------------------------------------

Compute = Callable[[Build], Value]

_EXACT: dict[str, Compute] = {
    "table1.input.output": _image,
    **{
        f"table1.{row.layer}.output": partial(_cell, layer=row.layer, column="shape")
        for row in TABLE_1[1:-1]
    },
    **{
        f"table1.{row.layer}.filters": partial(_filters, layer=row.layer)
        for row in TABLE_1
        if row.depth == 2
    },
    **{
        f"table1.{row.layer}.{column}": partial(_cell, layer=row.layer, column=column)
        for row in TABLE_1
        for column in ("params", "params_after")
        if row.params
    },
    "table1.total.params": partial(_params, layout="v1_0"),
    "table1.conv10.authors_output": partial(
        _cell, layer="conv10", column="shape", layout="v1_0_caffe"
    ),
    "section6.simple": lambda build: sum(f.wire == "plain" for f in build(bypass="simple").fires),
    "torchvision.v1_0.params": partial(_params, layout="v1_0"),
    "torchvision.v1_1.params": partial(_params, layout="v1_1"),
    "torchvision.v1_0.min_size": partial(_smallest_image, layout="v1_0"),
    "torchvision.v1_1.min_size": partial(_smallest_image, layout="v1_1"),
}

_ROUNDED: dict[str, Compute] = {
    "v1_0.gflops": partial(_operations, layout="v1_0_caffe"),
    "v1_1.gflops": partial(_operations, layout="v1_1"),
    "torchvision.v1_0.gmacs": partial(_macs, image_size=224, layout="v1_0", unit=BILLION),
    "torchvision.v1_1.gmacs": partial(_macs, image_size=224, layout="v1_1", unit=BILLION),
    "zynqnet.params": lambda build: _params(build, "zynqnet") / MILLION,
    "zynqnet.macs": partial(_macs, image_size=256, layout="zynqnet", unit=MILLION),
}

_RATIO: dict[str, Compute] = {
    "abstract.fewer_params": lambda build: Decimal(ALEXNET_PARAMS) / _params(build, "v1_0"),
    "v1_1.less_computation": lambda build: (
        _operations(build, "v1_0_caffe") / _operations(build, "v1_1")
    ),
}

_SIZE_LABEL: dict[str, Compute] = {
    "table2.squeezenet.size": _size,
    **{f"figure3a.{p.value}.size": partial(_size, sr=p.value) for p in FIGURE_3A},
    **{f"figure3b.{p.value}.size": partial(_size, sr=0.5, pct3x3=p.value) for p in FIGURE_3B},
    **{f"table3.{row.bypass}.size": partial(_size, bypass=row.bypass) for row in TABLE_3},
}

NETWORKS: Mapping[str, Evidence] = {
    id: Evidence(kind="network", comparison=comparison, function=compute, inputs=(network,))
    for comparison, checks in (
        ("exact", _EXACT),
        ("rounded", _ROUNDED),
        ("ratio", _RATIO),
        ("size label", _SIZE_LABEL),
    )
    for id, compute in checks.items()
}
"""By the claim's id."""
