"""The progress of a sweep: what it says, and the time left."""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import pty
import random
import struct
import sys
import termios
from dataclasses import replace
from select import select

import numpy as np
import pytest
from scipy.optimize import nnls

from dse.runner.events import Failed, Finished, Reported, Retried, Started, Waiting
from dse.space.architecture import V1_0
from dse.space.cost import Cost, cost
from dse.sweep.progress import Progress
from dse.sweep.timing import fit, length_of, training_work, wall_time
from dse.trial.names import short_id, trial_names
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import Trial, trial_from

SMALL = Trial(layout=V1_0, protocol=Protocol(image_size=64))

# Timing -------------------------------------------------------------------------------------


def test_a_fit_finds_the_rates_that_made_the_seconds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        rates = 3 ** rng.uniform(-1, 1, 3) * (4e-1, 2e-10, 8e-8)
        work = 10 ** rng.uniform(0, 1, (20, 3)) * (5, 1e10, 2e7)
        seconds = work @ rates
        assert fit(work[:8], seconds[:8], noise=0.001) == pytest.approx(rates, rel=0.01)
        fitted = work @ fit(work[:8], seconds[:8])
        assert fitted == pytest.approx(seconds, rel=0.1)


def test_few_observations_of_like_networks_do_not_mislead() -> None:
    """Five networks within 3%, seconds within 10%: one ten times as large is still within what
    steps alone and activations alone would make of it."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        work = np.array([10, 1e9, 2e7]) * rng.uniform(0.97, 1.03, (5, 3))
        seconds = rng.uniform(0.9, 1.1, 5)
        large = float(np.array([10, 1e10, 2e8]) @ fit(work, seconds))
        assert 2 < large < 8


def test_no_rates_of_0_and_above_suit_better() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        work = rng.uniform(1, 100, (int(rng.integers(3, 12)), 3)) * (1, 2e9, 5e6)
        seconds = rng.uniform(1, 100, len(work))
        rates = fit(work, seconds, noise=0.001)
        _, least = nnls(work / work.max(0) / seconds[:, None], np.ones(len(work)))
        assert (rates >= 0).all()
        assert np.linalg.norm(work @ rates / seconds - 1) <= least + 0.001


def test_a_trial_that_waited_for_hours_counts_little() -> None:
    work = np.array([[10, 1e9 * size, 2e7] for size in range(1, 9)])
    seconds = work @ (0.1, 1e-9, 1e-8)
    waited = seconds.copy()
    waited[3] += 10_000
    assert work @ fit(work, waited) == pytest.approx(seconds, rel=0.2)


def test_wall_time_is_that_of_the_first_free_worker() -> None:
    assert wall_time([], 3) == 0
    assert wall_time([5, 1, 1, 1, 3], 2) == 6
    assert wall_time([2, 2, 2], 10) == 2


# The time left ------------------------------------------------------------------------------


TRIALS = [
    trial_from({**SMALL.question, "sr": sr, "base_e": base_e, "epochs": epochs, "bypass": "none"})
    for sr, base_e, epochs in itertools.product((0.125, 0.75), (8, 24, 64), (4, 20))
]
NAMES = trial_names(TRIALS)
LENGTHS = {trial.trial_id: length_of(trial) for trial in TRIALS}


def effort(trial: Trial, activation: float, step: float) -> float:
    """What a trial takes where an activation, and a step, take as long as this many MACs."""
    protocol, size = trial.protocol, cost(trial.architecture, trial.protocol.image_size)
    epochs, batch_size = protocol.recipe.epochs, protocol.recipe.batch_size
    epoch = 3 * protocol.train_images + protocol.validation_images
    images = epochs * epoch + protocol.facts.test
    steps = epochs * epoch_steps(protocol.train_images, batch_size)
    return images * (size.macs + activation * size.activations) + steps * step


def simulated(
    workers: int, overhead: float, noise: float, law: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """(seconds gone, seconds estimated to be left, seconds really left) of a sweep at each event.

    The seconds of a trial are its effort, within `noise`, and `overhead` of the mean trial.
    """
    rng, now, queue = random.Random(0), 0.0, list(TRIALS)
    progress = Progress(LENGTHS, NAMES, workers, clock=lambda: now)
    efforts = {trial.trial_id: effort(trial, *law) for trial in TRIALS}
    mean = sum(efforts.values()) / len(TRIALS)
    events: list[tuple[float, int, object]] = []
    seen: list[tuple[float, float | None]] = []

    def start() -> None:
        if queue:
            trial = queue.pop(0)
            epochs, protocol = trial.protocol.recipe.epochs, trial.protocol
            share = efforts[trial.trial_id] / mean
            whole = (share * rng.uniform(1 - noise, 1 + noise) + overhead) * 60
            trained = epochs * (3 * protocol.train_images + protocol.validation_images)
            share = trained / (trained + protocol.facts.test)  # the rest is the last judgement
            progress.take(Started(trial.trial_id))
            for epoch in range(1, epochs + 1):
                at = now + overhead * 60 + (whole - overhead * 60) * share * epoch / epochs
                heapq.heappush(events, (at, len(events), Reported(trial.trial_id, (epoch, 50.0))))
            row = {"status": "learned", "top1": 50.0, "size_bytes": 1}
            heapq.heappush(events, (now + whole + 1e-6, 10**6, Finished(trial.trial_id, row)))

    for _ in range(workers):
        start()
    while events:
        now, _, event = heapq.heappop(events)
        progress.take(event)  # type: ignore[arg-type]
        if isinstance(event, Finished):
            start()
        seen.append((now, progress.seconds_left()))
    return [(at, left, now - at) for at, left in seen if left is not None]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("overhead", "noise"), [(0.0, 0.0), (0.3, 0.1), (2.0, 0.1)])
@pytest.mark.parametrize(
    "law", [(100, 0), (200, 0), (400, 0), (800, 0), (100, 5e8), (400, 2e9), (800, 4e9)]
)
def test_the_time_left_is_right_after_a_third(
    workers: int, overhead: float, noise: float, law: tuple[float, float]
) -> None:
    """Within a quarter nearly always, of trials whose work differs by a factor of more than ten,
    on CPUs on which activations and steps cost more or less than is typical."""
    works = sorted(effort(trial, *law) for trial in TRIALS)
    assert works[-1] > 10 * works[0]
    seen = simulated(workers, overhead, noise, law)
    total = seen[-1][0]
    errors = sorted(
        abs(left - real) / max(real, total / 10)
        for at, left, real in seen
        if total / 3 <= at <= total * 0.9
    )
    assert len(errors) > 10
    assert errors[len(errors) * 9 // 10] <= 0.25
    assert errors[-1] <= 0.3


def test_a_calibration_gives_the_time_left_from_the_start() -> None:
    rates = np.array([0.1, 1e-9, 1e-8])
    work = [training_work(t.protocol, size.macs, size.activations) for t, size in sizes()]
    progress = Progress(LENGTHS, NAMES, 2, rates=rates, clock=lambda: 0.0)
    expected = wall_time([float(rates @ row) for row in work], 2)
    assert progress.seconds_left() == pytest.approx(expected, rel=0.01)
    assert Progress(LENGTHS, NAMES, 2, clock=lambda: 0.0).seconds_left() is None


def test_the_time_left_takes_no_longer_per_task_where_many_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is computed each second: the driver of 10,000 trials would take a quarter of a core."""
    now, calls = 0.0, []
    lengths = {f"{i}": length_of(TRIALS[0]) for i in range(60)}
    names = {i: i for i in lengths}
    progress = Progress(lengths, names, 1, clock=lambda: now, result=lambda row: "done")
    for i in list(lengths)[:30]:
        for event in (Started(i), Reported(i, (4, 90.0)), Finished(i, {"status": "learned"})):
            now += 0.001
            progress.take(event)
    monkeypatch.setattr("dse.sweep.progress.median", lambda values: calls.append(1) or 0.5)
    assert progress.seconds_left()
    assert len(calls) <= 2


