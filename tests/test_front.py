"""The Pareto front of made-up records is the planted one, and says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import planted

from dse.analysis.axes import sweep
from dse.analysis.front import front, pareto, seeds_compared
from dse.analysis.subspaces import WHOLE, front_of, reached
from dse.figures.fronts import fronts
from dse.figures.subspaces import subspace_fronts
from dse.report.sections import pareto as report_of

SR = (0.125, 0.25, 0.5, 0.75, 1.0)


def rising(question: Mapping[str, Any]) -> float:
    """Accuracy rises with sr, and so with the size, up to 0.75; pct3x3 0.25 costs 10 points."""
    return float(50 + 20 * min(question["sr"], 0.75) - 10 * (question["pct3x3"] == 0.25))


def brute_force(costs: list[float], values: list[float]) -> list[bool]:
    points = list(zip(costs, values, strict=True))
    return [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        for cost, value in points
    ]


def test_a_front_is_what_nothing_beats_in_both() -> None:
    random = np.random.default_rng(4)
    for size in (1, 2, 7, 40):
        costs = random.integers(0, 8, size).astype(float)  # with ties
        values = random.integers(0, 6, (20, size)).astype(float)
        found = pareto(costs, values)
        for row, one in zip(values, found, strict=True):
            assert one.tolist() == brute_force(costs.tolist(), row.tolist())


def test_the_planted_front_is_found_in_every_resample() -> None:
    found = front(planted(rising, spread=0.2, sr=SR, pct3x3=(0.25, 0.5))).set_index(
        ["sr", "pct3x3"]
    )
    for (sr, pct3x3), row in found.iterrows():
        if sr == 1.0 and pct3x3 == 0.5:
            assert 0 < row["front_share"] < 1  # as good as 0.75, and larger
        else:
            assert row["on_front"] == (pct3x3 == 0.5)
            assert row["front_share"] == (pct3x3 == 0.5)


def test_accuracy_that_falls_with_the_cost_leaves_the_cheapest() -> None:
    found = front(planted(lambda question: 80 - 20 * question["sr"], sr=SR))
    assert found["on_front"].tolist() == [True, False, False, False, False]
    assert found["front_share"].tolist() == [1, 0, 0, 0, 0]


def test_the_order_of_the_rows_does_not_matter_and_shares_are_the_same_again() -> None:
    table = planted(rising, spread=3.0, sr=SR, pct3x3=(0.25, 0.5))
    found = front(table)
    pd.testing.assert_frame_equal(found, front(table[::-1].reset_index(drop=True)))
    assert found["front_share"].between(0, 1).all()
    assert found["front_share"].nunique() > 3


def test_it_is_chosen_by_the_validation_set_and_shows_the_test_set() -> None:
    table = planted(lambda question: 50 + 20 * question["sr"], sr=SR)
    table["top1"] = 90 - table["top1"]  # on the test set the order is the opposite
    found = front(table)
    assert found["on_front"].all()
    assert found["mean"].is_monotonic_decreasing


def test_equal_luck_of_a_seed_does_not_make_the_front_unsure() -> None:
    """Seeds differ by up to 10 points, networks by 0.3 with a noise of 0.05."""
    table = planted(lambda question: 60 + 0.3 * SR.index(question["sr"]), spread=0.05, sr=SR)
    assert (front(table)["front_share"] > 0.99).all()


def test_of_two_equal_networks_the_larger_is_on_the_front_by_luck() -> None:
    """Its share is uniform over experiments: 0.5 on average, here of 15."""
    table = planted(lambda question: 60.0, sr=(0.5, 1.0))
    random = np.random.default_rng(6)
    shares = []
    for _ in range(15):
        table["val_top1"] = random.normal(60, 1, len(table))
        smaller, larger = front(table)["front_share"]
        assert smaller == 1
        shares.append(larger)
    assert np.mean(shares) == pytest.approx(0.5, abs=3 / (12 * 15) ** 0.5)


def test_seconds_are_a_cost_too() -> None:
    table = planted(rising, sr=SR)
    table["seconds"] = 100 - table["size_bytes"] / 1e4  # the largest is the fastest
    found = front(table, "seconds").set_index("sr")
    assert found["on_front"][1.0]
    assert not found["on_front"][0.125]


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_have_no_share(seeds: int) -> None:
    found = front(planted(rising, seeds=range(seeds), sr=SR))
    assert found["front_share"].isna().all()
    assert found["on_front"][:4].all()


def test_missing_seeds_and_unknown_accuracies() -> None:
    table = planted(rising, sr=SR)
    table = table[~((table["sr"] == 0.25) & (table["seed"] > 3))]
    table.loc[table["sr"] == 0.5, "val_top1"] = math.nan
    found = front(table).set_index("sr")
    assert found["front_share"][0.25] > 0.9
    assert not found["on_front"][0.5]
    assert math.isnan(found["front_share"][0.5])
    assert found["on_front"][0.75]


def test_a_seed_that_one_lacks_is_no_luck() -> None:
    """With seed 0 all are 12 points worse; by its other seeds 0.75 loses to 0.5 by 1 point."""
    table = planted(lambda q: 60 - abs(4 * q["sr"] - 2), spread=0.1, sr=SR)
    table["val_top1"] -= 12 * (table["seed"] == 0)
    lacking = table[(table["sr"] != 0.75) | (table["seed"] > 0)]
    for some, seeds in ((table, 8), (lacking, 7)):
        found = front(some)
        assert found["on_front"].tolist() == [True, True, True, False, False]
        assert found["front_share"].tolist() == [1, 1, 1, 0, 0]
        assert set(found["front_seeds"]) == {seeds}
        assert found["val_top1"].max() == found["val_top1"][2]
        reach = reached(sweep(some), "sr").set_index("sr")
        assert reach["front"].tolist() == [1, 1, 1, 0, 0, 3]
        chosen = front_of(sweep(some), "sr", WHOLE, "size_bytes")
        assert chosen["val_top1"].tolist() == pytest.approx(found["val_top1"][:3].tolist())
    assert "validation accuracies are means over the 7 that all have" in seeds_compared(found)
    assert seeds_compared(front(table)) == ""
    few = lacking[(lacking["sr"] < 1) | (lacking["seed"] < 4)]
    assert set(front(few)["front_seeds"]) == {0}  # three are fewer than half of eight
    assert "over its own, and what seeds share does not cancel." in seeds_compared(front(few))
    said = subspace_fronts(lacking, ["sr"]).remarks
    assert "validation accuracies are means over the 7 that all have" in said
    assert "what seeds share does not cancel." in fronts(few, ["size_bytes"]).remarks
    (text,) = report_of(sweep(few)).text
    assert "what seeds share does not cancel." in text


@pytest.mark.parametrize("status", ["diverged", "never_learned"])
def test_a_network_that_learned_with_no_seed_is_not_on_the_front(status: str) -> None:
    """One that learned with some seed may be."""
    table = planted(rising, spread=0.2, sr=SR)
    table.loc[table["sr"] == 0.125, "status"] = status
    table.loc[(table["sr"] == 0.25) & (table["seed"] > 0), "status"] = status
    found = front(table).set_index("sr")
    assert found["on_front"].tolist()[:4] == [False, True, True, True]
    assert found["front_share"].tolist()[:4] == [0, 1, 1, 1]
    assert not front(table.assign(status=status))["on_front"].any()
    assert front(table.drop(columns="status"))["on_front"][0]


def test_each_data_set_has_a_front_of_its_own() -> None:
    """Else the easier data would be on it alone."""
    table = planted(rising, spread=0.2, sr=SR)
    harder = table.assign(data="mnist", trial_id=table["trial_id"].str[::-1])
    harder[["top1", "val_top1"]] -= 30
    alone, both = front(table), front(pd.concat([table, harder])).set_index("data")
    for data in ("digits", "mnist"):
        assert both.loc[data, "on_front"].tolist() == alone["on_front"].tolist()
        assert both.loc[data, "front_share"].tolist() == alone["front_share"].tolist()


def test_any_column_of_numbers_may_be_the_cost() -> None:
    """It is the mean over the seeds of each configuration."""
    table = planted(rising, spread=0.2, sr=SR, pct3x3=(0.25, 0.5))
    table["latency_ms"] = table["size_bytes"] / 1000 + table["seed"]
    found, known = front(table, "latency_ms"), front(table, "size_bytes")
    means = table.groupby(["sr", "pct3x3"])["latency_ms"].mean()
    keys = pd.MultiIndex.from_frame(found[["sr", "pct3x3"]])
    assert found["latency_ms"].tolist() == means[keys].tolist()
    assert found["on_front"].tolist() == known["on_front"].tolist()
    assert front(table, "sr")["on_front"].tolist() == known["on_front"].tolist()


def test_one_configuration_is_the_front() -> None:
    found = front(planted(rising))
    assert found["on_front"].tolist() == [True]
    assert found["front_share"].tolist() == [1]


def test_mistakes_are_a_clear_line() -> None:
    table = planted(rising, sr=SR)
    for cost in ("top1", "val_loss", "seed", "status", "latency"):
        rule = "must be a column of numbers other than an accuracy or a loss, such as size_bytes"
        with pytest.raises(ValueError, match=f"`cost` {rule}, got {cost}"):
            front(table.assign(val_loss=1.0, status="learned"), cost)
    with pytest.raises(ValueError, match="the table has no column `val_top1`"):
        front(table.drop(columns="val_top1"))
    with pytest.raises(ValueError, match="there are no trials"):
        front(table[:0])
    with pytest.raises(ValueError, match="the table must hold each trial once"):
        front(pd.concat([table, table]))
