"""What is retried: tasks whose process died or hung, ran out of memory, or cannot run yet."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toy_runs import TESTS, alive, drive, ends, events, parent, pids, running, soon, workers_of

from dse.runner import local
from dse.runner import runner as runners
from dse.runner.events import Failed, Finished, Interrupted, Reported, Retried, Started, Waiting
from dse.runner.fork import SERVER, STOP_SIGNALS
from dse.runner.runner import Runner, Workers


def test_a_task_whose_process_dies_is_retried(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    received = events(("kill often", path, 2), ("return", 1))
    assert ends(received) == {0: Finished(0, 3), 1: Finished(1, 1)}
    reason = "the process was killed by SIGKILL"
    mine = [event for event in received if event.key == 0]
    assert mine == [
        Started(0),
        Retried(0, reason, 1),
        Started(0),
        Retried(0, reason, 2),
        Started(0),
        Finished(0, 3),
    ]


def test_a_process_that_dies_while_it_sends_is_retried() -> None:
    with Runner("toy:behave", Workers(retries=1)) as runner:
        runner.submit(0, ("die while sending", 10**7))
        received = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):  # nothing is received until it has died
                assert soon(lambda pid=event.value: not alive(pid))  # type: ignore[misc]
    reason = "the process was killed by SIGKILL"
    assert received[2] == Retried(0, reason, 1)
    assert received[-1] == Failed(0, f"{reason}; tried 2 times", "")


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (4, 5)])
def test_a_task_that_always_dies_is_given_up(tmp_path: Path, retries: int, attempts: int) -> None:
    path = tmp_path / "attempts"
    poison = ("kill often", path, 1000)
    received = events(("return", 1), poison, ("return", 2), poison, workers=1, retries=retries)
    assert path.stat().st_size == 2 * attempts
    times = f"; tried {attempts} times" if attempts > 1 else ""
    failed = {key: Failed(key, f"the process was killed by SIGKILL{times}", "") for key in (1, 3)}
    assert ends(received) == {0: Finished(0, 1), 2: Finished(2, 2), **failed}
    last = [received.index(end) for end in ends(received).values()]
    assert sorted(last[:2]) == last[:2]  # the others did not wait for it


def test_an_exception_is_not_retried() -> None:
    assert [type(event) for event in events(("raise", "x"))] == [Started, Failed]
    assert [type(event) for event in events(("exit", 1))] == [Started, Failed]


@pytest.mark.parametrize("length", [0, 1_000_000])
def test_the_last_lines_of_stderr_are_kept(length: int, capfd: pytest.CaptureFixture[str]) -> None:
    (failure,) = ends(events(("write and die", length), retries=0)).values()
    assert isinstance(failure, Failed)
    assert failure.reason == "the process was killed by SIGABRT"
    assert "\nthe last lines\nFatal Python error: Aborted" in failure.details
    assert "toy.py" in failure.details
    assert len(failure.details.encode()) <= local.TAIL
    passed_on = capfd.readouterr().err
    assert passed_on.startswith("." * length + "\nthe last lines\n")
    assert passed_on.endswith(failure.details)


def test_a_task_may_close_stderr() -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("close stderr",))
        received = runner.events()
        assert isinstance(next(received), Started)
        start = time.process_time()
        assert list(received) == [Finished(0, None)]
    assert time.process_time() - start < 0.1  # while it slept 0.2 s


@pytest.mark.parametrize("number", sorted({*STOP_SIGNALS, signal.SIGUSR2}))
def test_a_signal_to_the_fork_server_has_no_effect(number: signal.Signals, tmp_path: Path) -> None:
    """SLURM sends its signals to all processes of a job."""
    received, servers = [], []
    with Runner("toy:behave", Workers(count=1)) as runner:
        for key in (0, 1):
            runner.submit(key, ("work until", tmp_path / str(key)))
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and event.value:
                servers.append(parent(event.value))
                os.kill(servers[-1], number)
                (tmp_path / str(event.key)).touch()
    assert ends(received) == {key: Finished(key, "worked") for key in (0, 1)}
    assert not any(isinstance(event, Retried) for event in received)
    assert servers[0] == servers[1]


def test_tasks_continue_where_the_fork_server_is_killed(tmp_path: Path) -> None:
    """And another server is started for the next task."""
    received = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit("first", ("work until", tmp_path / "go"))
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and event.value:
                os.kill(parent(event.value), signal.SIGKILL)
                runner.submit("kill", ("kill",))
                runner.submit("next", ("return", 1))
            if event == Finished("next", 1):
                (tmp_path / "go").touch()
    assert ends(received) == {
        "first": Finished("first", "worked"),
        "kill": Failed("kill", "the process was killed by SIGKILL; tried 3 times", ""),
        "next": Finished("next", 1),
    }
    assert {event.key for event in received if isinstance(event, Retried)} == {"kill"}


def test_a_program_that_a_task_started_does_not_delay_its_end() -> None:
    """It has none of the task's pipes, whose end shows that the task has died."""
    start = time.monotonic()
    with Runner("toy:behave", Workers(retries=0)) as runner:
        runner.submit(0, ("leave program",))
        received = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):
                SERVER.end()  # only the pipe can show it now
                os.kill(event.value, signal.SIGKILL)
    assert received[-1] == Failed(0, "the process ended with unknown exit code", "")
    assert time.monotonic() - start < 60


