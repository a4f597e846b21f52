"""The runner: whatever a call does costs that call alone, and no process outlives its driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from toy import Poison, Unpicklable

import dse.runner
from dse.runner import Event, Failed, Finished, Runner, Started, Told

TESTS = Path(__file__).parent


def events(*calls: Any, workers: int = 2, function: str = "toy:behave") -> list[Event]:
    """All events of some calls, each keyed by its number."""
    with Runner(function, workers) as runner:
        for key, call in enumerate(calls):
            runner.submit(key, call)
        return list(runner.events())


def ends(found: Sequence[Event]) -> dict[Any, Finished | Failed]:
    """How each call ended; each started once and ended once."""
    last = [event for event in found if isinstance(event, (Finished, Failed))]
    assert len({event.key for event in last}) == len(last)
    return {event.key: event for event in last}


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def soon(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether `condition` comes true within some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# Calls --------------------------------------------------------------------------------------


def test_calls_finish_with_their_values() -> None:
    found = events(("return", 1), ("return", {"a": [None, 0.5]}), ("return", None))
    assert sorted(e.key for e in found if isinstance(e, Started)) == [0, 1, 2]
    assert {key: end.value for key, end in ends(found).items() if isinstance(end, Finished)} == {
        0: 1,
        1: {"a": [None, 0.5]},
        2: None,
    }


def test_progress_is_told_in_order_and_before_the_end() -> None:
    found = events(("count", 5), ("count", 3))
    for key, number in ((0, 5), (1, 3)):
        mine = [e for e in found if e.key == key]
        assert mine == [
            Started(key),
            *(Told(key, n) for n in range(number)),
            Finished(key, number),
        ]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (("raise", "too small"), "ValueError: too small"),
        (("raise", "first\nsecond"), "ValueError: first"),
        (("raise", ""), "ValueError"),
        (("exit", 3), "SystemExit: 3"),
        (("exit", 0), "SystemExit: 0"),
        (("_exit", 3), "the process ended with exit code 3"),
        (("_exit", 0), "the process ended with exit code 0"),
        (("kill",), "the process was killed by SIGKILL"),
        (("segfault",), "the process was killed by SIGSEGV"),
        (("leave child",), "the process ended with exit code 7"),
        (("return unpicklable",), "TypeError: not for sending"),
        (("tell unpicklable",), "TypeError: not for sending"),
        (("return poison",), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("tell poison",), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("return", Unpicklable()), "TypeError: not for sending"),
        (("return", Poison()), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("nonsense",), "KeyError: 'nonsense'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_failure_costs_its_call_alone(
    monkeypatch: pytest.MonkeyPatch, call: tuple[Any, ...], reason: str
) -> None:
    monkeypatch.setattr(dse.runner, "GRACE", 60)
    start = time.monotonic()
    found = ends(events(("return", 1), call, ("return", 2), ("return", 3)))
    assert time.monotonic() - start < 20  # and nobody waited for a process that is gone
    failure = found.pop(1)
    assert isinstance(failure, Failed)
    assert failure.reason == reason
    assert ("Traceback" in failure.details) is not reason.startswith("the process")
    assert found == {0: Finished(0, 1), 2: Finished(2, 2), 3: Finished(3, 3)}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("no_such_module:run", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("toy:no_such_name", "AttributeError: module 'toy' has no attribute 'no_such_name'"),
        ("toy:NUMBER", "TypeError: 'int' object is not callable"),
    ],
)
def test_a_function_that_is_not_there_fails_each_call(function: str, reason: str) -> None:
    found = ends(events(1, 2, function=function))
    assert [end.reason for end in found.values() if isinstance(end, Failed)] == [reason] * 2


@pytest.mark.parametrize("length", [1, 65_536, 65_537, 10_000_000])
def test_long_values_arrive(length: int) -> None:
    (end,) = ends(events(("bytes", length))).values()
    assert isinstance(end, Finished)
    assert len(end.value) == length
    (end,) = ends(events(("return", b"y" * length))).values()
    assert isinstance(end, Finished)
    assert end.value == b"y" * length


def test_a_call_may_start_processes_and_ctrl_c_is_not_its_business() -> None:
    found = ends(events(("subprocess",), ("interrupt",)))
    assert found == {0: Finished(0, 0), 1: Finished(1, None)}


def test_a_process_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dse.runner, "GRACE", 0.1)
    start = time.monotonic()
    assert ends(events(("leave thread",))) == {0: Finished(0, "done")}
    assert time.monotonic() - start < 10


# Many calls ---------------------------------------------------------------------------------


def running(found: Iterator[Event]) -> Iterator[set[Any]]:
    """The keys that run after each event."""
    now: set[Any] = set()
    for event in found:
        if isinstance(event, Started):
            now.add(event.key)
        elif isinstance(event, (Finished, Failed)):
            now.remove(event.key)
        yield set(now)


@pytest.mark.parametrize("workers", [1, 3])
def test_calls_start_in_order_and_at_most_one_for_each_worker(workers: int) -> None:
    calls = [("count", n % 4) for n in range(12)]
    found = events(*calls, workers=workers)
    assert [e.key for e in found if isinstance(e, Started)] == list(range(12))
    assert max(len(now) for now in running(iter(found))) == workers
    assert len(ends(found)) == 12


def test_all_workers_work_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.at" for n in range(3)]
    with Runner("toy:behave", 3) as runner:
        for path in paths:
            runner.submit(path.name, ("wait for", path))
        found = runner.events()
        assert [next(found).key for _ in paths] == [path.name for path in paths]
        assert soon(lambda: all(path.exists() for path in paths))
        for path in reversed(paths):  # the last one started ends first
            path.with_suffix(".go").touch()
            assert next(found) == Finished(path.name, None)
        assert list(found) == []


def test_calls_may_be_submitted_while_events_are_read() -> None:
    """As a search does: the next call depends on the last one's answer."""
    seen = []
    with Runner("toy:echo", 2) as runner:
        runner.submit("first", 1)
        for event in runner.events():
            if isinstance(event, Finished):
                seen.append(event.value)
                if event.value < 32:
                    runner.submit(event.value, 2 * event.value)
        assert seen == [1, 2, 4, 8, 16, 32]
        assert list(runner.events()) == []
        runner.submit("again", 0)
        assert list(runner.events()) == [Started("again"), Finished("again", 0)]


