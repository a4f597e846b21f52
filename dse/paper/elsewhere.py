"""Claims that another place repeats: another work, the authors' files, or the paper elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from itertools import pairwise

from dse.paper import related
from dse.paper.arithmetic import number
from dse.paper.evidence import Evidence, Value
from dse.paper.published import FIGURE_3A, FIGURE_3B, SOLVER, TABLE_1, TABLE_2, Point

_TRAIN_VAL = "forresti/SqueezeNet, train_val.prototxt"
_SOLVER = "forresti/SqueezeNet, solver.prototxt"
_README = "songhan/SqueezeNet-Deep-Compression, README.md"
_RELEASED_FILE = "songhan/SqueezeNet-Deep-Compression, compressed_SqueezeNet.net"
_DEEP_COMPRESSION = "Deep Compression (arXiv:1510.00149)"


def _printed(number: Value, place: str, comparison: str = "rounded") -> Evidence:
    return Evidence(
        kind="elsewhere",
        comparison=comparison,
        function=lambda own: own,
        inputs=(number,),
        place=place,
    )


_exact = partial(_printed, comparison="exact")
_rounded = _printed


def _accuracies() -> Iterator[tuple[str, Evidence]]:
    """AlexNet's accuracies, which Table 2 quotes as 100 less an error."""
    for key, result in related.ALEXNET_RESULTS.items():
        for column, error in (("top1", result.top1_error), ("top5", result.top5_error)):
            yield (
                f"table2.{key}.{column}",
                _rounded(number=100 - number(error), place=result.source),
            )


def _labels() -> Iterator[tuple[str, Evidence]]:
    """The densities' labels of Table 1, which the filter column of the same row repeats."""
    for row in TABLE_1:
        if row.kept_filter:
            label = row.filter.partition("/")[0]
            place = "Table 1, filter column of the same row"
            yield f"table1.{row.layer}.kept_filter", _exact(number=label, place=place)


def _markers(name: str, points: tuple[Point, ...]) -> Iterator[tuple[str, Evidence]]:
    """The accuracies printed in a plot of Figure 3, which its markers repeat."""
    for point in points:
        if point.printed is not None:
            yield f"figure3{name}.{point.value}.printed", _marker(name, points, value=point.value)


def _marker(name: str, points: tuple[Point, ...], **where: object) -> Evidence:
    """The height of the one marker that has these values."""
    (point,) = (p for p in points if all(getattr(p, key) == v for key, v in where.items()))
    return _exact(number=str(point.top5), place=f"Figure 3({name}), height of the marker")


def _pools() -> Evidence:
    """The layers that Table 1 max-pools after."""
    rows = pairwise(TABLE_1)
    layers = [row.layer for row, following in rows if following.layer.startswith("maxpool")]
    return _exact(number=", ".join(layers), place="Table 1")


ELSEWHERE: Mapping[str, Evidence] = {
    "abstract.compressed": _printed(number(TABLE_2[-1].size), "Table 2", "below"),
    "section3.3.pools": _pools(),
    "section3.3.1.base_lr": _rounded(number=number(SOLVER.base_lr), place=_SOLVER),
    "section3.3.1.dropout": _rounded(number=100 * number(SOLVER.dropout), place=_TRAIN_VAL),
    **dict(_labels()),
    **dict(_accuracies()),
    "table2.svd.size": _rounded(
        number=number(related.SVD_ALEXNET_MB), place=f"{_DEEP_COMPRESSION}, Table 7"
    ),
    "table2.deep_compression.size": _rounded(
        number=number(related.COMPRESSED_ALEXNET_MB), place=f"{_DEEP_COMPRESSION}, abstract"
    ),
    "table2.squeezenet_8bit.size": _rounded(
        number=Decimal(related.RELEASED_README_KB) / 1000, place=_README
    ),
    "section5.1.base_e": _exact(number=TABLE_1[3].output[2], place="Table 1, fire2"),
    "section5.2.first": _marker("a", FIGURE_3A, size_label="4.8"),
    "section5.2.best": _marker("a", FIGURE_3A, size_label="19"),
    "section5.2.plateau": _marker("a", FIGURE_3A, value=1.0),
    "section5.3.plateau": _marker("b", FIGURE_3B, value=0.5),
    **dict(_markers("a", FIGURE_3A)),
    **dict(_markers("b", FIGURE_3B)),
    "figure3.shared": _marker("b", FIGURE_3B, value=0.5),
    "released.size": _exact(number=-(-related.RELEASED_BYTES // 2**10), place=_RELEASED_FILE),
    "deep_compression.index_bits": _exact(
        number=related.ALEXNET_DENSE_INDEX_BITS,
        place=f"{_DEEP_COMPRESSION}, section 5.2 and Table 4",
    ),
    "zynqnet.top5": _rounded(
        number=100 - number(related.ZYNQNET_TOP5_ERROR),
        place="dgschwend/zynqnet, networks.xlsx",
    ),
}
"""By the claim's id."""
