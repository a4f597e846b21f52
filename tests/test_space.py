"""The space: filter counts, rounding, wires and map sizes, against the published networks."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from decimal import ROUND_HALF_UP, Decimal
from math import floor

import numpy as np
import pytest
from conftest import random_points

from dse.space.architecture import (
    FIRES,
    LAYOUTS,
    V1_0,
    V1_1,
    ZYNQNET,
    Architecture,
    Layout,
    Metaparameters,
    expand_filters,
    field_names,
    generate,
    map_sizes,
    round_half_up,
)
from dse.space.rules import split

COMPLEX = Metaparameters(bypass="complex")
SIMPLE = Metaparameters(bypass="simple")


def lines(error: pytest.ExceptionInfo[ValueError]) -> list[str]:
    return str(error.value).splitlines()


# Filter counts ------------------------------------------------------------------------------


def test_fires_of_table_1() -> None:
    # arXiv:1602.07360, Table 1: columns s1x1, e1x1 and e3x3 of fire2 .. fire9.
    halves = (64, 64, 128, 128, 192, 192, 256, 256)
    fires = generate(Metaparameters()).fires
    assert [f.s1x1 for f in fires] == [16, 16, 32, 32, 48, 48, 64, 64]
    assert tuple(f.e1x1 for f in fires) == tuple(f.e3x3 for f in fires) == halves
    assert {(f.squeeze_kernel, f.squeeze_stride, f.wire) for f in fires} == {(1, 1, "none")}


def test_fires_of_zynqnet() -> None:
    # dgschwend/zynqnet, _TRAINED_MODEL/train_val.prototxt: num_output of each convolution.
    fires = generate(Metaparameters(), ZYNQNET).fires
    assert [f.s1x1 for f in fires] == [16, 16, 32, 32, 64, 64, 112, 112]
    assert [f.e3x3 for f in fires] == [64, 64, 128, 128, 256, 192, 256, 368]
    assert [f.e1x1 for f in fires] == [f.e3x3 for f in fires]
    assert [f.squeeze_kernel for f in fires] == [3, 1] * 4
    assert [f.squeeze_stride for f in fires] == [2, 1] * 4
    assert generate(Metaparameters(), ZYNQNET).conv10_filters == (512, 512)


@pytest.mark.parametrize(
    ("freq", "e"),
    [
        (1, (10, 13, 16, 19, 22, 25, 28, 31)),
        (3, (10, 10, 10, 13, 13, 13, 16, 16)),
        (8, (10,) * 8),
    ],
)
def test_expand_filters_grow_every_freq_modules(freq: int, e: tuple[int, ...]) -> None:
    # Section 5.1: e_i = base_e + incr_e * floor(i / freq), worked by hand.
    assert expand_filters(Metaparameters(base_e=10, incr_e=3, freq=freq), V1_0) == e


@pytest.mark.parametrize(
    ("pct3x3", "e3x3"),
    [
        # The real end points of Figure 3(b), 1% and 99%, are no whole filters: half up, by hand.
        (0.01, [1, 3, 4, 5]),
        (0.99, [127, 253, 380, 507]),
        (0.125, [16, 32, 48, 64]),
        # Of 128 filters 0.06 and 127.9: kept within 1 .. e - 1, so that both kinds remain.
        (0.0005, [1, 1, 1, 1]),
        (0.9995, [127, 255, 383, 511]),
    ],
)
def test_3x3_filters(pct3x3: float, e3x3: list[int]) -> None:
    assert [f.e3x3 for f in generate(Metaparameters(pct3x3=pct3x3)).fires[::2]] == e3x3


def test_a_squeeze_has_a_filter() -> None:
    tiny = generate(Metaparameters(base_e=2, incr_e=0, sr=1e-9, pct3x3=0.999))
    assert {(f.s1x1, f.e1x1, f.e3x3) for f in tiny.fires} == {(1, 1, 1)}


# Rounding -----------------------------------------------------------------------------------


def half_up(ratio: Decimal, filters: int) -> int:
    return int((ratio * filters).quantize(Decimal(1), ROUND_HALF_UP))


@pytest.mark.parametrize("filters", [2, 3, 20, 60, 100, 128, 250, 256, 300, 384, 512, 1000])
def test_rounding_is_exact_on_every_thousandth(filters: int) -> None:
    for n in range(1, 1001):
        assert round_half_up(n / 1000, filters) == half_up(Decimal(n) / 1000, filters)


def test_binary_rounding_would_be_wrong() -> None:
    # 0.145 * 100 + 0.5 is 14.999999999999998 in a double.
    wrong = [
        n for n in range(1, 1001) if floor(n / 1000 * 100 + 0.5) != half_up(Decimal(n) / 1000, 100)
    ]
    assert wrong == [145, 285, 565, 575]


@pytest.mark.parametrize("kind", [float, np.float64, str, Decimal])
def test_rounding_takes_the_decimal_as_written(kind: type) -> None:
    assert round_half_up(kind("0.145"), 100) == 15
    assert round_half_up(kind("1e-9"), 8192) == 0
    assert round_half_up(kind("0.3333333333333333"), 3) == 1


# Wires --------------------------------------------------------------------------------------


def wires(metaparameters: Metaparameters, layout: Layout = V1_0) -> dict[str, list[int]]:
    fires = generate(metaparameters, layout).fires
    return {
        kind: [n for n, f in zip(FIRES, fires, strict=True) if f.wire == kind]
        for kind in ("none", "plain", "conv")
    }


def test_wires_of_the_paper() -> None:
    # arXiv:1602.07360, section 6 and Figure 2: simple around fire3, 5, 7, 9; complex adds 1x1
    # convolutions around fire2, 4, 6, 8.
    assert wires(SIMPLE) == {"none": [2, 4, 6, 8], "plain": [3, 5, 7, 9], "conv": []}
    assert wires(COMPLEX) == {"none": [], "plain": [3, 5, 7, 9], "conv": [2, 4, 6, 8]}
    assert wires(Metaparameters())["none"] == list(FIRES)


def test_a_plain_wire_needs_one_shape() -> None:
    flat = Metaparameters(base_e=96, incr_e=0, bypass="complex")
    assert wires(flat)["plain"] == list(FIRES)
    assert wires(flat, replace(V1_0, pool_after="none", strided_fires="5"))["conv"] == [5]
    assert wires(replace(SIMPLE, freq=1))["plain"] == []


# Map sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "image_size", "sides"),
    [
        # Table 1 (its 111 needs 227 pixels, as the authors' prototxt crops); torchvision at 224.
        (V1_0, 227, "111 55 55 55 55 27 27 27 27 27 13 13 13"),
        (V1_0, 224, "109 54 54 54 54 27 27 27 27 27 13 13 13"),
        (LAYOUTS["v1_0_caffe"], 227, "111 55 55 55 55 27 27 27 27 27 13 13 15"),
        (V1_1, 224, "111 55 55 55 27 27 27 13 13 13 13 13 13"),
        # dgschwend/zynqnet, _TRAINED_MODEL/train_val.prototxt.
        (ZYNQNET, 256, "128 64 64 32 32 16 16 8 8 8"),
        # The smallest images that torchvision's networks take (`min_size` of their weights).
        (V1_0, 21, "8 4 4 4 4 2 2 2 2 2 1 1 1"),
        (V1_1, 17, "8 4 4 4 2 2 2 1 1 1 1 1 1"),
        # Strided squeezes and a pool after the last module, by hand: halves rounded up.
        (Layout(pool_after="9", strided_fires="2-5"), 32, "13 7 7 7 4 4 4 4 4 2 2"),
    ],
)
def test_sides_of_the_maps(layout: Layout, image_size: int, sides: str) -> None:
    assert list(map_sizes(layout, image_size).values()) == [int(s) for s in sides.split()]


def test_layers_are_named_in_order() -> None:
    names = "conv1 pool1 fire2 fire3 fire4 pool4 fire5 fire6 fire7 fire8 pool8 fire9 conv10"
    assert list(map_sizes(V1_0, 224)) == names.split()


@pytest.mark.parametrize(
    ("layout", "image_size", "line"),
    [
        (V1_0, 0, "`image_size` must be a whole number in 1 .. 2048, got 0"),
        (V1_0, 32.5, "`image_size` must be a whole number in 1 .. 2048, got 32.5"),
        (V1_0, 6, "`image_size` must be at least 7 for `conv1_kernel` 7, got 6"),
        (
            replace(V1_0, conv1_padding=2),
            2,
            "`image_size` must be at least 3 for `conv1_kernel` 7, got 2",
        ),
        (
            V1_0,
            20,
            "`pool_after` must leave a map to pool: after layer 8 it is 1x1 for `image_size` 20, "
            "got 1-4-8",
        ),
        (
            Layout(pool_after="1-2-3-4-5-6-7"),
            224,
            "`pool_after` must leave a map to pool: after layer 7 it is 1x1 for `image_size` 224, "
            "got 1-2-3-4-5-6-7",
        ),
        (
            Layout(conv1_kernel=3, pool_after="9", strided_fires="2-3-4-5-6-7-8-9"),
            224,
            "`pool_after` must leave a map to pool: after layer 9 it is 1x1 for `image_size` 224, "
            "got 9",
        ),
    ],
)
def test_a_map_that_vanishes_is_refused(layout: Layout, image_size: int, line: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        map_sizes(layout, image_size)
    assert lines(error) == [line]


# Mistakes -----------------------------------------------------------------------------------

BAD = {
    "sr": ("in (0, 1]", [0, 2, -0.5, float("nan"), "abc", None, True]),
    "pct3x3": ("in (0, 1)", [0, 1, float("inf"), "50%"]),
    "freq": ("a whole number in 1 .. 8", [0, 9, 1.5]),
    "base_e": ("a whole number in 2 .. 8192", [-1, 1, 1e9, float("nan")]),
    "incr_e": ("a whole number in 0 .. 8192", [-1, 0.5, 10**30]),
    "bypass": ("one of none, simple, complex", ["dense", "", None, 1]),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, (_, vs) in BAD.items() for v in vs])
def test_a_bad_metaparameter_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name) as error:
        Metaparameters(**{name: value})
    shown = repr(value) if isinstance(value, str) else value
    assert lines(error) == [f"`{name}` must be {BAD[name][0]}, got {shown}"]


def test_every_mistake_has_a_line() -> None:
    with pytest.raises(ValueError, match="must") as error:
        Metaparameters(**{name: values[0] for name, (_, values) in BAD.items()})
    assert [line.split()[0] for line in lines(error)] == [
        f"`{name}`" for name in field_names(Metaparameters)
    ]
    with pytest.raises(ValueError, match="must") as error:
        Layout(pool_after="8-4", strided_fires="1", dropout=1, norm="layer", squeeze_filters="1-2")
    assert len(lines(error)) == 5
    assert (
        "`pool_after` must be none, or ascending whole numbers in 1 .. 9 joined by '-', got '8-4'"
        in lines(error)
    )


def test_generate_names_every_mistake() -> None:
    with pytest.raises(ValueError, match="must") as error:
        generate(Metaparameters(sr=0.5, freq=3), ZYNQNET, num_classes=1, in_channels=17)
    assert lines(error) == [
        "`sr` must stay at its default 0.125 where the layout lists its own filters, got 0.5",
        "`freq` must stay at its default 2 where the layout lists its own filters, got 3",
        "`num_classes` must be a whole number in 2 .. 100000, got 1",
        "`in_channels` must be a whole number in 1 .. 16, got 17",
    ]


# Values -------------------------------------------------------------------------------------


def test_numpys_numbers_are_pythons() -> None:
    m = Metaparameters(base_e=np.int64(64), sr=np.float64(0.25), bypass=np.str_("simple"))
    layout = Layout(head_relu=np.False_, conv1_filters=np.int16(8), pool_after=np.int64(4))
    assert m == Metaparameters(base_e=64, sr=0.25, bypass="simple")
    assert layout == Layout(head_relu=False, conv1_filters=8, pool_after="4")
    network = generate(m, layout, num_classes=np.int64(10), in_channels=np.uint8(1))
    assert network == generate(m, layout, num_classes=10, in_channels=1)
    values = [getattr(part, name) for part in (m, layout) for name in field_names(type(part))]
    assert {type(value) for value in values} == {int, float, bool, str}


def test_values_are_frozen_hashable_and_of_one_form() -> None:
    with pytest.raises(FrozenInstanceError):
        Metaparameters().sr = 0.5  # type: ignore[misc]
    assert Metaparameters(sr=1, base_e=64.0) == Metaparameters(sr=1.0, base_e=64)
    assert len({Metaparameters(sr=1), Metaparameters(sr=1.0), Layout(), Layout()}) == 2
    whole = generate(Metaparameters(), num_classes=10.0, in_channels=3.0)
    assert whole == generate(Metaparameters(), num_classes=10)
    assert type(whole.num_classes) is type(whole.in_channels) is int


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_named_layout_makes_a_network(name: str) -> None:
    smallest = {"px8": 8, "px16": 16, "px32": 32, "px64": 64}.get(name, 224)
    assert min(map_sizes(LAYOUTS[name], smallest).values()) > 1
    assert isinstance(generate(Metaparameters(), LAYOUTS[name]), Architecture)


def test_properties_of_random_points() -> None:
    for m, layout, image_size, num_classes, in_channels in random_points(1000, seed=1):
        a = generate(m, layout, num_classes=num_classes, in_channels=in_channels)
        strided = split(layout.strided_fires)
        inputs = layout.conv1_filters
        for number, fire in zip(FIRES, a.fires, strict=True):
            assert min(fire.s1x1, fire.e1x1, fire.e3x3) >= 1
            assert abs(fire.e3x3 - m.pct3x3 * fire.filters) < 1
            assert fire.squeeze_stride == (2 if number in strided else 1)
            if fire.wire == "plain":
                assert inputs == fire.filters
                assert number not in strided
            if m.bypass == "complex":
                assert fire.wire != "none"
            inputs = fire.filters
        assert sum(a.conv10_filters) >= num_classes
        assert all(f % layout.conv10_multiple == 0 for f in a.conv10_filters)
        sizes = map_sizes(layout, image_size)
        assert all(1 <= side <= image_size + 6 for side in sizes.values())
        assert {n for n in sizes if n.startswith("pool")} == {
            f"pool{n}" for n in split(layout.pool_after)
        }
