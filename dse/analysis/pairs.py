"""Pairs of trials that have the same seed and differ along one axis only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dse.analysis.axes import Axis, NoSweep, Sweep, require
from dse.analysis.devices import mixed_devices, once, torch_of
from dse.analysis.rendering import counted
from dse.analysis.statistics import Floats
from dse.trial.names import written


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """The differences between two values of an axis: `answer` of `after` minus that of `before`.

    One difference, in points or the unit of `answer`, for each seed that counts; `left_out` counts
    the other seeds of one or both. `setting` is the values of the other axes, without those that
    are not read. Differences over several settings are means over `settings` of `all_settings`,
    those in which some seed has both, of so many `data_sets`; then `setting` is empty. `largest` is
    the largest absolute value of both, at least 100.
    """

    column: str
    before: Any
    after: Any
    answer: str
    differences: tuple[float, ...]
    left_out: int
    setting: Mapping[str, Any]
    settings: int = 1
    all_settings: int = 1
    data_sets: int = 1
    largest: float = 100.0

    @property
    def where(self) -> str:
        """The settings in words: "at sr=0.5 bypass=none", "mean over 2 of 3 settings", or ""."""
        all_of_them = f"{self.all_settings} settings"
        if self.settings < self.all_settings:
            all_of_them = f"{self.settings} of {all_of_them}"
        if self.settings > 1:
            of = f" of {self.data_sets} data sets" if self.data_sets > 1 else ""
            return f"mean over {all_of_them}{of}"
        alone = at(self.setting)
        return f"{alone} ({all_of_them})" if self.all_settings > 1 else alone


def at(setting: Mapping[str, Any]) -> str:
    """A setting in words.

    >>> at({"sr": 0.5, "bypass": "none"}), at({})
    ('at sr=0.5 bypass=none', '')
    """
    return " ".join(["at", *(f"{k}={written(v)}" for k, v in setting.items())]) if setting else ""


def axis_alone(found: Sweep, name: str) -> Axis:
    """The axis with this name; raises `NoSweep` where `name` does not vary, or never alone."""
    axis = found.axis(name)
    if axis.name != name:
        others = [column for column in axis.columns if column != name]
        vary = f"{', '.join(others)} {'vary' if others[1:] else 'varies'} with it"
        raise NoSweep(f"no two trials differ in `{name}` alone: {vary}")
    return axis


def pairs(found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]) -> Iterator[Pairs]:
    """The pairs of each two values, for each setting of the other axes in which a seed has both."""
    answer = found.answer
    for before, after, codes, _, both, settings in _both(found, axis, values):
        differences = both[:, 1] - both[:, 0]
        for part in np.split(np.arange(len(codes)), np.flatnonzero(np.diff(codes)) + 1):
            chosen = part[np.isfinite(differences[part])]
            if len(chosen):
                yield Pairs(
                    column=axis.name,
                    before=before,
                    after=after,
                    answer=answer,
                    differences=tuple(differences[chosen].tolist()),
                    left_out=len(part) - len(chosen),
                    setting=settings[codes[part[0]]],
                    largest=_largest(both[chosen]),
                )


def averaged(found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]) -> Iterator[Pairs]:
    """The pairs of each two values, as means over the settings of the other axes.

    The mean of each seed is over the same settings: see `whole`.
    """
    answer = found.answer
    of_data = [other.name for other in found.axes if {"data", "manifest"} & {*other.columns}]
    for before, after, codes, seeds, both, settings in _both(found, axis, values):
        differences = both[:, 1] - both[:, 0]
        every, known = np.unique(seeds), np.isfinite(differences)
        if not known.any():
            continue
        codes, seeds, differences = codes[known], seeds[known], differences[known]
        chosen = whole(codes, seeds)
        means = pd.Series(differences[chosen]).groupby(seeds[chosen]).mean()
        used = np.unique(codes[chosen])
        yield Pairs(
            column=axis.name,
            before=before,
            after=after,
            answer=answer,
            differences=tuple(means.tolist()),
            left_out=len(every) - len(means),
            setting=settings[used[0]] if len(used) == 1 else {},
            settings=len(used),
            all_settings=len(np.unique(codes)),
            data_sets=len({tuple(settings[code].get(n) for n in of_data) for code in used}),
            largest=_largest(both[known][chosen]),
        )


def whole(settings: npt.ArrayLike, seeds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which of some pairs to average, so that each seed has the same settings: (n), (n) -> (n).

    They are the pairs of the first seeds, those with most pairs first, in the settings that have a
    pair of each of these; as many seeds as leave the most pairs.

    >>> whole([0, 0, 0, 1, 1, 2], [7, 8, 9, 7, 8, 7]).tolist()
    [True, True, False, True, True, False]
    """
    rows, columns = (np.unique(ids, return_inverse=True)[1] for ids in (settings, seeds))
    known = np.zeros((rows.max() + 1, columns.max() + 1), dtype=bool)
    known[rows, columns] = True
    order = np.argsort(-(known.sum(axis=1) @ known), kind="stable")
    have = np.logical_and.accumulate(known[:, order], axis=1)  # the first seed, the first two, ...
    counts = have.sum(axis=0) * np.arange(1, len(order) + 1)
    last = len(order) - 1 - counts[::-1].argmax()
    result: npt.NDArray[np.bool_] = have[rows, last] & np.isin(columns, order[: last + 1])
    return result


