"""Every published number about SqueezeNet, one by one, in the order of the paper.

No number here is a result of this project and none is fitted: `dse.paper.verdicts` compares each
with what can be computed or is printed elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from dse.paper.published import (
    FIGURE_3A,
    FIGURE_3B,
    PAPER,
    SOLVER,
    TABLE_1,
    TABLE_1_PARAMS,
    TABLE_1_PARAMS_AFTER,
    TABLE_2,
    TABLE_3,
    Point,
)
from dse.paper.related import ALEXNET_RESULTS, DSD_TOP1, RELEASED_BYTES, RELEASED_README_KB
from dse.paper.remarks import REMARKS


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One published number.

    `published` is the text as printed (its digits are the precision it is compared at) in
    `unit`, and `statement` says what it is. `remark` explains its verdict. `measured` marks
    what only a network trained on ImageNet can show.
    """

    id: str
    source: str
    statement: str
    published: str
    unit: str = ""
    remark: str = ""
    measured: bool = False


_V1_1 = "forresti/SqueezeNet, SqueezeNet_v1.1/README.md"
_SOLVER_FILE = "forresti/SqueezeNet, solver.prototxt and train_val.prototxt"
_RELEASED = "songhan/SqueezeNet-Deep-Compression"
_TORCHVISION = "torchvision, models/squeezenet.py"
_ZYNQNET = "ZynqNet (arXiv:2005.06892, dgschwend/zynqnet)"
_DEEP_COMPRESSION = "Deep Compression (arXiv:1510.00149)"
_PRUNING = "Network Pruning (arXiv:1506.02626)"


def _claim(
    place: str, id: str, statement: str, published: str, unit: str = "", measured: bool = False
) -> Claim:
    return Claim(
        id=id,
        source=place,
        statement=statement,
        published=published,
        unit=unit,
        remark=REMARKS.get(id, ""),
        measured=measured,
    )


def _claims(place: str, *rows: tuple[str, str, str, str], measured: bool = False) -> list[Claim]:
    """Claims of one place; a row is id, statement, published, unit."""
    return [_claim(place, *row, measured=measured) for row in rows]


def _table1_claims() -> Iterator[Claim]:
    claim = partial(_claim, f"{PAPER}, Table 1")
    for row in TABLE_1:
        key, name = f"table1.{row.layer}", row.layer
        yield claim(f"{key}.output", f"{name}: output", row.shape)
        if row.depth == 2:
            filters = f"{row.s1x1}/{row.e1x1}/{row.e3x3}"
            yield claim(f"{key}.filters", f"{name}: s1x1/e1x1/e3x3", filters)
        if row.params is not None:
            yield claim(f"{key}.params", f"{name}: parameters", f"{row.params:,}")
            yield claim(f"{key}.params_after", f"{name}: after pruning", f"{row.params_after:,}")
        if row.kept_filter:
            statement = f"{name}: filter printed with its density"
            yield claim(f"{key}.kept_filter", statement, row.kept_filter)
    yield claim("table1.total.params", "all parameters", f"{TABLE_1_PARAMS:,}")
    total = f"{TABLE_1_PARAMS_AFTER:,}"
    yield claim("table1.total.params_after", "sum of the rows after pruning", total)
    statement = "conv10: output in the authors' own files"
    yield claim("table1.conv10.authors_output", statement, TABLE_1[-2].shape)
    yield claim("table1.sparsity", "conv10: sparsity", "20", "%")


SIX_BIT_READINGS = {
    "plain": "released weights in 6 bits, no entropy coding",
    "entropy_coded": "released weights in 6 bits, entropy-coded file",
    "enough": "a file as accurate as the released one",
}
"""What the size of the 6-bit network may mean; no file of it was released."""


def _table2_claims() -> Iterator[Claim]:
    claim = partial(_claim, f"{PAPER}, Table 2")
    for row in TABLE_2:
        approach = "" if row.approach == "None" else f", {row.approach}"
        key, name = f"table2.{row.key}", f"{row.network}{approach}, {row.data_type}"
        yield claim(f"{key}.size", f"{name}: size", row.size, " MB")
        if row.key == "squeezenet_6bit":
            statement = f"{name}: size in the released file's layout"
            yield claim(f"{key}.released_layout", statement, row.size, " MB")
            for reading, statement in SIX_BIT_READINGS.items():
                yield claim(f"{key}.{reading}", f"{name}: {statement}", row.size, " MB")
        if row.ratio > 1:
            yield claim(f"{key}.ratio", f"{name}: smaller than AlexNet", str(row.ratio), "x")
        trained = row.key not in ALEXNET_RESULTS
        yield claim(f"{key}.top1", f"{name}: top-1", str(row.top1), "%", measured=trained)
        yield claim(f"{key}.top5", f"{name}: top-5", str(row.top5), "%", measured=trained)


