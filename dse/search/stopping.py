"""Rules that stop the training of a network early, from the learning curves of the study so far.

`curves` has the validation accuracies in percent of each trial's epochs, of finished, stopped and
running trials; `costs` what each costs; `key` is the trial that has just finished an epoch, and
`epochs` are those of a whole training. A rule looks at validation accuracy alone, and never stops a
trial after its last epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

Curves: TypeAlias = Mapping[int, Sequence[float]]
Costs: TypeAlias = Mapping[int, float]

LEAST = 10
"""Finished trials before anything is stopped by their median."""
WARM_UP = 0.25
"""The share of the epochs before which the median stops nothing."""
RUNGS = (0.25, 0.5)
"""The shares of the epochs after which the better half of the trials goes on."""
NEAREST, SMOOTH, FINISHED = 30, 3, 20
"""For `front`: how many gains are looked at, over how many epochs an accuracy is averaged, and the
finished trials before anything is stopped. Chosen on seed 0 of SqueezeBench."""


def median(curves: Curves, costs: Costs, key: int, epochs: int) -> bool:  # noqa: ARG001
    """Stop a trial whose best accuracy is below the median of the others' at the same epoch.

    Golovin et al. 2017 (Vizier).
    """
    now = len(curves[key])
    finished = sum(len(curve) >= epochs for curve in curves.values())
    if finished < LEAST or not WARM_UP * epochs <= now < epochs:
        return False
    others = [_best(curve[:now]) for n, curve in curves.items() if n != key and len(curve) >= now]
    return _best(curves[key]) < float(np.median(others))


def halving(curves: Curves, costs: Costs, key: int, epochs: int) -> bool:  # noqa: ARG001
    """Stop a trial that is not in the better half after a quarter, or half, of its epochs.

    Successive halving without waiting (Li et al. 2020, ASHA, with a reduction factor of 2): it is
    compared with all trials that have come that far.
    """
    now = len(curves[key])
    if now >= epochs or now not in {max(1, round(share * epochs)) for share in RUNGS}:
        return False
    own = _best(curves[key])
    others = [_best(c[:now]) for n, c in curves.items() if n != key and len(c) >= now]
    return bool(others) and sum(other > own for other in others) >= (len(others) + 1) / 2


def front(curves: Curves, costs: Costs, key: int, epochs: int) -> bool:
    """Stop a trial that can no longer reach the front of accuracy against cost.

    The best end that it may still reach is its accuracy now and the greatest of the gains, from
    this epoch to the last, of the `NEAREST` finished trials whose accuracy was most like its own
    now. It is stopped if a finished trial of no more cost has ended above that.
    """
    now = len(curves[key])
    finished = [n for n, curve in curves.items() if len(curve) >= epochs]
    rivals = [curves[n][-1] for n in finished if n != key and costs[n] <= costs[key]]
    if len(finished) < FINISHED or not rivals or now >= epochs:
        return False
    since = max(0, now - SMOOTH)
    values = np.array([curves[n][since:now] for n in finished]).mean(axis=1)
    own = float(np.mean(curves[key][since:now]))
    gains = np.array([curves[n][-1] for n in finished]) - values
    alike = np.argsort(np.abs(values - own), kind="stable")[:NEAREST]
    return bool(own + gains[alike].max() < max(rivals))


STOPPERS: Mapping[str, Callable[[Curves, Costs, int, int], bool]] = {
    "median": median,
    "halving": halving,
    "front": front,
}
"""By name: whether to stop a trial now. `front` is for two objectives, the others for one."""


def _best(curve: Sequence[float]) -> float:
    """The best accuracy; NaN, which studies of earlier versions may have, counts as none."""
    return max((value for value in curve if value == value), default=0.0)
