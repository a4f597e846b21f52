"""The space of a study, and what a sampler sees of it."""

from __future__ import annotations

import math

import pytest

from dse.report.study import EVEN
from dse.results.studies import GRID
from dse.search import keys
from dse.search.samplers import SAMPLERS, build, distributions
from dse.search.space import Choice, Interval, Space

SPACE = Space(
    axes=(
        Choice(name="sr", values=(1.0, 0.125, 0.5, 0.25)),
        Choice(name="bypass", values=("simple", "none")),
        Interval(name="base_e", low=8, high=12, whole=True),
        Interval(name="lr", low=0.01, high=0.5, log=True),
    )
)


def test_numbers_are_ordered_and_words_are_not() -> None:
    seen = SPACE.params({"sr": 0.25, "bypass": "none", "base_e": 9, "lr": 0.1})
    assert seen == {"sr": 1, "bypass": "none", "base_e": 9, "lr": 0.1}
    assert SPACE.point(seen) == {"sr": 0.25, "bypass": "none", "base_e": 9, "lr": 0.1}
    assert SPACE.point({**seen, "lr": 0.123456})["lr"] == 0.1235


def test_points_are_counted() -> None:
    assert math.isinf(SPACE.size)
    finite = Space(axes=SPACE.axes[:3])
    assert finite.size == 4 * 2 * 5 == len({tuple(p.values()) for p in finite.points()})


@pytest.mark.parametrize(("low", "high", "log"), [(2, 1, False), (1, 1, False), (0, 1, True)])
def test_an_interval_has_two_ends_in_order(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="`lr` must be"):
        Interval(name="lr", low=low, high=high, log=log)


def test_a_space_is_not_empty() -> None:
    with pytest.raises(ValueError, match="a key with several values"):
        Space(axes=())
    with pytest.raises(ValueError, match="`sr` must have a value"):
        Choice(name="sr", values=())


def test_every_sampler_is_a_value_of_the_key() -> None:
    assert (*SAMPLERS, GRID) == keys.SAMPLERS


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_what_is_proposed_depends_on_the_trials_alone(name: str) -> None:
    """One sampler for each trial, in two studies of which one is rebuilt from the other's trials
    before every trial; in a third, other values are found, which `EVEN` samplers do not read."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    proposed: list[list[dict[str, object]]] = []
    for rebuilt, sign in ((False, 1), (True, 1), (False, -1)):
        study = optuna.create_study(directions=["minimize", "maximize"])
        for number in range(30):
            if rebuilt:
                trials = study.trials
                study = optuna.create_study(directions=["minimize", "maximize"])
                study.add_trials(trials)
            study.sampler = build(name, seed=7, number=number, n_trials=30)
            trial = study.ask(distributions(SPACE))
            study.tell(trial, [sign * trial.params["base_e"], sign * trial.params["lr"]])
        proposed.append([trial.params for trial in study.trials])
    assert proposed[0] == proposed[1]
    assert (proposed[0] == proposed[2]) is (name in EVEN)
    assert len({str(params) for params in proposed[0]}) > 25
