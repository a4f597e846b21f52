"""What a table of trials says about the paper's figures, in sentences."""

from __future__ import annotations

import pandas as pd

from dse.analysis.statistics import INTERVAL_SEEDS
from dse.analysis.sweeps import FIGURE_3, gain, one_sweep
from dse.trial.names import outcomes

MIDDLE = 0.5  # where Figure 3's curves bend, and where 3(a) and 3(b) meet


def summary(table: pd.DataFrame, asked: int) -> str:
    """What was trained and how it ended, in a sentence or two."""
    data = " and ".join(sorted(table["data"].unique()))
    seeds = ", ".join(str(s) for s in sorted(table["seed"].unique()))
    return (
        f"{len(table)} of {asked} trainings from scratch on {data}, seeds {seeds}: "
        f"{outcomes(table)}. Accuracies are on the whole test set, which was not used for any "
        "choice. These data are not ImageNet: the paper's points are shown in separate panels and "
        "columns."
    )


def findings(table: pd.DataFrame, name: str) -> list[str]:
    """What Figure 3 shows: the gains up to the middle, from there on, and in all."""
    if name not in FIGURE_3:
        return []
    swept = FIGURE_3[name]
    values = sorted(one_sweep(table, swept.column)[swept.column].unique())
    first, last = values[0], values[-1]
    steps = [(first, MIDDLE), (MIDDLE, last)] if first < MIDDLE < last and MIDDLE in values else []
    steps.append((first, last))
    paper = {point.value: point.top5 for point in swept.points}
    lines = []
    for low, high in steps:
        answer, gained = gain(table, swept.column, low, high)
        text = f"From {swept.column} {low:g} to {high:g}: {gained.mean:+.1f} points of {answer}"
        if gained.count < INTERVAL_SEEDS:
            text += " (too few seeds for an interval)"
        else:
            text += (
                f" (95 % interval {gained.low:+.1f} to {gained.high:+.1f}, {gained.count} seeds)"
            )
        if low in paper and high in paper:
            text += f"; in the paper {paper[high] - paper[low]:+.1f} points of top-5 on ImageNet"
        lines.append(f"{text}.")
    return lines
