"""The paper, claim by claim: which published numbers does exact arithmetic reproduce?

    python -m dse.audit [--verdict contradicted] [--format text|markdown|csv] [--output FILE]
    python -m dse.audit table1 [--layout v1_0_caffe] [--image-size 224] [sr=0.25 ...]

Each claim of `dse.paper` gets a verdict: `reproduced`, `contradicted`, or `needs ImageNet` where
only a trained network can tell. The first two are computed by one small function per claim
(`CHECKS`), from the space, its cost, or other published numbers, and compared by one of the
`COMPARISONS`. `table1` prints any network of the space in the form of the paper's Table 1.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from dse.paper import published as paper
from dse.paper.published import Claim, Table1Row
from dse.space.architecture import (
    FIRES,
    LAYOUTS,
    MAX_PIXELS,
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    field_names,
    generate,
    map_sizes,
)
from dse.space.cost import BYTES, Cost, cost, layers, size_label
from dse.space.rules import integer, one_of, split

VERDICTS = ("reproduced", "contradicted", "needs ImageNet")
WIDTH = 110
"""Columns of a terminal that the text format keeps to."""

Value = int | Decimal | str


# Comparing with the printed text ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """When a computed value is the printed one: `text` says it, `show` prints the value."""

    text: str
    agrees: Callable[[Value, str], bool]
    show: Callable[[Value, str], str]


def decimals(printed: str) -> int:
    """Decimals of a printed number; the zeros that end a whole number are no digits.

    >>> decimals("1.72"), decimals("363"), decimals("510")
    (2, 0, -1)
    """
    whole, _, fraction = printed.partition(".")
    return len(fraction) if fraction else len(whole.rstrip("0")) - len(whole)


def half_up(value: Decimal, places: int) -> Decimal:
    """`value` rounded half up to `places` decimals (negative: tens, hundreds, ...)."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def _exact(value: Value, _: str = "") -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _one_digit_more(value: Value, printed: str) -> str:
    return f"{half_up(Decimal(value), max(decimals(printed), 0) + 1):f}"


COMPARISONS = {
    "exact": Comparison(
        text="the same number or words",
        agrees=lambda value, printed: _exact(value) == printed,
        show=_exact,
    ),
    "rounded": Comparison(
        text="equal when rounded half up to the printed digits (zeros that end a whole number "
        "are no digits); computed is shown with one digit more",
        agrees=lambda value, printed: (
            half_up(Decimal(value), decimals(printed)) == Decimal(printed)
        ),
        show=_one_digit_more,
    ),
    "size label": Comparison(
        text="the bytes in MiB rounded up as `ls -lh` does: one decimal below 10, none above",
        agrees=lambda value, printed: size_label(int(value)) == printed,
        show=lambda value, printed: size_label(int(value)),
    ),
    "below": Comparison(
        text="less than the printed number",
        agrees=lambda value, printed: Decimal(value) < Decimal(printed),
        show=_exact,
    ),
}


# Table 1 for any network --------------------------------------------------------------------


def table1(architecture: Architecture, image_size: int) -> list[Table1Row]:
    """Any network in the rows of the paper's Table 1, before pruning.

    `image_size` is the picture's side in pixels. Raises `ValueError` where the picture is too
    small for the layout.
    """
    steps = layers(architecture, image_size)
    picture = (image_size, image_size, architecture.in_channels)
    rows = [Table1Row(layer="input", output=picture)]
    for step in steps:
        row = Table1Row(layer=step.name, output=(step.side, step.side, int(step.channels)))
        rows.append(_described(row, architecture, step.params, whole_map=steps[-2].side))
    return rows


def _described(row: Table1Row, a: Architecture, params: int, whole_map: int) -> Table1Row:
    """`row` with the cells that belong to its kind of layer."""
    layout, filters = a.layout, row.output[2]
    kernel, stride = layout.conv1_kernel, layout.conv1_stride
    match row.layer:
        case "conv1":
            form = f"{kernel}x{kernel}/{stride} (x{filters})"
            return replace(row, filter=form, depth=1, params=params)
        case "conv10":
            return replace(row, filter=f"1x1/1 (x{filters})", depth=1, params=params)
        case "pool10":
            form = f"{whole_map}x{whole_map}/1"
            return replace(row, layer="avgpool10", filter=form, depth=0)
        case name if name.startswith("pool"):
            return replace(row, layer=f"max{name}", filter="3x3/2", depth=0)
    fire = a.fires[FIRES.index(int(row.layer.removeprefix("fire")))]
    wires = {"none": [], "plain": ["bypass"], "conv": ["1x1 bypass"]}
    strided = ["3x3/2 squeeze"] if fire.squeeze_stride > 1 else []
    return replace(
        row,
        filter=", ".join([*strided, *wires[fire.wire]]),
        depth=2,
        s1x1=fire.s1x1,
        e1x1=fire.e1x1,
        e3x3=fire.e3x3,
        params=params,
    )


