"""Simulated annealing as an Optuna sampler, for one objective or several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dse.search.neighbours import Point, Space, neighbour, random_point, random_value

Floats = npt.NDArray[np.float64]

HOT, COLD = 0.2, 0.01
"""The first and the last temperature, in units of the energy."""
RETURN = 0.8
"""The share of trials that start from the best points so far instead of the walk's."""
WIDTH = 0.25
"""The deviation of a step along an ordered parameter, as a share of its range."""
TWO_STEPS = 0.2
"""The share of proposals that are two steps away."""
PATIENCE, ATTEMPTS = 10, 1000
"""Proposals that were tried before, after which the next ones are a step further away; and all."""


class AnnealingSampler(BaseSampler):
    """Simulated annealing (Kirkpatrick, Gelatt and Vecchi 1983) with returns to the best.

    A finished trial becomes the current point of the walk with probability min(1, exp(-rise / T)),
    where the rise is that of the energy. With one objective the energy is the value, in standard
    deviations of the first `startup` trials'; with several it is the share of the front so far that
    dominates the point (Smith, Everson, Fieldsend, Murphy and Misra 2008), so that the walk moves
    freely along the front. T falls geometrically from `HOT` to `COLD` over `n_trials` and stays
    there.

    The first `startup` trials are random. Each later one is a neighbour of the current point or,
    with probability `RETURN`, of one of the best so far (as Suppapitnarm, Seffen, Parks and
    Clarkson 2000 return to the front). No point is proposed that a trial had already, finished,
    running or failed, as long as another is found.

    Nothing is kept between trials: the choice depends on `seed`, the trial's number and the other
    trials of the study alone. So a study can be resumed exactly, and workers can share it. All
    trials must have the same parameters, those of `dse.search.samplers.distributions`.
    """

    def __init__(self, *, seed: int, n_trials: int, startup: int) -> None:
        self._seed, self._n_trials, self._startup = seed, n_trials, startup

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters; none before the first trial has ended."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return dict(sorted(done[-1].distributions.items())) if done else {}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value, for the trials before the first has ended."""
        rng = np.random.default_rng([self._seed, trial.number, *param_name.encode()])
        return random_value(param_distribution, rng)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Point:
        """A point that no other trial has: next to the current one, or random in the beginning."""
        if not search_space:
            return {}
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        done = [t for t in others if t.state == TrialState.COMPLETE]
        rng = np.random.default_rng([self._seed, trial.number])
        start = None
        if len(done) >= self._startup:
            start = done[self._start(_energies(done, study.directions, self._startup), done, rng)]
        seen = {tuple(t.params.get(name) for name in search_space) for t in others}
        point: Point = {}
        for point in _proposals(search_space, start.params if start else None, rng):
            if tuple(point[name] for name in search_space) not in seen:
                break
        return point

    def _start(
        self, energies: Floats, done: Sequence[FrozenTrial], rng: np.random.Generator
    ) -> int:
        """The place in `done` of the trial whose neighbour comes next."""
        best = np.flatnonzero(energies == energies.min())
        if rng.random() < RETURN:
            return int(rng.choice(best))
        chances = np.random.default_rng([self._seed]).random(done[-1].number + 1)
        at = int(np.argmin(energies[: self._startup]))
        for n in range(self._startup, len(done)):
            rise = float(energies[n] - energies[at])
            number = done[n].number
            if rise <= 0 or chances[number] < math.exp(-rise / self._temperature(number)):
                at = n
        return at

    def _temperature(self, number: int) -> float:
        return HOT * float((COLD / HOT) ** min(number / self._n_trials, 1.0))


def _energies(
    done: Sequence[FrozenTrial], directions: Sequence[StudyDirection], startup: int
) -> Floats:
    """The energy of each finished trial, the lower the better; see `AnnealingSampler`."""
    signs = [-1 if d == StudyDirection.MAXIMIZE else 1 for d in directions]
    losses = np.array([t.values for t in done], dtype=float) * signs
    if losses.shape[1] == 1:
        alone: Floats = losses[:, 0] / (float(losses[:startup].std()) or 1.0)
        return alone
    no_worse = np.all(losses[:, None] <= losses, axis=2)
    dominates = no_worse & ~no_worse.T  # (a, b): a is no worse in all, and better in one
    shares: Floats = dominates[~dominates.any(axis=0)].mean(axis=0)
    return shares


def _proposals(space: Space, start: Point | None, rng: np.random.Generator) -> Iterator[Point]:
    """Points to try in turn: next to `start`, then further and further away; else random ones."""
    for attempt in range(ATTEMPTS):
        if start is None:
            yield random_point(space, rng)
            continue
        point = start
        for _ in range(1 + attempt // PATIENCE + (rng.random() < TWO_STEPS)):
            point = neighbour(space, point, rng, WIDTH)
        yield point
