"""Pairs of trials that have the same seed and differ along one axis only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """The differences between two values of an axis: `answer` of `after` minus that of `before`.

    One difference, in points, for each seed that both have; `left_out` counts the seeds of one
    alone. `setting` is the values of the other axes. Differences over several settings are means
    over `settings` of them, and `setting` is empty.
    """

    column: str
    before: Any
    after: Any
    answer: str
    differences: tuple[float, ...]
    left_out: int
    setting: Mapping[str, Any]
    settings: int = 1


def sweep_once(table: pd.DataFrame) -> Sweep:
    """What varies in a table; raises `ValueError` where it is empty or holds a trial twice."""
    if "trial_id" in table and table["trial_id"].duplicated().any():
        raise ValueError("the table must hold each trial once")
    return sweep(table)


def axis_alone(found: Sweep, name: str) -> Axis:
    """The axis with this name; raises `NoSweep` where `name` does not vary, or never alone."""
    axis = found.axis(name)
    if axis.name != name:
        others = ", ".join(column for column in axis.columns if column != name)
        raise NoSweep(f"no two trials differ in `{name}` alone: {others} varies with it")
    return axis


def pairs(found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]) -> Iterator[Pairs]:
    """The pairs of each two values, for each setting of the other axes in which a seed has both."""
    frame, settings = _by_setting(found, axis)
    for before, after in values:
        for code, rows in _both(frame, before, after).groupby(level="setting"):
            differences = (rows[after] - rows[before]).dropna()
            if len(differences):
                yield Pairs(
                    column=axis.name,
                    before=before,
                    after=after,
                    answer=found.answer,
                    differences=tuple(differences.tolist()),
                    left_out=len(rows) - len(differences),
                    setting=settings[int(str(code))],
                )


def averaged(found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]) -> Iterator[Pairs]:
    """The pairs of each two values, as means over the settings of the other axes.

    They are over the settings that have the most seeds, so that each difference is over all of
    them; settings with fewer of these seeds are left out.
    """
    frame, settings = _by_setting(found, axis)
    for before, after in values:
        rows = _both(frame, before, after)
        table = (
            (rows[after] - rows[before]).unstack("seed").dropna(how="all").dropna(axis=1, how="all")
        )
        if table.empty:
            continue
        seeds = table.loc[table.count(axis=1).idxmax()].dropna().index
        whole = table[seeds].dropna()
        yield Pairs(
            column=axis.name,
            before=before,
            after=after,
            answer=found.answer,
            differences=tuple(whole.mean().tolist()),
            left_out=rows.index.get_level_values("seed").nunique() - len(seeds),
            setting=settings[whole.index[0]] if len(whole) == 1 else {},
            settings=len(whole),
        )


def _by_setting(found: Sweep, axis: Axis) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The answers by setting (a number) and seed, a column for each value; and the settings."""
    others = [other for other in found.axes if other is not axis]
    names = [other.name for other in others]
    ranks = [
        found.rows[other.name].map({value: rank for rank, value in enumerate(other.values)})
        for other in others
    ]
    codes = found.rows.groupby(ranks).ngroup() if ranks else 0
    rows = found.rows.assign(setting=codes).sort_values("setting")
    points = rows.drop_duplicates("setting")[names].itertuples(index=False, name=None)
    settings = [dict(zip(names, point, strict=True)) for point in points]
    return rows.pivot(index=["setting", "seed"], columns=axis.name, values=found.answer), settings


def _both(frame: pd.DataFrame, before: Any, after: Any) -> pd.DataFrame:
    """The two values' columns, where a seed has one of them."""
    return frame.reindex(columns=[before, after]).dropna(how="all")
