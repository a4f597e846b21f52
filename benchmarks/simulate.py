"""A search over networks whose answers are all known: seconds instead of trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import optuna
from optuna.samplers import BaseSampler

from dse.search.samplers import distributions
from dse.search.space import Space

Floats = npt.NDArray[np.float64]
Make: TypeAlias = Callable[[int], BaseSampler]
"""The sampler for the trial of a number."""
Stop: TypeAlias = Callable[[Mapping[int, Sequence[float]], Mapping[int, float], int], bool]
"""Whether to stop a trial, from the curves of all trials so far, their costs, and its key."""

PATIENCE = 10
"""Networks in a row that were trained before, after which a new one is drawn, as a study does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """All networks of a space: their points, costs (n), and validation accuracies in percent after
    each epoch (n, epochs)."""

    space: Space
    points: Sequence[Mapping[str, Any]]
    costs: Floats
    curves: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A network that a search has trained: its place in `Known.points`, and for how many epochs."""

    network: int
    epochs: int


def search(
    known: Known, make: Make, *, n_trials: int, two_objectives: bool, stop: Stop | None = None
) -> list[Trained]:
    """The different networks that a search trains, at most `n_trials`, in order.

    It maximises the validation accuracy after the last epoch and, with `two_objectives`, minimises
    the cost too. A network that is proposed again gets its answer for free. A trial that `stop`
    ends early has its last accuracy.
    """
    directions = [optuna.study.StudyDirection.MAXIMIZE]
    if two_objectives:
        directions.insert(0, optuna.study.StudyDirection.MINIMIZE)
    study = optuna.create_study(directions=directions)
    names = [axis.name for axis in known.space.axes]
    places = {tuple(p[name] for name in names): n for n, p in enumerate(known.points)}
    costs = dict(enumerate(known.costs.tolist()))
    curves: dict[int, list[float]] = {}
    repeats = number = 0
    while len(curves) < min(n_trials, len(known.points)):
        if repeats >= PATIENCE:
            left = [n for n in range(len(known.points)) if n not in curves]
            drawn = left[int(np.random.default_rng(number).integers(len(left)))]
            study.enqueue_trial(known.space.params(known.points[drawn]))
        study.sampler = make(number)
        trial = study.ask(distributions(known.space))
        point = known.space.point(trial.params)
        network = places[tuple(point[name] for name in names)]
        repeats = repeats + 1 if network in curves else 0
        if network not in curves:
            _train(known.curves[network].tolist(), network, curves, costs, stop)
        accuracy = curves[network][-1]
        study.tell(trial, [costs[network], accuracy] if two_objectives else [accuracy])
        number += 1
    return [Trained(network=network, epochs=len(curve)) for network, curve in curves.items()]


def _train(
    every: list[float],
    network: int,
    curves: dict[int, list[float]],
    costs: Mapping[int, float],
    stop: Stop | None,
) -> None:
    """Add the curve of a network to `curves`, as far as it is trained."""
    curves[network] = [] if stop else every
    for value in every[len(curves[network]) :]:
        curves[network].append(value)
        if stop and len(curves[network]) < len(every) and stop(curves, costs, network):
            return