def is_published(architecture: Architecture) -> bool:
    """Whether Table 1 is about this network (v1.0, with conv10 padded or not)."""
    layout = replace(architecture.layout, conv10_padding=0)
    return replace(architecture, layout=layout) == generate(Metaparameters(), LAYOUTS["v1_0"])


def pruned(rows: Sequence[Table1Row]) -> list[Table1Row]:
    """v1.0's rows with the densities that Table 1 prints and the counts that these keep.

    A layer keeps its densities' share of the weights, rounded up, and all biases.
    """
    printed = {row.layer: row for row in paper.TABLE_1}
    result, inputs = [], rows[0].output[2]
    for row in rows:
        kept = printed[row.layer].kept
        if kept:
            weights = sum(w * k for w, k in zip(tensors(row, inputs), kept, strict=True))
            after = -(-weights // 100) + biases(row)
            bits = printed[row.layer].bits
            kept_filter = "" if row.s1x1 else row.filter.partition("/")[0]
            row = replace(row, kept=kept, kept_filter=kept_filter, bits=bits, params_after=after)
        result.append(row)
        inputs = row.output[2]
    return result


def biases(row: Table1Row) -> int:
    """Biases of a layer: one for each filter of its convolutions."""
    return row.output[2] + (row.s1x1 or 0) if row.params else 0


def tensors(row: Table1Row, inputs: int) -> tuple[int, ...]:
    """Weights of v1.0's layer by convolution; `inputs` is the channels that it reads.

    >>> [tensors(row, inputs=96) for row in paper.TABLE_1 if row.layer == "fire2"]
    [(1536, 1024, 9216)]
    """
    if row.s1x1 is None or row.e1x1 is None or row.e3x3 is None:
        return ((row.params or 0) - biases(row),)
    return (inputs * row.s1x1, row.s1x1 * row.e1x1, 9 * row.s1x1 * row.e3x3)


# The arithmetic behind each claim -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How a claim is computed, and the name of the comparison with what was printed."""

    comparison: str
    compute: Callable[[], Value]


ROW_1 = {row.layer: row for row in paper.TABLE_1}
ROW_2 = {row.key: row for row in paper.TABLE_2}
ROW_3 = {row.bypass: row for row in paper.TABLE_3}
CLAIMS = {claim.id: claim for claim in paper.CLAIMS}
FIRE_ROWS = [row for row in paper.TABLE_1 if row.s1x1 and row.e1x1 and row.e3x3]
MILLION = Decimal(10) ** 6


def _cost(layout: str, image_size: int) -> Cost:
    return cost(generate(Metaparameters(), LAYOUTS[layout]), image_size)


@cache
def _rows(layout: str = "v1_0") -> dict[str, Table1Row]:
    rows = table1(generate(Metaparameters(), LAYOUTS[layout]), paper.SOLVER.crop_size)
    return {row.layer: row for row in pruned(rows)}


def _shape(row: Table1Row) -> str:
    return "x".join(str(side) for side in row.output)


def _output(layer: str, layout: str = "v1_0") -> str:
    return _shape(_rows(layout)[layer])


def _filters(layer: str) -> str:
    row = _rows()[layer]
    return f"{row.s1x1}/{row.e1x1}/{row.e3x3}"


def _kept_filter(layer: str) -> str:
    return _rows()[layer].kept_filter


def _count(layer: str, column: str) -> int:
    return int(getattr(_rows()[layer], column))


def _smallest_picture(layout: str) -> int:
    def fits(side: int) -> bool:
        try:
            return bool(map_sizes(LAYOUTS[layout], side))
        except ValueError:
            return False

    return next(side for side in range(1, MAX_PIXELS) if fits(side))


def _picture() -> str:
    """The smallest picture whose conv1 map is Table 1's."""
    layout, wanted = LAYOUTS["v1_0"], ROW_1["conv1"].output[0]
    sides = range(_smallest_picture("v1_0"), MAX_PIXELS)
    side = next(side for side in sides if map_sizes(layout, side)["conv1"] == wanted)
    return f"{side}x{side}x{ROW_1['input'].output[2]}"


def _pools() -> str:
    names = {1: "conv1", **{number: f"fire{number}" for number in FIRES}}
    return ", ".join(names[number] for number in split(LAYOUTS["v1_0"].pool_after))


def _same(values: Iterable[Value]) -> str:
    """The one value of all Fire modules (or all their values, where they differ)."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _widths() -> list[int]:
    return [row.output[2] for row in FIRE_ROWS]


def _size(**metaparameters: object) -> int:
    """Bytes of a network of the space in v1.0's layout."""
    values = Metaparameters(**metaparameters)  # type: ignore[arg-type]
    return int(cost(generate(values), paper.SOLVER.crop_size).size_bytes)


def _marker(points: Sequence[paper.Point], value: float) -> str:
    return next(str(point.top5) for point in points if point.value == value)


def _top5_of_size(size_label: str) -> str:
    return next(str(p.top5) for p in paper.FIGURE_3A if p.size_label == size_label)


def _gain(column: str) -> Decimal:
    simple, none = (Decimal(str(getattr(ROW_3[b], column))) for b in ("simple", "none"))
    return simple - none


def _params(network: Iterable[paper.Layer]) -> int:
    return sum(layer.params for layer in network)


def _ratio(small: str) -> Decimal:
    """AlexNet's size to another row's of Table 2, both as printed."""
    return Decimal(ROW_2["alexnet"].size) / Decimal(ROW_2[small].size)


def _accuracy(key: str, column: str) -> Decimal:
    return 100 - Decimal(str(getattr(paper.ALEXNET_RESULTS[key], f"{column}_error")))


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


def _six_bit_bytes() -> Decimal:
    """Table 1's parameters at 6 bits and a 4-bit index for each weight of a sparse tensor."""
    dense, inputs = 0, ROW_1["input"].output[2]
    for row in paper.TABLE_1:
        if row.kept:
            pairs = zip(tensors(row, inputs), row.kept, strict=True)
            dense += sum(weights for weights, kept in pairs if kept == 100)
        inputs = row.output[2]
    sparse = paper.TABLE_1_PARAMS_AFTER - _all_biases() - dense
    return Decimal(6 * paper.TABLE_1_PARAMS_AFTER + 4 * sparse) / 8


def _operations(layout: str) -> Decimal:
    """Operations in 10**9, two for each multiply-accumulate, at the authors' picture size."""
    return 2 * Decimal(_cost(layout, paper.SOLVER.crop_size).macs) / 10**9


def _conv10_sparsity() -> Decimal:
    row = ROW_1["conv10"]
    kept = Decimal((row.params_after or 0) - biases(row)) / ((row.params or 0) - biases(row))
    return 100 * (1 - kept)


def _table1_checks() -> Iterable[tuple[str, Check]]:
    for row in paper.TABLE_1:
        output = _picture if row.layer == "input" else partial(_output, row.layer)
        yield f"table1.{row.layer}.output", Check(comparison="exact", compute=output)
        if row.s1x1:
            check = Check(comparison="exact", compute=partial(_filters, row.layer))
            yield f"table1.{row.layer}.filters", check
        if row.kept_filter:
            beside = partial(_kept_filter, row.layer)
            yield f"table1.{row.layer}.kept_filter", Check(comparison="exact", compute=beside)
        if row.params:
            for column in ("params", "params_after"):
                check = Check(comparison="exact", compute=partial(_count, row.layer, column))
                yield f"table1.{row.layer}.{column}", check


def _figure3_checks() -> Iterable[tuple[str, Check]]:
    for point in paper.FIGURE_3A:
        size = partial(_size, sr=point.value)
        yield f"figure3a.{point.value}.size", Check(comparison="size label", compute=size)
    for point in paper.FIGURE_3B:
        size = partial(_size, sr=0.5, pct3x3=point.value)
        yield f"figure3b.{point.value}.size", Check(comparison="size label", compute=size)
    for name, points in (("a", paper.FIGURE_3A), ("b", paper.FIGURE_3B)):
        for point in points:
            if point.printed is not None:
                marker = partial(_marker, points, point.value)
                check = Check(comparison="exact", compute=marker)
                yield f"figure3{name}.{point.value}.printed", check


def _table2_checks() -> Iterable[tuple[str, Check]]:
    for key in ROW_2:
        if ROW_2[key].ratio > 1:
            yield f"table2.{key}.ratio", Check(comparison="rounded", compute=partial(_ratio, key))
    for key in paper.ALEXNET_RESULTS:
        for column in ("top1", "top5"):
            accuracy = partial(_accuracy, key, column)
            yield f"table2.{key}.{column}", Check(comparison="rounded", compute=accuracy)


_EXACT: dict[str, Callable[[], Value]] = {
    "section3.3.fires": lambda: len(generate(Metaparameters()).fires),
    "section3.3.pools": _pools,
    "table1.total.params": lambda: int(_cost("v1_0", paper.SOLVER.crop_size).params),
    "table1.total.params_after": lambda: sum(row.params_after or 0 for row in paper.TABLE_1),
    "table1.conv10.authors_output": lambda: _output("conv10", "v1_0_caffe"),
    "section5.1.dimensions": lambda: 3 * len(generate(Metaparameters()).fires),
    "section5.1.base_e": lambda: _widths()[0],
    "section5.1.freq": lambda: _widths().count(_widths()[0]),
    "section5.1.incr_e": lambda: _same(
        b - a for a, b in zip(_widths()[::2], _widths()[2::2], strict=False)
    ),
    "section5.1.pct3x3": lambda: _same(Decimal(r.e3x3 or 0) / r.output[2] for r in FIRE_ROWS),
    "section5.1.sr": lambda: _same(Decimal(r.s1x1 or 0) / r.output[2] for r in FIRE_ROWS),
    "section5.2.first": lambda: _top5_of_size("4.8"),
    "section5.2.best": lambda: _top5_of_size("19"),
    "section5.2.plateau": lambda: _marker(paper.FIGURE_3A, 1.0),
    "section5.3.plateau": lambda: _marker(paper.FIGURE_3B, 0.5),
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

_ROUNDED: dict[str, Callable[[], Value]] = {
    "abstract.fewer_params": lambda: (
        Decimal(_params(paper.ALEXNET_CAFFE)) / _cost("v1_0", 224).params
    ),
    "section3.3.1.base_lr": lambda: Decimal(str(paper.SOLVER.base_lr)),
    "section3.3.1.dropout": lambda: 100 * Decimal(str(paper.SOLVER.dropout)),
    "table1.sparsity": _conv10_sparsity,
    "table2.svd.size": lambda: Decimal(str(paper.SVD_ALEXNET_MB)),
    "table2.squeezenet_8bit.size": lambda: Decimal(_released_kib()) / 1000,
    "table2.squeezenet_6bit.size": lambda: _six_bit_bytes() / MILLION,
    "table2.squeezenet_6bit.released_layout": lambda: _released_bytes(6) / MILLION,
    "section4.smaller": lambda: (
        Decimal(ROW_2["deep_compression"].size) / Decimal(ROW_2["squeezenet"].size)
    ),
    "section4.compressed": lambda: (
        Decimal(ROW_2["squeezenet"].size) / Decimal(ROW_2["squeezenet_6bit"].size)
    ),
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
    "section7.dsd": lambda: (
        Decimal(CLAIMS["dsd.top1"].published) - Decimal(str(ROW_2["squeezenet"].top1))
    ),
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

_SIZE_LABEL: dict[str, Callable[[], Value]] = {
    "table2.alexnet.size": lambda: BYTES * _params(paper.ALEXNET_CAFFE),
    "table2.pruning.size": lambda: BYTES * paper.PRUNED_ALEXNET_PARAMS,
    "table2.squeezenet.size": _size,
    "deep_compression.alexnet_size": lambda: BYTES * _params(paper.ALEXNET_CAFFE),
    **{f"table3.{bypass}.size": partial(_size, bypass=bypass) for bypass in ROW_3},
}

_BELOW: dict[str, Callable[[], Value]] = {
    "abstract.compressed": lambda: Decimal(ROW_2["squeezenet_6bit"].size),
}

CHECKS: dict[str, Check] = {
    **dict(_table1_checks()),
    **dict(_table2_checks()),
    **dict(_figure3_checks()),
    **{id: Check(comparison="exact", compute=f) for id, f in _EXACT.items()},
    **{id: Check(comparison="rounded", compute=f) for id, f in _ROUNDED.items()},
    **{id: Check(comparison="size label", compute=f) for id, f in _SIZE_LABEL.items()},
    **{id: Check(comparison="below", compute=f) for id, f in _BELOW.items()},
}
"""By the claim's id: how it is computed. What is not here needs ImageNet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A claim's verdict, the computed value as text, and the name of the comparison."""

    claim: Claim
    verdict: str
    computed: str = ""
    comparison: str = ""


def judge(claim: Claim) -> Finding:
    """The verdict on one claim."""
    if claim.measured:
        return Finding(claim=claim, verdict="needs ImageNet")
    check = CHECKS[claim.id]
    comparison, value = COMPARISONS[check.comparison], check.compute()
    printed = claim.published
    agrees = comparison.agrees(value, printed)
    return Finding(
        claim=claim,
        verdict="reproduced" if agrees else "contradicted",
        computed=comparison.show(value, printed),
        comparison=check.comparison,
    )


def audit() -> list[Finding]:
    """The verdict on every claim, in the order of `dse.paper.CLAIMS`."""
    return [judge(claim) for claim in paper.CLAIMS]


# Printing -----------------------------------------------------------------------------------


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def comma_separated(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table; a text that a spreadsheet would run as a formula gets a quote before it.

    >>> print(comma_separated(["size", "note"], [[-1, "=1+1"]]).strip())
    size,note
    -1,'=1+1
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def _harmless(cell: object) -> object:
    risky = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if risky else cell


def _text(cell: object) -> str:
    """A cell as a reader wants it: thousands separated, nothing for None."""
    return "" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell)


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many claims got each verdict."""
    counts = Counter(finding.verdict for finding in findings)
    shares = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    return f"{len(findings)} claims: {shares}"


FINDING_HEADER = (
    "id", "verdict", "source", "claim", "published", "computed", "unit", "comparison", "remark",
)  # fmt: skip


def _finding_cells(finding: Finding) -> list[str]:
    c = finding.claim
    return [
        c.id, finding.verdict, c.source, c.statement, c.published, finding.computed,
        c.unit.strip(), finding.comparison, c.remark,
    ]  # fmt: skip


def _finding_lines(finding: Finding) -> str:
    """One claim on the terminal: verdict, statement, both values, comparison; its remark below."""
    c = finding.claim
    computed = f"{finding.computed}{c.unit}" if finding.computed else ""
    columns = [
        [finding.verdict],
        textwrap.wrap(c.statement, 46),
        textwrap.wrap(c.published + c.unit, 15),
        textwrap.wrap(computed, 15),
        [finding.comparison],
    ]
    height = max(len(column) for column in columns)
    lines = zip(*(column + [""] * (height - len(column)) for column in columns), strict=True)
    text = [f"  {a:<14}  {b:<46}  {c:<15}  {d:<15}  {e}".rstrip() for a, b, c, d, e in lines]
    indent = " " * 18
    remark = textwrap.wrap(c.remark, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*text, *remark])


def terminal(findings: Iterable[Finding]) -> str:
    """The findings for the terminal, at most `WIDTH` columns, by source."""
    blocks = [f"  {'verdict':<14}  {'claim':<46}  {'published':<15}  {'computed':<15}  comparison"]
    for source, group in groupby(findings, key=lambda finding: finding.claim.source):
        blocks.append("\n".join([source, *(_finding_lines(finding) for finding in group)]))
    return "\n\n".join(blocks) + "\n"


def legend() -> str:
    """What each comparison means, a line or two each."""
    lines = (
        textwrap.fill(f"  {name:<10}  {comparison.text}", WIDTH, subsequent_indent=" " * 14)
        for name, comparison in COMPARISONS.items()
    )
    return "comparison\n" + "\n".join(lines) + "\n"


def render_audit(findings: Sequence[Finding], form: str, shown: Sequence[str]) -> str:
    """The findings whose verdict is in `shown`; the last line counts all, but not in CSV."""
    chosen = [finding for finding in findings if finding.verdict in shown]
    rows = [_finding_cells(finding) for finding in chosen]
    if form == "csv":
        return comma_separated(FINDING_HEADER, rows)
    if form == "markdown":
        return f"{markdown(FINDING_HEADER, rows)}\n{summary(findings)}\n"
    return f"{terminal(chosen)}\n{legend()}\n{summary(findings)}\n"


PRUNING_COLUMNS = ("kept", "bits", "params_after")
TABLE_1_COLUMNS = {
    "layer": "layer",
    "output": "output",
    "filter": "filter/stride",
    "depth": "depth",
    "s1x1": "s1x1",
    "e1x1": "e1x1",
    "e3x3": "e3x3",
    "params": "params",
    "kept": "kept, %",
    "bits": "bits",
    "params_after": "pruned to",
}


def _table1_cells(row: Table1Row, columns: Iterable[str]) -> list[object]:
    kept = "/".join(str(share) for share in row.kept)
    beside = f" ({row.kept_filter})" if row.kept_filter else ""
    shapes = {"output": _shape(row), "kept": kept + beside}
    return [shapes.get(column, getattr(row, column)) for column in columns]


def _differences(row: Table1Row, columns: Sequence[str]) -> list[list[object]]:
    """The paper's cells where they differ from `row`, as a row of their own; none if none do."""
    ours = _table1_cells(row, columns)
    theirs = _table1_cells(ROW_1[row.layer], columns)
    cells = [b if a != b else None for a, b in zip(ours, theirs, strict=True)]
    return [[f"{row.layer}, paper", *cells[1:]]] if any(cells[1:]) else []


def _grid(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Cells in columns, whole numbers to the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    columns = zip(*rows, strict=True)
    numbers = [all(isinstance(c, int) or c is None for c in row) for row in columns]

    def line(cells: Sequence[str]) -> str:
        parts = zip(cells, widths, numbers, strict=True)
        return "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in parts).rstrip()

    return "\n".join(map(line, [header, ["-" * width for width in widths], *texts])) + "\n"


def _slips() -> list[Finding]:
    """What is wrong in Table 1 itself, and in the text about it."""
    places = ("table1.", "section3.3.")
    return [f for f in audit() if f.verdict == "contradicted" and f.claim.id.startswith(places)]


def _notes() -> str:
    """The paper's slips as a list; each item fits the terminal and is valid Markdown."""
    items = (
        f"- {f.claim.statement}: {f.claim.published}{f.claim.unit} in the paper, "
        f"{f.computed}{f.claim.unit} computed. {f.claim.remark}"
        for f in _slips()
    )
    lines = (textwrap.fill(item, WIDTH, subsequent_indent="  ") for item in items)
    return "In the paper's Table 1 and section 3.3:\n\n" + "\n".join(lines) + "\n"


def render_table1(architecture: Architecture, image_size: int, form: str) -> str:
    """A network in the form of Table 1, with the paper's cells and slips where it is v1.0.

    Raises `ValueError` where the picture is too small for the layout.
    """
    rows = table1(architecture, image_size)
    published = is_published(architecture)
    rows = pruned(rows) if published else rows
    columns = [name for name in TABLE_1_COLUMNS if published or name not in PRUNING_COLUMNS]
    cells: list[list[object]] = []
    for row in rows:
        cells.append(_table1_cells(row, columns))
        cells += _differences(row, columns) if published else []
    cells.append(_totals(rows, columns))
    if published and cells[-1][-1] != paper.TABLE_1_PARAMS_AFTER:
        cells.append(["total, paper", *[None] * (len(columns) - 2), paper.TABLE_1_PARAMS_AFTER])

    header = [TABLE_1_COLUMNS[column] for column in columns]
    if form == "csv":
        return comma_separated(header, cells)
    table = markdown(header, cells) if form == "markdown" else _grid(header, cells)
    return f"{table}\n{_notes()}" if published else table


def _totals(rows: Sequence[Table1Row], columns: Sequence[str]) -> list[object]:
    sums = {c: sum(getattr(row, c) or 0 for row in rows) for c in ("params", "params_after")}
    return ["total", *(sums.get(column) for column in columns[1:])]


# The command line ---------------------------------------------------------------------------

FORMATS = ("text", "markdown", "csv")
DEFAULTS: dict[str, Any] = {"layout": "v1_0", "image_size": paper.SOLVER.crop_size}
KEYS = (*DEFAULTS, *field_names(Metaparameters), *field_names(Layout))

T = TypeVar("T")


def request(arguments: Iterable[str]) -> tuple[Architecture, int]:
    """The network and the picture's side (pixels) that `key=value` arguments ask for.

    >>> architecture, image_size = request(["sr=0.25", "layout=v1_1", "dropout=0"])
    >>> architecture.fires[0].s1x1, architecture.layout.pool_after, image_size
    (32, '1-3-5', 227)

    The keys are `layout`, `image_size` and the fields of `Metaparameters` and `Layout`; what is
    not given stays as in `DEFAULTS` and in the layout. Raises one `ValueError` with a line for
    each mistake.
    """
    found: list[str] = []
    given = {**DEFAULTS, **_read(arguments, found)}

    def part(kind: type) -> dict[str, Any]:
        return {key: given[key] for key in field_names(kind) if key in given}

    name = _attempt(found, lambda: one_of(*LAYOUTS).accept("layout", given["layout"]))
    rule = integer(1, MAX_PIXELS)
    side = _attempt(found, lambda: rule.accept("image_size", given["image_size"]))
    metaparameters = _attempt(found, lambda: Metaparameters(**part(Metaparameters)))
    named = LAYOUTS[name or DEFAULTS["layout"]]
    layout = _attempt(found, lambda: replace(named, **part(Layout)))
    if name and layout and side:
        _attempt(found, lambda: map_sizes(layout, side))
    if name and layout and metaparameters:
        found += conflicts(metaparameters, layout)
    if found or not (metaparameters and layout and side):
        raise ValueError("\n".join(found))
    return generate(metaparameters, layout), side


def _read(arguments: Iterable[str], found: list[str]) -> dict[str, Any]:
    """Known keys with their values; what is wrong with the others is added to `found`."""
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            found.append(f"`settings` must be written as key=value, got {argument!r}")
        elif key not in KEYS:
            found.append(f"`{key}` must be one of {', '.join(KEYS)}, got {argument}")
        elif key in values:
            found.append(f"`{key}` must be given once, got {values[key]} and {text}")
        else:
            values[key] = _value(text)
    return values


def _value(text: str) -> int | float | bool | str:
    """The number, the truth value or the words that were written."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _attempt(found: list[str], build: Callable[[], T]) -> T | None:
    """What `build` gives, or None with the lines of its `ValueError` added to `found`."""
    try:
        return build()
    except ValueError as error:
        found += str(error).splitlines()
        return None


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m dse.audit{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE", help="write there, not to the terminal")
    return parser


def _write(text: str, output: str | None) -> None:
    """`text` on the terminal or in a file; says where the file is."""
    if output is None:
        print(text, end="")
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"`output` must be a file that can be written, got {output} ({error.strerror})"
        ) from None
    print(f"wrote {output}")


def audit_command(arguments: Sequence[str]) -> None:
    """Every claim with its verdict; the last line counts the verdicts."""
    parser = _parser("", "The published numbers of SqueezeNet, claim by claim.")
    parser.add_argument("--verdict", choices=VERDICTS, help="show only the claims with this one")
    parser.epilog = "python -m dse.audit table1 --help: any network in the form of Table 1"
    options = parser.parse_args(arguments)

    findings = audit()
    shown = [options.verdict] if options.verdict else VERDICTS
    _write(render_audit(findings, options.format, shown), options.output)
    if options.output:
        print(summary(findings))
    elif options.format == "csv":
        print(summary(findings), file=sys.stderr)


def table1_command(arguments: Sequence[str]) -> None:
    """One network in the form of the paper's Table 1."""
    parser = _parser(" table1", "A network in the form of the paper's Table 1.")
    parser.add_argument("--layout", help=f"default: {DEFAULTS['layout']}; {', '.join(LAYOUTS)}")
    parser.add_argument("--image-size", help=f"pixels, default: {DEFAULTS['image_size']}")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help=f"such as sr=0.25 pool_after=1-4-8; the keys are {', '.join(KEYS)}",
    )
    options = parser.parse_intermixed_args(arguments)

    named = [
        f"{key}={getattr(options, key)}" for key in DEFAULTS if getattr(options, key) is not None
    ]
    architecture, image_size = request([*named, *options.settings])
    _write(render_table1(architecture, image_size, options.format), options.output)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (0, or 2 for a wrong request)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["table1"]:
            table1_command(words[1:])
        else:
            audit_command(words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
