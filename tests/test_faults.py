"""Every trial once, whatever happens: kills, many sweeps on one folder, full disks, lost folders.

The trials are toys of milliseconds; everything around them is real. The long tests, some of them
with real trials: `pytest -m slow tests/test_faults.py`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_trial
from sample_records import comparable
from toy_trial import Plan, notes, trials, workers

from dse.results import checkpoints, drivers, files, locks, records, tables
from dse.runner.runner import Workers
from dse.sweep import launch
from dse.sweep.messages import full as full_disk
from dse.trial.question import QUESTION

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    "OMP_NUM_THREADS": "1",
}
LONG = ("epochs=9000", "seconds=0.02")
"""Some minutes, which no test waits for."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "toy_trial", str(folder), *words]


def sweep(folder: Path, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a toy sweep."""
    call: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 60, "check": False}
    return subprocess.run(command(folder, *words), env=os.environ | ENVIRONMENT, **(call | how))


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A toy sweep that runs in a process group of its own; it is killed at the end.

    It receives SIGHUP also where `nohup` runs these tests.
    """
    with subprocess.Popen(
        command(folder, *words),
        env=os.environ | ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as driver:
        try:
            yield driver
        finally:
            driver.kill()


def call(function: str, *arguments: object, **named: object) -> Any:
    """Call a function of the toy in a process of its own, which it may fork."""
    code = "import dse.sweep.__main__, json, pandas\n"
    code += "from pathlib import PosixPath; from toy_trial import *\n"
    code += f"print(json.dumps({function}(*{arguments!r}, **{named!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def soon(condition: Callable[[], Any], seconds: float = 200) -> Any:
    """Wait until `condition` is true; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)
    return value


def busy_worker(driver: subprocess.Popen[str], folder: Path) -> int:
    """Wait for a process that trains a trial."""
    soon(lambda: any(locks.held(folder, i) for i in claimed(folder)))
    return int(soon(lambda: workers(driver.pid))[0])


def claimed(folder: Path) -> list[str]:
    """The trials that have a claim, held or not."""
    return [p.name for p in (folder / "trials" / files.CLAIMS).glob("?" * 20)]


def hidden(folder: Path) -> list[str]:
    """What a kill may leave: hidden files, claims, and checkpoints."""
    names = (files.INDEX, files.DRAWN, files.UNFINISHED)
    left = [p for p in folder.rglob(".*") if p.name not in names]
    return sorted(map(str, [*left, *folder.glob(f"trials/{files.UNFINISHED}/*")]))


def undisturbed(plan: Plan) -> pd.DataFrame:
    """The table of a sweep without disturbance, computed here."""
    table = pd.DataFrame([toy_trial.record(trial).row() for trial in trials(plan)])
    table = table.sort_values(list(QUESTION), kind="stable", ignore_index=True)
    return comparable(table)


def check(folder: Path, plan: Plan) -> None:
    """Every trial is there once, as in an undisturbed sweep, and nothing else."""
    table = comparable(tables.load(folder))
    pd.testing.assert_frame_equal(table, undisturbed(plan), check_exact=True)
    for trial in trials(plan):
        home = files.trial_folder(folder, trial.trial_id)
        assert {p.name: p.read_bytes() for p in home.iterdir() if p.name != files.RECORD} == (
            toy_trial.files(trial)
        )
    assert hidden(folder) == []
    assert records.failures(folder) == {}


# Kills --------------------------------------------------------------------------------------


def storm(folder: Path, plan: Plan, kills: int) -> None:
    count = call("storm", folder, plan, kills=kills, seed=kills)
    assert count["sweeps"] + count["workers"] == kills
    assert min(count["sweeps"], count["workers"]) >= kills / 5
    epochs = 0
    for number in range(count["finished"]):
        place = folder / str(number)
        check(place, plan)
        assert notes(place, "late") == []  # no trial was trained twice to its end
        assert max(Counter(notes(place, "saved")).values()) == 1
        epochs += len(toy_trial.epochs(place))
    clean = count["finished"] * plan.trials * plan.epochs
    assert epochs <= clean + count["sweeps"] * plan.workers + count["workers"]  # one for each kill


@pytest.mark.parametrize("kills", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, kills: int) -> None:
    storm(tmp_path, Plan(trials=30, epochs=3, seconds=0.007), kills)


def test_a_trial_that_kills_its_process_fails_alone(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    done = sweep(folder, "trials=5", "poison=2")
    assert done.returncode == 1
    poison = trials(Plan(trials=5, poison=2))[2].trial_id
    reason = "the process ended with exit code 9"
    lines = [line for line in done.stderr.splitlines() if reason in line]
    assert len(lines) == 3  # two retries, and the end
    reason += "; tried 3 times"
    assert lines[-1].endswith(f"failed: {reason}")
    assert {i: f.reason for i, f in records.failures(folder).items()} == {poison: reason}
    assert len(records.ids(folder)) == 4
    again = sweep(folder, "trials=5", "poison=2")
    assert "5 trials, 4 already done, 1 to do" in again.stderr
    assert again.returncode == 1


def test_a_trial_that_hangs_fails_alone_and_keeps_no_other_sweep_waiting(
    tmp_path: Path,
) -> None:
    folder, words = tmp_path / "x", ("trials=5", "hanging=2", "patience=0.5", "retries=1")
    with started(folder, *words) as one, started(folder, *words) as other:
        texts = [driver.communicate(timeout=200)[1] for driver in (one, other)]
    assert (one.returncode, other.returncode) == (1, 1), texts
    hanging = trials(Plan(trials=5, hanging=2))[2].trial_id
    reason = "the process sent no heartbeat for 0.5 s and was killed; tried 2 times"
    assert all(f"failed: {reason}" in text for text in texts)
    assert {i: f.reason for i, f in records.failures(folder).items()} == {hanging: reason}
    assert len(records.ids(folder)) == 4
    assert claimed(folder) == []


# Many sweeps --------------------------------------------------------------------------------


def crowd(folder: Path, plan: Plan, drivers: int) -> None:
    assert call("crowd", folder, plan, drivers=drivers) == [0] * drivers
    check(folder, plan)
    ids = sorted(trial.trial_id for trial in trials(plan))
    assert sorted(notes(folder, "trained")) == sorted(notes(folder, "saved")) == ids
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "table.parquet"), tables.load(folder), check_exact=True
    )
    assert "Traceback" not in (folder.parent / "log").read_text()


def test_eight_sweeps_at_once_train_every_trial_once(tmp_path: Path) -> None:
    crowd(tmp_path / "x", Plan(trials=24, seconds=0.005, table=True), drivers=8)


@pytest.mark.slow
def test_thirty_two_sweeps_at_once_fifty_times(tmp_path: Path) -> None:
    for number in range(50):
        crowd(tmp_path / str(number) / "x", Plan(trials=24, seconds=0.005, table=True), drivers=32)


def test_concurrent_sweeps_train_what_they_share_once(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    words = ("trials=16", "seconds=0.02", "table=true", "workers=1")
    with started(folder, *words) as one, started(folder, *words, "start=8") as other:
        texts = [driver.communicate(timeout=200)[1] for driver in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), texts
    check(folder, Plan(trials=24, seconds=0.02))
    assert set(Counter(notes(folder, "trained")).values()) == {1}
    assert len(pd.read_parquet(folder / "table.parquet")) == 24


WILD_CLOCK = """
import random, time
for name, hour in (("time", 3600.0), ("time_ns", 3600 * 10**9)):
    real = getattr(time, name)
    setattr(time, name, lambda real=real, hour=hour: real() + random.choice((-hour, 0, hour)))
"""


def test_a_clock_that_jumps_by_hours_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of day, in two sweeps on one folder and all their processes."""
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild/sitecustomize.py").write_text(WILD_CLOCK)
    monkeypatch.setitem(
        ENVIRONMENT, "PYTHONPATH", f"{tmp_path / 'wild'}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
    )
    clock = [sys.executable, "-c", "import time; print([time.time() for _ in range(20)])"]
    times = json.loads(
        subprocess.run(clock, env=os.environ | ENVIRONMENT, capture_output=True).stdout
    )
    assert max(times) - min(times) > 3000
    folder, words = tmp_path / "x", ("trials=16", "seconds=0.02", "workers=2", "table=true")
    with started(folder, *words) as one, started(folder, *words) as other:
        texts = [driver.communicate(timeout=200)[1] for driver in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), texts
    check(folder, Plan(trials=16, seconds=0.02))
    assert set(Counter(notes(folder, "trained")).values()) == {1}


def test_a_sweep_that_is_stopped_keeps_its_trial(tmp_path: Path) -> None:
    """SIGSTOP of a sweep and its worker for seconds: another sweep waits, and none trains twice."""
    folder, words = tmp_path / "x", ("trials=6", "workers=1")
    toy_trial.hold(folder)
    with started(folder, *words) as one:
        stopped = [busy_worker(one, folder), one.pid]
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        toy_trial.let_go(folder)
        with started(folder, *words) as other:
            soon(lambda: len(records.ids(folder)) == 5)
            time.sleep(0.5)
            assert other.poll() is None
            assert len(records.ids(folder)) == 5
            for process in stopped:
                os.kill(process, signal.SIGCONT)
            texts = [driver.communicate(timeout=200)[1] for driver in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), texts
    assert sum(text.count("done by another sweep") for text in texts) == 6
    check(folder, Plan(trials=6))
    assert set(Counter(notes(folder, "trained")).values()) == {1}


def test_another_sweep_trains_what_a_killed_one_had_claimed(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    toy_trial.hold(folder)
    with started(folder, "trials=2", "workers=1") as one:
        os.kill(busy_worker(one, folder), signal.SIGSTOP)  # it holds its claim until it is killed
        toy_trial.let_go(folder)
        with started(folder, "trials=2", "workers=2") as other:
            soon(lambda: records.ids(folder))
            one.kill()
            text = other.communicate(timeout=200)[1]
    assert other.returncode == 0, text
    check(folder, Plan(trials=2))
    assert set(Counter(notes(folder, "trained")).values()) == {1}


# Signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_sweep_with_the_command_that_resumes_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "a b"
    with started(folder, "trials=4", *LONG) as driver:
        worker = busy_worker(driver, folder)
        driver.send_signal(number)
        text = driver.communicate(timeout=200)[1]
    assert driver.returncode == 130
    line = text.splitlines()[-1]
    assert line.startswith("interrupted; resume with: ")
    assert shlex.split(line.removeprefix("interrupted; resume with: ")) == driver.args
    assert "Traceback" not in text
    assert not Path(f"/proc/{worker}").exists()
    assert {Path(path).parent.name for path in hidden(folder)} == {files.UNFINISHED}
    assert records.ids(folder) == set()
    if number == signal.SIGTERM:
        check_resumed(folder, "trials=4", *LONG)


def check_resumed(folder: Path, *words: str) -> None:
    """The same command resumes from the checkpoints."""
    before = toy_trial.epochs(folder)
    with started(folder, *words):
        soon(lambda: len(toy_trial.epochs(folder)) > len(before))
    trial_id, epoch = toy_trial.epochs(folder)[len(before)]
    assert epoch == dict(before).get(trial_id, 0) + 1


def test_a_closed_terminal_may_send_its_signal_twice(tmp_path: Path) -> None:
    """A shell sends SIGHUP to its jobs when it exits, and then the system does."""
    folder = tmp_path / "x"
    with started(folder, "trials=2", "epochs=2000", "seconds=0.3") as driver:
        worker = busy_worker(driver, folder)
        os.kill(worker, signal.SIGSTOP)  # the sweep waits for it
        for _ in range(3):
            driver.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        os.kill(worker, signal.SIGCONT)
        text = driver.communicate(timeout=200)[1]
    assert (driver.returncode, "Traceback" in text) == (130, False)
    assert len(list(folder.glob(f"trials/{files.UNFINISHED}/*/{'?' * 12}"))) >= 1


def test_a_signal_ends_a_sweep_whose_trials_do_not_answer(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with started(folder, "trials=2", "seconds=1000", "stop=1") as driver:
        busy_worker(driver, folder)
        driver.send_signal(signal.SIGTERM)
        text = driver.communicate(timeout=200)[1]
    assert (driver.returncode, "Traceback" in text) == (130, False)
    assert not any(locks.held(folder, i) for i in claimed(folder))


def test_a_second_signal_ends_a_sweep_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with started(folder, "trials=2", "seconds=1000", "stop=1000") as driver:
        busy_worker(driver, folder)
        driver.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert driver.poll() is None  # it waits for trials that do not answer
        driver.send_signal(signal.SIGINT)
        text = driver.communicate(timeout=200)[1]
    assert (driver.returncode, "Traceback" in text) == (130, False)
    assert not any(locks.held(folder, i) for i in claimed(folder))


def lives(folder: Path) -> bool:
    """Whether a sweep runs on a folder and has published its status."""
    return any(running for _, running in drivers.published(folder))


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_signals_at_any_moment_lose_nothing(tmp_path: Path, rounds: int) -> None:
    """While it trains, saves, and writes its tables; sometimes a second one soon after."""
    rng, folder = random.Random(rounds), tmp_path / "x"
    words, plan = ("trials=24", "seconds=0.05", "table=true"), Plan(trials=24, seconds=0.05)
    there: set[str] = set()
    ends = Counter[int]()
    for _ in range(rounds):
        if len(there) == 24:
            assert sweep(folder, *words).returncode == 0  # tidies what was cut short
            check(folder, plan)
            shutil.rmtree(folder)
            folder.with_name(f"x.{toy_trial.LOG}").unlink()
            there = set()
        with started(folder, *words) as driver:
            soon(lambda: lives(folder) or driver.poll() is not None)
            most = min(len(there) + rng.randrange(6), 24)
            soon(lambda n=most: len(records.ids(folder)) >= n or driver.poll() is not None)
            time.sleep(rng.uniform(0, 0.1))
            for _ in range(rng.choice((1, 1, 2))):
                driver.send_signal(rng.choice(SIGNALS))
                time.sleep(rng.uniform(0, 0.05))
            text = driver.communicate(timeout=200)[1]
        ends[driver.returncode] += 1
        assert driver.returncode in (0, 130, *(-number for number in SIGNALS)), text
        assert "Traceback" not in text or driver.returncode < 0
        assert there <= records.ids(folder)
        there = records.ids(folder)
    assert ends[130] >= rounds / 4
    assert sweep(folder, *words).returncode == 0
    check(folder, plan)
    assert max(Counter(notes(folder, "saved")).values()) == 1


# Disks --------------------------------------------------------------------------------------


def test_files_that_may_not_grow_are_reported_and_the_same_command_finishes(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    limit = (8192, 8192)
    full = sweep(
        folder, "trials=3", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    assert full.returncode == 1
    assert full.stderr.count("failed: OSError: [Errno 27] File too large (20,000 bytes): '") == 3
    assert "Traceback" not in full.stderr
    assert records.ids(folder) == set()
    reasons = records.failures(folder)
    assert len(reasons) == 3
    for trial_id, (_, reason) in reasons.items():
        assert reason.startswith("OSError: [Errno 27] File too large (20,000 bytes): '")
        assert f"{folder}/trials/.{trial_id}." in reason
    assert sweep(folder, "trials=3").returncode == 0
    check(folder, Plan(trials=3))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_keeps_what_was_done_and_the_same_command_finishes(small_disk: Path) -> None:
    folder = small_disk / "x"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    full = sweep(folder, "trials=8", "table=true")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    before = tables.load(folder)
    assert 0 < len(before) < 8
    done = f"stopped: {full_disk(folder)}; {len(before)} of 8 trials are done; "
    assert full.stderr.splitlines()[-1].startswith(done)
    assert len(notes(folder, "trained")) <= len(before) + 2  # no more than there are workers
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    again = sweep(folder, "trials=8", "table=true")
    assert again.returncode == 0, again.stderr
    check(folder, Plan(trials=8))
    pd.testing.assert_frame_equal(
        tables.load(folder).merge(before[["trial_id"]]), before, check_exact=True
    )


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = sweep(tmp_path / "x", "trials=3", capture_output=False, stderr=full)
    assert done.returncode == 0
    check(tmp_path / "x", Plan(trials=3))


def test_a_folder_that_disappears_is_reported_and_the_same_command_finishes(tmp_path: Path) -> None:
    folder, words = tmp_path / "x", ("trials=6", "workers=1")
    toy_trial.hold(folder, seed=2)
    with started(folder, *words) as driver:
        third = trials(Plan(trials=3))[2].trial_id
        soon(lambda: len(records.ids(folder)) == 2 and [*checkpoints.newest(folder, third)])
        shutil.rmtree(folder, ignore_errors=True)
        toy_trial.let_go(folder)
        text = driver.communicate(timeout=200)[1]
    assert driver.returncode == 1, text
    assert "2 of 6 trials no longer have a record in" in text
    assert f"{folder} was moved or removed during the command: " in text
    assert "Traceback" not in text
    assert sweep(folder, *words).returncode == 0
    check(folder, Plan(trials=6))


def test_a_folder_that_is_renamed_before_a_trial_ends_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its workers make a new one."""
    (one,) = trials(Plan(trials=1))
    folder = tmp_path / "x"

    ends: list[BaseException] = [KeyboardInterrupt()]

    def moved(*_: object) -> tuple[set[str], set[str]]:
        folder.rename(tmp_path / f"away{len(ends)}")
        if ends:
            raise ends.pop()
        records.save(folder, toy_trial.record(one), {})
        return set(), set()

    monkeypatch.setattr(launch, "open_runner", lambda *_: nullcontext())
    monkeypatch.setattr(launch, "_run", moved)
    tasks = launch.Tasks(
        function="", arguments={one.trial_id: ()}, names={one.trial_id: ""}, lengths={}, data={}
    )
    with pytest.raises(KeyboardInterrupt):
        launch.carry_out(tasks, folder, Workers())
    said = capsys.readouterr().err.splitlines()[1:]
    assert launch.carry_out(tasks, folder, Workers()) == 1
    line = f"{folder} was moved or removed during the command: what it held before is not there"
    assert capsys.readouterr().err.splitlines()[1:] == said == [line]


def test_a_folder_that_cannot_be_written_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = sweep(tmp_path / "file" / "x", "trials=2")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()[1:]] == ["stopped"]


# A damaged record ---------------------------------------------------------------------------


def test_a_damaged_record_is_reported_with_what_to_do(tmp_path: Path) -> None:
    folder, words = tmp_path / "x", ("trials=3", "table=true")
    for trial in trials(Plan(trials=3)):
        records.save(folder, toy_trial.record(trial), toy_trial.files(trial))
    home = files.trial_folder(folder, trials(Plan())[1].trial_id)
    content = bytearray((home / "record.json").read_bytes())
    content[100] ^= 4
    (home / "record.json").write_bytes(content)
    again = sweep(folder, *words)
    assert again.returncode == 1
    assert f"{home}/record.json is damaged" in again.stderr
    assert "remove its folder to train the trial again" in again.stderr
    shutil.rmtree(home)
    assert sweep(folder, *words).returncode == 0
    check(folder, Plan(trials=3))
    assert notes(folder, "trained") == [home.name]


# Real trials --------------------------------------------------------------------------------

SHORT = ("sr=0.125,0.5", "seed=range(0,12)", "epochs=3", "train_share=0.2")


KEEPING = (*SHORT[:2], "epochs=20", "train_share=0.2")
"""About two thirds of a second for each, longer than the time between two checkpoints."""


def real(folder: Path, *words: str, module: str = "dse.sweep") -> subprocess.Popen[bytes]:
    """A real sweep that has been started; its messages go to a file next to its folder."""
    places = (f"results.root={folder.parent}", f"name={folder.name}", "runner.workers=2")
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words, *places],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def log_of(folder: Path) -> str:
    return folder.with_name(f"{folder.name}.log").read_text()


def weights(folder: Path) -> dict[str, bytes]:
    """The weights of each trial."""
    files = folder.glob("trials/*/weights.safetensors")
    return {path.parent.name: path.read_bytes() for path in files}


def check_equal(folder: Path, other: Path) -> None:
    """Two real sweeps have the same results, to the last bit, and left nothing else."""
    actual, expected = (comparable(tables.load(f)) for f in (folder, other))
    pd.testing.assert_frame_equal(actual, expected, check_exact=True)
    assert weights(folder) == weights(other)
    assert records.failures(folder) == {}
    assert hidden(folder) == []


@pytest.mark.slow
def test_real_sweeps_survive_a_hundred_kills(tmp_path: Path) -> None:
    """Sweeps and workers are killed at random moments until each sweep is finished; the trials save
    checkpoints all the time and resume from them."""
    rng, kills = random.Random(0), {"sweep": 0, "worker": 0}
    undisturbed = tmp_path / "undisturbed"
    assert real(undisturbed, *KEEPING).wait() == 0
    number = states = 0
    while sum(kills.values()) < 100:
        folder, there = tmp_path / str(number), set[str]()
        while len(there) < len(weights(undisturbed)):
            with real(folder, *KEEPING, module="held") as driver:
                victim = rng.choice(list(kills))
                end, running = time.monotonic() + rng.uniform(1, 6), [driver.pid]
                while driver.poll() is None and (time.monotonic() < end or not running):
                    time.sleep(0.01)
                    if victim == "worker":
                        running = workers(driver.pid)
                if driver.poll() is None and running:
                    kills[victim] += toy_trial._kill(rng.choice(running))
                assert driver.wait() in (0, -signal.SIGKILL)
            states += len(list(folder.glob(f"trials/{files.UNFINISHED}/*/{'?' * 12}")))
            now = records.ids(folder)
            assert there <= now
            there = now
        assert real(folder, *KEEPING, module="held").wait() == 0  # tidies, writes the tables
        check_equal(folder, undisturbed)
        assert "another process saved its record first" not in log_of(folder)
        number += 1
    assert min(kills.values()) >= 20
    assert states >= 20


@pytest.mark.slow
def test_a_real_trial_killed_between_two_checkpoints_resumes_from_the_first(tmp_path: Path) -> None:
    """And its record and weights are those of a trial that was never disturbed."""
    words = ("-cn", "squeezenet", "epochs=800")
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    with real(undisturbed, *words) as one, real(folder, *words) as other:
        steps = 5  # of an epoch
        state = soon(lambda: list(folder.glob("trials/.unfinished/*/" + "?" * 12)), 60)[0]
        time.sleep(3)
        (worker,) = workers(other.pid)
        os.kill(worker, signal.SIGKILL)
        soon(lambda: "SIGKILL" in log_of(folder))  # the message of the retry
        before = drivers.published(folder)
        soon(lambda: drivers.published(folder) != before)
        (first,) = soon(lambda: [epoch for epoch in epochs(folder) if epoch])
        assert first >= int(state.name) / steps - 1
        assert [one.wait(), other.wait()] == [0, 0]
    check_equal(folder, undisturbed)
    assert not list(folder.glob("trials/.unfinished/*"))


def epochs(folder: Path) -> list[int]:
    """The epochs that running trials have reported."""
    sweeps = [status for status, running in drivers.published(folder) if running]
    return [int(text.split()[1]) for status in sweeps for text in status["running"].values()]


@pytest.mark.slow
def test_a_full_disk_in_a_real_sweep(small_disk: Path) -> None:
    folder = small_disk / "x"
    (small_disk / "ballast").write_bytes(bytes(120_000))
    with real(folder, *SHORT) as full:
        assert full.wait() == 1
    assert "No space left on device" in log_of(folder)
    assert "Traceback" not in log_of(folder)
    before = weights(folder)
    assert len(before) < 24
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with real(folder, *SHORT) as again:
        assert again.wait() == 0
    assert len(tables.load(folder)) == 24
    assert before.items() <= weights(folder).items()
