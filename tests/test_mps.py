"""NVIDIA's MPS for trials that share a GPU, by a stand-in for its program; no test needs a GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from reading import composed_once, read
from test_devices import machine
from toy_runs import ends, events, soon

from dse.runner import mps
from dse.runner.events import Finished
from dse.runner.gpus import Gpu
from dse.runner.mps import CONTROL, FOLDER, service
from dse.runner.runner import Runner, Workers

__all__ = ["composed_once"]

STAND_IN = """#!/bin/sh
if [ "$1" = -d ]; then
    echo "start ${CUDA_VISIBLE_DEVICES-all}" >> "$LOG"
    [ -z "$WARNS" ] || echo "$WARNS"
    sleep "${TAKES-0}"
    [ -z "$REFUSES" ] || exit 1
else
    read line; echo "$line" >> "$LOG"
fi
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stand-in was told."""
    control = tmp_path / "bin" / CONTROL
    control.parent.mkdir()
    control.write_text(STAND_IN)
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{control.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(mps, "USUAL", tmp_path / "none")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "log"


def test_tasks_find_the_service_while_the_runner_lasts(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    said: list[str] = []
    workers = Workers(count=2, device="cuda", settings=(Gpu("3", "A"),), mps=True)
    with Runner("toy:behave", workers, said.append) as runner:
        folder = os.environ[FOLDER]
        assert Path(folder).is_dir()
        runner.submit("a", ("variable", FOLDER))
        assert ends(list(runner.events())) == {"a": Finished("a", folder)}
    assert FOLDER not in os.environ
    assert not Path(folder).exists()
    assert log.read_text() == "start all\nquit\n"
    assert said == []
    assert ends(events(("variable", FOLDER))) == {0: Finished(0, None)}


@pytest.mark.parametrize("starting", [False, True])
def test_the_service_ends_where_its_driver_is_killed(
    log: Path, monkeypatch: pytest.MonkeyPatch, starting: bool
) -> None:
    monkeypatch.setenv("TAKES", "0.5")
    code = "from dse.runner.mps import *; import time\nwith service(): print(1, flush=True); "
    driver = subprocess.Popen(
        [sys.executable, "-c", f"{code}time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert driver.stdout
    if starting:
        assert soon(log.exists)
    else:
        assert driver.stdout.readline() == b"1\n"
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert soon(lambda: not [*log.parent.glob("mps-*")])
    assert log.read_text() == "start all\nquit\n"


def test_a_service_that_warns_before_it_starts_is_used(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARNS", "an old driver")
    monkeypatch.setenv("TAKES", "0.3")
    with service() as reason:
        assert reason == ""
        assert FOLDER in os.environ
    assert log.read_text() == "start all\nquit\n"


def test_without_the_service_tasks_take_turns_and_it_is_said(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSES", "1")
    monkeypatch.setenv("WARNS", "Cannot find MPS control daemon process")
    workers = Workers(count=2, device="cuda", settings=(Gpu("0", "A"),), mps=True)
    said: list[str] = []
    with Runner("toy:behave", workers, said.append) as runner:
        runner.submit("a", ("variable", FOLDER))
        assert ends(list(runner.events())) == {"a": Finished("a", None)}
    assert said == [
        "tasks on a GPU take turns, which is slower than with NVIDIA's MPS: "
        "nvidia-cuda-mps-control: Cannot find MPS control daemon process"
    ]
    assert not [*log.parent.glob("mps-*")]


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("#!/bin/sh\nexit 1\n", "nvidia-cuda-mps-control: it did not start"),
        ("#!/bin/sh\nsleep 2\n", "nvidia-cuda-mps-control did not start within 0.2 s"),
    ],
)
def test_a_service_that_does_not_start(
    log: Path, monkeypatch: pytest.MonkeyPatch, control: str, expected: str
) -> None:
    monkeypatch.setattr(mps, "SECONDS", 0.2)
    (log.parent / "bin" / CONTROL).write_text(control)
    with service() as reason:
        assert reason == expected
        assert FOLDER not in os.environ


def test_where_there_is_no_room_for_a_process(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    with service() as reason:
        assert "Resource temporarily unavailable" in reason
    assert not [*log.parent.glob("mps-*")]


def test_a_service_by_which_no_gpu_is_reached_is_not_used(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps, "ask_driver", lambda: "one GPU")
    with service() as reason:
        assert reason == "processes do not reach the GPUs through it"
        assert FOLDER not in os.environ
    assert log.read_text() == "start all\nquit\n"


def test_a_service_that_runs_already_is_used(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mps, "USUAL", log.parent)
        with service() as reason:
            assert reason == ""
            assert FOLDER not in os.environ
    monkeypatch.setenv(FOLDER, "elsewhere")
    with service() as reason:
        assert reason == ""
    assert os.environ[FOLDER] == "elsewhere"
    assert not log.exists()


def test_where_the_program_is_not_installed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(log.parent / "none"))
    with service() as reason:
        assert reason == "nvidia-cuda-mps-control is not installed"


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        ([], False),
        (["runner.workers=2"], False),
        (["runner.workers=3"], True),
        (["runner.per_gpu=8"], True),
        (["runner.per_gpu=8", "runner.workers=2"], False),
        (["runner.per_gpu=8", "runner.mps=false"], False),
        (["runner.per_gpu=49"], False),
        (["runner.processes_per_trial=2"], False),
        (["runner.device=cpu", "runner.workers=8"], False),
    ],
)
def test_it_is_started_where_trials_share_a_gpu(
    monkeypatch: pytest.MonkeyPatch, words: list[str], shared: bool
) -> None:
    machine(monkeypatch, "A", "B")
    assert read(*words).workers.mps is shared
