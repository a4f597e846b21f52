"""Calibration: which networks are measured, when they are measured again, and what is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from reading import composed_once

from dse.data.store import Store
from dse.results import files
from dse.runner.cores import cores
from dse.runner.events import Event, Finished, Interrupted
from dse.runner.gpus import Gpu
from dse.runner.runner import Workers
from dse.runner.submitit import Jobs
from dse.runner.task import Report, Reporter
from dse.space.cost import cost
from dse.sweep import calibrate
from dse.sweep.calibrate import chosen
from dse.sweep.calibration import Calibration, Sample, at_once, known_rates, workers_here
from dse.sweep.estimate import estimate
from dse.sweep.request import Request, read_request
from dse.sweep.timing import training_work
from dse.training import measure
from dse.training.execute import train_attempt
from dse.training.measure import Stopwatch
from dse.training.worker import run
from dse.trial.question import Trial

__all__ = ["composed_once"]

SQUEEZE = "sr=0.125,0.25,0.5,0.75,1.0"
STEP, JUDGE, OVERHEAD, MEMORY = 0.1, 0.001, 4.0, 2e8


def request(tmp_path: Path, *words: str, workers: int = 2) -> Request:
    places = (f"results.root={tmp_path}", f"data.cache={tmp_path / 'cache'}")
    return read_request("sweep", "", [*places, f"runner.workers={workers}", *words], "squeezenet")


def silent(*_: str) -> None:
    pass


def sample(trial: Trial) -> Sample:
    """What a network takes that needs the same seconds regardless of its size."""
    size = cost(trial.architecture, trial.protocol.image_size)
    return Sample(
        macs=size.macs, activations=size.activations, ready=1.0, step=STEP, judge=JUDGE,
        private=1e8, shared=3e8, header=5000,
    )  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Nothing is trained: every network takes the same. Lists what was measured, by trial."""
    calls: list[tuple[str, ...]] = []

    def fake(trials: Sequence[Trial], *_: object) -> tuple[list[Sample], float]:
        calls.append(tuple(trial.trial_id for trial in trials))
        return [sample(trial) for trial in trials], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    return calls


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
    assert len(networks) == calibrate.NETWORKS < len(grid.trials)
    for name in ("macs", "activations"):
        sizes, there = (
            [getattr(cost(t.architecture, t.protocol.image_size), name) for t in trials]
            for trials in (grid.trials, networks)
        )
        assert (min(there), max(there)) == (min(sizes), max(sizes))
    said: list[str] = []
    for _ in range(2):  # and they are enough
        estimate(grid, grid.trials, said.append)
    assert len(said) == 1


def test_few_networks_are_all_measured(tmp_path: Path) -> None:
    few = request(tmp_path, SQUEEZE, "seed=0,1,2")
    assert len(chosen(few.trials)) == 5


def test_what_was_measured_is_measured_once(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    said: list[str] = []
    grid = request(tmp_path, SQUEEZE)
    first, second = (estimate(grid, grid.trials, said.append) for _ in range(2))
    assert first == second
    assert len(measured) == len(said) == 1
    assert len(measured[0]) == 6  # five networks, and no worker idles
    for other in ("sr=0.3", "epochs=3", "clip=0", "lr=0.01"):  # between them, or as they are
        inside = request(tmp_path, other, "seed=8,9")
        estimate(inside, inside.trials, said.append)
    assert len(measured) == 1
    for count, other in enumerate(
        ("base_e=64", "norm=none", "image_size=16", "batch_size=7", "precision=bf16"), 2
    ):
        outside = request(tmp_path, other, "seed=8,9")
        estimate(outside, outside.trials, said.append)
        assert len(measured) == count
    alone = request(tmp_path, "sr=0.3", workers=1)  # has the machine to itself
    estimate(alone, alone.trials, said.append)
    assert len(measured) == 7
    assert len(list((tmp_path / "cache" / "measured").glob("*.json"))) == 6


@pytest.mark.usefixtures("measured")
def test_another_protocol_has_rates_of_its_own(tmp_path: Path) -> None:
    grid = request(tmp_path, "sr=0.25", "batch_size=40,50")
    expected = estimate(grid, grid.trials, silent)
    assert len(expected.sources) == 2
    assert len({price.seconds for price in expected.trials.values()}) == 2


def kept(tmp_path: Path, grid: Request) -> Path:
    """Calibrate for `grid`; returns the file."""
    estimate(grid, grid.trials, silent)
    (path,) = (tmp_path / "cache" / "measured").glob("*.json")
    return path


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"conditions": 1}', b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "binary", "other", "deep"],
)
def test_a_damaged_calibration_is_made_again(
    tmp_path: Path, measured: list[tuple[str, ...]], content: bytes
) -> None:
    grid = request(tmp_path, SQUEEZE)
    path = kept(tmp_path, grid)
    whole = path.read_bytes()
    path.write_bytes(content)
    estimate(grid, grid.trials, silent)
    assert len(measured) == 2
    assert path.read_bytes() == whole


