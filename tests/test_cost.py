"""The cost against published counts and an independent count of each convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

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
    field_names,
    generate,
    map_sizes,
)
from dse.space.cost import BYTES, Cost, cost, layers, mebibytes, size_label
from dse.space.rules import split

V1_0_CAFFE = LAYOUTS["v1_0_caffe"]
FIELDS = Cost.__slots__


# Published counts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bypass", "layout", "params"),
    [
        ("none", V1_0, 1_248_424),  # Table 1; torchvision's squeezenet1_0 (`num_params`)
        ("simple", V1_0, 1_248_424),  # Table 3: both 4.8MB
        # The 339,968 weights and 1,280 biases of 96->128, 128->256, 256->384, 384->512 on top,
        # by hand (section 6; the paper's own 7.7MB is not this count).
        ("complex", V1_0, 1_589_672),
        ("none", V1_1, 1_235_496),  # torchvision's squeezenet1_1 (`num_params`)
        ("none", ZYNQNET, 2_528_800),  # dgschwend/zynqnet, train_val.prototxt, summed by hand
    ],
)
def test_params(bypass: str, layout: Layout, params: int) -> None:
    computed = cost(generate(Metaparameters(bypass=bypass), layout), 224)
    assert computed.params == params
    assert computed.size_bytes == 4 * params


@pytest.mark.parametrize(
    ("layout", "image_size", "macs"),
    [
        (V1_0, 224, 818_924_576),  # torch.utils.flop_counter on torchvision's squeezenet1_0, / 2
        (V1_0_CAFFE, 227, 861_339_936),  # forresti/SqueezeNet README: 1.72 GFLOPS, / 2
        (V1_1, 224, 349_151_936),  # torch.utils.flop_counter on torchvision's squeezenet1_1, / 2
        (ZYNQNET, 256, 529_301_504),  # dgschwend/zynqnet README: 530 MMACC
    ],
)
def test_macs(layout: Layout, image_size: int, macs: int) -> None:
    assert cost(generate(Metaparameters(), layout), image_size).macs == macs


def test_table_1() -> None:
    # arXiv:1602.07360, Table 1, column "#parameter before pruning".
    table = {
        "conv1": 14_208,
        "fire2": 11_920,
        "fire3": 12_432,
        "fire4": 45_344,
        "fire5": 49_440,
        "fire6": 104_880,
        "fire7": 111_024,
        "fire8": 188_992,
        "fire9": 197_184,
        "conv10": 513_000,
    }
    steps = layers(generate(Metaparameters()), 227)
    assert {step.name: step.params for step in steps if step.params} == table
    # The same table's column "output size" (it prints 13x12 for maxpool8).
    assert [(step.name, step.side, step.channels) for step in steps] == [
        ("conv1", 111, 96),
        ("pool1", 55, 96),
        ("fire2", 55, 128),
        ("fire3", 55, 128),
        ("fire4", 55, 256),
        ("pool4", 27, 256),
        ("fire5", 27, 256),
        ("fire6", 27, 384),
        ("fire7", 27, 384),
        ("fire8", 27, 512),
        ("pool8", 13, 512),
        ("fire9", 13, 512),
        ("conv10", 13, 1000),
        ("pool10", 1, 1000),
    ]


def test_random_points_vary_everything_that_a_cost_may_depend_on() -> None:
    points = random_points(60, seed=1)
    for parts in ([p.metaparameters for p in points], [p.layout for p in points], points):
        for name in getattr(parts[0], "_fields", None) or field_names(type(parts[0])):
            assert len({getattr(part, name) for part in parts}) > 1, f"draw `{name}` in conftest.py"


def test_activations_and_peak() -> None:
    computed = cost(generate(Metaparameters()), 224)
    # torchinfo 1.8.0 adds one operation for each output's bias: it prints 823,270,824.
    assert computed.activations == 823_270_824 - 818_924_576
    # fire4 holds its 256 maps of 54x54 and their concatenation: more than any other step.
    assert computed.peak_activation_bytes == 4 * 2 * 256 * 54**2


# Figure 3: (sr, pct3x3, params, label). Labels as printed below the markers; params of the
# 1% and 99% points are sums by hand of the filters of `test_space.test_3x3_filters`.
FIGURE_3A = [
    (0.125, 0.5, 1_248_424, "4.8"),
    (0.25, 0.5, 1_967_080, "7.6"),
    (0.5, 0.5, 3_404_392, "13"),
    (0.75, 0.5, 4_841_704, "19"),
    (1.0, 0.5, 6_279_016, "24"),
]
FIGURE_3B = [
    (0.5, 0.01, 1_478_248, "5.7"),
    (0.5, 0.125, 1_929_832, "7.4"),
    (0.5, 0.25, 2_421_352, "9.3"),
    (0.5, 0.375, 2_912_872, "11"),
    (0.5, 0.5, 3_404_392, "13"),
    (0.5, 0.625, 3_895_912, "15"),
    (0.5, 0.75, 4_387_432, "17"),
    (0.5, 0.875, 4_878_952, "19"),
    (0.5, 0.99, 5_330_536, "21"),
]


def test_figure_3() -> None:
    other_labels = []
    for sr, pct3x3, params, label in FIGURE_3A + FIGURE_3B:
        computed = cost(generate(Metaparameters(sr=sr, pct3x3=pct3x3)), 224)
        assert computed.params == params
        if size_label(computed.size_bytes) != label:
            other_labels.append((pct3x3, size_label(computed.size_bytes)))
    # 13 of 14: for 11.112 MiB the figure prints 11, where its other labels are rounded up.
    assert other_labels == [(0.375, "12")]


def test_mebibytes_and_labels() -> None:
    assert mebibytes(3 * 2**20) == 3.0
    labels = {0: "0.0", 1: "0.1", 2**20: "1.0", 2**20 + 1: "1.1", 10 * 2**20: "10"}
    labels |= {10 * 2**20 - 1: "10", 10 * 2**20 + 1: "11"}
    assert {size: size_label(size) for size in labels} == labels


# An independent count -----------------------------------------------------------------------


class Conv(NamedTuple):
    """A convolution, with the side of its output map."""

    inputs: int
    filters: int
    kernel: int
    side: int
    normed: bool = True


def convolutions(a: Architecture, image_size: int) -> Iterator[Conv]:
    """Every convolution of a network, one by one."""
    layout, sides = a.layout, map_sizes(a.layout, image_size)
    yield Conv(a.in_channels, layout.conv1_filters, layout.conv1_kernel, sides["conv1"])
    channels = layout.conv1_filters
    for number, fire in zip(FIRES, a.fires, strict=True):
        side = sides[f"fire{number}"]
        yield Conv(channels, fire.s1x1, fire.squeeze_kernel, side)
        yield Conv(fire.s1x1, fire.e1x1, 1, side)
        yield Conv(fire.s1x1, fire.e3x3, 3, side)
        if fire.wire == "conv":
            yield Conv(channels, fire.filters, 1, side)
        channels = fire.filters
    for filters in a.conv10_filters:
        yield Conv(channels, filters, 1, sides["conv10"], normed=False)


def counted(a: Architecture, image_size: int) -> tuple[int, int, int, int]:
    """params, macs, activations and size_bytes, summed over all convolutions."""
    params = macs = activations = statistics = 0
    for conv in convolutions(a, image_size):
        weights = conv.inputs * conv.filters * conv.kernel**2
        norm = conv.normed and a.layout.norm == "batch"
        params += weights + conv.filters * (2 if norm else 1)
        statistics += 2 * conv.filters if norm else 0
        macs += weights * conv.side**2
        activations += conv.filters * conv.side**2
    return params, macs, activations, 4 * (params + statistics)


class Step(NamedTuple):
    """One operation at inference: the size of its output, and the steps that it reads."""

    makes: int
    reads: tuple[int, ...]


def steps(a: Architecture, image_size: int) -> list[Step]:
    """The operations in order; step 0 is the image. A sum in place has no output of its own."""
    sides = map_sizes(a.layout, image_size)
    program = [Step(image_size**2 * a.in_channels, ())]

    def add(makes: int, *reads: int) -> int:
        program.append(Step(makes, reads))
        return len(program) - 1

    here, channels = add(a.layout.conv1_filters * sides["conv1"] ** 2, 0), a.layout.conv1_filters
    for number in (1, *FIRES):
        if number in FIRES:
            fire, area = a.fires[number - 2], sides[f"fire{number}"] ** 2
            squeeze = add(area * fire.s1x1, here)
            parts = add(area * fire.e1x1, squeeze), add(area * fire.e3x3, squeeze)
            joined, channels = add(area * fire.filters, *parts), fire.filters
            if fire.wire != "none":
                wire = add(area * channels, here) if fire.wire == "conv" else here
                add(0, joined, wire)
            here = joined
        if number in split(a.layout.pool_after):
            here = add(channels * sides[f"pool{number}"] ** 2, here)
    scores = [add(n * sides["conv10"] ** 2, here) for n in a.conv10_filters]
    total = sum(a.conv10_filters)
    here = add(total * sides["conv10"] ** 2, *scores) if len(scores) > 1 else scores[0]
    add(total, here)
    return program


def peak(program: list[Step]) -> int:
    """The most activations alive at any step."""
    last = list(range(len(program)))
    for now, step in enumerate(program):
        for read in step.reads:
            last[read] = now
    alive = [
        sum(step.makes for step, end in zip(program[: now + 1], last, strict=False) if end >= now)
        for now in range(len(program))
    ]
    return max(alive)


def test_cost_is_the_sum_over_its_convolutions() -> None:
    for point in random_points(1000, seed=2):
        m, layout, image_size, num_classes, in_channels = point
        a = generate(m, layout, num_classes=num_classes, in_channels=in_channels)
        computed = cost(a, image_size)
        assert counted(a, image_size) == (
            computed.params,
            computed.macs,
            computed.activations,
            computed.size_bytes,
        ), point
        assert BYTES * peak(steps(a, image_size)) == computed.peak_activation_bytes, point


# Properties ---------------------------------------------------------------------------------


def test_layers_add_up() -> None:
    for point in random_points(100, seed=3):
        m, layout, image_size, num_classes, in_channels = point
        a = generate(m, layout, num_classes=num_classes, in_channels=in_channels)
        computed, parts = cost(a, image_size), layers(a, image_size)
        assert sum(part.params for part in parts) == computed.params
        assert sum(part.macs for part in parts) == computed.macs
        assert sum(part.activations for part in parts) == computed.activations
        assert max(part.live for part in parts) * BYTES == computed.peak_activation_bytes
        assert [part.name for part in parts] == [*map_sizes(layout, image_size), "pool10"]
        assert all(type(getattr(computed, name)) is int for name in FIELDS)


def test_late_pooling_costs_macs_and_no_parameters() -> None:
    # arXiv:1602.07360, section 3.1: late downsampling gives large activation maps.
    late, early = (
        cost(generate(Metaparameters(), replace(V1_0, pool_after=pools)), 224)
        for pools in ("7-8-9", "1-2-3")
    )
    assert late.params == early.params == 1_248_424
    assert late.macs > 10 * early.macs


def test_norm_adds_two_parameters_and_two_statistics_per_filter() -> None:
    plain = cost(generate(Metaparameters()), 224)
    normed = cost(generate(Metaparameters(), replace(V1_0, norm="batch")), 224)
    filters = 3_976 - 1_000  # Table 1's biases, all but conv10's
    assert normed.params == plain.params + filters  # a scale and a shift in place of a bias
    assert normed.size_bytes == plain.size_bytes + 4 * 3 * filters
    assert (normed.macs, normed.activations) == (plain.macs, plain.activations)


def test_numbers_of_any_type_give_integers() -> None:
    a = generate(Metaparameters(), num_classes=10.0, in_channels=np.int64(3))
    for image_size in (224.0, np.int32(224)):
        computed = cost(a, image_size)
        assert computed == cost(a, 224)
        assert all(type(getattr(computed, name)) is int for name in FIELDS)
