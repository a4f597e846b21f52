"""The paper's Table 1 for any network of the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dse.paper.published import TABLE_1, Table1Row
from dse.space.architecture import FIRES, V1_0, Architecture, Metaparameters, generate
from dse.space.cost import layers


def table1(architecture: Architecture, image_size: int) -> list[Table1Row]:
    """A network in the rows of Table 1, before pruning; `image_size` is in pixels.

    Raises `ValueError` where the image is too small for the layout.
    """
    steps = layers(architecture, image_size)
    image = (image_size, image_size, architecture.in_channels)
    rows = [Table1Row(layer="input", output=image)]
    for step in steps:
        row = Table1Row(layer=step.name, output=(step.side, step.side, int(step.channels)))
        rows.append(_filled(row, architecture, step.params, pooled_side=steps[-2].side))
    return rows


def _filled(row: Table1Row, a: Architecture, params: int, pooled_side: int) -> Table1Row:
    """`row` with the cells that its kind of layer has."""
    layout, filters = a.layout, row.output[2]
    match row.layer:
        case "conv1":
            shape = f"{layout.conv1_kernel}x{layout.conv1_kernel}/{layout.conv1_stride}"
            return replace(row, filter=f"{shape} (x{filters})", depth=1, params=params)
        case "conv10":
            return replace(row, filter=f"1x1/1 (x{filters})", depth=1, params=params)
        case "pool10":
            shape = f"{pooled_side}x{pooled_side}/1"
            return replace(row, layer="avgpool10", filter=shape, depth=0)
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
    return replace(architecture, layout=layout) == generate(Metaparameters(), V1_0)


def pruned(rows: Sequence[Table1Row], printed: Sequence[Table1Row] = TABLE_1) -> list[Table1Row]:
    """v1.0's rows with the densities of `printed` and the numbers of parameters that these keep.

    A layer keeps its densities' share of the weights, rounded up, and all biases.
    """
    published = {row.layer: row for row in printed}
    result, inputs = [], rows[0].output[2]
    for row in rows:
        kept = published[row.layer].kept
        if kept:
            weights = sum(w * k for w, k in zip(tensors(row, inputs), kept, strict=True))
            row = replace(
                row,
                kept=kept,
                kept_filter="" if row.s1x1 else row.filter.partition("/")[0],
                bits=published[row.layer].bits,
                params_after=-(-weights // 100) + biases(row),
            )
        result.append(row)
        inputs = row.output[2]
    return result


def biases(row: Table1Row) -> int:
    """Biases of a layer: one for each filter of its convolutions."""
    return row.output[2] + (row.s1x1 or 0) if row.params else 0


def tensors(row: Table1Row, inputs: int) -> tuple[int, ...]:
    """Weights of each convolution in a layer of v1.0 that reads `inputs` channels.

    >>> [tensors(row, inputs=96) for row in TABLE_1 if row.layer == "fire2"]
    [(1536, 1024, 9216)]
    """
    if row.s1x1 is None or row.e1x1 is None or row.e3x3 is None:
        return ((row.params or 0) - biases(row),)
    return (inputs * row.s1x1, row.s1x1 * row.e1x1, 9 * row.s1x1 * row.e3x3)