@pytest.mark.parametrize("value", [-1, "x", None, True, 9.1])
def test_a_calibration_with_a_changed_number_is_made_again(
    tmp_path: Path, measured: list[tuple[str, ...]], value: object
) -> None:
    grid = request(tmp_path, SQUEEZE)
    path = kept(tmp_path, grid)
    content = json.loads(path.read_bytes())
    content["samples"][2]["step"] = value
    path.write_text(json.dumps(content))
    estimate(grid, grid.trials, silent)
    assert len(measured) == 2


def without_a_step(content: dict[str, Any]) -> None:
    del content["samples"][0]["step"]


def of_other_data(content: dict[str, Any]) -> None:
    content["conditions"] = content["conditions"].replace("digits", "mnist")


@pytest.mark.parametrize("change", [without_a_step, of_other_data])
def test_a_calibration_of_another_kind_is_ignored(
    tmp_path: Path, measured: list[tuple[str, ...]], change: Callable[[dict[str, Any]], None]
) -> None:
    grid = request(tmp_path, SQUEEZE)
    path = kept(tmp_path, grid)
    content = files.unsealed(path.read_bytes())
    change(content)
    path.write_bytes(files.sealed(content))
    estimate(grid, grid.trials, silent)
    assert len(measured) == 2


@pytest.mark.usefixtures("measured")
def test_a_cache_that_cannot_be_written_costs_a_line(tmp_path: Path) -> None:
    """And no file is named that is not there."""
    (tmp_path / "cache").write_bytes(b"")
    said: list[str] = []
    grid = request(tmp_path, SQUEEZE)
    expected = estimate(grid, grid.trials, said.append)
    assert expected.trials
    assert said[1].startswith("the calibration was not saved: ")
    (source,) = expected.sources
    assert source.endswith(", which could not be saved")
    assert str(tmp_path) not in source


def test_what_was_extrapolated_is_said_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(trials: Sequence[Trial], *_: object) -> tuple[list[Sample], float]:
        return [replace(sample(t), timed=8 + n) for n, t in enumerate(trials)], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    grid = request(tmp_path, SQUEEZE)
    for _ in range(2):  # measured, then read from the file
        assert estimate(grid, grid.trials, silent).sources[1] == (
            "steps take long here: seconds and memory are extrapolated from batches of 8 to 13 "
            "images"
        )


def test_a_calibration_of_a_busy_machine_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = 6.5

    def fake(trials: Sequence[Trial], *_: object) -> tuple[list[Sample], float]:
        return [replace(sample(trial), busy=busy) for trial in trials], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    grid = request(tmp_path, SQUEEZE)
    said: list[str] = []
    (source,) = estimate(grid, grid.trials, said.append).sources
    assert source.endswith(
        ", which is not kept: the CPU was busy with other programs, and steps took 6.5 times their "
        "CPU time"
    )
    busy = 1.1
    (source,) = estimate(grid, grid.trials, said.append).sources
    assert source.endswith(" to calibrate again")
    estimate(grid, grid.trials, said.append)
    assert [line.startswith("calibrating: ") for line in said] == [True, True]
    busy, larger = 6.5, request(tmp_path, "sr=0.5", "base_e=64,96")
    (source,) = estimate(larger, larger.trials, said.append).sources
    assert "which is not kept" in source  # whatever was measured before


