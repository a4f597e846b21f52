"""How the groups of a figure look, and the legend that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dse.analysis.axes import Axis
from dse.analysis.labels import words
from dse.figures.plotting import OURS, legend
from dse.figures.scales import colours, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OTHER = "#555555"
"""The colour of a marker in the legend where lines of several colours have it."""
MOST_MARKERS = 10
"""A legend has at most so many markers besides the colours."""
UNKNOWN = "#999999"
"""The colour of what has no value of the hue."""


def find_looks(
    keys: Sequence[tuple[Any, ...]], axes: Sequence[Axis], hued: Axis | None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """How each group is drawn: the colour is that of `hued`, the marker that of the rest.

    A key has a value of each of `axes`.
    """
    palette, looks, numbers = colours(hued), {}, dict[str, int]()
    for key in _by_rest(keys, axes, hued):
        setting = {axis.name: value for axis, value in zip(axes, key, strict=True)}
        colour, number = OURS, 0
        if hued:
            value = setting.pop(hued.name)
            colour = palette.get(value, UNKNOWN)
            number = [*palette].index(value) if value in palette else len(palette)
        if setting:
            number = numbers.setdefault(words(setting), len(numbers))
        looks[key] = {"color": colour, **marker(number)}
    return looks


def draw_legend(
    plot: Axes,
    looks: Mapping[tuple[Any, ...], Mapping[str, Any]],
    axes: Sequence[Axis],
    hued: Axis | None,
) -> str:
    """A legend of the colours, then one of the markers where other axes than `hued` have lines.

    Both are in the order of the values. More markers than `MOST_MARKERS` are left out; the
    sentence that is returned then says in what else the lines differ.
    """
    by_colour, by_marker, settings = {}, {}, []
    for key in _by_rest(looks, axes, hued):
        setting = {axis.name: value for axis, value in zip(axes, key, strict=True)}
        if hued:
            text = words({hued.name: setting.pop(hued.name)})
            by_colour[text or f"no value of {hued.name}"] = looks[key]
        settings.append({name: value for name, value in setting.items() if not pd.isna(value)})
    telling = [_telling(setting, settings) for setting in settings]
    for key, setting in zip(_by_rest(looks, axes, hued), telling, strict=True):
        if text := words(setting):
            by_marker[text] = {**looks[key], "color": OTHER}
    differ = ""
    if hued and len(by_marker) > MOST_MARKERS:
        values = {axis.name: {one.get(axis.name) for one in telling} - {None} for axis in axes}
        names = [name for name, several in values.items() if len(several) > 1]
        differ, by_marker = f"Lines of one colour differ in {', '.join(names)}.", {}
    order = [words({hued.name: value}) for value in hued.values] if hued else []
    by_colour = dict(sorted(by_colour.items(), key=lambda item: (*order, item[0]).index(item[0])))
    if by_marker or differ:
        by_colour = {
            text: {"color": look["color"], "linewidth": 4} for text, look in by_colour.items()
        }
    entries = by_colour | by_marker
    for text, look in entries.items():
        plot.plot([], [], label=text, **look)
    if entries:
        figure: Any = plot.figure
        legend(figure, list(entries))
    return differ


def _telling(setting: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of a setting that some other one with values of the same axes has not; all of
    them where there is no such value."""
    same = [other for other in settings if setting.keys() <= other.keys()]
    differ = {n: v for n, v in setting.items() if any(other[n] != v for other in same)}
    return differ or dict(setting)


def _by_rest(
    keys: Iterable[tuple[Any, ...]], axes: Sequence[Axis], hued: Axis | None
) -> list[tuple[Any, ...]]:
    """The keys in the order of the values of the other axes than `hued`, a missing one last."""

    def places(key: tuple[Any, ...]) -> list[int]:
        rest = [(axis.values, value) for axis, value in zip(axes, key, strict=True) if axis != hued]
        return [every.index(one) if one in every else len(every) for every, one in rest]

    return sorted(keys, key=places)
