"""What was published about SqueezeNet: every number as printed, each with the place it stands.

The tables and figures are data (`TABLE_1`, `TABLE_2`, `TABLE_3`, `FIGURE_3A`, `FIGURE_3B`,
`SOLVER`); `CLAIMS` lists all published numbers one by one, with a remark where a number
disagrees with another one. No number here is a result of this project and none is fitted:
`dse.audit` does the arithmetic and gives the verdicts.

Sources: arXiv:1602.07360 (the paper; sections, tables and figures of version 4), the
repositories of its authors, and the works it compares itself with. The accuracies of Figure 3
are the positions of its markers, which lie on a grid of 0.1 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

PAPER = "arXiv:1602.07360"
IMAGENET_TRAIN_PICTURES = 1_281_167
"""Training pictures of ImageNet-1k (ILSVRC 2012)."""
IMAGENET_VALIDATION_PICTURES = 50_000
"""Validation pictures of ImageNet-1k (ILSVRC 2012)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One published number.

    `published` is the text as printed (its digits are the precision it is compared at) in
    `unit`; `statement` says of what. `remark` is the sentence that a reader of a contradiction
    needs. `measured` marks what only a network trained on ImageNet can tell.
    """

    id: str
    source: str
    statement: str
    published: str
    unit: str = ""
    remark: str = ""
    measured: bool = False


# Table 1: architecture ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Table1Row:
    """One row in the form of the paper's Table 1; None or "" where a cell is empty.

    `output` is height, width, channels. `filter` is the filter's sides / stride and, for
    convolutions, their number. `kept` holds the percentages of weights kept by pruning, for
    s1x1, e1x1, e3x3 or for the one convolution (the paper heads these columns "sparsity"), and
    `kept_filter` the filter printed beside the latter. `params` counts weights and biases before
    pruning, `params_after` after it.
    """

    layer: str
    output: tuple[int, int, int]
    filter: str = ""
    depth: int | None = None
    s1x1: int | None = None
    e1x1: int | None = None
    e3x3: int | None = None
    kept: tuple[int, ...] = ()
    kept_filter: str = ""
    bits: int | None = None
    params: int | None = None
    params_after: int | None = None


def _fire(
    layer: str,
    side: int,
    filters: tuple[int, int, int],
    kept: tuple[int, int, int],
    params: int,
    params_after: int,
) -> Table1Row:
    s1x1, e1x1, e3x3 = filters
    return Table1Row(
        layer=layer,
        output=(side, side, e1x1 + e3x3),
        depth=2,
        s1x1=s1x1,
        e1x1=e1x1,
        e3x3=e3x3,
        kept=kept,
        bits=6,
        params=params,
        params_after=params_after,
    )


TABLE_1 = (
    Table1Row(layer="input", output=(224, 224, 3)),
    Table1Row(
        layer="conv1",
        output=(111, 111, 96),
        filter="7x7/2 (x96)",
        depth=1,
        kept=(100,),
        kept_filter="7x7",
        bits=6,
        params=14_208,
        params_after=14_208,
    ),
    Table1Row(layer="maxpool1", output=(55, 55, 96), filter="3x3/2", depth=0),
    _fire("fire2", 55, (16, 64, 64), (100, 100, 33), 11_920, 5_746),
    _fire("fire3", 55, (16, 64, 64), (100, 100, 33), 12_432, 6_258),
    _fire("fire4", 55, (32, 128, 128), (100, 100, 33), 45_344, 20_646),
    Table1Row(layer="maxpool4", output=(27, 27, 256), filter="3x3/2", depth=0),
    _fire("fire5", 27, (32, 128, 128), (100, 100, 33), 49_440, 24_742),
    _fire("fire6", 27, (48, 192, 192), (100, 50, 33), 104_880, 44_700),
    _fire("fire7", 27, (48, 192, 192), (50, 100, 33), 111_024, 46_236),
    _fire("fire8", 27, (64, 256, 256), (100, 50, 33), 188_992, 77_581),
    Table1Row(layer="maxpool8", output=(13, 12, 512), filter="3x3/2", depth=0),
    _fire("fire9", 13, (64, 256, 256), (50, 100, 30), 197_184, 77_581),
    Table1Row(
        layer="conv10",
        output=(13, 13, 1000),
        filter="1x1/1 (x1000)",
        depth=1,
        kept=(20,),
        kept_filter="3x3",
        bits=6,
        params=513_000,
        params_after=103_400,
    ),
    Table1Row(layer="avgpool10", output=(1, 1, 1000), filter="13x13/1", depth=0),
)
"""The architecture (Table 1), row by row."""

TABLE_1_PARAMS = 1_248_424
"""Table 1, total of the parameters before pruning."""
TABLE_1_PARAMS_AFTER = 421_098
"""Table 1, total of the parameters after pruning."""


# Table 2: model compression -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Table2Row:
    """One row of Table 2; `key` is this project's short name for it.

    `original` (before compression, "" without) and `size` are in the paper's MB as printed,
    `ratio` is AlexNet's size to this one, `top1` and `top5` are ImageNet accuracies in percent.
    """

    key: str
    network: str
    approach: str
    data_type: str
    original: str
    size: str
    ratio: int
    top1: float
    top5: float


def _compressed(
    key: str, network: str, approach: str, data_type: str, original: str, size: str, ratio: int,
    top1: float, top5: float,
) -> Table2Row:  # fmt: skip
    return Table2Row(
        key=key,
        network=network,
        approach=approach,
        data_type=data_type,
        original=original,
        size=size,
        ratio=ratio,
        top1=top1,
        top5=top5,
    )


TABLE_2 = (
    _compressed("alexnet", "AlexNet", "None", "32 bit", "", "240", 1, 57.2, 80.3),
    _compressed("svd", "AlexNet", "SVD", "32 bit", "240", "48", 5, 56.0, 79.4),
    _compressed("pruning", "AlexNet", "Network Pruning", "32 bit", "240", "27", 9, 57.2, 80.3),
    _compressed("deep_compression", "AlexNet", "Deep Compression", "5-8 bit",
                "240", "6.9", 35, 57.2, 80.3),
    _compressed("squeezenet", "SqueezeNet", "None", "32 bit", "", "4.8", 50, 57.5, 80.3),
    _compressed("squeezenet_8bit", "SqueezeNet", "Deep Compression", "8 bit",
                "4.8", "0.66", 363, 57.5, 80.3),
    _compressed("squeezenet_6bit", "SqueezeNet", "Deep Compression", "6 bit",
                "4.8", "0.47", 510, 57.5, 80.3),
)  # fmt: skip
"""Model compression approaches (Table 2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNetResult:
    """What the compared works say of AlexNet: ImageNet errors in percent, and where."""

    top1_error: float
    top5_error: float
    source: str


ALEXNET_RESULTS: Mapping[str, AlexNetResult] = MappingProxyType(
    {
        "alexnet": AlexNetResult(
            top1_error=42.78, top5_error=19.73, source="Deep Compression (arXiv:1510.00149)"
        ),
        "svd": AlexNetResult(
            top1_error=44.02,
            top5_error=20.56,
            source="Deep Compression (arXiv:1510.00149), Table 7",
        ),
        "pruning": AlexNetResult(
            top1_error=42.77, top5_error=19.67, source="Network Pruning (arXiv:1506.02626)"
        ),
        "deep_compression": AlexNetResult(
            top1_error=42.78, top5_error=19.70, source="Deep Compression (arXiv:1510.00149)"
        ),
    }
)
"""By the `key` of Table 2's rows: the error rates behind its accuracies of AlexNet."""

SVD_ALEXNET_MB = 47.6
"""AlexNet after SVD (Deep Compression, Table 7)."""
PRUNED_ALEXNET_PARAMS = 6_700_000
"""Parameters of AlexNet that Network Pruning keeps, to two digits."""
QUANTIZED_ALEXNET_MB = 8.9
"""AlexNet pruned and quantized, before Huffman coding (Deep Compression)."""
ALEXNET_DENSE_INDEX_BITS = 4
"""Index bits of AlexNet's dense layers (Deep Compression, section 5.2 and Table 4)."""


# Table 3 and Figure 3: the explored space ---------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Table3Row:
    """One row of Table 3: accuracies in percent, the size in the paper's MB as printed."""

    bypass: str
    top1: float
    top5: float
    size_label: str


TABLE_3 = (
    Table3Row(bypass="none", top1=57.5, top5=80.3, size_label="4.8"),
    Table3Row(bypass="simple", top1=60.4, top5=82.5, size_label="4.8"),
    Table3Row(bypass="complex", top1=58.8, top5=82.0, size_label="7.7"),
)
"""Bypass connections (Table 3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One network of Figure 3.

    `value` is the metaparameter (a share, not percent), `size_label` the tick in the paper's MB
    as printed, `top5` the accuracy in percent where the marker stands, `printed` the accuracy
    written beside it (None where there is none).
    """

    value: float
    size_label: str
    top5: float
    printed: float | None = None


FIGURE_3A = (
    Point(value=0.125, size_label="4.8", top5=80.3, printed=80.3),
    Point(value=0.25, size_label="7.6", top5=83.4),
    Point(value=0.5, size_label="13", top5=85.4, printed=85.3),
    Point(value=0.75, size_label="19", top5=86.0, printed=86.0),
    Point(value=1.0, size_label="24", top5=86.1),
)
"""Figure 3(a): `value` is `sr`, at `pct3x3` 0.5."""

FIGURE_3B = (
    Point(value=0.01, size_label="5.7", top5=76.3, printed=76.3),
    Point(value=0.125, size_label="7.4", top5=80.9),
    Point(value=0.25, size_label="9.3", top5=84.0),
    Point(value=0.375, size_label="11", top5=84.7),
    Point(value=0.5, size_label="13", top5=85.3, printed=85.3),
    Point(value=0.625, size_label="15", top5=85.6),
    Point(value=0.75, size_label="17", top5=85.4),
    Point(value=0.875, size_label="19", top5=85.5),
    Point(value=0.99, size_label="21", top5=85.3, printed=85.3),
)
"""Figure 3(b): `value` is `pct3x3`, at `sr` 0.5."""


# The authors' training files ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Solver:
    """A training recipe of forresti/SqueezeNet: its solver and the data layers of its network.

    The learning rate is `base_lr * (1 - step / max_iter) ** power`; a step sums `iter_size`
    passes of `batch_size` pictures. Weights and biases decay alike. Pictures are stretched to
    256x256, cropped to `crop_size` pixels and reduced by `mean_bgr`, never mirrored. Every
    convolution starts uniform in +-sqrt(3 / fan_in), conv10 normal with deviation `conv10_std`;
    biases start at 0.
    """

    base_lr: float
    power: float
    max_iter: int
    batch_size: int
    iter_size: int
    momentum: float = 0.9
    weight_decay: float = 0.0002
    random_seed: int = 42
    average_loss: int = 40
    test_iter: int = 2_000
    test_batch_size: int = 25
    test_interval: int = 1_000
    crop_size: int = 227
    mean_bgr: tuple[int, int, int] = (104, 117, 123)
    mirror: bool = False
    dropout: float = 0.5
    conv10_std: float = 0.01

    @property
    def pictures_per_step(self) -> int:
        """Pictures behind one step of the weights, `batch_size * iter_size`."""
        return self.batch_size * self.iter_size

    @property
    def epochs(self) -> float:
        """Passes over ImageNet's training pictures."""
        return self.max_iter * self.pictures_per_step / IMAGENET_TRAIN_PICTURES


SOLVER = Solver(base_lr=0.04, power=1.0, max_iter=170_000, batch_size=32, iter_size=16)
"""v1.0 and v1.1 in forresti/SqueezeNet, and the recipe in words of section 3.3.1."""

OLD_SOLVER = Solver(base_lr=0.08, power=0.5, max_iter=85_000, batch_size=32, iter_size=32)
"""forresti/SqueezeNet until 25 March 2016: the solver behind the published v1.0 weights."""


# Neighbours: AlexNet and the released compressed file ---------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer of `filters`, each of `inputs` channels and side `kernel` (1 when dense)."""

    filters: int
    inputs: int
    kernel: int = 1

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.filters * (self.inputs * self.kernel**2 + 1)


_ALEXNET_DENSE = (
    Layer(filters=4096, inputs=9216),
    Layer(filters=4096, inputs=4096),
    Layer(filters=1000, inputs=4096),
)

ALEXNET_CAFFE = (
    Layer(filters=96, inputs=3, kernel=11),
    Layer(filters=256, inputs=48, kernel=5),
    Layer(filters=384, inputs=256, kernel=3),
    Layer(filters=384, inputs=192, kernel=3),
    Layer(filters=256, inputs=192, kernel=3),
    *_ALEXNET_DENSE,
)
"""BVLC/caffe, models/bvlc_alexnet (conv2, conv4 and conv5 in two groups): Table 2's AlexNet."""

ALEXNET_TORCHVISION = (
    Layer(filters=64, inputs=3, kernel=11),
    Layer(filters=192, inputs=64, kernel=5),
    Layer(filters=384, inputs=192, kernel=3),
    Layer(filters=256, inputs=384, kernel=3),
    Layer(filters=256, inputs=256, kernel=3),
    *_ALEXNET_DENSE,
)
"""torchvision's alexnet."""

RELEASED_ENTRIES = (
    13_902,
    1_528, 1_020, 3_073,
    2_038, 1_023, 3_081,
    4_085, 4_071, 12_288,
    8_160, 4_067, 12_343,
    12_161, 4_602, 27_558,
    9_205, 9_132, 27_564,
    24_388, 8_190, 44_919,
    16_371, 16_303, 45_038,
    105_973,
)  # fmt: skip
"""Entries that songhan/SqueezeNet-Deep-Compression's compressed_SqueezeNet.net says it stores
for each convolution (the 26 counts that open the file): conv1, squeeze, expand1x1 and expand3x3
of fire2 .. fire9, conv10."""

RELEASED_FILLERS = 6_162
"""Entries of that file that hold a zero, where more than 15 zeros separate two weights."""


ZYNQNET_TOP5_ERROR = 15.4
"""ZynqNet's error in dgschwend/zynqnet, networks.xlsx, percent."""


# Every published number ---------------------------------------------------------------------

_V1_1 = "forresti/SqueezeNet, SqueezeNet_v1.1/README.md"
_SOLVER_FILE = "forresti/SqueezeNet, solver.prototxt and train_val.prototxt"
_RELEASED = "songhan/SqueezeNet-Deep-Compression"
_TORCHVISION = "torchvision, models/squeezenet.py"
_ZYNQNET = "ZynqNet (arXiv:2005.06892, dgschwend/zynqnet)"
_DEEP_COMPRESSION = "Deep Compression (arXiv:1510.00149)"
_PRUNING = "Network Pruning (arXiv:1506.02626)"

_REMARKS = {
    "table1.input.output": (
        "A 7x7 filter of stride 2 without padding makes a map of 111 pixels from 227 pixels, the "
        "crop of the authors' files, and a smaller one from 224."
    ),
    "table1.maxpool8.output": "A slip of the pen: the maps are square, as in the next row.",
    "table1.fire8.params_after": (
        "The row prints 33 % for e3x3; its count and the table's total need 30 %, which fire9 "
        "prints and the released file has."
    ),
    "table1.conv10.authors_output": (
        "The authors' v1.0 file pads conv10 by 1 pixel, so that its map is 2 pixels larger than "
        "the table says (and the average pool covers it all); v1.1 does not pad."
    ),
    "table1.conv10.kept_filter": (
        "The density's label disagrees with the filter column of its own row."
    ),
    "table1.sparsity": (
        "The columns headed sparsity hold the share of weights that pruning keeps, their density: "
        "so conv10's counts say, and every other row's."
    ),
    "section3.3.pools": (
        "What follows conv10 is the average over the whole map (avgpool10 of Table 1, pool10 of "
        "the files), not a max-pool of stride 2."
    ),
    "section4.sparsity_6bit": (
        "Table 1's counts keep a little more, with the biases and without; by sparsity the text "
        "means density."
    ),
    "abstract.fewer_params": (
        "By the count of bvlc_alexnet; 50 is also the ratio of the printed sizes."
    ),
    "table2.alexnet.size": (
        "By the rule of SqueezeNet's labels; 240 fits decimal megabytes to two digits, so the "
        "table divides two units by each other. Han's repository says 233MB."
    ),
    "table2.pruning.size": (
        "27 fits decimal megabytes of the 6.7 million kept weights, again not the unit of "
        "SqueezeNet's labels, and leaves out the indices of a sparse matrix."
    ),
    "table2.squeezenet_8bit.size": (
        "The file's KiB, rounded up, read as thousandths of a megabyte."
    ),
    "table2.squeezenet_8bit.ratio": (
        "The fraction is dropped here, while 9x and 35x of the same column are rounded up."
    ),
    "table2.squeezenet_6bit.size": (
        "Read as 6 bits for each parameter that Table 1 keeps and 4-bit indices for its sparse "
        "tensors, without codebooks; with 8 bits this reading does not give 0.66."
    ),
    "table2.squeezenet_6bit.released_layout": (
        "The released file's own layout (an index for every entry, codebooks, float32 biases), "
        "with codes of 6 instead of 8 bits; no 6-bit file was released."
    ),
    "figure3b.0.375.size": (
        "The one tick of Figure 3's fourteen that is not its size in MiB rounded up."
    ),
    "figure3a.0.5.printed": "The marker stands a tenth above the number printed beside it.",
    "figure3.shared": (
        "Section 5.3 says that the 13MB networks of both plots are one architecture; the two "
        "plots draw it at different heights."
    ),
    "section5.2.plateau": (
        "Figure 3(a) draws SR 1.0 a tenth above SR 0.75: one run each, no error bars."
    ),
    "section5.3.plateau": (
        "Figure 3(b) prints and draws less at 50 %; the text's number is its 62.5 % point."
    ),
    "table3.complex.size": (
        "1x1 convolutions around fire2, fire4, fire6 and fire8 (section 6, Figure 2) add far less "
        "than the label says; around all eight modules they would add more."
    ),
    "v1_1.gflops": (
        "Counted as v1.0's number is: two operations per multiply-accumulate of the convolutions, "
        "227-pixel pictures. Maps of 13 pixels behind pool5, where v1.1's files make 14, would "
        "give the README's number."
    ),
    "v1_1.less_computation": (
        "It is the ratio of the README's own two numbers, of which the second does not hold."
    ),
    "section7.dsd": (
        "Against Table 2's 57.5; DSD's own page starts from 57.61, which makes the gain smaller."
    ),
    "zynqnet.params": (
        "The released network has a little more; the last digit is cut off, not rounded."
    ),
    "zynqnet.top5": "The repository's networks.xlsx lists an error of 15.4 %.",
    "deep_compression.index_bits": (
        "Section 2 speaks of 5 bits for dense layers; section 5.2 and Table 4 use 4 on AlexNet."
    ),
    "torchvision.v1_0.gmacs": "torchvision calls multiply-accumulates GFLOPS.",
    "torchvision.v1_1.gmacs": "torchvision calls multiply-accumulates GFLOPS.",
}


def _claims(place: str, *rows: tuple[str, str, str, str], measured: bool = False) -> list[Claim]:
    """Claims of one place; a row is id, statement, published, unit."""
    return [
        Claim(
            id=id,
            source=place,
            statement=statement,
            published=published,
            unit=unit,
            remark=_REMARKS.get(id, ""),
            measured=measured,
        )
        for id, statement, published, unit in rows
    ]


def _shape(output: tuple[int, int, int]) -> str:
    return "x".join(str(side) for side in output)


def _table1_claims() -> Iterator[Claim]:
    place = f"{PAPER}, Table 1"
    for row in TABLE_1:
        key, name = f"table1.{row.layer}", row.layer
        yield from _claims(place, (f"{key}.output", f"{name}: output", _shape(row.output), ""))
        if row.depth == 2:
            filters = f"{row.s1x1}/{row.e1x1}/{row.e3x3}"
            yield from _claims(place, (f"{key}.filters", f"{name}: s1x1/e1x1/e3x3", filters, ""))
        if row.params is not None:
            yield from _claims(
                place,
                (f"{key}.params", f"{name}: parameters", f"{row.params:,}", ""),
                (f"{key}.params_after", f"{name}: after pruning", f"{row.params_after:,}", ""),
            )
        if row.kept_filter:
            statement = f"{name}: filter beside its density"
            yield from _claims(place, (f"{key}.kept_filter", statement, row.kept_filter, ""))
    yield from _claims(
        place,
        ("table1.total.params", "all parameters", f"{TABLE_1_PARAMS:,}", ""),
        ("table1.total.params_after", "sum of the rows after pruning",
         f"{TABLE_1_PARAMS_AFTER:,}", ""),
        ("table1.conv10.authors_output", "conv10: output in the authors' own files",
         _shape(TABLE_1[-2].output), ""),
        ("table1.sparsity", "conv10: sparsity", "20", "%"),
    )  # fmt: skip


def _table2_claims() -> Iterator[Claim]:
    place = f"{PAPER}, Table 2"
    for row in TABLE_2:
        approach = "" if row.approach == "None" else f", {row.approach}"
        key, name = f"table2.{row.key}", f"{row.network}{approach}, {row.data_type}"
        yield from _claims(
            place,
            (f"{key}.size", f"{name}: size", row.size, " MB"),
            measured=row.key == "deep_compression",
        )
        if row.key == "squeezenet_6bit":
            yield from _claims(
                place,
                (f"{key}.released_layout", f"{name}: size as the released file stores 8 bit",
                 row.size, " MB"),
            )  # fmt: skip
        if row.ratio > 1:
            yield from _claims(
                place, (f"{key}.ratio", f"{name}: smaller than AlexNet", str(row.ratio), "x")
            )
        yield from _claims(
            place,
            (f"{key}.top1", f"{name}: top-1", str(row.top1), " %"),
            (f"{key}.top5", f"{name}: top-5", str(row.top5), " %"),
            measured=row.key not in ALEXNET_RESULTS,
        )


def _figure3_claims(name: str, knob: str, points: tuple[Point, ...]) -> Iterator[Claim]:
    place = f"{PAPER}, Figure 3({name})"
    for point in points:
        key, network = f"figure3{name}.{point.value}", f"{knob} {point.value}"
        yield from _claims(place, (f"{key}.size", f"{network}: size", point.size_label, " MB"))
        if point.printed is not None:
            yield from _claims(
                place,
                (f"{key}.printed", f"{network}: top-5 beside the marker", str(point.printed), " %"),
            )
        yield from _claims(
            place, (f"{key}.top5", f"{network}: top-5", str(point.top5), " %"), measured=True
        )


def _table3_claims() -> Iterator[Claim]:
    place = f"{PAPER}, Table 3"
    for row in TABLE_3:
        key, name = f"table3.{row.bypass}", f"bypass {row.bypass}"
        yield from _claims(place, (f"{key}.size", f"{name}: size", row.size_label, " MB"))
        yield from _claims(
            place,
            (f"{key}.top1", f"{name}: top-1", str(row.top1), " %"),
            (f"{key}.top5", f"{name}: top-5", str(row.top5), " %"),
            measured=True,
        )


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
        ("section3.3.1.dropout", "dropout after fire9", "50", " %"),
    ),
    *_table1_claims(),
    *_table2_claims(),
    *_claims(
        f"{PAPER}, section 4",
        ("section4.smaller", "smaller than the best compressed AlexNet", "1.4", "x"),
        ("section4.compressed", "Deep Compression of SqueezeNet", "10", "x"),
        ("section4.sparsity_8bit", "share of weights kept, 8 bit", "33", " %"),
        ("section4.sparsity_6bit", "share of parameters kept, 6 bit (Table 1)", "33", " %"),
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
        ("section5.2.first", "top-5 of the 4.8MB network", "80.3", " %"),
        ("section5.2.best", "top-5 of the 19MB network", "86.0", " %"),
        ("section5.2.plateau", "top-5 at SR 1.0, no better than at 0.75", "86.0", " %"),
    ),
    *_claims(
        f"{PAPER}, section 5.3",
        ("section5.3.plateau", "top-5 at 50 % 3x3 filters", "85.6", " %"),
    ),
    *_figure3_claims("a", "SR", FIGURE_3A),
    *_figure3_claims("b", "pct3x3", FIGURE_3B),
    *_claims(
        f"{PAPER}, Figure 3",
        ("figure3.shared", "SR 0.5, pct3x3 0.5: top-5 in (a), where (b) has the same network",
         "85.4", " %"),
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
        ("solver.batch", "pictures per step (README.md)", "512", ""),
        ("solver.max_iter", "steps, with as many pictures as the old solver's",
         f"{SOLVER.max_iter:,}", ""),
        ("solver.test", "test batches for ImageNet's validation pictures",
         f"{SOLVER.test_iter:,}", ""),
    ),
    *_claims(
        _V1_1,
        ("v1_0.gflops", "operations of v1.0", "1.72", " G"),
        ("v1_1.gflops", "operations of v1.1", "0.72", " G"),
        ("v1_1.less_computation", "less computation in v1.1", "2.4", "x"),
    ),
    *_claims(_V1_1, ("v1_1.top5", "top-5 of v1.1, at least", "80.3", " %"), measured=True),
    *_claims(
        _RELEASED,
        ("released.size", "README.md: size of the compressed network", "660", " KB"),
        ("released.bytes", "compressed_SqueezeNet.net: file", "675,763", " bytes"),
        ("released.convolutions", "compressed_SqueezeNet.net: convolutions", "26", ""),
        ("released.entries", "compressed_SqueezeNet.net: entries", "422,083", ""),
        ("released.weights", "compressed_SqueezeNet.net: weights that are not 0", "415,921", ""),
    ),
    *_claims(
        "songhan/SqueezeNet-Residual",
        ("residual.top1", "top-1 with simple bypass (log)", "60.3759", " %"),
        ("residual.top5", "top-5 with simple bypass (log)", "82.4981", " %"),
        measured=True,
    ),
    *_claims(
        "songhan/SqueezeNet-DSD-Training",
        ("dsd.top1", "top-1 after dense-sparse-dense training (log)", "61.7579", " %"),
        ("dsd.top5", "top-5 after dense-sparse-dense training (log)", "83.4742", " %"),
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
        ("torchvision.v1_0.min_size", "squeezenet1_0: smallest picture", "21", " pixels"),
        ("torchvision.v1_1.min_size", "squeezenet1_1: smallest picture", "17", " pixels"),
    ),
    *_claims(
        _TORCHVISION,
        ("torchvision.v1_0.top1", "squeezenet1_0: top-1", "58.092", " %"),
        ("torchvision.v1_0.top5", "squeezenet1_0: top-5", "80.420", " %"),
        ("torchvision.v1_1.top1", "squeezenet1_1: top-1", "58.178", " %"),
        ("torchvision.v1_1.top5", "squeezenet1_1: top-5", "80.624", " %"),
        measured=True,
    ),
    *_claims(
        _ZYNQNET,
        ("zynqnet.params", "parameters, millions", "2.52", ""),
        ("zynqnet.macs", "multiply-accumulates, 256 pixels, millions", "530", ""),
        ("zynqnet.top5", "top-5", "84.5", " %"),
    ),
    *_claims(_ZYNQNET, ("zynqnet.top1", "top-1", "62.96", " %"), measured=True),
)  # fmt: skip
"""Every published number, in the order of the paper, then of its neighbours."""
