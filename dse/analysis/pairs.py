"""Pairs of trials that have the same seed and differ along one axis only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, require, sweep
from dse.analysis.statistics import Floats


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
    """What varies in a table; raises `ValueError` where it is empty or holds a trial twice.

    In a table of compressed networks, where it holds one of them twice.
    """
    ids = [name for name in ("trial_id", "compressed_id") if name in table]
    if ids and table.duplicated(ids).any():
        noun = "compressed network" if "compressed_id" in ids else "trial"
        raise ValueError(f"the table must hold each {noun} once")
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
    answer = found.answer
    for before, after in values:
        codes, _, differences = _differences(frame, before, after)
        for part in np.split(np.arange(len(codes)), np.flatnonzero(np.diff(codes)) + 1):
            known = differences[part][np.isfinite(differences[part])]
            if len(known):
                yield Pairs(
                    column=axis.name,
                    before=before,
                    after=after,
                    answer=answer,
                    differences=tuple(known.tolist()),
                    left_out=len(part) - len(known),
                    setting=settings[codes[part[0]]],
                )


def averaged(found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]) -> Iterator[Pairs]:
    """The pairs of each two values, as means over the settings of the other axes.

    The setting with most pairs decides which seeds; all settings that have a pair of each of them
    count, others are left out. So the mean of each seed is over the same settings.
    """
    frame, settings = _by_setting(found, axis)
    answer = found.answer
    for before, after in values:
        codes, seeds, differences = _differences(frame, before, after)
        known = np.isfinite(differences)
        if not known.any():
            continue
        widest = np.bincount(codes[known]).argmax()
        chosen = known & np.isin(seeds, seeds[known & (codes == widest)])
        whole = np.flatnonzero(np.bincount(codes[chosen]) == chosen[codes == widest].sum())
        chosen &= np.isin(codes, whole)
        means = pd.Series(differences[chosen]).groupby(seeds[chosen]).mean()
        yield Pairs(
            column=axis.name,
            before=before,
            after=after,
            answer=answer,
            differences=tuple(means.tolist()),
            left_out=len(np.unique(seeds)) - len(means),
            setting=settings[whole[0]] if len(whole) == 1 else {},
            settings=len(whole),
        )


def _by_setting(found: Sweep, axis: Axis) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The answers by setting (a number) and seed, a column for each value; and the settings."""
    require(found.rows, found.answer)
    others = [other for other in found.axes if other is not axis]
    names = [other.name for other in others]
    places = [other.places(found.rows) for other in others]
    codes = found.rows.groupby(places).ngroup() if places else 0
    rows = found.rows[[*names, axis.name, "seed", found.answer]].assign(setting=codes)
    points = rows.sort_values("setting").drop_duplicates("setting")[names]
    settings = [dict(zip(names, point, strict=True)) for point in points.to_numpy().tolist()]
    return rows.pivot(index=["setting", "seed"], columns=axis.name, values=found.answer), settings


def _differences(frame: pd.DataFrame, before: Any, after: Any) -> tuple[Any, Any, Floats]:
    """Setting, seed and difference where a seed has one of the two values; NaN without the other.

    Sorted by setting, then seed.
    """
    both = frame.reindex(columns=[before, after]).dropna(how="all")
    codes, seeds = (both.index.get_level_values(name).to_numpy() for name in ("setting", "seed"))
    return codes, seeds, both[after].to_numpy(float) - both[before].to_numpy(float)
