"""A figure with a panel for each value of an axis (small multiples)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dse.analysis.axes import Axis, NoSweep, Sweep, TooMany
from dse.analysis.labels import MOST_TICKS, Scale, words
from dse.figures.plotting import Figure, panels
from dse.figures.scales import find_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 9
LONG = 24
"""Characters on an axis that are too many for panels next to each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facets:
    """The panels of a figure: one for each value of the axis `col`, or a single one without it.

    `groups` has for each panel the keys of its groups by what tells them apart there: the values of
    the axes `within`, which are all but `col`. `wide` panels are below each other.
    """

    col: Axis | None
    within: tuple[Axis, ...]
    groups: tuple[dict[tuple[Any, ...], tuple[Any, ...]], ...]
    wide: bool = False

    @property
    def columns(self) -> int:
        """Panels next to each other."""
        return 1 if self.wide or len(self.groups) == 1 else 2 if len(self.groups) in (2, 4) else 3

    @property
    def room(self) -> int:
        """How many ticks there is room for on the x axis of a panel."""
        return MOST_TICKS // self.columns

    def panels(self, height: float) -> tuple[Figure, list[Axes]]:
        """The figure, which is `height` inches high if it has one panel."""
        if not self.col:
            return panels(1, height)
        return panels(len(self.groups), 2.3, 1.9, columns=self.columns, sharex=True, sharey=True)

    def label(self, figure: Figure, places: Sequence[Axes], title: str) -> None:
        """Name each panel, and leave labels to the outer ones. Call it once all is drawn."""
        if not self.col:
            places[0].set_title(title)
            return
        if figure.legends:
            figure.legends[0].set_title(title)
        else:
            figure.suptitle(title, fontsize="medium")
        for number, (axes, value) in enumerate(zip(places, self.col.values, strict=True)):
            name = words({self.col.name: value})
            axes.set_title(textwrap.fill(name, 60 // self.columns), fontsize="small")
            if number % self.columns:
                axes.set_ylabel("")
            lowest = number + self.columns >= len(places)
            axes.tick_params(labelbottom=lowest)
            if not lowest:
                axes.set_xlabel("")


def facets(
    keys: Iterable[tuple[Any, ...]], axes: Sequence[Axis], col: Axis | None, x: Scale | None = None
) -> Facets:
    """The groups with these keys, which have a value of each of `axes`, in panels along `col`.

    Panels are `wide` where the texts on their axis `x` are long.
    """
    within = tuple(axis for axis in axes if axis is not col)
    groups: dict[Any, dict[tuple[Any, ...], tuple[Any, ...]]] = {
        value: {} for value in (col.values if col else [None])
    }
    for key in keys:
        panel = next((one for axis, one in zip(axes, key, strict=True) if axis is col), None)
        inner = tuple(one for axis, one in zip(axes, key, strict=True) if axis is not col)
        groups[panel][inner] = key
    wide = bool(col and x and sum(map(len, x.names)) > LONG)
    return Facets(col=col, within=within, groups=tuple(groups.values()), wide=wide)


def facet_axis(found: Sweep, col: str, *others: str) -> Axis | None:
    """The axis `col`, or None without a name.

    Raises `NoSweep` where it is not an axis, or one of the `others`, and for more than
    `MOST_PANELS` values.
    """
    if not col:
        return None
    axis = found.axis(col)
    if axis in [find_axis(found, name) for name in others if name]:
        raise NoSweep(f"`col` must be another axis than `x` and `hue`, got {col}")
    if len(axis.values) > MOST_PANELS:
        raise TooMany(
            f"`{axis.name}` has {len(axis.values):,} values, and at most {MOST_PANELS} panels can "
            "be read: select some of them by key=value"
        )
    return axis
