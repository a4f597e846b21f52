"""Tasks stop when asked, and no process outlives its task or its driver."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from toy_runs import alive, drive, ends, events, pids, soon, workers_of

from dse.runner.events import Failed, Finished, Interrupted, Reported, Retried, Started, Waiting
from dse.runner.runner import Runner, Workers


@pytest.mark.parametrize("kind", ["report steadily", "check steadily"])
def test_tasks_stop_when_asked_and_no_other_starts(kind: str) -> None:
    received = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(4):
            runner.submit(key, (kind, 1000))
        start = time.monotonic()
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and event.key == 1:
                runner.stop(100)
        assert time.monotonic() - start < 60
        assert [e.key for e in received if isinstance(e, Started)] == [0, 1]
        assert ends(received) == {key: Interrupted(key) for key in range(4)}
        runner.submit("after", (kind, 0))
        assert list(runner.events()) == [Interrupted("after")]


def test_one_task_is_cancelled_while_the_others_go_on() -> None:
    received = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        tasks = ("check steadily", 1000), ("sleep", 0.3), ("return", "queued")
        for key, task in enumerate(tasks):
            runner.submit(key, task)
        runner.submit("queued", ("return", 1))
        runner.cancel("queued")
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and event.key == 0:
                runner.cancel(0)
                runner.cancel("unknown")
    assert ends(received) == {
        "queued": Interrupted("queued"),
        0: Interrupted(0),
        1: Finished(1, 0.3),
        2: Finished(2, "queued"),
    }


def test_a_task_that_waits_for_its_next_attempt_can_be_cancelled(tmp_path: Path) -> None:
    received = []
    with Runner("toy:behave", Workers(count=3)) as runner:
        runner.submit("memory", ("short of memory", "out of memory"))
        runner.submit("later", ("wait turn", tmp_path / "turn"))
        runner.submit("other", ("work until", tmp_path / "go"))
        for event in runner.events():
            received.append(event)
            if isinstance(event, (Retried, Waiting)):
                runner.cancel(event.key)
            if len(ends(received)) == 2:  # both of them
                (tmp_path / "go").touch()
                (tmp_path / "turn").touch()
    assert ends(received) == {
        "memory": Interrupted("memory"),
        "later": Interrupted("later"),
        "other": Finished("other", "worked"),
    }


def test_what_finishes_in_time_has_finished() -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("finish when stopped",))
        runner.submit(1, ("raise", "x"))
        received = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):
                runner.stop(30)
    assert ends(received)[0] == Finished(0, "saved")


@pytest.mark.parametrize("kind", ["deaf", "freeze"])
def test_a_task_that_does_not_stop_in_time_is_killed(kind: str) -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(3):
            runner.submit(key, (kind,))
        received = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and len(pids(received)) == 2:
                start = time.monotonic()
                runner.stop(0.3)
        assert 0.3 <= time.monotonic() - start < 30
    assert ends(received) == {key: Interrupted(key) for key in range(3)}
    assert not any(alive(pid) for pid in pids(received))


def test_a_second_stop_can_only_shorten_the_time() -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("deaf",))
        start, received = time.monotonic(), []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):
                runner.stop(100)
                runner.stop(0)
                runner.stop(200)
        assert received[-1] == Interrupted(0)
        assert time.monotonic() - start < 60


def test_a_signal_handler_may_stop_the_runner() -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("check steadily", 1000))
        previous = signal.signal(signal.SIGALRM, lambda *_: runner.stop(100))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            start = time.monotonic()
            assert list(runner.events())[-1] == Interrupted(0)
            assert time.monotonic() - start < 60
        finally:
            signal.signal(signal.SIGALRM, previous)


def test_sigterm_from_elsewhere_stops_one_task_which_is_retried(tmp_path: Path) -> None:
    received = []
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("save and resume", tmp_path))
        for event in runner.events():
            if isinstance(event, Reported) and event.value == 5:  # it waits
                os.kill(pids(received)[0], signal.SIGTERM)
            received.append(event)
    assert Retried(0, "the process was asked to stop", 1) in received
    assert received[-1] == Finished(0, list(range(10)))


def test_closing_kills_what_runs() -> None:
    start = time.monotonic()
    pids: list[int] = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(4):
            runner.submit(key, ("sleep", 1000))
        received = runner.events()
        while len(pids) < 2:
            pids += [event.value for event in [next(received)] if isinstance(event, Reported)]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
    assert list(runner.events()) == []
    assert time.monotonic() - start < 60


def test_a_worker_killed_from_outside_is_noticed_at_once() -> None:
    with Runner("toy:behave", Workers(count=1, retries=0)) as runner:
        runner.submit("victim", ("sleep", 1000))
        runner.submit("next", ("return", 1))
        received = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):
                os.kill(event.value, signal.SIGKILL)
    assert Failed("victim", "the process was killed by SIGKILL", "") in received
    assert received[-1] == Finished("next", 1)


def test_workers_import_neither_the_driver_nor_torch(tmp_path: Path) -> None:
    with drive(tmp_path, "toy:behave", "('imports',)") as driver:
        out, errors = driver.communicate(timeout=200)
    assert errors == ""
    assert [line for line in out.splitlines() if "is imported" in line] == ["__main__ is imported"]
    assert out.count("value=[]") == 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_driver(tmp_path: Path, end: signal.Signals) -> None:
    with drive(tmp_path, "toy:behave", "('sleep', 1000)") as driver:
        pids = workers_of(driver)
        assert all(alive(pid) for pid in pids)
        driver.send_signal(end)
        assert driver.wait(timeout=200) == -end
        assert soon(lambda: not any(alive(pid) for pid in pids))
        _, errors = driver.communicate(timeout=200)
    assert errors == ""


def test_ctrl_c_reaches_the_driver_alone(tmp_path: Path) -> None:
    with drive(tmp_path, "toy:behave", "('sleep', 1000)") as driver:
        pids = workers_of(driver)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
        out, errors = driver.communicate(timeout=200)
    assert out.splitlines()[-1] == "interrupted"
    assert errors == ""
    assert driver.returncode == 0
    assert soon(lambda: not any(alive(pid) for pid in pids))


def test_ctrl_c_while_the_first_worker_starts(tmp_path: Path) -> None:
    """While the function's module is still being imported, which takes seconds with torch."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(1)\n"
        "def run(argument, report):\n    time.sleep(1000)\n"
    )
    with drive(tmp_path, "slow:run", "1") as driver:
        assert soon((tmp_path / "loading").exists)
        os.killpg(driver.pid, signal.SIGINT)
        out, errors = driver.communicate(timeout=200)
    assert out.splitlines()[-1] == "interrupted"
    assert errors == ""


