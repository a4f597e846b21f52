"""AlexNet as counts: the network that the paper measures SqueezeNet's size against (Table 2).

`AlexNet()` is the published one, as in BVLC/caffe, models/bvlc_alexnet, without its local response
normalisation; `small_alexnet` adapts it to small images, and is what trials train.
"""

from __future__ import annotations

from dataclasses import dataclass

from dse.space.rules import check, integer, knob, one_of, real


@dataclass(frozen=True, kw_only=True, slots=True)
class Convolution:
    """A convolution and whether a 3x3/2 max-pooling follows; it is split into `groups`."""

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    groups: int = 1
    pool: bool = False


PUBLISHED = (
    Convolution(filters=96, kernel=11, stride=4, padding=0, pool=True),
    Convolution(filters=256, kernel=5, padding=2, groups=2, pool=True),
    Convolution(filters=384),
    Convolution(filters=384, groups=2),
    Convolution(filters=256, groups=2, pool=True),
)
"""conv1 to conv5."""

SMALL = (
    Convolution(filters=24, kernel=5, padding=2, pool=True),
    Convolution(filters=64, kernel=5, padding=2, groups=2, pool=True),
    Convolution(filters=96),
    Convolution(filters=96, groups=2),
    Convolution(filters=64, groups=2, pool=True),
)
"""The same for small images."""

SMALL_PIXELS = (8, 64)
"""Sides of the images that `small_alexnet` is for: smaller ones leave no map to pool, and larger
ones would give fc6 more weights than the published network has in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNet:
    """Five convolutions and three linear layers: conv1 .. conv5, fc6, fc7, fc8.

    `linear` are the outputs of fc6 and fc7; fc8 has one per class. Each convolution is followed by
    its norm, if any, and a ReLU; some by max-pooling, which rounds map sizes up (as Caffe does).
    A ReLU and dropout follow fc6 and fc7, as published.

    >>> AlexNet().linear
    (4096, 4096)
    """

    convolutions: tuple[Convolution, ...] = PUBLISHED
    linear: tuple[int, int] = (4096, 4096)
    norm: str = knob("none", one_of("none", "batch"), "normalisation after each convolution")
    dropout: float = knob(0.5, real(0, 1, below=True), "share dropped after fc6 and after fc7")
    num_classes: int = knob(1000, integer(2, 100_000), "classes to predict")
    in_channels: int = knob(3, integer(1, 16), "channels of an image")

    def __post_init__(self) -> None:
        check(self)

    def map_sizes(self, image_size: int) -> dict[str, int]:
        """Side of each map, pixels, in order: conv1, pool1, conv2, ... pool5.

        >>> list(AlexNet().map_sizes(227).values())
        [55, 27, 27, 13, 13, 13, 13, 6]

        Raises `ValueError` where the image is too small, or a map too small to pool.
        """
        side, sizes = image_size, {}
        for number, conv in enumerate(self.convolutions, 1):
            side = (side + 2 * conv.padding - conv.kernel) // conv.stride + 1
            if side < (2 if conv.pool else 1):
                raise ValueError(f"`image_size` must be larger for AlexNet, got {image_size}")
            sizes[f"conv{number}"] = side
            if conv.pool:
                side = -(-(side - 3) // 2) + 1
                sizes[f"pool{number}"] = side
        return sizes


def small_alexnet(*, norm: str, dropout: float, num_classes: int, in_channels: int) -> AlexNet:
    """AlexNet for small images, with a quarter of every width.

    conv1 is 5x5 with stride 1 in place of 11x11 with stride 4, about half its side, as the stems of
    SqueezeNet for small images have 3x3 filters in place of 7x7. All else is as published: the
    other kernels, the three poolings, the two groups of conv2, conv4 and conv5. Images of 32
    pixels leave a map of 4x4 to fc6 (published: 6x6), those of 12 pixels one of 1x1.

    Raises `ValueError` for a value outside its rule.
    """
    return AlexNet(
        convolutions=SMALL,
        linear=(1024, 1024),
        norm=norm,
        dropout=dropout,
        num_classes=num_classes,
        in_channels=in_channels,
    )
