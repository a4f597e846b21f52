"""At a number of bytes, the planted answer is found: a small network, or a large compressed one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from planted_compressed import EIGHT, FOUR, SR, SVD, compressed_networks

from dse.analysis.axes import TooMany
from dse.analysis.budgets import at_budgets
from dse.analysis.compression_tables import budget_sentences, readable_budgets
from dse.analysis.front import front

KB = 2.0**10


def rising(question: Mapping[str, Any]) -> float:
    """Each doubling of sr, and so of the size, gives 10 points; sr 1 has 970 KB."""
    return 50.0 + 10 * SR.index(question["sr"])


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compressed_networks([EIGHT, FOUR, SVD], rising, sr=SR)


def test_the_large_compressed_network_is_better_by_the_planted_difference(
    table: pd.DataFrame,
) -> None:
    found = at_budgets(table, [130 * KB, 250 * KB, 500 * KB]).set_index("budget_bytes")
    row = found.loc[250 * KB]  # sr 0.25, or sr 1 at a quarter of its bytes
    assert (row["uncompressed"], row["compressed"]) == ("sr 0.25", "sr 1, ristretto, bits 8")
    assert row["difference"] == pytest.approx(20, abs=0.5)
    assert row["difference_low"] < 20 < row["difference_high"]
    assert row["difference_high"] - row["difference_low"] < 2  # seeds differ by 10 points
    assert row["seeds"] == 5
    row = found.loc[130 * KB]  # sr 0.125, or sr 1 at an eighth with 6 points lost
    assert (row["uncompressed"], row["compressed"]) == ("sr 0.125", "sr 1, ristretto, bits 4")
    assert row["difference"] == pytest.approx(24, abs=0.5)


def test_the_small_network_is_better_where_compression_costs_more() -> None:
    found = at_budgets(compressed_networks([SVD], rising, sr=SR), [500 * KB])
    assert found["uncompressed"].tolist() == ["sr 0.5"]
    assert found["compressed"].tolist() == ["sr 1, svd"]
    assert found["difference"].tolist() == pytest.approx([-20], abs=0.5)


def test_unequal_epochs_are_said(table: pd.DataFrame) -> None:
    retrained = table.assign(epochs_total=20 + 4 * (table["compressed_id"] != ""))
    found = at_budgets(retrained, [250 * KB])
    assert found[["uncompressed_epochs", "compressed_epochs"]].to_numpy().tolist() == [[20, 24]]
    (sentence,) = budget_sentences(found)
    assert sentence.endswith(" (24 epochs against 20).")
    equal = at_budgets(table.assign(epochs_total=20), [250 * KB])
    assert budget_sentences(equal) == [sentence.replace(" (24 epochs against 20)", "")]


def test_the_choice_is_by_the_validation_part(table: pd.DataFrame) -> None:
    worse = table.assign(top1=100 - table["top1"])
    chosen = ["uncompressed", "compressed"]
    pd.testing.assert_frame_equal(at_budgets(table)[chosen], at_budgets(worse)[chosen])
    assert at_budgets(worse, [250 * KB])["difference"].tolist() == pytest.approx([-20], abs=0.5)


def test_a_network_fits_with_all_of_its_seeds(table: pd.DataFrame) -> None:
    large = table.copy()
    one = (large["sr"] == 1) & (large["bits"] == 8) & (large["seed"] == 3)
    large.loc[one & (large["compressed_id"] != ""), "file_bytes"] = 300 * KB
    assert at_budgets(large, [250 * KB])["compressed"].tolist() == ["sr 1, ristretto, bits 4"]


def test_the_file_of_a_network_as_it_was_trained_changes_nothing(table: pd.DataFrame) -> None:
    own = table[table["compressed_id"] == ""]
    files = own.assign(compressed_id=own["trial_id"], file_bytes=own["file_bytes"] * 9 // 10)
    pd.testing.assert_frame_equal(at_budgets(pd.concat([table, files])), at_budgets(table))


def test_where_nothing_fits_it_says_so(table: pd.DataFrame) -> None:
    found = at_budgets(table, [1 * KB, 40 * KB])
    assert found["uncompressed"].tolist() == ["", ""]
    assert found["compressed"].tolist() == ["", "sr 0.25, ristretto, bits 4"]
    assert found["difference"].isna().all()
    shown = readable_budgets(found)
    assert shown["uncompressed"].tolist() == ["none fits"] * 2
    assert shown["at most"].tolist() == ["1 KB", "40 KB"]
    assert shown["seeds"].tolist() == ["", ""]
    assert readable_budgets(at_budgets(table, [3 * KB**2]))["at most"].tolist() == ["3 MB"]


def test_budgets_are_powers_of_two_from_the_smallest_file_to_the_largest(
    table: pd.DataFrame,
) -> None:
    found = at_budgets(table)
    assert found["budget_bytes"].tolist() == [KB * 2**n for n in range(4, 11)]
    assert table["file_bytes"].min() <= 16 * KB < 2 * table["file_bytes"].min()


def test_several_data_sets_are_refused(table: pd.DataFrame) -> None:
    other = table.assign(data="mnist", trial_id=table["trial_id"].str[::-1])
    with pytest.raises(TooMany, match="digits and mnist cannot be compared"):
        at_budgets(pd.concat([table, other]))
    with pytest.raises(ValueError, match="each compressed network once"):
        at_budgets(pd.concat([table, table]))


def test_the_front_of_file_bytes_is_of_all_networks(table: pd.DataFrame) -> None:
    found = front(table, "file_bytes").query("on_front")
    assert set(found["method"]) == {"ristretto"}  # at no accuracy is an uncompressed one smaller
    assert (found["front_share"] == 1).all()
