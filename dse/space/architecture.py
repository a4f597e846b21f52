"""The design space: a few metaparameters and a layout fix a whole network.

`generate(Metaparameters(), Layout())` is SqueezeNet v1.0. An `Architecture` holds counts and no
tensors: `dse.space.cost` computes its cost, `dse.training.network` builds it.

Source: arXiv:1602.07360, sections 3 (Fire module), 5 (metaparameters) and 6 (bypass).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from decimal import Decimal
from types import MappingProxyType

from dse.space.rules import (
    check,
    expect,
    flag,
    integer,
    knob,
    mistakes,
    numbers,
    one_of,
    real,
    split,
)

FIRES = tuple(range(2, 10))
"""The numbers of the Fire modules, fire2 .. fire9."""

MAX_FILTERS = 8192
MAX_PIXELS = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Metaparameters:
    """The six numbers that fix all Fire modules (sections 5.1 and 6; defaults: v1.0).

    Fire module i (i = 0 for fire2) has `e = base_e + incr_e * (i // freq)` expand filters, of
    which `pct3x3 * e` are 3x3, after `sr * e` squeeze filters.
    """

    base_e: int = knob(128, integer(2, MAX_FILTERS), "expand filters of fire2")
    incr_e: int = knob(128, integer(0, MAX_FILTERS), "expand filters added every `freq` modules")
    freq: int = knob(2, integer(1, len(FIRES)), "Fire modules of the same width")
    pct3x3: float = knob(0.5, real(0, 1, above=True, below=True), "share of 3x3 expand filters")
    sr: float = knob(0.125, real(0, 1, above=True), "squeeze ratio: squeeze / expand filters")
    bypass: str = knob(
        "none", one_of("none", "simple", "complex"), "connections around Fire modules"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Everything around the Fire modules (defaults: v1.0 as torchvision builds it).

    Max-pooling is 3x3 with stride 2 and rounds map sizes up (as Caffe does). `strided_fires` and
    the two lists of filters are ZynqNet's: its squeezes of stride 2 are 3x3 with padding 1. With
    `conv10_split` n, conv10 is n parallel convolutions, each with its share of the classes rounded
    up to `conv10_multiple`; outputs beyond its share are dropped.
    """

    conv1_filters: int = knob(96, integer(1, MAX_FILTERS), "filters of conv1")
    conv1_kernel: int = knob(7, integer(1, 15), "side of conv1's filters, pixels")
    conv1_stride: int = knob(2, integer(1, 8), "stride of conv1, pixels")
    conv1_padding: int = knob(0, integer(0, 7), "padding of conv1, pixels")
    pool_after: str = knob("1-4-8", numbers(1, 9, ascending=True), "layers followed by max-pooling")
    strided_fires: str = knob(
        "none", numbers(2, 9, ascending=True), "Fire modules with a 3x3/2 squeeze"
    )
    squeeze_filters: str = knob(
        "none", numbers(1, MAX_FILTERS, count=8), "eight counts in place of sr"
    )
    expand_filters: str = knob(
        "none", numbers(2, MAX_FILTERS, count=8), "eight counts in place of base_e, incr_e and freq"
    )
    conv10_padding: int = knob(0, integer(0, 1), "padding of conv10, pixels (authors' v1.0: 1)")
    conv10_split: int = knob(1, integer(1, 8), "parallel convolutions that conv10 is split into")
    conv10_multiple: int = knob(1, integer(1, 256), "filters per part are a multiple of this")
    head_relu: bool = knob(True, flag(), "ReLU on the class scores (as published)")
    norm: str = knob("none", one_of("none", "batch"), "normalisation after each convolution")
    dropout: float = knob(0.5, real(0, 1, below=True), "dropout probability before conv10")

    def __post_init__(self) -> None:
        check(self)


