"""The published tables, figures and training files of SqueezeNet, as printed.

Sources: arXiv:1602.07360 (the paper; sections, tables and figures of version 4) and its authors'
repositories; `dse.paper.related` has the works that it compares itself with. The accuracies of
Figure 3 are the positions of its markers, which lie on a grid of 0.1%. `dse.paper.claims` lists
all published numbers one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "arXiv:1602.07360"
IMAGENET_TRAIN_IMAGES = 1_281_167
"""Training images of ImageNet-1k (ILSVRC 2012)."""
IMAGENET_VALIDATION_IMAGES = 50_000
"""Validation images of ImageNet-1k (ILSVRC 2012)."""


# Table 1: architecture ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Table1Row:
    """One row in the form of the paper's Table 1; None or "" where a cell is empty.

    `output` is height, width, channels. `filter` is the filter's sides / stride and, for
    convolutions, their number. `kept` holds the percentages of weights kept by pruning, for
    s1x1, e1x1, e3x3 or for the one convolution (the paper heads these columns "sparsity"), and
    `kept_filter` the filter printed with the latter. `params` counts weights and biases before
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

    @property
    def shape(self) -> str:
        """The output as the paper writes it, such as 55x55x96."""
        return "x".join(str(side) for side in self.output)


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


@dataclass(frozen=True, slots=True)
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


TABLE_2 = (
    Table2Row("alexnet", "AlexNet", "None", "32 bit", "", "240", 1, 57.2, 80.3),
    Table2Row("svd", "AlexNet", "SVD", "32 bit", "240", "48", 5, 56.0, 79.4),
    Table2Row("pruning", "AlexNet", "Network Pruning", "32 bit", "240", "27", 9, 57.2, 80.3),
    Table2Row("deep_compression", "AlexNet", "Deep Compression", "5-8 bit",
              "240", "6.9", 35, 57.2, 80.3),
    Table2Row("squeezenet", "SqueezeNet", "None", "32 bit", "", "4.8", 50, 57.5, 80.3),
    Table2Row("squeezenet_8bit", "SqueezeNet", "Deep Compression", "8 bit",
              "4.8", "0.66", 363, 57.5, 80.3),
    Table2Row("squeezenet_6bit", "SqueezeNet", "Deep Compression", "6 bit",
              "4.8", "0.47", 510, 57.5, 80.3),
)  # fmt: skip
"""Model compression approaches (Table 2)."""


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
    as printed, `top5` the accuracy in percent at the marker's position, `printed` the accuracy
    printed next to it (None where there is none).
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
    passes of `batch_size` images. Biases decay as weights do. Images are stretched to 256x256,
    cropped to `crop_size` pixels and reduced by `mean_bgr`, never mirrored. Every convolution
    starts uniform in +-sqrt(3 / fan_in), conv10 normal with deviation `conv10_std`; biases start
    at 0.
    """

    base_lr: float
    power: float
    max_iter: int
    batch_size: int
    iter_size: int
    momentum: float = 0.9
    weight_decay: float = 0.0002
    test_iter: int = 2_000
    test_batch_size: int = 25
    crop_size: int = 227
    mean_bgr: tuple[int, int, int] = (104, 117, 123)
    mirror: bool = False
    dropout: float = 0.5
    conv10_std: float = 0.01

    @property
    def images_per_step(self) -> int:
        """Images in one step of the optimizer, `batch_size * iter_size`."""
        return self.batch_size * self.iter_size

    @property
    def epochs(self) -> float:
        """Passes over ImageNet's training images."""
        return self.max_iter * self.images_per_step / IMAGENET_TRAIN_IMAGES


SOLVER = Solver(base_lr=0.04, power=1.0, max_iter=170_000, batch_size=32, iter_size=16)
"""v1.0 and v1.1 in forresti/SqueezeNet; section 3.3.1 describes it."""

OLD_SOLVER = Solver(base_lr=0.08, power=0.5, max_iter=85_000, batch_size=32, iter_size=32)
"""forresti/SqueezeNet until 25 March 2016: the solver that trained the published v1.0 weights."""
