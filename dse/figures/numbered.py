"""Numbers next to marks, which a list below the plot explains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = tuple((x, y) for y in (10, -10, 0) for x in (0, 9, -9) if (x, y) != (0, 0))
"""Where a number may be, points from its mark: above, if there is room."""
FAR = tuple((2.4 * x, 2.4 * y) for x, y in SIDES)
"""Where else it may be, with a line to its mark."""
LEADER = {"arrowstyle": "-", "color": "#555555", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
ENOUGH, LEAST = 9.0, 6.0
"""Points from a number to what is near it, beyond which more make no difference, and the fewest."""
CLOSER = 1.2
"""How many times nearer a number is to its mark than to any other."""
MOST_NAMED = 12
"""Networks on a front have a number and a name where they are at most this many."""


def number_marks(
    axes: Axes, x: Iterable[float], y: Iterable[float], numbers: Iterable[int]
) -> None:
    """Write a number next to each mark, on the side with most room, but none that is nearer to
    another mark: there it is further away, with a line. Call it after `lay_out`."""
    data = np.column_stack([[*x], [*y]])
    marks = [*(axes.transData.transform(data) * 72 / axes.figure.dpi)]
    ends = axes.bbox.get_points() * 72 / axes.figure.dpi
    taken = [*marks]
    for mark, place, number in zip(marks, data.tolist(), numbers, strict=True):

        def room(side: tuple[float, float], mark: Any = mark) -> float:
            centre = mark + side
            near = [np.hypot(*(centre - other)) for other in taken if other is not mark]
            return float(min([*near, *(centre - ends[0] + 5), *(ends[1] - centre + 5), ENOUGH]))

        def own(side: tuple[float, float], mark: Any = mark) -> bool:
            others = [np.hypot(*(mark + side - other)) for other in marks if other is not mark]
            return bool(min(others, default=np.inf) > CLOSER * np.hypot(*side))

        near = [side for side in SIDES if own(side) and room(side) > LEAST]
        side = max(near or FAR, key=room)
        taken.append(mark + side)
        axes.annotate(
            str(number), tuple(place), side,
            textcoords="offset points", ha="center", va="center", fontsize=7,
            arrowprops=None if near else LEADER,
            path_effects=[withStroke(linewidth=1.2, foreground="white")],
        )  # fmt: skip
