"""What a table of trials says about the paper's figures, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pandas as pd

from dse.analysis.axes import MOST_LINES, lines
from dse.analysis.figure3 import FIGURE_3
from dse.analysis.pairs import Pairs, axis_alone, pairs, sweep_once
from dse.analysis.statistics import INTERVAL_SEEDS, POINTS, interval
from dse.trial.names import outcomes, written

MIDDLE = 0.5  # where Figure 3's curves bend, and where 3(a) and 3(b) meet


def summary(table: pd.DataFrame, asked: int) -> str:
    """What was trained and how it ended, in a sentence or two."""
    if table.empty:
        return f"None of {asked} trainings has finished."
    data = " and ".join(sorted(table["data"].unique()))
    seeds = ", ".join(str(s) for s in sorted(table["seed"].unique()))
    return (
        f"{len(table)} of {asked} trainings from scratch on {data}, seeds {seeds}: "
        f"{outcomes(table)}. Accuracies are on the whole test set, which was not used for any "
        "choice. These data are not ImageNet: the paper's points are shown in separate panels and "
        "columns."
    )


def findings(table: pd.DataFrame, name: str) -> list[str]:
    """What Figure 3 shows: the gains up to the middle, from there on, and in all.

    A sentence for each step along each line of the figure. None for another figure. Raises
    `NoSweep` where the figure cannot be drawn.
    """
    if name not in FIGURE_3:
        return []
    paper, found = FIGURE_3[name], sweep_once(table)
    axis = axis_alone(found, paper.column)
    texts = []
    for line in lines(found, axis.name, most=MOST_LINES):
        values = line.points[axis.name].tolist()
        ends = [values[0], *([MIDDLE] if MIDDLE in values[1:-1] else []), values[-1]]
        steps = [*pairwise(ends), (ends[0], ends[-1])]
        points = {p.value: p.top5 for p in paper.points} if paper.comparable(line) else {}
        texts += [
            _gain(one, points)
            for one in pairs(found, axis, list(dict.fromkeys(steps)))
            if one.setting == line.setting
        ]
    return texts


def _gain(step: Pairs, paper: Mapping[float, float]) -> str:
    """The gain from one value to another, and the paper's where it has both."""
    gained = interval(step.differences, within=POINTS)
    text = f"From {step.column} {step.before:g} to {step.after:g}"
    if step.setting:
        text += " with " + ", ".join(f"{n} {written(v)}" for n, v in step.setting.items())
    text += f": {gained.mean:+.1f} points of {step.answer.replace('top', 'top-')}"
    if gained.count < INTERVAL_SEEDS:
        text += " (too few seeds for an interval)"
    else:
        text += f" (95 % interval {gained.low:+.1f} to {gained.high:+.1f}, {gained.count} seeds)"
    if step.before in paper and step.after in paper:
        points = paper[step.after] - paper[step.before]
        text += f"; in the paper {points:+.1f} points of top-5 on ImageNet"
    return f"{text}."
