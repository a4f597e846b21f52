"""The figure of networks that do not learn shows the shares that were planted."""

from __future__ import annotations

import pandas as pd
import pytest
from drawn import crowded, means, text
from swept import SR, shuffled, swept

from dse.analysis.axes import NoSweep
from dse.figures.trainability import trainability

DEATHS = {("none", True): 0.75, ("none", False): 0.25, ("batch", True): 0.0, ("batch", False): 0.0}
"""norm and ReLU on the scores -> the share of runs that never learn."""


def mortal() -> pd.DataFrame:
    """Every combination at two squeeze ratios and two seeds: four runs each."""
    rows = swept(norm=("none", "batch"), head_relu=(True, False), sr=(0.125, 0.5), seed=(0, 1))
    for row in rows:
        deaths = round(4 * DEATHS[row["norm"], row["head_relu"]])
        run = 2 * (row["sr"] == 0.5) + row["seed"]
        row["status"] = "learned" if run >= deaths else "diverged" if run == 0 else "never_learned"
        if run == 3 and row["norm"] == "batch":
            row["status"] = "partly_dead"
    return shuffled(rows)


def rows_of(table: pd.DataFrame) -> list[str]:
    (axes,) = trainability(table).axes
    return [label.get_text() for label in axes.get_yticklabels()]


def test_each_combination_has_its_share_of_deaths() -> None:
    figure = trainability(mortal(), "Fixed: epochs 60.")
    (axes,) = figure.axes
    assert rows_of(mortal()) == [
        "no ReLU, batch norm",
        "no ReLU, no norm",
        "ReLU, batch norm",
        "ReLU, no norm",
    ]
    assert means(axes, 0)[0] == pytest.approx([0, 25, 0, 75])  # at chance, or diverged
    assert means(axes, 1)[0] == pytest.approx([25, 0, 25, 0])  # partly dead
    low, high = axes.containers[0].lines[2][0].get_segments()[3][:, 0]
    assert (low, high) == pytest.approx((30.06, 95.44), abs=0.01)
    assert "4 runs a row (over sr 0.125, 0.5 and seeds)" in text(figure)
    assert "Fixed: epochs 60." in text(figure)
    assert crowded(figure) == []


def test_what_else_varies_has_rows_of_its_own() -> None:
    """Two recipes in one folder are not averaged."""
    table = shuffled(swept(init=("he", "xavier"), epochs=(7, 20), seed=(0,)))
    assert rows_of(table) == [
        f"epochs {epochs}, {init}" for epochs in (7, 20) for init in ("he", "xavier")
    ]


def test_one_combination_is_no_figure() -> None:
    with pytest.raises(NoSweep, match="none of norm, head_relu, init varies"):
        trainability(pd.DataFrame(swept(sr=SR)))


def test_rows_that_cannot_be_read_are_not_drawn() -> None:
    table = shuffled(swept(init=("he", "xavier"), lr=[n / 100 for n in range(1, 17)], seed=(0,)))
    with pytest.raises(NoSweep, match="32 combinations of lr, init are too many to read"):
        trainability(table)