def test_a_module_that_cannot_be_imported_ends_the_driver_and_fails_no_task(tmp_path: Path) -> None:
    """Also where that is no `ImportError`."""
    (tmp_path / "broken.py").write_text("raise OSError('libcudart.so: cannot open')\n")
    with drive(tmp_path, "broken:run", "1") as driver:
        out, errors = driver.communicate(timeout=200)
    reason = "broken could not be imported: OSError: libcudart.so: cannot open"
    assert errors.splitlines()[-1] == f"OSError: no task can run: {reason}"
    assert "Failed(" not in out


def test_a_module_that_one_process_at_a_time_can_import_is_imported_again(tmp_path: Path) -> None:
    """As where memory is short; the process that starts the others cannot import it."""
    (tmp_path / "crowded.py").write_text(
        "import fcntl, os, pathlib, time\n"
        "server = pathlib.Path('server')\n"
        "if not server.exists():\n"
        "    server.write_text(str(os.getpid()))\n"
        "if server.read_text() == str(os.getpid()):\n"
        "    raise MemoryError\n"
        "alone = open('lock', 'w')\n"
        "fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "def run(argument, report):\n"
        "    time.sleep(0.5)\n"
    )
    with drive(tmp_path, "crowded:run", "1") as driver:
        out, errors = driver.communicate(timeout=200)
    assert out.count("Finished(") == 2
    assert out.count("Started(") > 2
    assert "Waiting(" not in out
    assert errors == ""


@pytest.mark.parametrize("code", [(), (7,)])
def test_what_a_task_starts_ends_with_it(code: tuple[int, ...]) -> None:
    received = events(("leave child", *code), ("return", 1), retries=0)
    (child,) = pids(received)
    assert soon(lambda: not alive(child))
    assert len(ends(received)) == 2


@pytest.mark.parametrize("kind", ["freeze", "leave child"])
def test_nothing_outlives_a_driver_that_is_killed(tmp_path: Path, kind: str) -> None:
    """Neither a process that answers no signal, nor one that a task has started."""
    calls = f"('{kind}',)" if kind == "freeze" else "('leave child and sleep',)"
    with drive(tmp_path, "toy:behave", calls) as driver:
        started = workers_of(driver)
        assert soon(lambda: all(alive(pid) for pid in started))
        driver.kill()
        driver.wait(timeout=200)
        assert soon(lambda: not any(alive(pid) for pid in started))
