"""A search over known answers: what it trains, what is free, and what is stopped."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from simulate import Known, Trained, search

from dse.search.samplers import build
from dse.search.space import Choice, Space

SPACE = Space(
    axes=(Choice(name="sr", values=(0.25, 0.5, 0.75)), Choice(name="bypass", values=("a", "b")))
)
KNOWN = Known(
    space=SPACE,
    points=list(SPACE.points()),
    costs=np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]),
    curves=np.array([[10.0, 20.0, 10.0 * n] for n in range(6)]),
)


class Always(optuna.samplers.BaseSampler):
    """Proposes the first point again and again."""

    def infer_relative_search_space(self, *_: object) -> dict[str, object]:
        return {}

    def sample_relative(self, *_: object) -> dict[str, object]:
        return {}

    def sample_independent(self, _study: object, _trial: object, name: str, _: object) -> object:
        return {"sr": 0, "bypass": "a"}[name]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_every_network_is_trained_once_whatever_the_sampler_repeats() -> None:
    trained = search(KNOWN, lambda _: Always(), n_trials=6, two_objectives=False)
    assert trained[0] == Trained(network=0, epochs=3)
    assert sorted(one.network for one in trained) == list(range(6))


@pytest.mark.parametrize("two_objectives", [False, True])
def test_a_stopped_network_spends_fewer_epochs_and_the_search_goes_on(two_objectives: bool) -> None:
    seen: dict[int, list[int]] = {}

    def stop(curves: dict[int, list[float]], costs: dict[int, float], key: int) -> bool:
        assert costs == dict(enumerate(KNOWN.costs))
        seen.setdefault(key, []).append(len(curves[key]))
        return key % 2 == 1 and len(curves[key]) == 2

    trained = search(
        KNOWN,
        lambda number: build("random", seed=0, number=number, n_trials=6),
        n_trials=6,
        two_objectives=two_objectives,
        stop=stop,
    )
    assert {one.network: one.epochs for one in trained} == {n: 3 - n % 2 for n in range(6)}
    assert seen == {n: [1, 2] for n in range(6)}