def test_a_driver_may_have_many_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than select() can wait for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("a process may not have so many files open")
    monkeypatch.setattr(runners, "ROOM", 1.0)
    SERVER.end()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    reader, writer = os.pipe()
    spare = [reader, writer, *(os.dup(reader) for _ in range(1100))]
    try:
        assert ends(events(("return", 1))) == {0: Finished(0, 1)}
    finally:
        for descriptor in spare:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_few_file_descriptors_mean_fewer_tasks_at_a_time(tmp_path: Path) -> None:
    """40 workers want about 200 descriptors, and there are 64: fewer tasks run at a time."""
    (tmp_path / "many.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from dse.runner.events import Failed, Finished, Retried\n"
        "from dse.runner.runner import Runner, Workers\n"
        "with Runner('toy:behave', Workers(count=40)) as runner:\n"
        "    for key in range(80):\n"
        "        runner.submit(key, ('report steadily', 0.03))\n"
        "    received = list(runner.events())\n"
        "print(*(sum(isinstance(e, k) for e in received) for k in (Finished, Failed, Retried)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "many"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("80 0 0\n", "")


@pytest.mark.parametrize(("kind", "retries"), [("deaf", 1), ("freeze", 0)])
def test_a_task_that_hangs_is_killed_and_retried(kind: str, retries: int) -> None:
    received = events((kind,), ("return", 1), patience=0.5, retries=retries)
    reason = "the process sent no heartbeat for 0.5 s and was killed"
    assert [e for e in received if isinstance(e, Retried)] == [Retried(0, reason, 1)] * retries
    failure = ends(received)[0]
    assert isinstance(failure, Failed)
    assert failure.reason == reason + "; tried 2 times" * retries
    assert ("in _deaf" in failure.details) is (kind == "deaf")  # where it hung
    assert len(pids(received)) == 1 + retries
    assert not any(alive(pid) for pid in pids(received))


def test_a_long_task_that_makes_progress_does_not_hang() -> None:
    seconds = 2.2  # longer than the patience; one that only reads `stopping` lives too
    received = events(("report steadily", seconds), ("check steadily", seconds), patience=1.5)
    assert ends(received) == {0: Finished(0, "worked"), 1: Finished(1, "worked")}
    assert not [event for event in received if isinstance(event, Retried)]


def test_a_driver_that_reads_no_events_kills_no_task() -> None:
    with Runner("toy:behave", Workers(count=1, patience=0.8)) as runner:
        runner.submit(0, ("report steadily", 1.4))
        received = runner.events()
        next(received)
        time.sleep(1.2)
        assert list(received)[-1] == Finished(0, "worked")


def test_a_suspended_driver_and_its_tasks_continue(tmp_path: Path) -> None:
    settings = "dict(patience=1, retries=0)"
    with drive(tmp_path, "toy:behave", f"('work until', '{tmp_path}/go')", settings) as driver:
        pids = workers_of(driver)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in (driver.pid, *pids):
                os.kill(pid, number)
            time.sleep(1.4 if number == signal.SIGSTOP else 0)
        (tmp_path / "go").touch()
        out, errors = driver.communicate(timeout=200)
    assert out.count("Finished") == 2
    assert errors == ""


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (("too large",), "MemoryError"),
        (
            ("short of memory", "DefaultCPUAllocator: can't allocate memory: you tried ..."),
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried ...",
        ),
        (
            ("short of memory", "CUDA out of memory. Tried to allocate 2 GiB"),
            "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",
        ),
    ],
)
def test_a_task_out_of_memory_is_retried_once_alone(call: tuple[Any, ...], reason: str) -> None:
    """While no other task runs: two others run at first, and four are queued before it."""
    others = [("report steadily", 0.1)] * 6
    received = events(*others[:2], call, *others[2:], workers=3)
    end = ends(received)[2]
    assert isinstance(end, Failed)
    assert end.reason == f"{reason}; retried while no other task ran"
    assert "Traceback" in end.details
    assert [e for e in received if isinstance(e, Retried)] == [Retried(2, reason, 1)]
    at = max(n for n, event in enumerate(received) if event == Started(2))
    assert list(running(iter(received)))[at] == {2}
    assert received[at + 1] == end


