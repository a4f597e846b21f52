"""Drawings of networks: what they show is the network, readable, and the same each time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from dse.figures.fire_module import fire_module, fire_modules
from dse.figures.macroarchitecture import macroarchitecture, macroarchitectures
from dse.space.architecture import (
    LAYOUTS,
    Architecture,
    Layout,
    Metaparameters,
    generate,
    map_sizes,
)
from dse.space.rules import split

SIZES = {"v1_0": 224, "v1_0_caffe": 227, "v1_1": 224, "zynqnet": 256, "px64": 64, "px32": 32,
         "px16": 12, "px8": 8}  # fmt: skip
BYPASSES = ("none", "simple", "complex")
TABLE_1 = """
    conv1 96 of 7x7/2 111x111x96 | pool1 max 3x3/2 55x55x96 | fire2 16 → 64 + 64 55x55x128 |
    fire3 16 → 64 + 64 55x55x128 | fire4 32 → 128 + 128 55x55x256 | pool4 max 3x3/2 27x27x256 |
    fire5 32 → 128 + 128 27x27x256 | fire6 48 → 192 + 192 27x27x384 |
    fire7 48 → 192 + 192 27x27x384 | fire8 64 → 256 + 256 27x27x512 | pool8 max 3x3/2 13x13x512 |
    fire9 64 → 256 + 256 13x13x512 | conv10 1000 of 1x1 13x13x1000 |
    pool10 global average 1x1x1000
"""


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def layers(figure: Figure) -> dict[str, float]:
    """Each layer's name and its height, from the boxes of the first network."""
    bold = [text for text in figure.axes[0].texts if text.get_weight() == "bold"]
    return {text.get_text(): text.get_position()[1] for text in bold[1:]}


def bypasses(figure: Figure) -> list[tuple[float, float]]:
    """The upper and the lower end of each arrow that leaves the path and returns to it."""
    arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    extents = [arrow.get_path().get_extents() for arrow in arrows]
    return [(box.y0, box.y1) for box in extents if box.width > 1 and box.height > 0.3]


def drawn(layout: str, bypass: str, **values: float) -> tuple[Architecture, int]:
    metaparameters = Metaparameters(bypass=bypass, **values)  # type: ignore[arg-type]
    return generate(metaparameters, LAYOUTS[layout]), SIZES[layout]


@functools.cache
def architecture(layout: str, bypass: str) -> Figure:
    return macroarchitecture(*drawn(layout, bypass, pct3x3=0.75))


# Figure 2 -----------------------------------------------------------------------------------


def test_v1_0_is_table_1() -> None:
    shown = " ".join(texts(macroarchitecture(generate(Metaparameters()), 227)))
    place = shown.index("227x227x3")
    for row in " ".join(TABLE_1.split()).split(" | "):
        assert row in shown[place:]
        place = shown.index(row, place)
    assert "1,248,424 parameters" in shown
    assert "4,993,696 bytes (4.8 MB)" in shown


