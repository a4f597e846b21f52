"""The bill before a sweep: what is measured, what is made of it, and the budget."""

from __future__ import annotations

import json
import math
import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_trial
from scipy.optimize import nnls
from test_sweep import dse

from dse.data.published import Store
from dse.results import files, records, tables
from dse.runner.task import Reporter
from dse.space.cost import cost
from dse.sweep import estimate as bill
from dse.sweep.errors import RequestError
from dse.sweep.estimate import Sample, Unknown, affordable, chosen, fit, plan
from dse.sweep.messages import volume
from dse.sweep.request import Request, read_request
from dse.training import measure
from dse.trial.question import Trial

SQUEEZE = "sr=0.125,0.25,0.5,0.75,1.0"
STEP, JUDGE, BESIDE, MEMORY = 0.1, 0.001, 4.0, 2e8


def request(tmp_path: Path, *words: str, workers: int = 2) -> Request:
    places = (f"results.root={tmp_path}", f"data.cache={tmp_path / 'cache'}")
    count = f"runner.workers={workers}"
    return read_request("sweep", "", [*places, count, *words], "squeezenet")


def sample(trial: Trial, **changes: Any) -> Sample:
    """A network that needs the same seconds whatever its size."""
    size = cost(trial.architecture, trial.protocol.image_size)
    values: dict[str, Any] = {
        "macs": size.macs, "activations": size.activations,
        "ready": 1.0, "step": STEP, "judge": JUDGE,
        "private": 1e8, "shared": 3e8, "header": 5000,
    }  # fmt: skip
    return Sample(**values | changes)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Nothing is trained: every network takes the same. Lists what was measured, by trial."""
    calls: list[tuple[str, ...]] = []

    def observed(trials: Sequence[Trial], *_: object) -> tuple[list[Sample], list[float]]:
        calls.append(tuple(trial.trial_id for trial in trials))
        return [sample(trial) for trial in trials], [9.0, 9.0, 0.5, 0.5]

    monkeypatch.setattr(bill, "_observed", observed)
    monkeypatch.setattr(bill, "_command", lambda: (BESIDE, MEMORY))
    return calls


def seconds(trial: Trial) -> float:
    """What `sample` makes of a trial: 0.5 s to begin, 1 s until the first step, and the work."""
    protocol = trial.protocol
    steps = protocol.recipe.epochs * math.ceil(protocol.train_pictures / protocol.recipe.batch_size)
    judged = protocol.recipe.epochs * protocol.validation_pictures + protocol.facts.test
    return 1.5 + steps * STEP + judged * JUDGE


def handed_out(times: Sequence[float], workers: int) -> float:
    """Seconds until the last of some trials ends, each begun by the first worker that is free."""
    free = [0.0] * workers
    for seconds in times:
        free.sort()
        free[0] += seconds
    return max(free)


# The fit ------------------------------------------------------------------------------------


def test_a_fit_finds_the_parts_that_made_the_numbers() -> None:
    rng = random.Random(0)
    for _ in range(100):
        parts = [rng.choice((0.0, rng.uniform(0.1, 10))) for _ in range(3)]
        places = [(rng.uniform(1, 9), rng.uniform(1, 9)) for _ in range(8)]
        points = [(u, v, parts[0] + parts[1] * u + parts[2] * v) for u, v in places]
        if sum(parts):
            assert fit(points) == pytest.approx(parts, abs=1e-4)


def test_no_fit_with_parts_of_0_and_above_is_better() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        u, v, y = rng.uniform(1, 100, (3, int(rng.integers(1, 12))))
        found = np.array(fit(list(zip(u, v, y, strict=True))))
        features = np.column_stack([np.ones(len(u)), u, v]) / y[:, None]
        _, least = nnls(features, np.ones(len(y)))
        assert (found >= 0).all()
        assert np.linalg.norm(features @ found - 1) <= least + 1e-4


@pytest.mark.parametrize(
    ("points", "parts"),
    [([], (0, 0, 0)), ([(2, 8, 6)], (0, 3, 0)), ([(2, 8, 0)], (0, 0, 0))],
)
def test_a_fit_of_little(points: list[tuple[float, float, float]], parts: object) -> None:
    assert fit(points) == pytest.approx(parts)


# What is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes",
    [
        ("base_e=range(8,128,4)", "incr_e=0,32", "bypass=none,complex"),
        ("conv1_filters=16,64,256", "pool_after=1-4-8,2-4-8", "sr=0.125,0.5", "image_size=32"),
        ("base_e=range(8,15)",),
    ],
)
@pytest.mark.usefixtures("measured")
def test_networks_of_all_sizes_are_measured(tmp_path: Path, axes: tuple[str, ...]) -> None:
    grid = request(tmp_path, *axes)
    networks = chosen(grid.trials)
    assert len(networks) == bill.NETWORKS < len(grid.trials)
    for name in ("macs", "activations"):
        sizes, there = (
            [getattr(cost(t.architecture, t.protocol.image_size), name) for t in trials]
            for trials in (grid.trials, networks)
        )
        assert (min(there), max(there)) == (min(sizes), max(sizes))
    told: list[str] = []
    for _ in range(2):  # and they are enough
        bill.bill(grid, grid.trials, told.append)
    assert len(told) == 1


def test_few_networks_are_all_measured(tmp_path: Path) -> None:
    few = request(tmp_path, SQUEEZE, "seed=0,1,2")
    assert len(chosen(few.trials)) == 5


def test_what_was_measured_is_measured_once(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    told: list[str] = []
    grid = request(tmp_path, SQUEEZE)
    first, again = (bill.bill(grid, grid.trials, told.append) for _ in range(2))
    assert first == again
    assert len(measured) == len(told) == 1
    assert len(measured[0]) == 6  # five networks, and no worker idles
    for other in ("sr=0.3", "epochs=3", "clip=0", "lr=0.01"):  # between them, or as they are
        inside = request(tmp_path, other, "seed=8,9")
        bill.bill(inside, inside.trials, told.append)
    assert len(measured) == 1
    for count, other in enumerate(
        ("base_e=64", "norm=none", "image_size=16", "batch_size=7", "precision=bf16"), 2
    ):
        outside = request(tmp_path, other, "seed=8,9")
        bill.bill(outside, outside.trials, told.append)
        assert len(measured) == count
    alone = request(tmp_path, "sr=0.3", workers=1)  # has the machine to itself
    bill.bill(alone, alone.trials, told.append)
    assert len(measured) == 7
    assert len(list((tmp_path / "cache" / "measured").glob("*.json"))) == 6


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"of": 1}', b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "binary", "other", "deep"],
)
def test_what_cannot_be_believed_is_measured_again(
    tmp_path: Path, measured: list[tuple[str, ...]], content: bytes
) -> None:
    grid = request(tmp_path, SQUEEZE)
    whole = bill.bill(grid, grid.trials, lambda text: None)
    (path,) = (tmp_path / "cache" / "measured").glob("*.json")
    path.write_bytes(content)
    assert bill.bill(grid, grid.trials, lambda text: None) == whole
    assert len(measured) == 2


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("value", [-1, "x", None, math.inf, True, [], 9.1, 1e-310])
def test_a_changed_number_is_measured_again_or_stays_one(
    tmp_path: Path, measured: list[tuple[str, ...]], value: object, sealed: bool
) -> None:
    """By accident, or by somebody who seals the file anew."""
    grid = request(tmp_path, SQUEEZE)
    bill.bill(grid, grid.trials, lambda text: None)
    (path,) = (tmp_path / "cache" / "measured").glob("*.json")
    content = files.unsealed(path.read_bytes())
    content["samples"][2]["step"] = value
    digest = json.loads(path.read_bytes())["sha256"]
    path.write_bytes(
        files.sealed(content) if sealed else json.dumps(content | {"sha256": digest}).encode()
    )
    made = bill.bill(grid, grid.trials, lambda text: None)
    assert all(math.isfinite(price.seconds) for price in made.prices.values())
    assert len(measured) == (1 if sealed and value in (9.1, 1e-310) else 2)


def test_a_sample_without_a_part_is_none(tmp_path: Path, measured: list[tuple[str, ...]]) -> None:
    grid = request(tmp_path, SQUEEZE)
    bill.bill(grid, grid.trials, lambda text: None)
    (path,) = (tmp_path / "cache" / "measured").glob("*.json")
    content = files.unsealed(path.read_bytes())
    del content["samples"][0]["step"]
    path.write_bytes(files.sealed(content))
    bill.bill(grid, grid.trials, lambda text: None)
    assert len(measured) == 2


def test_of_two_commands_one_measures(tmp_path: Path, measured: list[tuple[str, ...]]) -> None:
    grid = request(tmp_path, SQUEEZE)
    told: list[str] = []

    def other() -> None:
        bill.bill(grid, grid.trials, told.append)

    with bill._alone(grid.store, told.append):
        thread = threading.Thread(target=other)
        thread.start()
        while not told:
            time.sleep(0.01)
    thread.join()
    assert told[0] == "another command measures this machine: waiting for it"
    assert len(measured) == 1


def test_two_protocols_have_a_price_each(tmp_path: Path, measured: list[tuple[str, ...]]) -> None:
    grid = request(tmp_path, "sr=0.25", "batch_size=40,50")
    made = bill.bill(grid, grid.trials, lambda text: None)
    assert len(measured) == len(made.sources) == 2
    for trial in grid.trials:
        assert made.prices[trial.trial_id].seconds == pytest.approx(seconds(trial))


def test_data_that_are_missing_are_told_before_anything_is_measured(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, "protocol=demo,cifar10,mnist", f"data.root={tmp_path}", "budget=1h")
    with pytest.raises(RequestError) as caught:
        affordable(grid, grid.trials, pytest.fail)
    assert [line.split(":")[0] for line in caught.value.lines] == [
        "`data.root` must hold cifar10", "`data.root` must hold mnist",
    ]  # fmt: skip
    assert measured == []


@pytest.mark.usefixtures("measured")
def test_a_cache_that_cannot_be_written_costs_a_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    told: list[str] = []
    grid = request(tmp_path, SQUEEZE)
    assert bill.bill(grid, grid.trials, told.append).prices
    assert told[1].startswith("what was measured could not be kept: ")


# What it comes to ---------------------------------------------------------------------------


@pytest.mark.usefixtures("measured")
def test_a_bill_adds_up(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "epochs=3,7")
    made = bill.bill(grid, grid.trials, lambda text: None)
    assert list(made.prices) == [trial.trial_id for trial in grid.trials]
    for trial in grid.trials:
        assert made.prices[trial.trial_id].seconds == pytest.approx(seconds(trial))
    times = [seconds(trial) for trial in grid.trials]
    short, long = times[::2], times[1::2]  # two workers take turns: as many of each
    assert sum(short) < sum(long)
    assert made.seconds(made.prices) == pytest.approx(BESIDE + handed_out(times, 2))
    assert made.seconds(made.prices) < BESIDE + 0.7 * sum(times)
    assert made.memory == pytest.approx(MEMORY + 3e8 + 2 * 1e8)
    size = cost(grid.trials[0].architecture, 12).size_bytes
    disk = made.prices[grid.trials[0].trial_id].disk
    assert disk % 4096 == 0
    assert size + 5000 + 3 * 4096 <= disk < size + 5000 + 4 * 4096
    assert volume(made.memory) in str(made)


def test_other_engines_are_measured_here_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def observed(trials: Sequence[Trial], _: object, at_a_time: int) -> object:
        asked.append(at_a_time)
        return [sample(trial) for trial in trials], [2.0, 0.1]

    monkeypatch.setattr(bill, "_observed", observed)
    monkeypatch.setattr(bill, "_command", lambda: (BESIDE, MEMORY))
    grid = request(tmp_path, SQUEEZE, "runner.engine=submitit", "submitit.cluster=local")
    made = bill.bill(grid, grid.trials, lambda text: None)
    assert asked == [1]
    assert made.beside == BESIDE
    assert made.workers == 2
    assert made.sources[-1].startswith("where `runner.engine` submitit runs them")


@pytest.mark.usefixtures("measured")
def test_a_plan_says_what_is_done_and_what_the_rest_takes(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE)
    for trial in grid.trials[:2]:
        records.save(grid.folder, toy_trial.record(trial), {})
    text = plan(grid, grid.trials, lambda text: None).splitlines()
    head, *rows, count, expected, source = text
    assert head.split() == ["trial", "params", "bytes", "MACs", "seconds", "swept"]
    for trial, row in zip(grid.trials, rows, strict=True):
        done = trial in grid.trials[:2]
        size = cost(trial.architecture, trial.protocol.image_size)
        shown = ["-", "done"] if done else [f"{seconds(trial):.1f}", "to", "do"]
        assert row.split() == [
            trial.trial_id, f"{size.params:,}", f"{size.size_bytes:,}", f"{size.macs:,}", *shown,
            f"sr={trial.metaparameters.sr}",
        ]  # fmt: skip
    assert count == "5 trials, 2 done, 3 to do"
    wall = BESIDE + 2 * seconds(grid.trials[0])
    assert expected.startswith(f"expected with 2 workers: {wall:.0f} s (")
    assert str(tmp_path / "cache") in source


def test_a_plan_of_what_is_done_measures_nothing(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, "sr=0.25")
    records.save(grid.folder, toy_trial.record(grid.trials[0]), {})
    assert plan(grid, grid.trials, pytest.fail).splitlines()[-1] == "1 trials, 1 done, 0 to do"
    assert measured == []


def test_a_plan_stands_where_nothing_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def observed(*_: object) -> object:
        raise Unknown("RuntimeError: no luck")

    monkeypatch.setattr(bill, "_observed", observed)
    monkeypatch.setattr(bill, "_command", lambda: (BESIDE, MEMORY))
    grid = request(tmp_path, SQUEEZE)
    last = plan(grid, grid.trials, lambda text: None).splitlines()[-1]
    assert last == "not known what it takes: RuntimeError: no luck"
    with pytest.raises(RequestError, match=r"^`budget` must be of trials that can be measured"):
        affordable(request(tmp_path, SQUEEZE, "budget=1d"), grid.trials, lambda text: None)


# The budget ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("measured")
def test_a_budget_keeps_the_first_part_that_fits(tmp_path: Path) -> None:
    whole = request(tmp_path, SQUEEZE, "seed=range(0,4)")
    made = bill.bill(whole, whole.trials, lambda text: None)
    ids = [trial.trial_id for trial in whole.trials]
    for fits in (1, 2, 3, 7, 19, 20):
        told: list[str] = []
        enough = made.seconds(ids[:fits]) + 0.01
        grid = request(tmp_path, SQUEEZE, "seed=range(0,4)", f"budget={enough:.3f}s")
        kept = affordable(grid, grid.trials, told.append)
        together = fits + fits % 2  # two workers: a second trial beside the last costs no time
        assert [t.trial_id for t in kept] == ids[:together]
        assert f"{together} of 20 trials to do fit in" in told[0]
        assert (ids[together] in told[1]) if together < 20 else (len(told) == 1)


@pytest.mark.usefixtures("measured")
def test_what_is_done_costs_nothing(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "budget=26s", workers=1)
    kept = affordable(grid, grid.trials, lambda text: None)
    assert 1 <= len(kept) < 5
    for trial in kept:
        records.save(grid.folder, toy_trial.record(trial), {})
    more = affordable(grid, grid.trials, lambda text: None)
    assert list(more[: len(kept)]) == list(kept)
    assert len(more) > len(kept)


@pytest.mark.usefixtures("measured")
def test_a_budget_that_is_too_small_is_a_mistake(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "budget=1s")
    needed = math.ceil(BESIDE + seconds(grid.trials[0]))
    with pytest.raises(RequestError) as caught:
        affordable(grid, grid.trials, lambda text: None)
    assert caught.value.lines == (
        f"`budget` must be enough for the first trial, {needed}s, got 1s",
    )


def test_without_a_budget_nothing_is_measured(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, SQUEEZE)
    assert affordable(grid, grid.trials, pytest.fail) is grid.trials
    assert measured == []


# For real -----------------------------------------------------------------------------------


def test_a_measurement_is_of_the_training_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts make up what a whole trial takes, within a factor of two of what is measured before
    it or after: other tests run beside this one, now and then."""
    monkeypatch.setattr(bill, "SECONDS", 1.0)
    grid = request(tmp_path, "sr=0.25,0.5", "epochs=15", workers=1)
    made = bill.bill(grid, grid.trials, lambda text: None)
    sampled = bill._known(bill._kind(grid.trials[0], grid.workers, grid.store), grid.store).samples
    words = ("sr=0.25,0.5", "epochs=15", "runner.workers=1", f"data.cache={tmp_path / 'cache'}")
    run = dse("sweep", "-cn", "squeezenet", *words, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    table = tables.load(tmp_path / "results" / "squeezenet")
    shutil.rmtree(tmp_path / "cache" / "measured")
    later = bill.bill(grid, grid.trials, lambda text: None)
    expected = [sum(price.seconds for price in b.prices.values()) for b in (made, later)]
    assert 0.5 * min(expected) < table["seconds"].sum() < 2 * max(expected)
    files = list((tmp_path / "results" / "squeezenet" / "trials").rglob("*"))
    assert made.disk == pytest.approx(sum(512 * p.stat().st_blocks for p in files), rel=0.3)
    assert all(1e7 < s.private < 5e8 < 1e9 > s.shared > 1e8 for s in sampled)


@pytest.mark.parametrize("words", [("batch_size=500", "epochs=1"), ("clip=0", "lr=1e6")])
def test_short_and_wild_recipes_are_timed_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    trial = request(tmp_path, "norm=none", *words).trials[0]
    took = measure.measure((trial, Store(), 0.2), Reporter(lambda sign: None))
    assert took["step"] > 0
    assert took["judge"] > 0
    assert took["ready"] >= 0
    assert took["header"] < 20_000


def test_a_budget_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sr=0.125,0.25", "epochs=2", "train_share=0.1", f"data.cache={tmp_path / 'cache'}")
    monkeypatch.setattr(bill, "SECONDS", 0.2)  # the command then finds it measured
    grid = read_request("sweep", "", words, "figure3a")
    bill.bill(grid, grid.trials, lambda text: None)
    short = dse("sweep", *words, "budget=0.01s", cwd=tmp_path)
    assert short.returncode == 2
    assert short.stderr.splitlines()[-1].startswith("`budget` must be enough for the first trial")
    assert not (tmp_path / "results").exists()
    long = dse("sweep", *words, "budget=1d", cwd=tmp_path)
    assert long.returncode == 0, long.stderr
    assert "`budget` 24.0 h: 2 of 2 trials to do fit in" in long.stderr
    assert "measuring" not in long.stderr
    plan = dse("sweep", *words, "plan=true", cwd=tmp_path)
    assert plan.stdout.splitlines()[-1] == "2 trials, 2 done, 0 to do"
    assert plan.stderr == ""
