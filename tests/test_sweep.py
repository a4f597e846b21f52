"""Commands as a user types them, in a directory of their own."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from test_help import HEAVY, IMPORTS
from toy_trial import workers

from dse.analysis import report
from dse.results import drivers, files, records, tables
from dse.runner.events import Failed, Finished, Reported, Retried, Started, Waiting
from dse.space.architecture import V1_0
from dse.space.cost import cost
from dse.sweep import __main__
from dse.sweep.progress import Progress
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import Trial, trial_from


def dse(
    command: str, *arguments: str, cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"dse.{command}", *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def sweeping(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep that is still running."""
    command = [sys.executable, "-m", "dse.sweep", *arguments]
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)


def assert_same_table(*folders: Path) -> None:
    pd.testing.assert_frame_equal(
        *(tables.comparable(tables.load(folder)) for folder in folders), check_exact=True
    )


SMALL = Trial(layout=V1_0, protocol=Protocol(image_size=64))
TINY = ("train_share=0.1", "epochs=2")
LONG = ("sr=0.125", "train_share=0.1", "epochs=80")
FOLDER = Path("results/figure3a")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one small sweep in it: two squeeze ratios that learn."""
    home = tmp_path_factory.mktemp("swept")
    run = dse("sweep", "sr=0.125,0.5", cwd=home)
    assert run.returncode == 0, run.stderr
    return home


def test_a_sweep_trains_networks_that_learn(swept: Path) -> None:
    table = pd.read_csv(swept / "results/figure3a/table.csv", keep_default_na=False)
    assert table["sr"].tolist() == [0.125, 0.5]
    assert table["status"].tolist() == ["learned", "learned"]
    assert (table["top1"] > 50).all()
    assert (table["top1"] <= 100).all()
    assert table["size_bytes"].is_monotonic_increasing
    for name in ("figure3a.svg", "figure3a.png", "table.parquet"):
        assert (swept / "results/figure3a" / name).stat().st_size > 1000


def test_the_same_command_trains_nothing_again(swept: Path) -> None:
    folder = swept / "results/figure3a"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")}
    figure = (folder / "figure3a.svg").read_bytes()
    start = time.monotonic()
    run = dse("sweep", "sr=0.125,0.5", cwd=swept)
    assert run.returncode == 0
    assert "2 done before, 0 to do" in run.stderr
    assert time.monotonic() - start < 20
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")} == before
    assert (folder / "figure3a.svg").read_bytes() == figure


def test_a_plan_writes_nothing_and_imports_nothing_heavy(tmp_path: Path) -> None:
    command = ["-c", IMPORTS % (HEAVY,), "sr=0.125,0.25", "plan=true"]
    run = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert json.loads(run.stderr.splitlines()[-1]) == [0, []]
    assert "2 trials, 0 done, 2 to do" in run.stdout
    assert "54,120" in run.stdout  # its exact bytes, running statistics included
    assert "12,778" in run.stdout  # parameters of sr 0.125: with norm, and no bias before it
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_at_once_and_nothing_written(tmp_path: Path) -> None:
    run = dse("sweep", "sr=abc", "freq=0", "bypass=foo", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    assert sorted(run.stderr.splitlines()) == [
        "`bypass` must be one of none, simple, complex, got 'foo'",
        "`freq` must be a whole number in 1 .. 8, got 0",
        "`sr` must be in (0, 1], got 'abc'",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", "a\nb", "x" * 300, "'a\\0b'", ".hidden", "-x"]
)
def test_names_stay_inside_the_results_folder(
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["plan=true", f"name={name}"]) == 2
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """SIGKILL in the middle: the trial is retried and leaves its record."""
    with sweeping(tmp_path, *LONG) as driver:
        os.kill(_training(driver, tmp_path / FOLDER), signal.SIGKILL)
        _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0, errors
    assert "the process was killed by SIGKILL" in errors
    assert len(tables.load(tmp_path / FOLDER)) == 1
    assert records.failures(tmp_path / FOLDER) == {}


def test_an_interrupted_sweep_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    """To the same end, bit for bit."""
    with sweeping(tmp_path, *LONG) as driver:
        worker = _training(driver, tmp_path / FOLDER)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert errors.splitlines()[-1] == f"interrupted; resume with: {shlex.join(driver.args)}"
    assert "Traceback" not in errors
    assert not _alive(worker)
    assert records.records(tmp_path / FOLDER) == set()
    assert len(list((tmp_path / FOLDER / "trials" / files.UNFINISHED).iterdir())) == 1
    once = tmp_path / "results/once"
    for name in ("figure3a", "once"):
        run = dse("sweep", *LONG, f"name={name}", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    resumed, expected = (
        {p.parent.name: p.read_bytes() for p in folder.glob("trials/*/weights.safetensors")}
        for folder in (tmp_path / FOLDER, once)
    )
    assert len(resumed) == 1
    assert resumed == expected
    assert_same_table(tmp_path / FOLDER, once)


@pytest.mark.parametrize("engine", ["submitit", "ray"])
def test_other_engines_leave_the_same_records(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    own = {"submitit": ["submitit.cluster=local", "submitit.folder=jobs"], "ray": []}[engine]
    for name, more in (("here", []), ("there", [f"runner.engine={engine}", *own])):
        run = dse("sweep", "sr=0.125", *TINY, f"name={name}", *more, cwd=tmp_path, timeout=300)
        assert run.returncode == 0, run.stderr
    assert_same_table(tmp_path / "results/here", tmp_path / "results/there")
    if engine == "submitit":
        assert list((tmp_path / "jobs").glob("*.pkl")) == []


# Progress -----------------------------------------------------------------------------------


TRIALS = [
    trial_from({**SMALL.question, "sr": sr, "base_e": base_e, "epochs": epochs, "bypass": "none"})
    for sr, base_e, epochs in itertools.product((0.125, 0.75), (8, 24, 64), (4, 20))
]


def effort(trial: Trial, activation: float, step: float) -> float:
    """What a trial takes where an activation, and a step, take as long as so many MACs."""
    protocol, size = trial.protocol, cost(trial.architecture, trial.protocol.image_size)
    epochs, batch_size = protocol.recipe.epochs, protocol.recipe.batch_size
    epoch = 3 * protocol.train_pictures + protocol.validation_pictures
    pictures = epochs * epoch + protocol.facts.test
    steps = epochs * epoch_steps(protocol.train_pictures, batch_size)
    return pictures * (size.macs + activation * size.activations) + steps * step


def simulated(
    workers: int, overhead: float, noise: float, law: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """(seconds gone, seconds estimated to be left, seconds really left) of a sweep at each event.

    The seconds of a trial are its effort, within `noise`, and `overhead` of the mean trial.
    """
    rng, now, queue = random.Random(0), 0.0, list(TRIALS)
    progress = Progress(TRIALS, workers, clock=lambda: now)
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
            trained = epochs * (3 * protocol.train_pictures + protocol.validation_pictures)
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
    """Within a quarter, of trials whose work differs by a factor of more than ten, by several laws
    around the middle one of those that are supposed."""
    works = sorted(effort(trial, *law) for trial in TRIALS)
    assert works[-1] > 10 * works[0]
    seen = simulated(workers, overhead, noise, law)
    total = seen[-1][0]
    middle = [(left, real) for at, left, real in seen if total / 3 <= at <= total * 0.9]
    assert len(middle) > 10
    for left, real in middle:
        assert abs(left - real) <= 0.25 * max(real, total / 10)


def test_progress_says_what_runs_waits_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    now, words = 0.0, []
    names = [trial.trial_id for trial in TRIALS]
    progress = Progress(TRIALS, 2, publish=words.append, clock=lambda: now)
    row = {"status": "learned", "top1": 50.0, "size_bytes": 1000}
    for event in (
        Started(names[0]), Started(names[1]), Waiting(names[1]), Started(names[2]),
        Reported(names[0], (2, 81.25)), Failed(names[2], "no luck", ""), Started(names[3]),
        Retried(names[3], "killed", 1), Started(names[3]), Finished(names[0], row),
        Reported(names[1], (1, 9.0)), Finished(names[4], None),
    ):  # fmt: skip
        now += 0.4
        progress.take(event)
    assert len(words) == 4  # one a second
    now += 60
    progress.take(Reported(names[3], (3, 70.0)))
    assert words[-1]["seconds_left"] > 0
    assert words[-1]["summary"].startswith(f"2 of {len(names)} done, 1 failed, 2 running, about ")
    assert words[-1]["running"] == {
        names[1]: f"epoch 1 of {TRIALS[1].protocol.recipe.epochs}, val_top1 9.0 %",
        names[3]: f"epoch 3 of {TRIALS[3].protocol.recipe.epochs}, val_top1 70.0 %",
    }
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        f"[1/{len(names)}] {names[2]} failed: no luck",
        f"{names[3]} is tried again after attempt 1: killed",
        f"[2/{len(names)}] {names[0]} learned, top-1 50.00 %, 1,000 bytes",
        f"[3/{len(names)}] {names[4]} done by another sweep",
    ]
    assert len(lines) == 5
    assert words[-1]["summary"] in lines[4]


def test_lines_of_progress_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = Progress(TRIALS, 1, clock=lambda: now)
    progress.take(Started(TRIALS[0].trial_id))
    for epoch in range(1000):
        now += 0.1
        progress.take(Reported(TRIALS[0].trial_id, (epoch % 4, 1.0)))
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_hostile_text_stays_text_on_a_page() -> None:
    table = pd.DataFrame({"<b>": ["<script>alert(1)</script>", "=cmd()"]})
    page = report.page("<i>", "&", [report.Section(title="<u>", text=["<p>"], table=table)])
    for text in ("<b>", "<script>", "<i>", "<u>", "<p><p>"):
        assert text not in page.decode()


def _training(driver: subprocess.Popen[str], folder: Path) -> int:
    """The process of the sweep's trial, once it has reported an epoch."""
    while driver.poll() is None:
        running = [status["running"].values() for status, runs in drivers.published(folder) if runs]
        if any(not text.startswith("epoch 0 ") for texts in running for text in texts):
            return workers(driver.pid)[0]
        time.sleep(0.01)
    raise AssertionError("no trial reported an epoch")


def _alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
