"""Whole grids: each point's cost is the one that it has alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_metaparameters, random_points

from dse.space.architecture import (
    LAYOUTS,
    V1_0,
    V1_1,
    ZYNQNET,
    Layout,
    Metaparameters,
    generate,
)
from dse.space.cost import Cost, cost
from dse.space.grid import cost_grid

FIELDS = Cost.__slots__
NAMES = Metaparameters.__slots__


def test_more_filters_cost_more() -> None:
    for name, values in {
        "sr": np.linspace(0.01, 1, 100),
        "pct3x3": np.linspace(0.01, 0.99, 99),
        "base_e": np.arange(2, 300),
        "incr_e": np.arange(300),
        "bypass": ["none", "simple", "complex"],
    }.items():
        for layout in (V1_0, V1_1, LAYOUTS["px32"]):
            computed = cost_grid(layout, 64, **{name: values})
            for figure in (computed.params, computed.macs):
                assert (np.diff(figure) >= 0).all()
                assert figure[-1] > figure[0]


@pytest.mark.parametrize(
    ("frames", "points"), [(100, 100), pytest.param(400, 250, marks=pytest.mark.slow)]
)
def test_a_grid_is_the_cost_one_by_one(frames: int, points: int) -> None:
    rng = random.Random(4)
    compared = mismatches = 0
    for frame in random_points(frames, seed=4):
        column = [random_metaparameters(rng, frame.layout) for _ in range(points)]
        shape = {"num_classes": frame.num_classes, "in_channels": frame.in_channels}
        columns = {name: [getattr(m, name) for m in column] for name in NAMES}
        arrays = cost_grid(frame.layout, frame.image_size, **shape, **columns)
        for i, m in enumerate(column):
            alone = cost(generate(m, frame.layout, **shape), frame.image_size)
            mismatches += any(getattr(alone, f) != getattr(arrays, f)[i] for f in FIELDS)
        compared += len(column)
    assert (compared, mismatches) == (frames * points, 0)


def test_a_grid_rounds_as_generate_does() -> None:
    # Ties and near ties of decimals of every length, where a double is slightly off.
    rng = random.Random(5)
    widths = (100, 300, 384, 1000)
    ratios = [round(rng.random(), digits) or 0.1 for digits in range(1, 17) for _ in range(100)]
    ratios += [(n + 0.5) / e for e in widths for n in range(e)]
    base_e = [rng.choice(widths) for _ in ratios]
    arrays = cost_grid(V1_0, 64, sr=ratios, base_e=base_e, incr_e=0)
    for i, (sr, e) in enumerate(zip(ratios, base_e, strict=True)):
        a = generate(Metaparameters(sr=sr, base_e=e, incr_e=0))
        assert cost(a, 64).params == arrays.params[i], (sr, e)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, object])
def test_a_grid_takes_columns_of_any_type(kind: type) -> None:
    sr = np.array([0.145, 0.125, 1], dtype=kind)
    arrays = cost_grid(V1_0, 64, sr=sr, base_e=np.array(100, np.uint8), incr_e=np.float32(0))
    alone = [cost(generate(Metaparameters(base_e=100, incr_e=0, sr=s)), 64).params for s in sr]
    assert arrays.params.tolist() == alone


def test_a_grid_broadcasts() -> None:
    sr, pct3x3 = np.linspace(0.1, 1, 4)[:, None], np.linspace(0.1, 0.9, 5)
    table = cost_grid(V1_0, 64, sr=sr, pct3x3=pct3x3, bypass="complex")
    assert table.macs.shape == (4, 5)
    assert table.macs.dtype == np.int64
    one = Metaparameters(sr=float(sr[2, 0]), pct3x3=float(pct3x3[3]), bypass="complex")
    assert table.macs[2, 3] == cost(generate(one), 64).macs
    assert cost_grid(V1_0, 64).params.shape == ()
    assert cost_grid(V1_0, 64, sr=[]).params.shape == (0,)


def test_the_largest_network_fits_in_64_bits() -> None:
    widest = Metaparameters(
        base_e=8192, incr_e=8192, freq=1, sr=1, pct3x3=0.99999, bypass="complex"
    )
    layout = Layout(
        conv1_filters=8192,
        conv1_kernel=15,
        conv1_padding=7,
        conv1_stride=1,
        pool_after="none",
        conv10_padding=1,
    )
    shape = {"num_classes": 100_000, "in_channels": 16}
    alone = cost(generate(widest, layout, **shape), 2048)
    arrays = cost_grid(layout, 2048, **shape, **{name: getattr(widest, name) for name in NAMES})
    assert alone == Cost(**{name: int(getattr(arrays, name)) for name in FIELDS})
    assert 2**59 < alone.macs < 2**63


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("sr", 0, "in (0, 1]"),
        ("sr", 2, "in (0, 1]"),
        ("sr", float("nan"), "in (0, 1]"),
        ("sr", "abc", "in (0, 1]"),
        ("sr", None, "in (0, 1]"),
        ("pct3x3", 0, "in (0, 1)"),
        ("pct3x3", 1, "in (0, 1)"),
        ("freq", 0, "a whole number in 1 .. 8"),
        ("freq", 2.5, "a whole number in 1 .. 8"),
        ("base_e", -1, "a whole number in 2 .. 8192"),
        ("base_e", 10**9, "a whole number in 2 .. 8192"),
        ("incr_e", 10**30, "a whole number in 0 .. 8192"),
        ("bypass", "dense", "one of none, simple, complex"),
        ("bypass", 1, "one of none, simple, complex"),
    ],
)
def test_a_grid_names_a_bad_value_at_any_place(name: str, value: object, rule: str) -> None:
    good = getattr(Metaparameters(), name)
    columns: list[object] = [value, [value]]
    if isinstance(value, str) == isinstance(good, str):
        columns += [[good, value], [[value], [good]]]
    for column in columns:
        with pytest.raises(ValueError, match=name) as error:
            cost_grid(V1_0, 224, **{name: column})
        # In a column of floats a whole number is shown as one: 2.0.
        assert str(error.value).removesuffix(".0") == f"`{name}` must be {rule}, got {value!r}"


def test_a_grid_names_every_mistake() -> None:
    with pytest.raises(ValueError, match="must") as error:
        cost_grid(
            V1_0, 224, num_classes=1, in_channels=0, sr=[0.5, -1], freq=[0, 9], bypass="x", srr=1
        )
    assert str(error.value).splitlines() == [
        f"unknown metaparameter `srr`; known are {', '.join(NAMES)}",
        "`num_classes` must be a whole number in 2 .. 100000, got 1",
        "`in_channels` must be a whole number in 1 .. 16, got 0",
        "`freq` must be a whole number in 1 .. 8, got 0",
        "`sr` must be in (0, 1], got -1.0",
        "`bypass` must be one of none, simple, complex, got 'x'",
    ]


def test_a_grid_refuses_metaparameters_without_effect() -> None:
    with pytest.raises(ValueError, match="must stay") as error:
        cost_grid(ZYNQNET, 256, sr=[0.125, 0.5, 0.25], freq=3)
    assert str(error.value).splitlines() == [
        "`freq` must stay at its default 2 where the layout lists its own filters, got 3",
        "`sr` must stay at its default 0.125 where the layout lists its own filters, got 0.5",
    ]
    assert cost_grid(ZYNQNET, 256, sr=[0.125, 0.125]).params.tolist() == [2_528_800] * 2


@pytest.mark.parametrize(
    ("layout", "image_size", "field"),
    [
        (V1_0, 6, "image_size"),
        (V1_0, 20, "pool_after"),
        (replace(V1_0, pool_after="1-2-3-4-5-6-7"), 224, "pool_after"),
        (V1_0, "224", "image_size"),
    ],
)
def test_a_map_that_vanishes_is_refused(layout: Layout, image_size: int, field: str) -> None:
    with pytest.raises(ValueError, match=f"`{field}` must .*, got ") as alone:
        cost(generate(Metaparameters(), layout), image_size)
    with pytest.raises(ValueError, match=f"`{field}` must .*, got ") as arrays:
        cost_grid(layout, image_size, sr=[0.5, 1])
    assert str(alone.value) == str(arrays.value)
