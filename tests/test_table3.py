"""Table 3 of made-up records shows the gains that were planted in it."""

from __future__ import annotations

import math

import pytest
from swept import WIRES, shuffled, swept

from dse.analysis.axes import NoSweep
from dse.analysis.table3 import table3

PAPER = {"sr": (0.125,)}


def test_it_is_in_the_papers_order_with_paired_gains() -> None:
    result = table3(shuffled(swept(bypass=WIRES, **PAPER))).set_index("bypass")
    assert list(result.index) == ["none", "simple", "complex"]
    assert result["seeds"].tolist() == [3, 3, 3]
    base = 50 + 30 * math.sqrt(0.125) + 7 / 3
    assert result["top1"].tolist() == pytest.approx([base, base + 0.5, base - 0.25])
    assert result["gain"].tolist() == pytest.approx([math.nan, 0.5, -0.25], nan_ok=True)
    # Seeds differ by points, their gains by tenths: 0.5 +- 4.303 * 0.1 / sqrt(3).
    assert result.loc["simple", "gain_low"] == pytest.approx(0.5 - 0.2484, abs=1e-4)
    assert result.loc["simple", "gain_high"] == pytest.approx(0.5 + 0.2484, abs=1e-4)
    assert result.loc["complex", "gain_high"] == pytest.approx(-0.25)
    assert result.loc["simple", "top1_high"] - result.loc["simple", "top1_low"] > 10
    assert result["size_bytes"].tolist() == [
        swept(bypass=(bypass,), **PAPER)[0]["size_bytes"] for bypass in result.index
    ]
    assert result["paper_top1"].tolist() == [57.5, 60.4, 58.8]
    assert result["paper_top5"].tolist() == [80.3, 82.5, 82.0]
    assert result["paper_gain"].tolist() == pytest.approx([math.nan, 2.9, 1.3], nan_ok=True)
    assert result["paper_size"].tolist() == ["4.8MB", "4.8MB", "7.7MB"]


def test_gains_of_top_5_are_next_to_the_papers_of_top_5() -> None:
    table = shuffled(swept(bypass=WIRES, **PAPER)).assign(data="cifar100")
    gains = table3(table)["paper_gain"].tolist()
    assert gains == pytest.approx([math.nan, 2.2, 1.7], nan_ok=True)


def test_each_setting_of_what_else_varies_has_its_rows() -> None:
    """The paper's columns are filled where its squeeze ratio is, 0.125."""
    result = table3(shuffled(swept(bypass=WIRES, sr=(0.125, 0.5))))
    assert result["sr"].tolist() == ["0.125"] * 3 + ["0.5"] * 3
    assert result["bypass"].tolist() == [*WIRES] * 2
    base = 50 + 30 * math.sqrt(0.5) + 7 / 3
    assert result["top1"].tolist()[3:] == pytest.approx([base, base + 0.5, base - 0.25])
    assert result["gain"].tolist()[4:] == pytest.approx([0.5, -0.25])
    assert result["paper_top1"].notna().tolist() == [True] * 3 + [False] * 3


def test_other_networks_are_not_compared_with_the_papers() -> None:
    result = table3(shuffled(swept(bypass=WIRES, sr=(0.5,))))
    assert not [name for name in result if name.startswith("paper")]


def test_without_no_bypass_there_is_no_gain() -> None:
    result = table3(shuffled(swept(bypass=("complex", "simple")))).set_index("bypass")
    assert list(result.index) == ["simple", "complex"]
    assert result[["gain", "gain_low", "gain_high"]].isna().all(axis=None)
    assert result["top1"].notna().all()


def test_gains_are_over_the_seeds_that_both_have() -> None:
    table = shuffled(swept(bypass=("none",), seed=(0, 1)), swept(bypass=("simple",), seed=(1, 2)))
    result = table3(table).set_index("bypass")
    assert result["seeds"].tolist() == [2, 2]
    assert result.loc["simple", "gain"] == pytest.approx(0.5)
    assert math.isnan(result.loc["simple", "gain_low"])


def test_settings_that_cannot_be_read_are_refused() -> None:
    table = shuffled(swept(bypass=WIRES, lr=[n / 100 for n in range(1, 12)], seed=(0,)))
    with pytest.raises(NoSweep, match="11 lines along `bypass` are too many to read"):
        table3(table)
