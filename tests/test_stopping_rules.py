"""Early stopping: what each rule stops, and what it must let go on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dse.analysis.front import hypervolume, pareto
from dse.search.stopping import STOPPERS, front, halving, median

EPOCHS = 20
RISE = np.arange(1, EPOCHS + 1) / EPOCHS


def curve(end: float, epochs: int = EPOCHS) -> list[float]:
    """A curve that rises evenly to `end`, as far as `epochs`."""
    return (end * RISE)[:epochs].tolist()


def finished(ends: list[float]) -> dict[int, list[float]]:
    return {n: curve(end) for n, end in enumerate(ends)}


COSTS = dict.fromkeys(range(100), 100.0)


@pytest.mark.parametrize(("end", "stops"), [(49.0, True), (51.0, False)])
def test_the_median_stops_the_lower_half(end: float, stops: bool) -> None:
    curves = finished([40.0, 45.0, 50.0, 55.0, 60.0] * 4)
    assert median({**curves, 99: curve(end, 10)}, COSTS, 99, EPOCHS) is stops
    assert not median({**curves, 99: curve(1.0, 4)}, COSTS, 99, EPOCHS)  # warm-up
    assert not median({0: curve(50.0), 99: curve(1.0, 10)}, COSTS, 99, EPOCHS)  # too few


@pytest.mark.parametrize(
    ("end", "epochs", "stops"),
    [(49.0, 5, True), (51.0, 5, False), (49.0, 10, True), (49.0, 7, False), (49.0, 20, False)],
)
def test_halving_stops_the_lower_half_at_its_rungs(end: float, epochs: int, stops: bool) -> None:
    curves = finished([40.0, 45.0, 50.0, 55.0, 60.0])
    assert halving({**curves, 99: curve(end, epochs)}, COSTS, 99, EPOCHS) is stops


def test_the_front_rule_compares_with_what_costs_no_more() -> None:
    """A trial far below a finished one is stopped if that one costs as much, or less."""
    curves = {**finished([60.0] * 30), 99: curve(40.0, 10)}
    assert front(curves, COSTS, 99, EPOCHS)
    cheaper = {**COSTS, 99: 99.0}
    assert not front(curves, cheaper, 99, EPOCHS)
    assert not front({**curves, 99: curve(60.0, 10)}, COSTS, 99, EPOCHS)
    assert not front({**curves, 99: curve(40.0)}, COSTS, 99, EPOCHS)  # it has ended
    assert not front({**finished([60.0] * 5), 99: curve(40.0, 10)}, COSTS, 99, EPOCHS)


def test_the_front_rule_allows_the_gains_that_were_seen() -> None:
    """A late riser among the finished ones keeps a trial like it running."""
    late = [1.0] * 12 + [90.0] * 8
    curves = {**finished([60.0] * 30), 99: [1.0] * 10}
    assert front(curves, COSTS, 99, EPOCHS)
    assert not front({**curves, 98: late}, COSTS, 99, EPOCHS)


def test_the_front_rule_saves_epochs_and_keeps_the_front() -> None:
    """On noisy curves with planted ends: most of the front is trained to its end."""
    rng = np.random.default_rng(0)
    costs = np.exp(rng.uniform(0, 3, 200))
    ends = 60 + 10 * np.log(costs) - rng.exponential(15, 200)
    every = ends[:, None] * RISE**2 + rng.normal(0, 1, (200, EPOCHS))
    curves: dict[int, list[float]] = {}
    for n, values in enumerate(every):
        curves[n] = []
        for value in values.tolist():
            curves[n].append(value)
            if front(curves, dict(enumerate(costs)), n, EPOCHS):
                break
    kept = np.array([len(own) == EPOCHS for own in curves.values()])
    on_front = pareto(costs, every[None, :, -1])[0]
    assert sum(map(len, curves.values())) < 0.75 * EPOCHS * 200
    assert (kept & on_front).sum() >= 0.75 * on_front.sum() > 5
    reference = (float(costs.max()), 0.0)
    areas = [hypervolume(costs[some], every[some, -1], reference) for some in (kept, kept | True)]
    assert areas[0] > 0.995 * areas[1]


@pytest.mark.parametrize("name", STOPPERS)
def test_epochs_that_were_not_seen_are_no_reason_to_go_wrong(name: str) -> None:
    rule = STOPPERS[name]
    curves = {**finished([60.0] * 40), 98: [math.nan, *curve(60.0)[1:]]}
    assert rule({**curves, 99: [math.nan, *curve(20.0, 10)[1:]]}, COSTS, 99, EPOCHS)
    assert not rule({**curves, 99: [math.nan, *curve(80.0, 10)[1:]]}, COSTS, 99, EPOCHS)
    assert not rule({99: [math.nan] * 5}, COSTS, 99, EPOCHS)