V1_0 = Layout()
V1_1 = Layout(conv1_filters=64, conv1_kernel=3, pool_after="1-3-5")
ZYNQNET = Layout(
    conv1_filters=64,
    conv1_kernel=3,
    conv1_padding=1,
    pool_after="none",
    strided_fires="2-4-6-8",
    squeeze_filters="16-16-32-32-64-64-112-112",
    expand_filters="128-128-256-256-512-384-512-736",
    conv10_split=2,
    conv10_multiple=16,
    head_relu=False,
)
PX32 = Layout(conv1_filters=64, conv1_kernel=3, conv1_stride=1, conv1_padding=1)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "v1_0": V1_0,
        "v1_0_caffe": replace(V1_0, conv10_padding=1),
        "v1_1": V1_1,
        "zynqnet": ZYNQNET,
        "px64": replace(PX32, conv1_stride=2),
        "px32": PX32,
        "px16": replace(PX32, conv1_filters=16, pool_after="1-4-8"),
        "px8": replace(PX32, conv1_filters=12, pool_after="1-4"),
    }
)
"""Named layouts. `v1_0` and `v1_1` are torchvision's; `v1_0_caffe` has the authors' conv10
padding; `px8` .. `px64` are stems for images of about that many pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FireSpec:
    """One Fire module: filter counts, the squeeze's kernel and stride, and its bypass wire.

    `wire` is "none", "plain" (the input is added to the output) or "conv" (a 1x1 convolution of
    the input is added, section 6).
    """

    s1x1: int
    e1x1: int
    e3x3: int
    squeeze_kernel: int = 1
    squeeze_stride: int = 1
    wire: str = "none"

    @property
    def filters(self) -> int:
        """Filters of the module's output, `e1x1 + e3x3`."""
        return self.e1x1 + self.e3x3


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A network as counts: all that its cost and its construction need."""

    layout: Layout
    fires: tuple[FireSpec, ...]
    bypass: str
    num_classes: int = knob(MISSING, integer(2, 100_000), "classes to predict")
    in_channels: int = knob(MISSING, integer(1, 16), "channels of an image")

    def __post_init__(self) -> None:
        check(self)

    @property
    def conv10_filters(self) -> tuple[int, ...]:
        """Outputs of each part of conv10 (one part, unless `conv10_split` is above 1)."""
        return conv10_filters(self.layout, self.num_classes)


def round_half_up(ratio: float, filters: int) -> int:
    """`ratio * filters` rounded half up, exact on the decimal that `ratio` was written as.

    The paper gives no rounding rule; binary floats would round 0.145 * 100 down.

    >>> round_half_up(0.145, 100), round_half_up(0.125, 20), round_half_up(0.5, 3)
    (15, 3, 2)
    """
    top, bottom = Decimal(str(ratio)).as_integer_ratio()
    return (2 * top * filters + bottom) // (2 * bottom)


def expand_filters(metaparameters: Metaparameters, layout: Layout) -> tuple[int, ...]:
    """e of fire2 .. fire9: `base_e + incr_e * (i // freq)`, or the layout's own list.

    >>> expand_filters(Metaparameters(), V1_0)
    (128, 128, 256, 256, 384, 384, 512, 512)
    """
    m = metaparameters
    return split(layout.expand_filters) or tuple(
        m.base_e + m.incr_e * (i // m.freq) for i in range(len(FIRES))
    )


def conv10_filters(layout: Layout, num_classes: int) -> tuple[int, ...]:
    """Outputs of each part of conv10.

    >>> conv10_filters(V1_0, 1000), conv10_filters(ZYNQNET, 1000)
    ((1000,), (512, 512))
    """
    share = -(-num_classes // layout.conv10_split)
    return (-(-share // layout.conv10_multiple) * layout.conv10_multiple,) * layout.conv10_split


LISTED: Mapping[str, tuple[str, ...]] = {
    "squeeze_filters": ("sr",),
    "expand_filters": ("base_e", "incr_e", "freq"),
}
"""Lists of filters that a layout may have -> the metaparameters that they replace."""


def idle(layout: Layout) -> list[str]:
    """The metaparameters that the layout's own lists of filters leave without effect."""
    return [n for field, names in LISTED.items() if getattr(layout, field) != "none" for n in names]


