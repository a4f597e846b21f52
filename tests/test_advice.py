"""The paper's advice is confirmed where its effect was planted, and contradicted elsewhere."""

from __future__ import annotations

import pandas as pd
import pytest
from planted import planted
from swept import POOLS, SR, WIRES, made, swept

from dse.analysis.advice import advice
from dse.analysis.axes import NoSweep, sweep

GRID = swept(sr=SR[::2], pct3x3=(0.25, 0.5, 0.99), bypass=WIRES, pool_after=POOLS)
TABLE = made(GRID)
"""sr gains 10 points and more, pct3x3 is best at 0.5, simple bypass better than none and complex
worse, and late pooling gains 5 points."""


def verdicts(table: pd.DataFrame) -> dict[str, str]:
    return {one.text: one.verdict for one in advice(sweep(table))}


def about(found: dict[str, str], words: str) -> str:
    (verdict,) = (verdict for text, verdict in found.items() if words in text)
    return verdict


def test_planted_effects_decide_the_advice() -> None:
    found = verdicts(TABLE)
    every = "holds for every value of every other axis"
    assert about(found, "Late pooling raises accuracy (") == every
    assert about(found, "A simple bypass raises") == every
    assert about(found, "A complex bypass raises") == "does not hold"
    assert about(found, "complex one (Table 3)") == every
    assert about(found, "3x3 is enough") == "holds"
    assert "does not hold" in about(found, "Larger squeeze ratios")


def test_advice_turns_when_the_effects_do() -> None:
    """Accuracy mirrored: what gained loses."""
    found = verdicts(TABLE.assign(top1=140 - TABLE["top1"], val_top1=140 - TABLE["top1"]))
    assert about(found, "Late pooling raises accuracy (") == "does not hold"
    assert about(found, "A simple bypass raises") == "does not hold"
    assert about(found, "A complex bypass raises").startswith("holds")
    assert "does not hold on average" in about(found, "3x3 is enough")
    assert about(found, "Larger squeeze ratios") == "holds"
    assert about(found, "0.125 is best") == "holds: it reaches most within a budget of size"


def test_where_advice_does_not_hold_is_named() -> None:
    lost = (TABLE["bypass"] == "simple") & (TABLE["sr"] == 1.0)
    found = verdicts(TABLE.assign(top1=TABLE["top1"] - 0.7 * lost))
    assert about(found, "A simple bypass raises") == "holds on average; not shown for sr 1"


def test_what_is_enough_is_compared_with_every_greater_value() -> None:
    """A value between half and all gains 10 points."""
    grid = made(swept(pct3x3=(0.5, 0.75, 0.99), bypass=WIRES))
    (one, *_) = advice(sweep(grid.assign(top1=50 + 10 * (grid["pct3x3"] == 0.75))))
    assert one.verdict == "does not hold on average: more gains over 0.5 points"
    assert one.evidence.startswith("pct3x3 0.5 to 0.75: +10.0 points")
    alike = advice(sweep(grid.assign(top1=50.0)))
    assert about({one.text: one.verdict for one in alike}, "3x3 is enough") == "holds"


def test_the_first_leads_for_sure_only_if_no_other_may() -> None:
    """sr 0.5 is lower for every seed, and sr 1 for every other seed."""
    for swing, verdict in ((0, "holds: "), (3, "holds for the means: ")):
        reach = {0.125: 70, 0.5: 69, 1.0: 68}
        table = planted(
            lambda q, swing=swing, reach=reach: (  # type: ignore[misc]
                reach[q["sr"]] + swing * (q["sr"] == 1.0) * (-1) ** q["seed"]
            ),
            spread=0.1, sr=reach, bypass=("none", "simple"),
        )  # fmt: skip
        assert about(verdicts(table), "0.125 is best").startswith(verdict)


def test_early_pooling_may_win_at_equal_work() -> None:
    """The latest pools reach a little more, for many times the work."""
    grid = [row for row in GRID if row["pct3x3"] == 0.5 and row["bypass"] == "none"]
    assert "is number 3 of 3" in about(verdicts(made(grid)), "at equal work")


def test_few_seeds_decide_nothing() -> None:
    found = advice(sweep(TABLE[TABLE["seed"] == 0]))
    assert about({one.text: one.verdict for one in found}, "Late pooling raises accuracy (") == (
        "not decided; +5.0 points in the only seed"
    )
    assert all(one.verdict.startswith("not decided") for one in found)
    assert not any("nan" in one.sentence for one in found)
    with pytest.raises(NoSweep, match="no seed has all"):
        advice(sweep(TABLE.drop(TABLE.index[:20]).query("seed == 0")))
