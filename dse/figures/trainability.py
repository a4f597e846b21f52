"""How often networks do not learn, for each cause that varies in a table of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, TooMany, require
from dse.analysis.pairs import sweep_once
from dse.analysis.statistics import share
from dse.figures.plotting import (
    OURS,
    THEIRS,
    WIDTH,
    Figure,
    caption,
    described,
    legend,
    span,
    style,
)
from dse.space.architecture import Metaparameters, field_names
from dse.trial.names import written

CAUSES = ("norm", "head_relu", "init")
METAPARAMETERS = set(field_names(Metaparameters))
MOST_ROWS = 30
"""More rows than this are too many to read."""
ENDS = (
    (("never_learned", "diverged"), "at chance, or diverged", OURS, "o"),
    (("partly_dead",), "some class never predicted", THEIRS, "s"),
)


def trainability(table: pd.DataFrame, note: str = "") -> Figure:
    """How often a network does not learn, for each norm, ReLU on the scores, and initialisation.

    Shares over all metaparameters and seeds, with Wilson's 95 % intervals; anything else that
    varies has rows of its own. `note` is added to the caption.
    """
    found = sweep_once(table)
    require(table, "status")
    rows = _causes(found)
    names = [name for name, _ in rows]
    with style():
        figure = Figure(figsize=(WIDTH, 1.9 + 0.32 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for side, (statuses, label, colour, marker) in zip((-0.12, 0.12), ENDS, strict=True):
            counts = [
                (int(chosen["status"].isin(statuses).sum()), len(chosen)) for _, chosen in rows
            ]
            shares = [share(*count) for count in counts]
            ends = [
                [100 * (s.mean - s.low) for s in shares],
                [100 * (s.high - s.mean) for s in shares],
            ]
            axes.errorbar(
                [100 * s.mean for s in shares],
                [place + side for place in range(len(shares))],
                xerr=ends,
                fmt=marker,
                color=colour,
                label=label,
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(-3, 103)
        axes.set_xlabel("share of the runs (%)")
        axes.set_title(f"Trainability: {described(found)}")
        legend(figure, [label for _, label, _, _ in ENDS])
        caption(figure, _runs(found, [len(chosen) for _, chosen in rows]), note)
    return figure


def _causes(found: Sweep) -> list[tuple[str, pd.DataFrame]]:
    """The rows of the figure: a label, and the trials of a combination."""
    varied = [axis for axis in found.axes if not METAPARAMETERS.issuperset(axis.columns)]
    if not any(set(axis.columns) & set(CAUSES) for axis in varied):
        raise NoSweep(f"none of {', '.join(CAUSES)} varies")
    names = [axis.name for axis in varied]
    groups = found.rows.groupby(names, sort=True)
    if groups.ngroups > MOST_ROWS:
        raise TooMany(
            f"{groups.ngroups:,} combinations of {', '.join(names)} are too many to read (at most "
            f"{MOST_ROWS}); select some with key=value in `python -m dse.plot`"
        )
    return [
        (", ".join(_worded(n, v) for n, v in zip(names, key, strict=True)), chosen)
        for key, chosen in groups
    ]


def _worded(name: str, value: Any) -> str:
    """A value for the label of a row."""
    words = {
        ("norm", "batch"): "batch norm",
        ("norm", "none"): "no norm",
        ("head_relu", True): "ReLU",
        ("head_relu", False): "no ReLU",
    }
    return words.get((name, value), f"{value}" if name == "init" else f"{name} {written(value)}")


def _runs(found: Sweep, counts: Sequence[int]) -> str:
    """How many runs a row has, and what they differ in."""
    over = [
        f"{axis.name} {', '.join(map(written, axis.values))}"
        for axis in found.axes
        if METAPARAMETERS.issuperset(axis.columns)
    ]
    runs = f"{span(counts)} runs a row (over {' and '.join([*over, 'seeds'])})"
    return f"{runs}, with 95 % intervals. ReLU: on the class scores."