def test_no_calls_no_events() -> None:
    assert events() == []


@pytest.mark.parametrize("function", ["toy", ":behave", "toy:", ""])
def test_a_function_is_named_by_its_module(function: str) -> None:
    with pytest.raises(ValueError, match="`function` must be 'module:function', got"):
        Runner(function, 1)


@pytest.mark.parametrize("workers", [0, -1])
def test_there_is_at_least_one_worker(workers: int) -> None:
    with pytest.raises(ValueError, match=f"`workers` must be at least 1, got {workers}"):
        Runner("toy:echo", workers)


# Ends ---------------------------------------------------------------------------------------


def test_closing_kills_what_runs() -> None:
    start = time.monotonic()
    pids: list[int] = []
    with Runner("toy:behave", 2) as runner:
        for key in range(4):
            runner.submit(key, ("sleep", 60))
        found = runner.events()
        while len(pids) < 2:
            pids += [event.value for event in [next(found)] if isinstance(event, Told)]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
    assert list(runner.events()) == []
    assert time.monotonic() - start < 20


def test_a_worker_killed_from_outside_is_told_at_once() -> None:
    with Runner("toy:behave", 1) as runner:
        runner.submit("victim", ("sleep", 60))
        runner.submit("next", ("return", 1))
        found = []
        for event in runner.events():
            found.append(event)
            if isinstance(event, Told):
                os.kill(event.value, signal.SIGKILL)
    assert Failed("victim", "the process was killed by SIGKILL", "") in found
    assert found[-1] == Finished("next", 1)


DRIVER = """
import sys
print(f"{__name__} is imported", flush=True)
import hydra
from dse.runner import Runner, Told

def main():
    with Runner(sys.argv[1], 2) as runner:
        for key in (0, 1):
            runner.submit(key, eval(sys.argv[2]))
        for event in runner.events():
            print(event, flush=True)

if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@contextmanager
def drive(folder: Path, function: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    """A driver as `python -m driver`, in a session of its own that is killed in the end."""
    (folder / "driver.py").write_text(DRIVER)
    with subprocess.Popen(
        [sys.executable, "-m", "driver", function, argument],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, TESTS, TESTS.parent)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        try:
            yield driver
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)


def workers_of(driver: subprocess.Popen[str]) -> list[int]:
    """The process ids that two sleeping calls tell."""
    assert driver.stdout is not None
    pids = []
    for line in driver.stdout:
        if line.startswith("Told"):
            pids.append(int(line.partition("value=")[2].rstrip(")\n")))
        if len(pids) == 2:
            return pids
    raise AssertionError(driver.stderr and driver.stderr.read())


def test_workers_import_neither_the_driver_nor_torch(tmp_path: Path) -> None:
    with drive(tmp_path, "toy:behave", "('imports',)") as driver:
        out, errors = driver.communicate(timeout=60)
    assert errors == ""
    assert [line for line in out.splitlines() if "is imported" in line] == ["__main__ is imported"]
    assert out.count("value=[]") == 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_driver(tmp_path: Path, end: signal.Signals) -> None:
    with drive(tmp_path, "toy:behave", "('sleep', 60)") as driver:
        pids = workers_of(driver)
        assert all(alive(pid) for pid in pids)
        driver.send_signal(end)
        assert driver.wait(timeout=10) == -end
        assert soon(lambda: not any(alive(pid) for pid in pids))
        _, errors = driver.communicate(timeout=10)
    assert errors == ""


def test_ctrl_c_reaches_the_driver_alone(tmp_path: Path) -> None:
    with drive(tmp_path, "toy:behave", "('sleep', 60)") as driver:
        pids = workers_of(driver)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
        out, errors = driver.communicate(timeout=10)
    assert out.splitlines()[-1] == "interrupted"
    assert errors == ""
    assert driver.returncode == 0
    assert soon(lambda: not any(alive(pid) for pid in pids))


def test_ctrl_c_while_the_first_worker_starts(tmp_path: Path) -> None:
    """The function's module is still being imported, as torch is for seconds."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(1)\n"
        "def run(argument, tell):\n    time.sleep(60)\n"
    )
    with drive(tmp_path, "slow:run", "1") as driver:
        assert soon((tmp_path / "loading").exists)
        os.killpg(driver.pid, signal.SIGINT)
        out, errors = driver.communicate(timeout=20)
    assert out.splitlines()[-1] == "interrupted"
    assert errors == ""


def test_a_module_that_cannot_be_imported_fails_each_call(tmp_path: Path) -> None:
    """Not an `ImportError`: it takes the server along that would start the workers."""
    (tmp_path / "broken.py").write_text("raise OSError('libcudart.so: cannot open')\n")
    with drive(tmp_path, "broken:run", "1") as driver:
        out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert out.count("Failed(") == 2


def test_a_call_costs_milliseconds() -> None:
    with Runner("toy:echo", 2) as runner:
        runner.submit("first", 0)  # starts the server
        list(runner.events())
        start = time.perf_counter()
        for key in range(50):
            runner.submit(key, key)
        assert len(ends(list(runner.events()))) == 50
    assert (time.perf_counter() - start) / 50 < 0.1
