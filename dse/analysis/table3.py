"""The paper's Table 3 (bypass connections), measured here next to the published one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from dse.analysis.sweeps import accuracy_column, gain, measured, one_sweep
from dse.paper.published import TABLE_3


def table3(table: pd.DataFrame) -> pd.DataFrame:
    """Table 3: a row for each bypass, ours and the paper's accuracies in percent.

    `gain` is the mean difference from no bypass over the shared seeds, with its 95 % interval
    (`gain_low` .. `gain_high`); sizes are labelled as in the paper. The paper's columns are from
    ImageNet, with one run each. Raises `NoSweep` where the table holds no sweep over `bypass`.
    """
    rows = one_sweep(table, "bypass")
    answer = accuracy_column(rows)
    ours = {point.value: point for point in measured(rows, "bypass")}
    paper = {row.bypass: row for row in TABLE_3}
    lines = []
    for bypass, published in paper.items():
        if bypass not in ours:
            continue
        point, wired = ours[bypass], bypass != "none"
        gained = gain(table, "bypass", "none", bypass)[1] if wired and "none" in ours else None
        lines.append(
            {
                "bypass": bypass,
                "seeds": point.accuracy.count,
                answer: point.accuracy.mean,
                f"{answer}_low": point.accuracy.low,
                f"{answer}_high": point.accuracy.high,
                "gain": gained.mean if gained else float("nan"),
                "gain_low": gained.low if gained else float("nan"),
                "gain_high": gained.high if gained else float("nan"),
                "size_bytes": point.size_bytes,
                "paper_top1": published.top1,
                "paper_gain": published.top1 - paper["none"].top1 if wired else float("nan"),
                "paper_top5": published.top5,
                "paper_size": f"{published.size_label}MB",
            }
        )
    return pd.DataFrame(lines)


TABLES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"table3": table3}
"""Name of a page of `sweeps/` -> the table of its sweep."""