@pytest.mark.parametrize("bypass", BYPASSES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layer_is_shown_in_order(layout: str, bypass: str) -> None:
    network, size = drawn(layout, bypass, pct3x3=0.75)
    figure = architecture(layout, bypass)
    sides = {**map_sizes(network.layout, size), "pool10": 1}
    assert list(layers(figure)) == list(sides)
    assert sorted(layers(figure).values()) == list(layers(figure).values())
    shown, channels = texts(figure), network.layout.conv1_filters
    filters = iter(network.fires)
    for name, side in sides.items():
        after = shown[shown.index(name) + 1 :]
        if name.startswith("fire"):
            fire = next(filters)
            channels = fire.filters
            strided = " of 3x3/2" if int(name[4:]) in split(network.layout.strided_fires) else ""
            assert after[0] == f"{fire.s1x1}{strided} → {fire.e1x1} + {fire.e3x3}"
        channels = sum(network.conv10_filters) if name == "conv10" else channels
        assert f"{side}x{side}x{channels}" in after[:3]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bypass", BYPASSES)
def test_a_bypass_leaves_above_its_module_and_returns_below_it(layout: str, bypass: str) -> None:
    network, _ = drawn(layout, bypass)
    figure = architecture(layout, bypass)
    around = [
        {name for name, y in layers(figure).items() if above < y < below}
        for above, below in bypasses(figure)
    ]
    wired = [number for number, fire in enumerate(network.fires, 2) if fire.wire != "none"]
    assert around == [{f"fire{number}"} for number in wired]


def test_the_paper_s_bypasses() -> None:
    def wires(bypass: str) -> tuple[int, list[str]]:
        figure = architecture("v1_0", bypass)
        convolutions = [text for text in texts(figure) if text.endswith(" of 1x1")]
        return len(bypasses(figure)), convolutions

    assert wires("none") == (0, ["1000 of 1x1"])
    assert wires("simple") == (4, ["1000 of 1x1"])
    conv10 = "1000 of 1x1"
    assert wires("complex") == (
        8, ["128 of 1x1", "256 of 1x1", "384 of 1x1", "512 of 1x1", conv10],
    )  # fmt: skip


def test_zynqnet_s_own_parts_are_shown() -> None:
    shown = texts(architecture("zynqnet", "complex"))
    assert {"512 + 512 of 1x1", "64 of 3x3/2, padding 1", "512 of 1x1/2"} <= {*shown}
    assert "1000 class scores (24 outputs unused)" in shown


def test_what_the_boxes_do_not_show_is_in_the_caption() -> None:
    layout = replace(LAYOUTS["px16"], norm="batch", head_relu=False, dropout=0.2)
    network = generate(Metaparameters(base_e=16, incr_e=16), layout, num_classes=10, in_channels=1)
    shown = texts(macroarchitecture(network, 12))
    assert any("norm batch, dropout 0.2\nno ReLU on the class scores" in text for text in shown)
    assert "12x12x1" in shown
    assert "10 class scores" in shown


def test_megabytes_are_explained_where_they_are_shown() -> None:
    small, large = (generate(Metaparameters(base_e=e, incr_e=e)) for e in (8, 128))
    for network, shown in ((small, False), (large, True)):
        assert any("MB" in text for text in texts(macroarchitecture(network, 224))) == shown


def test_networks_are_next_to_each_other() -> None:
    figure = macroarchitectures({bypass: drawn("v1_0", bypass) for bypass in BYPASSES})
    places = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert [places[bypass][0] for bypass in BYPASSES] == sorted(places[b][0] for b in BYPASSES)
    assert len({places[bypass][1] for bypass in BYPASSES}) == 1
    conv1 = [text for text in figure.axes[0].texts if text.get_text() == "conv1"]
    assert len({text.get_position()[0] for text in conv1}) == 3
    networks = {"a": drawn("v1_0", "none"), "b": drawn("v1_0", "simple")}
    for both in (macroarchitectures(networks, "sr=0.5"), fire_modules(networks, common="sr=0.5")):
        assert sum(one.startswith("all networks: sr=0.5\n") for one in texts(both)) == 1


# Figure 1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bypass", BYPASSES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fire_module_shows_its_filters_and_maps(layout: str, bypass: str) -> None:
    network, size = drawn(layout, bypass, pct3x3=0.25)
    fire, side = network.fires[4], map_sizes(network.layout, size)["fire6"]
    figure = fire_module(network, size, "fire6")
    shown = texts(figure)
    for name, filters, kernel in (
        ("squeeze", fire.s1x1, "3x3/2" if layout == "zynqnet" else "1x1"),
        ("expand1x1", fire.e1x1, "1x1"),
        ("expand3x3", fire.e3x3, "3x3"),
    ):
        assert shown[shown.index(name) + 1] == f"{filters} of {kernel}, ReLU"
        assert f"{side}x{side}x{filters}" in shown
    assert f"{side}x{side}x{fire.filters}" == shown[shown.index("concatenate") + 1]
    assert len(bypasses(figure)) == (fire.wire != "none")
    stride = "/2" if layout == "zynqnet" else ""
    assert (f"{fire.filters} of 1x1{stride}" in shown) == (fire.wire == "conv")


def test_a_module_s_map_enters_from_the_layer_above() -> None:
    assert texts(fire_module(generate(Metaparameters()), 227, "fire2"))[2] == "55x55x96"
    assert texts(fire_module(generate(Metaparameters()), 227, "fire3"))[2] == "55x55x128"


def test_a_module_must_exist() -> None:
    with pytest.raises(ValueError, match=r"`module` must be one of fire2, .* got 'fire1'"):
        fire_module(generate(Metaparameters()), 224, "fire1")


# Both ---------------------------------------------------------------------------------------

WIDE = Metaparameters(base_e=8192, incr_e=0, pct3x3=0.25, sr=1, bypass="complex")
MANY = Layout(conv1_padding=3, pool_after="none", conv10_split=4, conv10_padding=1)
NETWORKS = {
    "SqueezeNet v1.0": drawn("v1_0", "complex"),
    "zynqnet": drawn("zynqnet", "complex"),
    "a title\nof several\nlines": drawn("px8", "simple"),
    "wide": (generate(WIDE, MANY, num_classes=100_000), 2048),
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "architectures": lambda: macroarchitectures(NETWORKS),
    "wide architecture": lambda: macroarchitecture(*NETWORKS["wide"]),
    "modules": lambda: fire_modules(NETWORKS),
    "wide module": lambda: fire_module(*NETWORKS["wide"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_or_the_edge(name: str) -> None:
    figure = FIGURES[name]()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in figure.axes[0].texts]
    for text, box in boxes:
        assert figure.bbox.count_contains(box.corners()) == 4, text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)
