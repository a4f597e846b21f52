"""Figure 1 of the paper: the inside of a Fire module, with the counts of any network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dse.figures import blocks
from dse.figures.plotting import style
from dse.space.architecture import FIRES, Architecture, FireSpec
from dse.space.cost import LayerCost, layers
from dse.space.rules import one_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = tuple(f"fire{number}" for number in FIRES)
# Inches.
BOX, FLAT, GAP = 0.44, 0.27, 0.42
WIDE, BETWEEN = 1.5, 0.2  # a box; two boxes
WIRE = 0.25  # between a box and the wire around the module
FORK, JOIN = 0.3, 0.15  # above the squeeze, and below the concatenation
HEIGHT = 3 * FLAT + 2 * BOX + 4 * GAP


def fire_module(
    architecture: Architecture, image_size: int, name: str = "fire2", title: str = ""
) -> Figure:
    """The Fire module `name` (fire2 .. fire9) as in Figure 1, for square images of `image_size`.

    From top to bottom: the squeeze, the 1x1 and 3x3 expands, and their concatenation, with their
    filters and the sizes of the maps; at the right the module's bypass, if it has one (section 6).
    `image_size` is in pixels. The default title is the module's name.

    Raises `ValueError` for another name, and where the image is too small for the layout.
    """
    return fire_modules({title or name: (architecture, image_size)}, name)


def fire_modules(
    networks: Mapping[str, tuple[Architecture, int]], name: str = "fire2", common: str = ""
) -> Figure:
    """One Fire module of several networks: title -> (architecture, image size in pixels).

    `common` is what all of them have, and is below them.
    """
    place = NAMES.index(one_of(*NAMES).accept("module", name))
    fires = [one.fires[place] for one, _ in networks.values()]
    shown, captions = [], {}
    for title, (one, size) in networks.items():
        steps = layers(one, size)
        at = next(at for at, step in enumerate(steps) if step.name == name)
        shown.append((steps[at - 1], steps[at]))
        captions[title] = _caption(one, steps[at])
    widths = [_width(step) + _side(fire) for (_, step), fire in zip(shown, fires, strict=True)]
    with style():
        figure, axes, middles, top = blocks.columns(
            captions, widths, HEIGHT, blocks.shared(common, len(networks))
        )
        for x, fire, (before, step) in zip(middles, fires, shown, strict=True):
            _module(axes, x - _side(fire) / 2, top, fire, before, step.side)
    return figure


def _width(step: LayerCost) -> float:
    """The width of a module's boxes and the sizes of its maps."""
    longest = f"{step.side}x{step.side}x{step.channels}"
    return WIDE + BETWEEN + 2 * max(WIDE / 2, 0.1 + blocks.widest([longest], blocks.SMALL))


def _side(fire: FireSpec) -> float:
    """The width that a bypass takes at the right of the boxes."""
    width = blocks.widest([bypass_filters(fire)], blocks.SMALL)
    return WIRE + max(width, 0.1) if fire.wire != "none" else 0


def _module(axes: Axes, x: float, y: float, fire: FireSpec, before: LayerCost, side: int) -> None:
    """One module around x, from y downwards; `before` is the layer above it.

    The module's own maps have `side` x `side` pixels.
    """
    blocks.label(axes, x, y + FLAT / 2, f"{before.side}x{before.side}x{before.channels}")
    squeeze = y + FLAT + GAP
    blocks.arrow(axes, (x, y + FLAT), (x, squeeze))
    kernel, stride = fire.squeeze_kernel, fire.squeeze_stride
    _convolution(axes, x, squeeze, blocks.ORANGE, "squeeze", fire.s1x1, kernel, stride)
    way = squeeze + BOX
    shape = f"{side}x{side}x{fire.s1x1}"
    blocks.label(axes, x - 0.1, way + GAP / 4, shape, ha="right", fontsize=blocks.SMALL)
    _expand(axes, x, way, -1, fire.e1x1, 1, side)
    _expand(axes, x, way, +1, fire.e3x3, 3, side)
    joined = way + 2 * GAP + BOX
    blocks.box(axes, x, joined, 2 * WIDE + BETWEEN, FLAT, blocks.WHITE, "concatenate")
    end = joined + FLAT + GAP
    blocks.arrow(axes, (x, joined + FLAT), (x, end))
    blocks.label(axes, x, end + FLAT / 2, f"{side}x{side}x{fire.filters}")
    if fire.wire != "none":
        text = bypass_filters(fire)
        out = x + WIDE + BETWEEN / 2 + WIRE + blocks.widest([text], blocks.SMALL) / 2
        blocks.bypass(axes, x, squeeze - FORK, joined + FLAT + JOIN, out, text)


def _expand(
    axes: Axes, x: float, y: float, sign: int, filters: int, kernel: int, side: int
) -> None:
    """One of the two expands, at the left (-1) or right (1) of x, and the arrows around it."""
    at = x + sign * (WIDE + BETWEEN) / 2
    blocks.arrow(axes, (x, y), (x, y + GAP / 2), (at, y + GAP / 2), (at, y + GAP))
    name = f"expand{kernel}x{kernel}"
    _convolution(axes, at, y + GAP, blocks.BLUE, name, filters, kernel)
    y += GAP + BOX
    blocks.arrow(axes, (at, y), (at, y + GAP))
    style = {"ha": "left" if sign > 0 else "right", "fontsize": blocks.SMALL}
    blocks.label(axes, at + sign * 0.1, y + GAP / 2, f"{side}x{side}x{filters}", **style)


def _convolution(
    axes: Axes, x: float, y: float, colour: str, name: str, filters: int, kernel: int,
    stride: int = 1,
) -> None:  # fmt: skip
    """A box with an image of the filter, the convolution's name, and its filters."""
    blocks.box(axes, x, y, WIDE, BOX, colour)
    blocks.filter_icon(axes, x - WIDE / 2 + 0.2, y + BOX / 2, kernel)
    strided = f"/{stride}" if stride > 1 else ""
    text = f"{filters} of {kernel}x{kernel}{strided}, ReLU"
    left = x - WIDE / 2 + 0.4
    blocks.label(axes, left, y + 0.3 * BOX, name, ha="left", weight="bold")
    blocks.label(axes, left, y + 0.7 * BOX, text, ha="left", fontsize=blocks.SMALL)


def bypass_filters(fire: FireSpec) -> str:
    """The convolution of a module's complex bypass; "" where there is none.

    >>> bypass_filters(FireSpec(s1x1=16, e1x1=64, e3x3=64, wire="conv"))
    '128 of 1x1'
    """
    stride = f"/{fire.squeeze_stride}" if fire.squeeze_stride > 1 else ""
    return f"{fire.filters} of 1x1{stride}" if fire.wire == "conv" else ""


def _caption(one: Architecture, step: LayerCost) -> str:
    """The module's own cost."""
    norm = "\nbatch norm after each convolution" if one.layout.norm == "batch" else ""
    return f"{step.name}: {step.params:,} parameters, {step.macs:,} MACs{norm}"