def _figure3_claims(name: str, knob: str, points: tuple[Point, ...]) -> Iterator[Claim]:
    claim = partial(_claim, f"{PAPER}, Figure 3({name})")
    for point in points:
        key, network = f"figure3{name}.{point.value}", f"{knob} {point.value}"
        yield claim(f"{key}.size", f"{network}: size", point.size_label, " MB")
        if point.printed is not None:
            statement = f"{network}: top-5 printed at the marker"
            yield claim(f"{key}.printed", statement, str(point.printed), "%")
        yield claim(f"{key}.top5", f"{network}: top-5", str(point.top5), "%", measured=True)


def _table3_claims() -> Iterator[Claim]:
    claim = partial(_claim, f"{PAPER}, Table 3")
    for row in TABLE_3:
        key, name = f"table3.{row.bypass}", f"bypass {row.bypass}"
        yield claim(f"{key}.size", f"{name}: size", row.size_label, " MB")
        yield claim(f"{key}.top1", f"{name}: top-1", str(row.top1), "%", measured=True)
        yield claim(f"{key}.top5", f"{name}: top-5", str(row.top5), "%", measured=True)


CLAIMS = (
    *_claims(
        f"{PAPER}, abstract",
        ("abstract.fewer_params", "fewer parameters than AlexNet", "50", "x"),
        ("abstract.compressed", "compressed size is less than", "0.5", " MB"),
    ),
    *_claims(
        f"{PAPER}, section 3.3",
        ("section3.3.fires", "Fire modules", "8", ""),
        ("section3.3.pools", "max-pooling after", "conv1, fire4, fire8, conv10", ""),
    ),
    *_claims(
        f"{PAPER}, section 3.3.1",
        ("section3.3.1.base_lr", "learning rate at the start", "0.04", ""),
        ("section3.3.1.dropout", "dropout after fire9", "50", "%"),
    ),
    *_table1_claims(),
    *_table2_claims(),
    *_claims(
        f"{PAPER}, section 4",
        ("section4.smaller", "smaller than the best compressed AlexNet", "1.4", "x"),
        ("section4.compressed", "Deep Compression of SqueezeNet", "10", "x"),
        ("section4.sparsity_8bit", "share of weights kept, 8 bit", "33", "%"),
        ("section4.sparsity_6bit", "share of weights kept, 6 bit (Table 1)", "33", "%"),
        ("section4.speedup_8bit", "narrower than 32 bit: 8 bit", "4", "x"),
        ("section4.speedup_6bit", "narrower than 32 bit: 6 bit", "5.3", "x"),
    ),
    *_claims(
        f"{PAPER}, section 4",
        ("section4.ristretto", "accuracy lost with 8-bit arithmetic, less than", "1", " point"),
        measured=True,
    ),
    *_claims(
        f"{PAPER}, section 5.1",
        ("section5.1.dimensions", "filter counts to choose in SqueezeNet's Fire modules", "24", ""),
        ("section5.1.base_e", "base_e", "128", ""),
        ("section5.1.incr_e", "incr_e", "128", ""),
        ("section5.1.freq", "freq", "2", ""),
        ("section5.1.pct3x3", "pct3x3", "0.5", ""),
        ("section5.1.sr", "SR", "0.125", ""),
    ),
    *_claims(
        f"{PAPER}, section 5.2",
        ("section5.2.first", "top-5 of the 4.8MB network", "80.3", "%"),
        ("section5.2.best", "top-5 of the 19MB network", "86.0", "%"),
        ("section5.2.plateau", "top-5 at SR 1.0, no better than at 0.75", "86.0", "%"),
    ),
    *_claims(
        f"{PAPER}, section 5.3",
        ("section5.3.plateau", "top-5 at 50% 3x3 filters", "85.6", "%"),
    ),
    *_figure3_claims("a", "SR", FIGURE_3A),
    *_figure3_claims("b", "pct3x3", FIGURE_3B),
    *_claims(
        f"{PAPER}, Figure 3",
        ("figure3.shared", "SR 0.5, pct3x3 0.5: top-5 in (a), where (b) has the same network",
         "85.4", "%"),
    ),
    *_table3_claims(),
    *_claims(
        f"{PAPER}, section 6",
        ("section6.simple", "Fire modules that a plain wire can bypass", "4", ""),
        ("section6.bottleneck", "fewer squeeze than expand filters", "8", "x"),
        ("section6.gain_top1", "gain of simple bypass, top-1", "2.9", " points"),
        ("section6.gain_top5", "gain of simple bypass, top-5", "2.2", " points"),
    ),
    *_claims(
        f"{PAPER}, section 7",
        ("section7.dsd", "gain of dense-sparse-dense training, top-1", "4.3", " points"),
    ),
    *_claims(
        f"{PAPER}, section 7",
        ("section7.dsd_sparse", "gain of its compressed network, top-1", "1.2", " points"),
        measured=True,
    ),
    *_claims(
        _SOLVER_FILE,
        ("solver.batch", "images per step (README.md)", "512", ""),
        ("solver.max_iter", "steps, with as many images as the old solver's",
         f"{SOLVER.max_iter:,}", ""),
        ("solver.test", "test batches for ImageNet's validation images",
         f"{SOLVER.test_iter:,}", ""),
    ),
    *_claims(
        _V1_1,
        ("v1_0.gflops", "operations of v1.0", "1.72", " G"),
        ("v1_1.gflops", "operations of v1.1", "0.72", " G"),
        ("v1_1.less_computation", "less computation in v1.1", "2.4", "x"),
    ),
    *_claims(_V1_1, ("v1_1.top5", "top-5 of v1.1, at least", "80.3", "%"), measured=True),
    *_claims(
        _RELEASED,
        ("released.size", "README.md: size of the compressed network",
         str(RELEASED_README_KB), " KB"),
        ("released.bytes", "compressed_SqueezeNet.net: file", f"{RELEASED_BYTES:,}", " bytes"),
        ("released.convolutions", "compressed_SqueezeNet.net: convolutions", "26", ""),
        ("released.entries", "compressed_SqueezeNet.net: entries", "422,083", ""),
        ("released.weights", "compressed_SqueezeNet.net: weights that are not 0", "415,921", ""),
    ),
    *_claims(
        "songhan/SqueezeNet-Residual",
        ("residual.top1", "top-1 with simple bypass (log)", "60.3759", "%"),
        ("residual.top5", "top-5 with simple bypass (log)", "82.4981", "%"),
        measured=True,
    ),
    *_claims(
        "songhan/SqueezeNet-DSD-Training",
        ("dsd.top1", "top-1 after dense-sparse-dense training (log)", str(DSD_TOP1), "%"),
        ("dsd.top5", "top-5 after dense-sparse-dense training (log)", "83.4742", "%"),
        measured=True,
    ),
    *_claims(
        "BVLC/caffe, models/bvlc_alexnet",
        ("alexnet.caffe.params", "AlexNet's parameters, as widely quoted", "60,965,224", ""),
    ),
    *_claims(
        _PRUNING,
        ("pruning.params", "AlexNet's parameters, millions", "61", ""),
        ("pruning.ratio", "AlexNet pruned to 6.7 million parameters", "9", "x"),
    ),
    *_claims(
        _DEEP_COMPRESSION,
        ("deep_compression.ratio", "AlexNet from 240MB to 8.9MB before Huffman coding", "27", "x"),
        ("deep_compression.index_bits", "index bits of AlexNet's dense layers (section 2)",
         "5", ""),
    ),
    *_claims(
        "songhan/Deep-Compression-AlexNet",
        ("deep_compression.alexnet_size", "README.md: AlexNet's size", "233", " MB"),
    ),
    *_claims(
        _TORCHVISION,
        ("torchvision.alexnet.params", "alexnet: parameters", "61,100,840", ""),
        ("torchvision.v1_0.params", "squeezenet1_0: parameters", "1,248,424", ""),
        ("torchvision.v1_1.params", "squeezenet1_1: parameters", "1,235,496", ""),
        ("torchvision.v1_0.gmacs", "squeezenet1_0: multiply-accumulates, 224 pixels",
         "0.819", " G"),
        ("torchvision.v1_1.gmacs", "squeezenet1_1: multiply-accumulates, 224 pixels",
         "0.349", " G"),
        ("torchvision.v1_0.min_size", "squeezenet1_0: smallest image", "21", " pixels"),
        ("torchvision.v1_1.min_size", "squeezenet1_1: smallest image", "17", " pixels"),
    ),
    *_claims(
        _TORCHVISION,
        ("torchvision.v1_0.top1", "squeezenet1_0: top-1", "58.092", "%"),
        ("torchvision.v1_0.top5", "squeezenet1_0: top-5", "80.420", "%"),
        ("torchvision.v1_1.top1", "squeezenet1_1: top-1", "58.178", "%"),
        ("torchvision.v1_1.top5", "squeezenet1_1: top-5", "80.624", "%"),
        measured=True,
    ),
    *_claims(
        _ZYNQNET,
        ("zynqnet.params", "parameters, millions", "2.52", ""),
        ("zynqnet.macs", "multiply-accumulates, 256 pixels, millions", "530", ""),
        ("zynqnet.top5", "top-5", "84.5", "%"),
    ),
    *_claims(_ZYNQNET, ("zynqnet.top1", "top-1", "62.96", "%"), measured=True),
)  # fmt: skip
"""Every published number, in the order of the paper, then of related work."""
