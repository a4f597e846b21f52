"""The samplers that propose points of a space, by name.

A sampler is made for each trial, seeded by the study's seed and the trial's number, and keeps
nothing of its own: what it proposes depends only on these and on the trials before. So a study that
was stopped goes on as if it had not been.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from dse.search.annealing import AnnealingSampler
from dse.search.space import Axis, Choice, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

LEAST, MOST = 4, 50
"""The smallest and the largest population of nsga2."""


class Nsga2(NSGAIISampler):
    """Optuna's NSGA-II, which does not depend on what an earlier process has cached."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents, in the order of their numbers: Optuna's order differs where it has cached
        them in the study."""
        parents = super().get_parent_population(study, generation)
        return sorted(parents, key=lambda trial: trial.number)


class Tpe(TPESampler):
    """Optuna's TPE for a space that all trials share, which it need not look for."""

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters; none before the first trial has ended."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return dict(sorted(done[-1].distributions.items())) if done else {}


def _random(seed: int, number: int, _: int) -> BaseSampler:
    return RandomSampler(seed=trial_seed(seed, number))


def _tpe(seed: int, number: int, n_trials: int) -> BaseSampler:
    return Tpe(
        seed=trial_seed(seed, number),
        n_startup_trials=min(10, max(2, n_trials // 4)),
        multivariate=True,
        constant_liar=True,
    )


def _gp(seed: int, number: int, n_trials: int) -> BaseSampler:
    torch = importlib.import_module("torch")  # only here: it takes seconds
    torch.set_num_threads(1)  # its matrices are small, and the other cores train
    return GPSampler(
        seed=trial_seed(seed, number),
        n_startup_trials=min(10, max(2, n_trials // 4)),
    )


def _nsga2(seed: int, number: int, n_trials: int) -> BaseSampler:
    return Nsga2(seed=trial_seed(seed, number), population_size=population(n_trials))


def _annealing(seed: int, _: int, n_trials: int) -> BaseSampler:
    startup = min(25, max(2, n_trials // 10))
    return AnnealingSampler(seed=seed, n_trials=n_trials, startup=startup)


SAMPLERS: Mapping[str, Callable[[int, int, int], BaseSampler]] = {
    "random": _random,
    "tpe": _tpe,
    "gp": _gp,
    "nsga2": _nsga2,
    "annealing": _annealing,
}
"""By name: makes a sampler of the study's seed, the trial's number and the planned trials."""


def build(name: str, *, seed: int, number: int, n_trials: int) -> BaseSampler:
    """The sampler for the trial of a number, of a study of `n_trials` in all.

    `gp` imports torch. Raises `KeyError` for an unknown name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, number, n_trials)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space as Optuna describes it; a choice that has an order is a range of places."""
    return {axis.name: _distribution(axis) for axis in space.axes}


def trial_seed(seed: int, number: int) -> int:
    """The seed of one trial.

    >>> trial_seed(0, 1) == trial_seed(1, 0)
    False
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def population(n_trials: int) -> int:
    """The size of nsga2's population: several generations fit in `n_trials`.

    >>> population(40), population(400)
    (12, 40)
    """
    return min(max(2 * int(n_trials**0.5), LEAST), MOST)


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choice):
        if axis.ordered:
            return IntDistribution(0, len(axis.values) - 1)
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)
