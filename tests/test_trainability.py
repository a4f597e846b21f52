"""The figure of networks that do not learn shows the shares that were planted."""

from __future__ import annotations

import pandas as pd
import pytest
from drawn import crowded, means, text
from swept import SR, shuffled, swept

from dse.analysis.axes import NoSweep
from dse.figures.paper import trainability


def rows_of(table: pd.DataFrame) -> list[str]:
    return [label.get_text() for label in trainability(table).axes[0].get_yticklabels()]


def test_each_combination_has_its_share_over_all_metaparameters() -> None:
    table = shuffled(swept(norm=("none", "batch"), head_relu=(True, False), sr=(0.125, 0.5)))
    relu = table["head_relu"] & (table["norm"] == "none")
    table.loc[relu & (table["seed"] > 0), "status"] = "never_learned"
    table.loc[relu & (table["seed"] == 0), "status"] = "diverged"
    figure = trainability(table, "Fixed: epochs 60.")
    axes = figure.axes[0]
    rows = dict(
        zip(rows_of(table), zip(means(axes, 0)[0], means(axes, 1)[0], strict=True), strict=True)
    )
    assert len(rows) == 4
    assert rows.pop("head_relu true, norm none") == pytest.approx((400 / 6, 200 / 6))
    assert set(rows.values()) == {(0, 0)}
    assert "whatever their sr." in text(figure)
    assert "Fixed: epochs 60." in text(figure)
    assert crowded(figure) == []


def test_what_else_varies_has_rows_of_its_own() -> None:
    """Two recipes in one folder are not averaged."""
    table = shuffled(swept(init=("he", "xavier"), epochs=(7, 20), seed=(0,)))
    assert sorted(rows_of(table)) == [
        f"epochs {epochs}, init {init}" for epochs in (20, 7) for init in ("he", "xavier")
    ]


def test_one_combination_is_no_figure() -> None:
    with pytest.raises(NoSweep, match="none of norm, head_relu, init varies"):
        trainability(pd.DataFrame(swept(sr=SR)))