class Slow:
    """A runner whose first task is measured at once; the others take until it is stopped."""

    def __init__(self, *_: object) -> None:
        self.trials: list[Trial] = []
        self.stopped = threading.Event()

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, _: int, argument: tuple[Trial, Store, float, str]) -> None:
        self.trials.append(argument[0])

    def stop(self, seconds: float) -> None:
        assert seconds == 0
        self.stopped.set()

    def events(self) -> Iterator[Event]:
        values = asdict(sample(self.trials[0]))
        del values["macs"], values["activations"]
        yield Finished(0, {**values, "entered": time.monotonic()})
        assert self.stopped.wait(60)
        for number in range(1, len(self.trials)):
            yield Interrupted(number)


def test_a_calibration_ends_in_time_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next time the networks that are missing are measured first."""
    monkeypatch.setattr(calibrate, "LIMIT", 0.05)
    monkeypatch.setattr(calibrate, "EVERY", 0.0)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    said: list[str] = []
    grid = request(tmp_path, SQUEEZE)
    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "Runner", Slow)
        assert len(estimate(grid, grid.trials, said.append).trials) == 5
    first, progress, last = said  # nothing is said of those that do not end
    assert first.endswith(" s to 0 s")
    assert progress == "calibrating: 1 of 6 measurements done"
    assert last == "calibrating was ended after 0 s: the estimate is less certain"
    asked: list[Trial] = []

    def fake(trials: Sequence[Trial], *_: object) -> tuple[list[Sample], float]:
        asked.extend(trials)
        return [sample(trial) for trial in trials], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    estimate(grid, grid.trials, silent)
    assert asked[4] == chosen(grid.trials)[0]


def test_other_engines_are_calibrated_here_one_trial_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def fake(trials: Sequence[Trial], _: object, workers: Workers, *__: object) -> object:
        asked.append(workers.count)
        return [sample(trial) for trial in trials], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    grid = request(tmp_path, SQUEEZE, "runner.engine=submitit", "submitit.cluster=local")
    expected = estimate(grid, grid.trials, silent)
    assert asked == [1]
    assert expected.overhead == OVERHEAD
    assert expected.workers == 2
    assert "submitit" in expected.sources[-1]


def test_of_a_shared_trial_one_process_s_share_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many processes at a time as will run, and not with another number's calibration."""
    asked: list[tuple[int, int]] = []

    def fake(
        trials: Sequence[Trial], _: object, workers: Workers, processes: int, __: object
    ) -> tuple[list[Sample], float]:
        asked.append((workers.count, processes))
        return [sample(trial) for trial in trials], 2.0

    monkeypatch.setattr(calibrate, "_measured", fake)
    monkeypatch.setattr(calibrate, "_imports", lambda: (OVERHEAD - 2.0, MEMORY))
    one = request(tmp_path, SQUEEZE, workers=1)
    four = replace(one, workers=replace(one.workers, processes=4))
    alone, shared = (estimate(grid, grid.trials, silent) for grid in (one, four))
    assert asked == [(1, 1), (4, 4)]
    assert shared.sources[-1].startswith("one of 4 processes was measured: ")
    expected = [own.seconds for own in alone.trials.values()]
    assert [own.seconds for own in shared.trials.values()] == pytest.approx(expected, rel=0.01)


def test_no_more_trainings_run_at_a_time_than_trials_or_cores() -> None:
    many = Workers(count=5000)
    assert at_once(many, 1).count == cores()
    assert at_once(many, 4000).count == 4000
    assert at_once(Workers(count=1), 4000).count == 1


def test_a_gpu_is_calibrated_on_itself(tmp_path: Path, measured: list[tuple[str, ...]]) -> None:
    """The figures of a CPU are not taken for it, nor those of another GPU."""
    cpu = request(tmp_path, SQUEEZE, workers=1)
    estimate(cpu, cpu.trials, silent)
    for name in ("A", "B"):
        gpus = (Gpu("0", name),)
        gpu = replace(cpu, workers=replace(cpu.workers, device="cuda", settings=gpus))
        for _ in range(2):
            estimate(gpu, gpu.trials, silent)
        assert known_rates(gpu.trials, gpu.workers, gpu.store) is not None
    assert len(measured) == 3
    shared = replace(gpu, workers=replace(gpu.workers, count=8, mps=True))
    assert workers_here(shared.workers) == Workers(count=8, device="cuda", settings=gpus, mps=True)
    assert known_rates(gpu.trials, replace(shared.workers, mps=False), gpu.store) is None
    jobs = Workers(engine="submitit", device="cuda", settings=Jobs(gpus=1))
    assert known_rates(cpu.trials, jobs, cpu.store) is None
    with pytest.raises(RuntimeError, match="the GPUs of submitit are not calibrated"):
        estimate(replace(cpu, workers=jobs), cpu.trials, silent)
    assert len(measured) == 3