def conflicts(metaparameters: Metaparameters, layout: Layout) -> list[str]:
    """A line for each metaparameter of `idle` that is not at its default."""
    default = Metaparameters()
    return [
        f"`{name}` must stay at its default {getattr(default, name)} where the layout lists its "
        f"own filters, got {getattr(metaparameters, name)}"
        for name in idle(layout)
        if getattr(metaparameters, name) != getattr(default, name)
    ]


def generate(
    metaparameters: Metaparameters,
    layout: Layout = V1_0,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Architecture:
    """The network that the metaparameters fix (section 5.1).

    `e3x3 = round_half_up(pct3x3 * e)` kept within 1 .. e - 1, `e1x1 = e - e3x3`,
    `s1x1 = round_half_up(sr * e)`, at least 1. A plain wire goes around each module whose
    input and output have one shape (with freq 2: fire3, 5, 7, 9, as in section 6); complex
    bypass adds a 1x1 convolution around each other module (fire2, 4, 6, 8).

    Raises `ValueError` for a metaparameter that the layout's own filters leave without effect,
    fewer than 2 classes or more than 100,000, or channels outside 1 .. 16; `TypeError` where a part
    is of another type.
    """
    expect("metaparameters", metaparameters, Metaparameters)
    expect("layout", layout, Layout)
    network = {"num_classes": num_classes, "in_channels": in_channels}
    lines = conflicts(metaparameters, layout) + mistakes(Architecture, network)
    if lines:
        raise ValueError("\n".join(lines))

    listed = split(layout.squeeze_filters)
    strided = split(layout.strided_fires)
    fires, inputs = [], layout.conv1_filters
    for number, e in zip(FIRES, expand_filters(metaparameters, layout), strict=True):
        e3x3 = min(max(round_half_up(metaparameters.pct3x3, e), 1), e - 1)
        s1x1 = listed[number - 2] if listed else max(round_half_up(metaparameters.sr, e), 1)
        shape_kept = inputs == e and number not in strided
        fires.append(
            FireSpec(
                s1x1=s1x1,
                e1x1=e - e3x3,
                e3x3=e3x3,
                squeeze_kernel=3 if number in strided else 1,
                squeeze_stride=2 if number in strided else 1,
                wire=_wire(metaparameters.bypass, shape_kept),
            )
        )
        inputs = e
    return Architecture(
        layout=layout,
        fires=tuple(fires),
        bypass=metaparameters.bypass,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def _wire(bypass: str, shape_kept: bool) -> str:
    if bypass == "none":
        return "none"
    return "plain" if shape_kept else "conv" if bypass == "complex" else "none"


def map_sizes(layout: Layout, image_size: int) -> dict[str, int]:
    """Side of each layer's output map, pixels, in order: conv1, pool1, fire2, ... conv10.

    >>> list(map_sizes(V1_0, 227).values())[:4]
    [111, 55, 55, 55]

    Raises `ValueError` where the image is too small, or a map too small to pool.
    """
    side = int(integer(1, MAX_PIXELS).accept("image_size", image_size))
    pools, strided = split(layout.pool_after), split(layout.strided_fires)
    room = side + 2 * layout.conv1_padding
    if room < layout.conv1_kernel:
        raise ValueError(
            f"`image_size` must be at least {layout.conv1_kernel - 2 * layout.conv1_padding} for "
            f"`conv1_kernel` {layout.conv1_kernel}, got {image_size}"
        )
    sizes: dict[str, int] = {}
    for number in (1, *FIRES):
        if number == 1:
            side = (room - layout.conv1_kernel) // layout.conv1_stride + 1
            sizes["conv1"] = side
        else:
            side = -(-side // 2) if number in strided else side
            sizes[f"fire{number}"] = side
        if number in pools:
            if side < 2:
                raise ValueError(
                    f"`pool_after` must leave a map to pool: after layer {number} it is 1x1 for "
                    f"`image_size` {image_size}, got {layout.pool_after}"
                )
            side = -(-(side - 3) // 2) + 1
            sizes[f"pool{number}"] = side
    sizes["conv10"] = side + 2 * layout.conv10_padding
    return sizes


def field_names(kind: type) -> tuple[str, ...]:
    """The names of a value type's fields, in order: the keys on the command line."""
    return tuple(item.name for item in fields(kind))