def test_tasks_out_of_memory_are_retried_one_by_one() -> None:
    calls = [("short of memory", "out of memory")] * 3
    received = events(*calls, ("report steadily", 0.2), workers=4)
    second = {n for n, e in enumerate(received) if isinstance(e, Started)} - {0, 1, 2, 3}
    assert len(second) == 3
    assert all(len(now) == 1 for n, now in enumerate(running(iter(received))) if n in second)
    assert len(ends(received)) == 4


def test_a_kill_by_the_kernel_for_lack_of_memory_is_recognised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 5\noom_kill 3\n")
    monkeypatch.setattr(local, "VMSTAT", vmstat)
    received = events(("killed for memory", vmstat), ("return", 1), retries=5)
    reason = "the process was killed for lack of memory"
    assert [e for e in received if isinstance(e, Retried)] == [Retried(0, reason, 1)]
    again = f"{reason}; retried while no other task ran"
    assert ends(received) == {0: Failed(0, again, ""), 1: Finished(1, 1)}


@pytest.mark.parametrize("content", [None, "", "oom_kill many\n"])
def test_a_kernel_that_counts_no_kills(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "vmstat").write_text(content)
    monkeypatch.setattr(local, "VMSTAT", tmp_path / "vmstat")
    failure = Failed(0, "the process was killed by SIGKILL", "")
    assert ends(events(("kill",), retries=0)) == {0: failure}


def test_a_task_that_cannot_run_yet_is_started_again(tmp_path: Path) -> None:
    """After the others, by one worker, which is not kept busy meanwhile."""
    path = tmp_path / "turn"
    start, received = time.process_time(), []
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit("held", ("wait turn", path))
        for key in range(3):
            runner.submit(key, ("return", key))
        for event in runner.events():
            received.append(event)
            if event == Finished(2, 2):
                runner.submit("long", ("report steadily", 0.5))
            if event == Finished("long", "worked"):
                path.touch()
    assert [event for event in received if event.key == "held"] == [
        Started("held"),
        Waiting("held"),
        Finished("held", "had"),
    ]
    assert time.process_time() - start < 0.7


def test_many_waiting_tasks_are_started_ten_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, received = time.monotonic(), []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(8):
            runner.submit(key, ("wait turn", tmp_path / "turn"))
        for event in runner.events():
            received.append(event)
            if len(received) == 16:
                break
        assert {type(event) for event in received} == {Started, Waiting}
        asked: list[float] = []
        begin = runner._engine.start
        monkeypatch.setattr(
            runner._engine, "start", lambda call: asked.append(time.monotonic()) or begin(call)
        )
        start, began = time.monotonic(), time.process_time()
        while time.monotonic() - start < 1:
            runner._turn()
        assert time.process_time() - began < 0.5
        assert 1 <= len(asked) <= 20  # by two workers
        (tmp_path / "turn").touch()
        rest = list(runner.events())
    assert sorted(event.key for event in rest) == list(range(8))
    assert time.monotonic() - whole < 60


def test_a_waiting_task_can_be_stopped(tmp_path: Path) -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("wait turn", tmp_path / "never"))
        for event in runner.events():
            if event == Waiting(0):
                runner.stop(10)
    assert event == Interrupted(0)
