"""Simulated annealing: its neighbours, no point twice, and what it finds."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from simulate import search
from synthetic import synthetic

from dse.analysis.front import hypervolume
from dse.search.annealing import AnnealingSampler
from dse.search.neighbours import neighbour, random_point
from dse.search.samplers import build

SPACE = {
    "bypass": CategoricalDistribution(("none", "simple", "complex")),
    "sr": IntDistribution(0, 3),
    "width": IntDistribution(1, 1000, log=True),
    "share": FloatDistribution(0.1, 0.9),
    "lr": FloatDistribution(0.001, 1.0, log=True),
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_neighbour_has_one_other_value_of_the_space() -> None:
    rng = np.random.default_rng(0)
    moved = set()
    for _ in range(500):
        point = random_point(SPACE, rng)
        near = neighbour(SPACE, point, rng, width=0.25)
        (name,) = [n for n in SPACE if near[n] != point[n]]
        assert SPACE[name]._contains(SPACE[name].to_internal_repr(near[name]))
        moved.add(name)
    assert moved == SPACE.keys()


def test_a_short_step_is_one_level_of_an_order_and_any_other_choice() -> None:
    rng, seen = np.random.default_rng(0), {}
    point = {"sr": 1, "bypass": "none", "width": 10, "share": 0.1, "lr": 0.1}
    for _ in range(500):
        near = neighbour(SPACE, point, rng, width=1e-6)
        for name in point:
            if near[name] != point[name]:
                seen.setdefault(name, set()).add(near[name])
    near_lr, near_share = seen.pop("lr"), seen.pop("share")
    assert seen == {"sr": {0, 2}, "bypass": {"simple", "complex"}, "width": {9, 11}}
    assert all(0.0999 < lr < 0.1001 for lr in near_lr)
    assert all(0.1 < share < 0.1001 for share in near_share), "0.1 is the end of the range"


@pytest.mark.parametrize("running", [0, 4])
def test_every_point_is_proposed_once(running: int) -> None:
    """Also while some trials are still running, as with several workers."""
    space = {"sr": SPACE["sr"], "bypass": SPACE["bypass"], "x": IntDistribution(0, 4)}
    study = optuna.create_study(sampler=AnnealingSampler(seed=1, n_trials=60, startup=5))
    waiting = []
    study.tell(study.ask(space), 1.0)
    while len(study.trials) < 60:
        waiting.append(study.ask(space))
        if len(waiting) > running:
            trial = waiting.pop(0)
            study.tell(trial, trial.params["sr"] + trial.params["x"])
    first = running + 1  # of these, none had finished when they were proposed
    points = [tuple(trial.params.values()) for trial in study.trials][first:]
    assert len(set(points)) >= 60 - 2 * first
    assert len(set(points)) == len(points)


def test_a_failed_point_is_not_proposed_again() -> None:
    space = {"x": IntDistribution(0, 9)}
    study = optuna.create_study(sampler=AnnealingSampler(seed=0, n_trials=10, startup=2))
    for _ in range(10):
        trial = study.ask(space)
        odd = trial.params["x"] % 2
        study.tell(trial, None if odd else 1.0, state=optuna.trial.TrialState(3 if odd else 1))
    assert sorted(trial.params["x"] for trial in study.trials) == list(range(10))


TRIALS = 120


def sampler(name: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    return build(name, seed=seed, number=number, n_trials=TRIALS)


@pytest.mark.parametrize("two_objectives", [False, True])
def test_it_beats_random_search_on_a_known_space(two_objectives: bool) -> None:
    known, true = synthetic(0)
    costs = np.log2(known.costs)
    reached: dict[str, list[float]] = {"random": [], "annealing": []}
    for name, seed in itertools.product(reached, range(4)):
        make = functools.partial(sampler, name, seed)
        trained = search(known, make, n_trials=TRIALS, two_objectives=two_objectives)
        networks = [one.network for one in trained]
        assert len(set(networks)) == TRIALS
        reached[name].append(
            hypervolume(costs[networks], true[networks], (costs.max(), 10.0))
            if two_objectives
            else true[networks].max()
        )
    assert np.mean(reached["annealing"]) > np.max(reached["random"])


def test_the_hypervolume_is_the_share_of_the_plane_that_is_dominated() -> None:
    rng = np.random.default_rng(0)
    costs, values = rng.integers(0, 12, 9), rng.integers(0, 12, 9)
    squares = [
        any(c <= x and v > y for c, v in zip(costs, values, strict=True))
        for x in range(10)
        for y in range(2, 12)
    ]
    assert hypervolume(costs, values, (10, 2)) == sum(squares)
    assert hypervolume([], [], (10, 2)) == 0