def mixed_pairs(found: Sweep, axis: Axis, values: Sequence[Any]) -> str:
    """Sentences that name the devices of the trials that are in a pair of two of the values, and
    say how many pairs mix devices, or versions of torch on one device: that is part of their
    differences.

    Empty where no device and no pair's version differs.
    """
    if "device" not in found.rows:
        return ""
    every = [paired(found, axis, *two) for two in combinations(values, 2)]
    trials = pd.concat([rows.assign(pair=number) for number, rows in enumerate(every)])
    trials["torch"] = torch_of(trials["versions"]) if "versions" in trials else ""
    pairs = trials.groupby(["pair", *_else(found, axis)])
    differ, texts = pairs["device"].nunique() > 1, [mixed_devices(trials)]
    count = counted(len(differ), "pair")
    if differ.any():
        texts.append(f"In {differ.sum():,} of {count} the two devices differ.")
    elif texts[0]:
        texts.append("Both trials of each pair ran on the same device.")
    if older := int(((pairs["torch"].nunique() > 1) & ~differ).sum()):
        texts.append(f"In {older:,} of {count} the two versions of torch differ.")
    return " ".join(filter(None, texts))


def unlearned(found: Sweep, axis: Axis, values: Sequence[Any]) -> str:
    """A sentence that counts the trials in a pair of two of the values that did not learn, where
    losses are compared: some of theirs are huge."""
    if not found.answer.endswith("loss"):
        return ""
    trials = once(pd.concat([paired(found, axis, *two) for two in combinations(values, 2)]))
    count = int((trials["status"] != "learned").sum())
    some = f"{count:,} of {counted(len(trials), 'trial')} in these pairs did not learn"
    return f"{some} and may have huge losses; status=learned leaves them out." if count else ""


def paired(found: Sweep, axis: Axis, before: Any, after: Any) -> pd.DataFrame:
    """The rows with one of two values of an axis that are in a pair."""
    rows = _with_either(found, axis, before, after).dropna(subset=[found.answer])
    return rows[rows.duplicated(_else(found, axis), keep=False)]


def averaged_rows(found: Sweep, one: Pairs) -> pd.DataFrame:
    """The rows in pairs that `averaged` took the mean over."""
    axis = found.axis(one.column)
    rows = paired(found, axis, one.before, one.after)
    places = [other.places(rows) for other in found.axes if other is not axis]
    codes = rows.groupby(places).ngroup() if places else [0] * len(rows)
    return rows[whole(codes, rows["seed"])]


def _else(found: Sweep, axis: Axis) -> list[str]:
    """What both trials of a pair have in common."""
    return ["seed", *(other.name for other in found.axes if other is not axis)]


def _largest(values: Floats) -> float:
    """`Pairs.largest` of these values."""
    return float(max(np.abs(values).max(), 100.0))


def _both(
    found: Sweep, axis: Axis, values: Sequence[tuple[Any, Any]]
) -> Iterator[tuple[Any, Any, Any, Any, Floats, list[dict[str, Any]]]]:
    """For each two values: both, and arrays of setting (a number), seed and the answers of both (n,
    2) where a seed has one of them (NaN for the other), sorted by setting, then seed; and the
    settings."""
    every = _by_setting(found, axis, found.rows)
    for before, after in values:
        frame, settings = every
        if _unread(found, axis, before) != _unread(found, axis, after):
            frame, settings = _by_setting(found, axis, _with_either(found, axis, before, after))
        both = frame.reindex(columns=[before, after]).dropna(how="all")
        codes, seeds = (both.index.get_level_values(n).to_numpy() for n in ("setting", "seed"))
        yield before, after, codes, seeds, both.to_numpy(float), settings


def _unread(found: Sweep, axis: Axis, value: Any) -> set[str]:
    """The other axes that a value of an axis leaves unread."""
    return set(found.idle.get((axis.name, value), ()))


def _with_either(found: Sweep, axis: Axis, before: Any, after: Any) -> pd.DataFrame:
    """The rows with one of two values of an axis.

    Where only one of the values leaves another axis unread, its rows are there for each value of
    that axis which the other one's rows have: an AlexNet for each squeeze ratio of a SqueezeNet.
    """
    rows = {value: found.rows[found.rows[axis.name] == value] for value in (before, after)}
    for one, other in ((before, after), (after, before)):
        if names := [*(_unread(found, axis, one) - _unread(found, axis, other))]:
            settings = rows[other][names].drop_duplicates()
            rows[one] = rows[one].drop(columns=names).merge(settings, how="cross")
    result: pd.DataFrame = pd.concat(rows.values(), ignore_index=True)
    return result


def _by_setting(
    found: Sweep, axis: Axis, table: pd.DataFrame
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The answers by setting (a number) and seed, a column for each value; and the settings."""
    require(table, found.answer)
    others = [other for other in found.axes if other is not axis]
    names = [other.name for other in others]
    places = [other.places(table) for other in others]
    codes = table.groupby(places).ngroup() if places else 0
    rows = table[[*names, axis.name, "seed", found.answer]].assign(setting=codes)
    points = rows.sort_values("setting").drop_duplicates("setting")[names]
    every = [dict(zip(names, point, strict=True)) for point in points.to_numpy().tolist()]
    settings = [found.read(one) for one in every]
    keys = [*names, axis.name, "seed"]
    if twice := rows[rows.duplicated(keys)][keys].to_dict("records"):
        which = " ".join(f"{key}={written(value)}" for key, value in twice[0].items())
        raise ValueError(f"two trials have the same keys and seed: {which}")
    return rows.pivot(index=["setting", "seed"], columns=axis.name, values=found.answer), settings