def sizes() -> list[tuple[Trial, Cost]]:
    return [(trial, cost(trial.architecture, trial.protocol.image_size)) for trial in TRIALS]


# What it says -------------------------------------------------------------------------------


def test_progress_says_what_runs_waits_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    now, messages = 0.0, []
    ids, names = [trial.trial_id for trial in TRIALS], list(NAMES.values())
    assert names[0] == "base_e=8 sr=0.125 epochs=4"
    progress = Progress(LENGTHS, NAMES, 2, publish=messages.append, clock=lambda: now)
    row = {"status": "never_learned", "top1": 10.0, "size_bytes": 1000}
    for event in (
        Started(ids[0]), Started(ids[1]), Waiting(ids[1]), Started(ids[2]),
        Reported(ids[0], (2, 81.25)), Failed(ids[2], "no luck", ""), Started(ids[3]),
        Retried(ids[3], "killed", 1), Started(ids[3]), Finished(ids[0], row),
        Reported(ids[1], (1, 9.0)), Finished(ids[4], None),
    ):  # fmt: skip
        now += 0.4
        progress.take(event)
    assert len(messages) == 4  # one a second
    assert messages[-1]["running"][ids[3]] == f"epoch 0 of {TRIALS[3].protocol.recipe.epochs}"
    now += 60
    progress.take(Reported(ids[3], (3, 70.0)))
    message = messages[-1]
    assert message["seconds_left"] > 0
    assert message["summary"].startswith(f"2 of {len(ids)} done, 1 failed, 2 running, about ")
    assert message["running"] == {
        ids[1]: f"epoch 1 of {TRIALS[1].protocol.recipe.epochs}, val_top1 9.0%",
        ids[3]: f"epoch 3 of {TRIALS[3].protocol.recipe.epochs}, val_top1 70.0%",
    }
    assert message["names"] == {ids[1]: names[1], ids[3]: names[3]}
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        f"[1/{len(ids)}] {names[2]} ({short_id(ids[2])}): failed: no luck",
        f"{names[3]}: retrying after attempt 1: killed",
        f"[2/{len(ids)}] {names[0]}: at chance, top-1 10.00%, 1,000 bytes",
        f"[3/{len(ids)}] {names[4]}: done by another sweep",
    ]
    assert len(lines) == 5
    assert message["summary"] in lines[4]
    assert f"{names[1]}: {message['running'][ids[1]]}" in lines[4]


