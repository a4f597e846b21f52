"""Numbers of other works that the paper quotes, of its authors' released compressed file, and of
files of the same network that were written here.

`dse.paper.published` has the paper's own tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# AlexNet as other works report it -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlexNetResult:
    """AlexNet's ImageNet errors in percent, and the work that reports them."""

    top1_error: float
    top5_error: float
    source: str


ALEXNET_RESULTS: Mapping[str, AlexNetResult] = {
    "alexnet": AlexNetResult(42.78, 19.73, "Deep Compression (arXiv:1510.00149)"),
    "svd": AlexNetResult(44.02, 20.56, "Deep Compression (arXiv:1510.00149), Table 7"),
    "pruning": AlexNetResult(42.77, 19.67, "Network Pruning (arXiv:1506.02626)"),
    "deep_compression": AlexNetResult(42.78, 19.70, "Deep Compression (arXiv:1510.00149)"),
}
"""By the `key` of Table 2's rows: the error rates from which it has AlexNet's accuracies."""

SVD_ALEXNET_MB = 47.6
"""AlexNet after SVD (Deep Compression, Table 7)."""
PRUNED_ALEXNET_PARAMS = 6_700_000
"""Parameters of AlexNet that Network Pruning keeps, to two digits."""
COMPRESSED_ALEXNET_MB = 6.9
"""AlexNet pruned, quantized and Huffman-coded (Deep Compression, abstract)."""
QUANTIZED_ALEXNET_MB = 8.9
"""AlexNet pruned and quantized, before Huffman coding (Deep Compression)."""
ALEXNET_DENSE_INDEX_BITS = 4
"""Index bits of AlexNet's dense layers (Deep Compression, section 5.2 and Table 4)."""


# AlexNet's layers ---------------------------------------------------------------------------


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


# songhan/SqueezeNet-Deep-Compression; other networks -----------------------------------------

RELEASED_BYTES = 675_763
"""Size of its file compressed_SqueezeNet.net."""
RELEASED_README_KB = 660
"""The same size as its README.md prints it."""

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
"""Entries stored for each convolution in that file, which begins with these 26 counts: conv1;
squeeze, expand1x1 and expand3x3 of fire2 .. fire9; conv10."""

RELEASED_FILLERS = 6_162
"""Entries of that file that hold a zero, where more than 15 zeros separate two weights."""

PLAIN_6BIT_BYTES = 486_807
"""A file of the same weights in plain 6-bit codes (results/reference/released/six_bits.json)."""
CODED_6BIT_BYTES = 375_631
"""The same codes, entropy-coded (results/reference/released/six_bits.json)."""
SMALLEST_KEPT_BYTES = 383_122
"""The smallest file as accurate as the released one (results/reference/released/frontier.json): it
keeps the first class of at least 95% of the images, and the 95% interval of its change of top-1 has
0 in it."""

DSD_TOP1 = 61.7579
"""SqueezeNet after dense-sparse-dense training (songhan/SqueezeNet-DSD-Training, log), percent."""

ZYNQNET_TOP5_ERROR = 15.4
"""ZynqNet's error in dgschwend/zynqnet, networks.xlsx, percent."""
