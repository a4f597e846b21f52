"""How much of the plane of cost and accuracy a set of networks dominates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def hypervolume(costs: ArrayLike, values: ArrayLike, reference: tuple[float, float]) -> float:
    """The area between a reference (cost, value) and the front: costs (n), values (n).

    It is the area of all (cost, value) up to the reference that some network dominates, with no
    more cost and at least that value, in units of cost times units of value. Networks beyond the
    reference add nothing. Scale the costs first, for example by a logarithm, if cheap networks
    should count.

    >>> hypervolume([1.0, 2.0, 3.0], [60.0, 70.0, 65.0], reference=(4.0, 10.0))
    170.0
    """
    cost, value = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    inside = (cost < reference[0]) & (value > reference[1])
    order = np.lexsort((-value[inside], cost[inside]))
    cost, value = cost[inside][order], np.maximum.accumulate(value[inside][order])
    widths = np.diff(np.append(cost, reference[0]))
    return float(widths @ (value - reference[1]))