def test_no_time_is_left_to_say_where_only_others_work() -> None:
    now, messages = 0.0, []
    ids = [trial.trial_id for trial in TRIALS[:2]]
    lengths = {i: LENGTHS[i] for i in ids}
    progress = Progress(lengths, NAMES, 2, publish=messages.append, clock=lambda: now)
    row = {"status": "learned", "top1": 90.0, "size_bytes": 1000}
    epochs = TRIALS[1].protocol.recipe.epochs
    for event in (
        Started(ids[0]), Waiting(ids[0]), Started(ids[1]), Reported(ids[1], (1, 50.0)),
        Reported(ids[1], (epochs, 50.0)), Finished(ids[1], row),
    ):  # fmt: skip
        now += 2
        progress.take(event)
    assert messages[-1]["summary"] == "1 of 2 done, 1 waiting for other sweeps"
    assert messages[-1]["seconds_left"] is None


@pytest.mark.parametrize(
    ("retrained", "reports", "state"),
    [
        (2, [(1, 60.0)], "epoch 1 of 2, val_top1 60.0%"),
        (2, [(1, 60.0), (2, 70.0), (3, 70.0)], "epoch 2 of 2, val_top1 70.0%"),
        (0, [], "running"),
        (0, [(1, 70.0)], "running"),
    ],
)
def test_work_after_the_epochs_is_no_epoch(
    retrained: int, reports: list[tuple[int, float]], state: str
) -> None:
    """As of a compression: its last epoch stands for all but retraining."""
    now, messages, (one, *_) = 0.0, [], NAMES
    lengths = {one: replace(LENGTHS[one], epochs=retrained + 1, others=1)}
    progress = Progress(lengths, NAMES, 1, publish=messages.append, clock=lambda: now)
    for event in (Started(one), *(Reported(one, report) for report in reports)):
        now += 2
        progress.take(event)
    assert messages[-1]["running"] == {one: state}


@pytest.mark.parametrize("columns", [40, 79, 200])
def test_the_bar_fits_the_terminal_also_after_it_was_resized(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    now, ids = 0.0, list(NAMES)
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    resize(theirs, 120)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(LENGTHS, NAMES, 2, clock=lambda: now) as progress:
            progress.take(Started(ids[0]))
            resize(theirs, columns)
            os.read(ours, 10_000)
            for epoch in range(1, 4):
                now += 2
                progress.take(Reported(ids[0], (epoch, 50.0)))
                progress._bar.refresh()
                line = os.read(ours, 10_000).decode().split("\r")[-1].rstrip()
                assert f" {'0 of 12 done'[: columns - 32]}" in line
                assert len(line) < columns


def resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


@pytest.mark.parametrize(("given", "columns"), [("", 79), ("x", 79), ("0", 79), ("50", 49)])
def test_a_terminal_without_a_size_has_80_columns(
    monkeypatch: pytest.MonkeyPatch, given: str, columns: int
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", given)
        with Progress(LENGTHS, NAMES, 2, clock=lambda: 0.0) as progress:
            progress.take(Started(next(iter(NAMES))))
            progress._bar.refresh()
            text = b""
            while select([screen], [], [], 0.1)[0]:
                text += screen.read(10_000)
            lines = text.decode().split("\r")
        assert max(map(len, lines)) == columns


def test_lines_of_progress_come_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = Progress(LENGTHS, NAMES, 1, clock=lambda: now)
    progress.take(Started(TRIALS[0].trial_id))
    for epoch in range(1000):
        now += 0.1
        progress.take(Reported(TRIALS[0].trial_id, (epoch % 4, 1.0)))
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_progress_is_shown_also_while_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    now, messages = 0.0, []
    progress = Progress(LENGTHS, NAMES, 2, publish=messages.append, clock=lambda: now)
    for trial in TRIALS[:2]:  # at once, so that only the first is shown
        progress.take(Started(trial.trial_id))
    assert [len(message["running"]) for message in messages] == [1]
    for _ in range(600):  # a first epoch of a minute
        now += 0.1
        progress.turn()
    assert [len(message["running"]) for message in messages[1:]] == [2] * 6
    assert len(capsys.readouterr().err.splitlines()) == 1
    for _ in range(250):  # more than half an hour in a queue
        now += 9
        progress.turn()
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_line_lists_a_few_of_many_running_trials(capsys: pytest.CaptureFixture[str]) -> None:
    now, messages = 0.0, []
    names = {str(number): f"seed={number}" for number in range(100)}
    lengths = dict.fromkeys(names, LENGTHS[TRIALS[0].trial_id])
    progress = Progress(lengths, names, 100, publish=messages.append, clock=lambda: now)
    for key in names:
        progress.take(Started(key))
    now += 60
    progress.turn()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("0 of 100 done, 100 running; seed=0: epoch 0 of ")
    assert [part.partition(":")[0] for part in line.split("; ")[8:]] == ["seed=7", "and 92 more"]
    assert len(messages[-1]["running"]) == 100