def test_steps_are_timed_where_they_are_reported_several_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU; what is judged between them is left out."""
    now, watch = 0.0, Stopwatch(5.0)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    monkeypatch.setattr("time.process_time", lambda: now / 4)
    with suppress(measure.Enough):
        for step in range(16, 1000, 16):
            now += 16 * 0.05
            watch.on_step(step, None)
            now += 3.0
            watch.on_judged()
    assert 5.0 <= watch.seconds < 6.0
    assert watch.seconds / watch.steps == pytest.approx(0.05)
    assert (watch.first, watch.skipped) == (0.8, 16)
    assert watch.seconds / watch.worked == pytest.approx(4)


# Real measurements --------------------------------------------------------------------------


def test_what_is_measured_is_the_training_itself(tmp_path: Path) -> None:
    """Its parts make up the seconds of a whole trial, within a factor of two of what is measured
    before it or after, at least once: other programs run at the same time."""
    trial = request(tmp_path, "sr=0.25", "epochs=8").trials[0]

    def agree(attempt: int) -> bool:
        before = measured_seconds(trial)
        row = run((trial, tmp_path / str(attempt), Store(), "cpu"), Reporter(silent))
        after = measured_seconds(trial)
        assert row is not None
        return 0.5 * min(before, after) < row["seconds"] < 2 * max(before, after)

    assert any(map(agree, range(5)))


def measured_seconds(trial: Trial) -> float:
    """The seconds of a trial by a measurement of 0.3 s."""
    values = measure.measure((trial, Store(), 0.3, "cpu", 1), Reporter(silent))
    del values["entered"]
    size = cost(trial.architecture, trial.protocol.image_size)
    one = Sample(macs=size.macs, activations=size.activations, **values)
    assert 1e7 < one.private < 5e9
    rates = Calibration(path=Path("x"), samples=(one,)).rates(trial.protocol)
    work = training_work(trial.protocol, size.macs, size.activations)
    return one.ready + float(rates @ work)


def test_a_process_s_share_of_a_step_takes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a quarter of the images are trained with, in a quarter of the parts."""
    trial = request(Path(), "base_e=8", "batch_size=256", "iter_size=8").trials[0]
    trained: list[Trial] = []

    def spy(one: Trial, *arguments: object) -> object:
        trained.append(one)
        return train_attempt(one, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "train_attempt", spy)
    measure.measure((trial, Store(), 0.01, "cpu", 4), Reporter(silent))
    recipe = trained[-1].protocol.recipe
    assert (recipe.batch_size, recipe.iter_size) == (64, 2)


def test_long_steps_are_extrapolated_from_smaller_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a factor of three of a whole batch, at least once: other programs run at the same
    time."""
    trial = request(
        tmp_path, "base_e=32", "conv1_filters=32", "image_size=48", "batch_size=32"
    ).trials[0]
    argument = (trial, Store(), 0.01, "cpu", 1)

    def agree(_: int) -> bool:
        whole = measure.measure(argument, Reporter(silent))
        sent: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr(measure, "LONG", 0)
            patch.setattr(measure, "PATIENCE", 0)
            part = measure.measure(argument, Reporter(sent.append))
        assert whole["timed"] == 0 < part["timed"] < 32
        assert sent == [Report(part["timed"])]
        assert part["private"] > 32 * 4 * cost(trial.architecture, 48).activations
        return bool(whole["step"] / 3 < part["step"] < whole["step"] * 3)

    assert any(map(agree, range(5)))


@pytest.mark.parametrize("words", [("batch_size=500", "epochs=1"), ("clip=0", "lr=1e6")])
def test_short_and_wild_recipes_are_timed_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    trial = request(tmp_path, "norm=none", *words).trials[0]
    took = measure.measure((trial, Store(), 0.1, "cpu", 1), Reporter(silent))
    assert took["step"] > 0
    assert took["judge"] > 0
    assert took["ready"] >= 0
    assert took["header"] < 20_000
