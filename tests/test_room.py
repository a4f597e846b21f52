"""No room for another process: tasks wait, and are not to blame."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sample_records import record
from toy_runs import TESTS, ends, events, soon

from dse import pack
from dse.results import records, tables
from dse.runner import runner as runners
from dse.runner.events import Event, Failed, Finished, Interrupted, Reported, Retried
from dse.runner.fork import SERVER, Server
from dse.runner.local import STARTS
from dse.runner.runner import Runner, Workers

LACKS = {
    "processes": BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    "memory": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "descriptors": OSError(errno.ENFILE, "Too many open files in system"),
    "server": ConnectionResetError("the fork server was killed"),
}


class Room:
    """Stands in for `SERVER.fork`: there are at most `most` processes at a time."""

    def __init__(self, patch: pytest.MonkeyPatch, runner: Runner, most: int, lack: OSError) -> None:
        self.runner, self.most, self.lack, self.refused = runner, most, lack, 0
        self._fork = SERVER.fork
        patch.setattr(SERVER, "fork", self.fork)

    def fork(self, *arguments: Any) -> int:
        if len(self.runner._running) >= self.most:
            self.refused += 1
            raise self.lack
        return self._fork(*arguments)


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS)
def test_tasks_wait_until_there_is_room(monkeypatch: pytest.MonkeyPatch, lack: OSError) -> None:
    said: list[str] = []
    with Runner("toy:behave", Workers(count=8), said.append) as runner:
        room = Room(monkeypatch, runner, 2, lack)
        for key in range(8):
            runner.submit(key, ("return", key))
        received = list(runner.events())
    assert ends(received) == {key: Finished(key, key) for key in range(8)}
    assert not any(isinstance(event, Retried) for event in received)
    assert room.refused > 1
    (line,) = said
    again = "tried again when one ends, or after 2 s"
    assert line == f"no more tasks can be started now: {type(lack).__name__}: {lack}; {again}"


def test_room_that_appears_while_a_task_runs_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner._engine.pauses = (0.1, 0.2)
        room = Room(monkeypatch, runner, 1, LACKS["processes"])
        runner.submit("long", ("check steadily", 60))
        runner.submit("short", ("return", 1))
        received: list[Event] = []
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported):
                room.most = 2
            if event == Finished("short", 1):
                runner.stop(30)
    assert Finished("short", 1) in received
    assert received[-1] == Interrupted("long")


@pytest.mark.parametrize(("pauses", "pause"), [((0.1, 0.1), "0.1"), ((60.0, 600.0), "0.15")])
def test_a_driver_without_any_room_stops_and_fails_no_task(
    pauses: tuple[float, float], pause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "ROOM", 0.6)
    received: list[Event] = []
    said: list[str] = []
    with Runner("toy:behave", Workers(count=2), said.append) as runner:
        runner._engine.pauses = pauses
        room = Room(monkeypatch, runner, 0, LACKS["processes"])
        runner.submit(0, ("return", 1))
        line = r"^no process could be started: BlockingIOError: \[Errno 11\] Resource temporarily"
        start = time.monotonic()
        with pytest.raises(OSError, match=line):
            received += runner.events()
        assert 0.6 <= time.monotonic() - start < 30
        assert room.refused > 1
    assert received == []
    assert said == [
        "no more tasks can be started now: BlockingIOError: [Errno 11] Resource temporarily "
        f"unavailable; tried again every {pause} s, for 0.6 s"
    ]


def test_fork_servers_that_keep_ending_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with Runner("toy:behave", Workers(count=2), said.append) as runner:
        room = Room(monkeypatch, runner, 0, LACKS["server"])
        runner.submit(0, ("return", 1))
        with pytest.raises(OSError, match=r"^no process could be started: ConnectionResetError: "):
            list(runner.events())
    assert room.refused == STARTS
    assert said == []


def test_how_a_fork_server_ended_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dse.runner.fork.memory_limit", lambda: " (limited)")
    server = Server()
    server.prepare("no_such_module")
    assert server._process
    server._process.kill()
    with pytest.raises(
        ConnectionResetError, match=r"^the fork server was killed by SIGKILL \(limited\)$"
    ):
        server.fork("no_such_module", [0])


def test_a_driver_that_waits_for_room_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        Room(monkeypatch, runner, 0, LACKS["processes"])
        runner.submit(0, ("return", 1))
        runner._turn()
        runner.stop(30)
        assert list(runner.events()) == [Interrupted(0)]


@pytest.mark.parametrize("kind", ["no thread", "no process"])
def test_a_task_that_can_start_no_thread_or_process_is_retried_alone(kind: str) -> None:
    received = events((kind,), ("return", 1), workers=1)
    assert [event.key for event in received if isinstance(event, Retried)] == [0]
    failure = ends(received)[0]
    assert isinstance(failure, Failed)
    assert failure.reason.endswith("; retried while no other task ran")


MANY = """
from dse.runner.events import Failed, Finished, Retried
from dse.runner.runner import Runner, Workers

with Runner("toy:behave", Workers(count=8)) as runner:
    for key in range(8):
        runner.submit(key, ("report steadily", 0.02))
    received = list(runner.events())
print(*(sum(isinstance(e, kind) for e in received) for kind in (Finished, Failed, Retried)))
"""


SLOW = pytest.mark.slow


def limited(most: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A program that may have so many processes and threads, where that can be limited here."""
    group = Path("/sys/fs/cgroup/pids") / f"test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this process may not limit its processes")
    try:
        (group / "pids.max").write_text(str(most))
        join = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
        return subprocess.run(
            ["sh", "-c", join, group, sys.executable, *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        assert soon(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.parametrize("most", [pytest.param(3, marks=SLOW), 4, pytest.param(7, marks=SLOW)])
def test_few_processes_mean_fewer_tasks_at_a_time(most: int) -> None:
    """The driver, the fork server, and what is left; threads count too."""
    done = limited(most, "-c", MANY)
    assert (done.stdout, done.stderr) == ("8 0 0\n", "")


TABLES = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from pathlib import Path
from dse.results import tables
print(*(len(tables.write_tables(Path(folder))) for folder in sys.argv[1:]))
"""


def test_tables_and_packs_need_no_thread(tmp_path: Path) -> None:
    """Arrow waits forever for one that cannot be started."""
    folders = [tmp_path / "folders", tmp_path / "pack"]
    for folder in folders:
        for seed in range(3):
            records.save(folder, record(seed=seed), {})
        tables.write_tables(folder)
    assert pack.main([str(folders[1]), "remove=true"]) == 0
    assert limited(1, "-c", TABLES, *map(str, folders)).stdout == "3 3\n"


@SLOW
def test_a_sweep_with_room_for_few_processes_trains_and_reports(tmp_path: Path) -> None:
    words = ("sr=0.125,0.25", "epochs=1", "train_share=0.1", f"results.root={tmp_path}")
    for _ in range(2):  # then with what is there already
        done = limited(4, "-m", "dse.sweep", *words)
        assert done.returncode == 0, done.stderr
        assert str(tmp_path / "figure3a" / "report.html") in done.stdout


def test_a_command_that_may_start_no_thread_is_not_interrupted(tmp_path: Path) -> None:
    """By libraries that start one when they are imported: OpenBLAS raises SIGINT."""
    done = limited(1, "-m", "dse.sweep", "sr=2", f"results.root={tmp_path}")
    assert done.stderr.splitlines() == ["`sr` must be in (0, 1], got 2"]
    assert done.returncode == 2
