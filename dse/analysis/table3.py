"""The paper's Table 3 (bypass connections), measured here next to the published one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dse.analysis.axes import Sweep, require, sweep
from dse.analysis.lines import MOST_LINES, Line, lines
from dse.analysis.pairs import axis_alone, pairs
from dse.analysis.statistics import POINTS, Interval, interval
from dse.paper.evidence import fixed
from dse.paper.published import TABLE_3
from dse.trial.names import written

FIXED = fixed("bypass", sr=0.125, pct3x3=0.5, freq=2)
"""What the paper's networks share with ours where their accuracies are shown next to ours."""


def table3(table: pd.DataFrame) -> pd.DataFrame:
    """Table 3: a row for each bypass and setting of what else varies, accuracies in percent.

    The first columns are the settings, as the command line writes them.
    `gain` is the mean difference from no bypass over the shared seeds, with its 95% interval
    (`gain_low` .. `gain_high`); `paper_gain` is the paper's, of the same accuracy. Sizes are
    labelled as in the paper. The paper's columns are from ImageNet, with one run each; they are
    left out where no setting has the paper's `FIXED` values.

    Raises `NoSweep` where no two values of `bypass` have all else equal, and where there are more
    than `MOST_LINES` settings.
    """
    found = sweep(table)
    require(table, "bypass", "size_bytes")
    axis = axis_alone(found, "bypass")
    gains = {
        (*one.setting.items(), one.after): interval(one.differences, within=POINTS)
        for one in pairs(found, axis, [("none", "simple"), ("none", "complex")])
    }
    drawn = lines(found, axis.name, most=MOST_LINES)
    return pd.DataFrame([row for line in drawn for row in _rows(line, found, gains)])


def _rows(
    line: Line, found: Sweep, gains: Mapping[tuple[Any, ...], Interval]
) -> Iterator[dict[str, Any]]:
    """The rows of one setting, in the paper's order."""
    answer, setting = found.answer, found.read(line.setting)
    paper = {row.bypass: row for row in TABLE_3}
    first = line.trials.iloc[0]
    comparable = all(first[name] == value for name, value in FIXED.items())
    for point in line.points.to_dict("records"):
        bypass = point["bypass"]
        gained = gains.get((*setting.items(), bypass), UNKNOWN)
        row = {
            **{name: written(value) for name, value in line.setting.items()},
            "bypass": bypass,
            "seeds": point["count"],
            answer: point["mean"],
            f"{answer}_low": point["low"],
            f"{answer}_high": point["high"],
            "gain": gained.mean,
            "gain_low": gained.low,
            "gain_high": gained.high,
            "size_bytes": point["size_bytes"],
        }
        if comparable:
            published, base = paper[bypass], paper["none"]
            row |= {
                "paper_top1": published.top1,
                "paper_gain": getattr(published, answer) - getattr(base, answer)
                if bypass != "none"
                else math.nan,
                "paper_top5": published.top5,
                "paper_size": f"{published.size_label}MB",
            }
        yield row


UNKNOWN = Interval(mean=math.nan, low=math.nan, high=math.nan, count=0)
"""A gain where no seed has both values."""
