"""One sweep out of a table of records: its rows, its configurations, and what they gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dse.analysis.statistics import PERCENT, Interval, interval, paired
from dse.paper.published import FIGURE_3A, FIGURE_3B, Point
from dse.space.architecture import Metaparameters, generate
from dse.space.cost import cost
from dse.trial.datasets import num_classes
from dse.trial.question import QUESTION

TOP5_FROM_CLASSES = 100
"""Top-5 accuracy is shown from this many classes on: with ten it is near 100 % for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One configuration: the swept value, its cost, its mean accuracy and each seed's (percent)."""

    value: Any
    size_bytes: int
    macs: int
    accuracy: Interval
    seeds: tuple[float, ...]


class NoSweep(ValueError):
    """The table holds no sweep of the requested kind."""


def one_sweep(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows of the largest sweep over `columns`: only they and the seed vary in it.

    Diverged trials are included: their accuracy is a result. Raises `NoSweep` unless each of the
    columns has two values in some such group of rows.
    """
    rest = [name for name in QUESTION if name not in (*columns, "seed")]
    groups = [
        rows
        for _, rows in table.groupby(rest, sort=True)
        if all(rows[column].nunique() > 1 for column in columns)
    ]
    if not groups:
        raise NoSweep(f"the table holds no sweep over {', '.join(columns)}")
    return max(groups, key=lambda rows: len(rows[list(columns)].drop_duplicates()))


def measured(rows: pd.DataFrame, *columns: str) -> tuple[Measured, ...]:
    """The configurations of one sweep in the order of their values, each over its seeds."""
    answer = accuracy_column(rows)
    return tuple(
        Measured(
            value=value[0] if len(columns) == 1 else value,
            size_bytes=int(group["size_bytes"].iloc[0]),
            macs=int(group["macs"].iloc[0]),
            accuracy=interval(group[answer].to_list(), within=PERCENT),
            seeds=tuple(group[answer]),
        )
        for value, group in rows.groupby(list(columns), sort=True)
    )


def accuracy_column(rows: pd.DataFrame) -> str:
    """`top1`, or `top5` where all data sets have at least `TOP5_FROM_CLASSES` classes."""
    sets = set(zip(rows["data"], rows["manifest"], strict=True))
    return "top5" if min(num_classes(*one) for one in sets) >= TOP5_FROM_CLASSES else "top1"


def gain(table: pd.DataFrame, column: str, low: Any, high: Any) -> tuple[str, Interval]:
    """The accuracy's name, and its gain (points) from `low` to `high` over the shared seeds.

    Raises `NoSweep` where the table holds no sweep over `column`, and `ValueError` where the two
    values share no seed.
    """
    rows = one_sweep(table, column)
    answer = accuracy_column(rows)
    before, after = (
        dict(zip(group["seed"], group[answer], strict=True))
        for group in (rows[rows[column] == value] for value in (low, high))
    )
    return answer.replace("top", "top-"), paired(after, before)


# The paper's sweeps -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """One of the paper's figures: the swept metaparameter, what is fixed, the paper's points."""

    column: str
    label: str
    fixed: Mapping[str, float]
    points: tuple[Point, ...]

    def size_bytes(self, value: float) -> int:
        """The size of the network that the paper trained on ImageNet."""
        point: dict[str, Any] = {**self.fixed, self.column: value}
        return int(cost(generate(Metaparameters(**point)), 224).size_bytes)


FIGURE_3: Mapping[str, Swept] = {
    "figure3a": Swept(
        column="sr", label="squeeze ratio (sr)", fixed={"pct3x3": 0.5}, points=FIGURE_3A
    ),
    "figure3b": Swept(
        column="pct3x3", label="share of 3x3 filters (pct3x3)", fixed={"sr": 0.5}, points=FIGURE_3B
    ),
}
