"""What varies in a table is found whatever the order of its rows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from swept import SR, made, swept

from dse.analysis.axes import NoSweep, configurations, sweep
from dse.analysis.lines import left_out, lines
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.trial.protocol import Protocol
from dse.trial.question import Trial


def row(
    top1: float,
    seed: int = 0,
    layout: str = "px16",
    epochs: int = 20,
    **metaparameters: Any,
) -> dict[str, Any]:
    protocol = Protocol(image_size=32)
    protocol = replace(protocol, recipe=replace(protocol.recipe, epochs=epochs))
    trial = Trial(
        metaparameters=Metaparameters(**metaparameters),
        layout=LAYOUTS[layout],
        protocol=protocol,
        seed=seed,
    )
    sizes = {"params": 1, "size_bytes": 4}
    return {"trial_id": trial.trial_id, **trial.question, **sizes, "top1": top1, "val_top1": top1}


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def test_axes_are_what_varies_except_the_seed() -> None:
    found = sweep(
        table(*(row(50, seed, sr=sr, bypass=b) for seed in (0, 1) for sr in (0.5, 0.25)
                for b in ("simple", "complex", "none")))
    )  # fmt: skip
    assert {axis.name: axis.values for axis in found.axes} == {
        "sr": (0.25, 0.5),
        "bypass": ("none", "simple", "complex"),
    }
    assert found.fixed["pct3x3"] == 0.5
    assert "seed" not in found.fixed


def test_folders_of_images_are_data_sets_of_their_own() -> None:
    manifests = {"trial_a": f"9-20-5-{'a' * 20}", "trial_b": f"9-20-5-{'b' * 20}"}
    folder = row(50) | {"data": "image_folder"}
    folders = [folder | {"trial_id": i, "manifest": text} for i, text in manifests.items()]
    (axis,) = sweep(table(*folders)).axes
    assert (axis.name, axis.values) == ("data", ("image_folder:aaaaaaaa", "image_folder:bbbbbbbb"))
    found = sweep(table(*folders, row(50), row(50) | {"trial_id": "mnist", "data": "mnist"}))
    (axis,) = found.axes
    assert axis.values == ("digits", "image_folder:aaaaaaaa", "image_folder:bbbbbbbb", "mnist")
    assert found.answer == "top1"
    assert sweep(table(folders[0], row(50))).axes[0].values == ("digits", "image_folder")


def test_fields_that_vary_together_are_one_axis() -> None:
    found = sweep(table(row(50, layout="px16"), row(60, layout="px8")))
    assert [(axis.name, axis.values) for axis in found.axes] == [("layout", ("px16", "px8"))]
    assert "pool_after" in found.axes[0].columns
    assert found.axis("pool_after") is found.axes[0]
    assert lines(found, "layout")[0].points["mean"].tolist() == [50, 60]

    three = [row(50, layout="px16"), row(60, layout="px8"), row(70, layout="px32")]
    found = sweep(table(*three))  # pool_after is the same for two of them
    assert [(axis.name, axis.values) for axis in found.axes] == [
        ("layout", ("px16", "px32", "px8"))
    ]
    assert lines(found, "layout")[0].points["mean"].tolist() == [50, 70, 60]

    found = sweep(table(row(50, epochs=20, sr=0.5), row(60, epochs=40, sr=0.25)))
    assert [(axis.name, axis.values) for axis in found.axes] == [
        ("sr, epochs", ("0.25, 40", "0.5, 20"))
    ]


@pytest.mark.parametrize("count", [5, 13])
def test_numbers_of_a_random_sample_are_axes_of_their_own(count: int) -> None:
    """As of a search of intervals, where no two networks have a value in common."""
    rng = random.Random(0)
    pairs = [(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)) for _ in range(count)]
    free = [row(50, seed, sr=sr, pct3x3=other) for sr, other in pairs for seed in (0, 1)]
    assert [axis.name for axis in sweep(table(*free)).axes] == ["pct3x3", "sr"]
    assert len(configurations(sweep(table(*free)))) == count

    falling = [row(50, sr=sr, pct3x3=1 - sr) for sr, _ in pairs]
    assert [axis.name for axis in sweep(table(*falling)).axes] == ["pct3x3, sr"]
    again = [row(50, sr=sr, pct3x3=o, bypass=b) for sr, o in pairs for b in ("none", "simple")]
    assert [axis.name for axis in sweep(table(*again)).axes] == ["pct3x3, sr", "bypass"]


def test_configurations_are_in_order_with_intervals_from_three_seeds_on() -> None:
    rows = [row(top1, seed, sr=0.5) for seed, top1 in enumerate((96.0, 98.0, 100.0))]
    rows += [row(top1, seed, sr=0.25) for seed, top1 in enumerate((10.0, 90.0))]
    found = configurations(sweep(table(*rows)))
    assert found["sr"].tolist() == [0.25, 0.5]
    assert found["count"].tolist() == [2, 3]
    assert found["mean"].tolist() == [50, 98]
    assert found["low"].isna().tolist() == [True, False]
    half = 4.302652729911275 * 2 / 3**0.5
    assert found["low"][1] == pytest.approx(98 - half)
    assert found["high"][1] == 100


def test_an_interval_does_not_end_below_zero_where_no_value_is() -> None:
    table = made(swept(sr=SR[:2]))
    table["seconds"] = table["seed"].map({0: 1.0, 1: 2.0, 2: 900.0})
    assert configurations(sweep(table), "seconds")["low"].tolist() == [0, 0]
    change = table.assign(seconds=table["seconds"] - 2)
    assert (configurations(sweep(change), "seconds")["low"] < 0).all()


def test_a_single_configuration_has_one_row() -> None:
    found = sweep(table(row(50, 0), row(70, 1)))
    assert found.axes == ()
    assert configurations(found)["mean"].tolist() == [60]
    with pytest.raises(NoSweep, match="`sr` has one value only"):
        lines(found, "sr")
    with pytest.raises(NoSweep, match="`seed` is not one of the axes: nothing but the seed"):
        lines(found, "seed")


def test_each_setting_of_the_other_axes_has_its_own_line() -> None:
    rows = [row(100 * sr * pct, sr=sr, pct3x3=pct) for sr in (0.5, 0.25) for pct in (0.25, 0.75)]
    drawn = lines(sweep(table(*rows, row(1, sr=0.5, pct3x3=0.875))), "sr")
    assert sorted(line.label for line in drawn) == ["pct3x3 0.25", "pct3x3 0.75"]
    means = {line.setting["pct3x3"]: line.points["mean"].tolist() for line in drawn}
    assert means == {0.25: [6.25, 12.5], 0.75: [18.75, 37.5]}
    assert left_out(sweep(table(*rows, row(1, sr=0.5, pct3x3=0.875))), drawn) == 1


def test_points_that_differ_in_two_ways_are_no_line() -> None:
    rows = [row(1, sr=0.5, pct3x3=0.25), row(2, sr=0.25, pct3x3=0.5), row(3, sr=0.25, pct3x3=0.75)]
    with pytest.raises(NoSweep, match="no two values of `sr` have all else equal"):
        lines(sweep(table(*rows)), "sr")


def test_an_empty_table_is_no_sweep() -> None:
    with pytest.raises(NoSweep, match="there are no trials"):
        sweep(pd.DataFrame())
