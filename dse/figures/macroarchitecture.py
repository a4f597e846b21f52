"""Figure 2 of the paper for any network of the space: its layers, counts, map sizes and bypass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dse.figures import blocks
from dse.figures.fire_module import bypass_filters, fire_modules
from dse.figures.plotting import style
from dse.space.architecture import FIRES, Architecture, FireSpec
from dse.space.cost import LayerCost, layers, size_label, total

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"conv": blocks.BLUE, "pool": blocks.WHITE, "fire": blocks.ORANGE}
NOTE = "arrows: height x width x channels\nFire modules: squeeze → expand 1x1 + 3x3"
SIZES = "\nMB of 2$^{20}$ bytes, rounded up as in the paper"
# Inches.
BOX, GAP = 0.27, 0.34
WIRE = 0.2  # between a box and the wire around it
FORK, JOIN = 0.09, 0.1  # above and below a module: where its wire leaves and is added


def macroarchitecture(architecture: Architecture, image_size: int, title: str = "") -> Figure:
    """A network as in Figure 2, for square images of `image_size` pixels.

    From top to bottom: each layer with its filters ("96 of 7x7/2": 96 filters of 7x7 pixels with
    stride 2), and between them the sizes of the maps. A bypass leaves the main path above its Fire
    module and is added below it; complex bypass has 1x1 convolutions (section 6). The default
    title names the bypass.

    Raises `ValueError` where the image is too small for the layout.
    """
    title = title or f"bypass: {architecture.bypass}"
    return macroarchitectures({title: (architecture, image_size)})


def macroarchitectures(
    networks: Mapping[str, tuple[Architecture, int]], common: str = ""
) -> Figure:
    """Several networks next to each other: title -> (architecture, image size in pixels).

    `common` is what all of them have, and is below them.
    """
    steps = {title: layers(one, size) for title, (one, size) in networks.items()}
    captions = {title: _caption(one, steps[title]) for title, (one, _) in networks.items()}
    texts = [_filters(one, step) for title, (one, _) in networks.items() for step in steps[title]]
    width = 0.7 + blocks.widest(texts, blocks.NORMAL)  # a layer's name, and its filters
    rooms = [width + _side(one) for one, _ in networks.values()]
    height = (max(map(len, steps.values())) + 2) * (BOX + GAP) - GAP
    note = blocks.shared(common, len(networks))
    note += NOTE + (SIZES if any(" MB)" in caption for caption in captions.values()) else "")
    with style():
        figure, axes, middles, top = blocks.columns(captions, rooms, height, note)
        for x, (title, (one, size)) in zip(middles, networks.items(), strict=True):
            _column(axes, x - _side(one) / 2, top, width, one, size, steps[title])
    return figure


def drawings(
    networks: Mapping[str, tuple[Architecture, int]], module: str, common: str = ""
) -> dict[str, Figure]:
    """Both figures of some networks by name: `architecture`, and that of a Fire module (fire2)."""
    return {
        "architecture": macroarchitectures(networks, common),
        module: fire_modules(networks, module, common),
    }


def _side(one: Architecture) -> float:
    """The width that a network's wires take at the right of its boxes."""
    wires = [bypass_filters(fire) for fire in one.fires if fire.wire != "none"]
    return WIRE + max(blocks.widest(wires, blocks.SMALL), 0.1) if wires else 0


def _column(
    axes: Axes, x: float, y: float, width: float, one: Architecture, size: int,
    steps: Sequence[LayerCost],
) -> None:  # fmt: skip
    """One network around x, from y downwards, in boxes of `width`."""
    blocks.label(axes, x, y + BOX / 2, "image")
    shape = f"{size}x{size}x{one.in_channels}"
    for step in steps:
        y = _arrow(axes, x, y, shape)
        kind = "fire" if step.name.startswith("fire") else step.name.rstrip("0123456789")
        blocks.box(axes, x, y, width, BOX, COLOURS[kind])
        left, right = x - width / 2 + 0.08, x + width / 2 - 0.08
        blocks.label(axes, left, y + BOX / 2, step.name, ha="left", weight="bold")
        blocks.label(axes, right, y + BOX / 2, _filters(one, step), ha="right")
        if kind == "fire" and (fire := _fire(one, step)).wire != "none":
            text = bypass_filters(fire)
            out = x + width / 2 + WIRE + blocks.widest([text], blocks.SMALL) / 2
            blocks.bypass(axes, x, y - FORK, y + BOX + JOIN, out, text)
        shape = f"{step.side}x{step.side}x{step.channels}"
    y = _arrow(axes, x, y, shape)
    unused = sum(one.conv10_filters) - one.num_classes
    note = f" ({unused} outputs unused)" if unused else ""
    blocks.label(axes, x, y + BOX / 2, f"{one.num_classes} class scores{note}")


def _arrow(axes: Axes, x: float, y: float, shape: str) -> float:
    """The arrow from the row at y to the next one, with the map's shape; returns the latter's y."""
    below = y + BOX + GAP
    blocks.arrow(axes, (x, y + BOX), (x, below))
    blocks.label(axes, x - 0.1, below - GAP / 2, shape, ha="right", fontsize=blocks.SMALL)
    return below


def _filters(one: Architecture, step: LayerCost) -> str:
    """What a layer does, as its box shows it."""
    layout = one.layout
    if step.name == "conv1":
        side = layout.conv1_kernel
        return f"{layout.conv1_filters} of {side}x{side}/{layout.conv1_stride}" + _padding(
            layout.conv1_padding
        )
    if step.name == "conv10":
        return f"{' + '.join(map(str, one.conv10_filters))} of 1x1{_padding(layout.conv10_padding)}"
    if step.name.startswith("pool"):
        return "global average" if step.name == "pool10" else "max 3x3/2"
    fire = _fire(one, step)
    side, stride = fire.squeeze_kernel, fire.squeeze_stride
    strided = f" of {side}x{side}/{stride}" if stride > 1 else ""
    return f"{fire.s1x1}{strided} → {fire.e1x1} + {fire.e3x3}"


def _padding(pixels: int) -> str:
    return f", padding {pixels}" if pixels else ""


def _fire(one: Architecture, step: LayerCost) -> FireSpec:
    return one.fires[FIRES.index(int(step.name.removeprefix("fire")))]


def _caption(one: Architecture, steps: Sequence[LayerCost]) -> str:
    """A network's cost, and what its boxes do not show."""
    cost, layout = total(steps), one.layout
    label = f" ({size_label(cost.size_bytes)} MB)" if cost.size_bytes >= 2**20 else ""
    return (
        f"{cost.params:,} parameters\n{cost.macs:,} MACs\n{cost.size_bytes:,} bytes{label}\n"
        f"norm {layout.norm}, dropout {layout.dropout:g}\n"
        f"{'ReLU' if layout.head_relu else 'no ReLU'} on the class scores"
    )
