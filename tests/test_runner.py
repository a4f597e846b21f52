"""The runner: whatever a task does affects that task alone, and no process outlives its driver."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest
from toy import Poison, Unpicklable
from toy_runs import ends, events, running, soon

from dse.runner import local
from dse.runner.events import Failed, Finished, Reported, Started
from dse.runner.fork import SERVER
from dse.runner.runner import Runner, Workers


def test_tasks_finish_with_their_values() -> None:
    received = events(("return", 1), ("return", {"a": [None, 0.5]}), ("return", None))
    assert sorted(e.key for e in received if isinstance(e, Started)) == [0, 1, 2]
    assert {key: end.value for key, end in ends(received).items() if isinstance(end, Finished)} == {
        0: 1,
        1: {"a": [None, 0.5]},
        2: None,
    }


def test_progress_arrives_in_order_and_before_the_end() -> None:
    received = events(("count", 5), ("count", 3))
    for key, number in ((0, 5), (1, 3)):
        mine = [e for e in received if e.key == key]
        assert mine == [
            Started(key),
            *(Reported(key, n) for n in range(number)),
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
        (("leave child", 7), "the process ended with exit code 7"),
        (("return unpicklable",), "TypeError: not for sending"),
        (("report unpicklable",), "TypeError: not for sending"),
        (("return poison",), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("report poison",), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("return", Unpicklable()), "TypeError: not for sending"),
        (("return", Poison()), "ValueError: invalid literal for int() with base 10: 'poison'"),
        (("nonsense",), "KeyError: 'nonsense'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_failure_affects_its_task_alone(
    monkeypatch: pytest.MonkeyPatch, call: tuple[Any, ...], reason: str
) -> None:
    monkeypatch.setattr(local, "GRACE", 100)
    start = time.monotonic()
    received = ends(events(("return", 1), call, ("return", 2), ("return", 3), retries=0))
    assert time.monotonic() - start < 60  # it did not wait for a process that is gone
    failure = received.pop(1)
    assert isinstance(failure, Failed)
    assert failure.reason == reason
    assert ("Traceback" in failure.details) is not reason.startswith("the process")
    assert ("Fatal Python error" in failure.details) is reason.endswith("SIGSEGV")
    assert received == {0: Finished(0, 1), 2: Finished(2, 2), 3: Finished(3, 3)}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("toy:no_such_name", "AttributeError: module 'toy' has no attribute 'no_such_name'"),
        ("toy:NUMBER", "TypeError: 'int' object is not callable"),
    ],
)
def test_a_missing_function_fails_each_task(function: str, reason: str) -> None:
    received = ends(events(1, 2, function=function))
    assert [end.reason for end in received.values() if isinstance(end, Failed)] == [reason] * 2


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, 2**40])
def test_a_module_that_cannot_be_imported_is_no_task_s_fault(limit: int) -> None:
    """In the process of the task, which has the driver's limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    SERVER.end()
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=r"^no task can run: ") as raised:
            events(1, 2, function="no_such_module:run")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        SERVER.end()
    line = "no_such_module could not be imported: ModuleNotFoundError: No module named "
    shown = " (`ulimit -v` limits memory to 1,073,741,824 KiB)" if limit == 2**40 else ""
    assert str(raised.value) == f"no task can run: {line}'no_such_module'{shown}"


@pytest.mark.parametrize("length", [1, 65_536, 65_537, 10_000_000])
def test_long_values_arrive(length: int) -> None:
    (end,) = ends(events(("bytes", length))).values()
    assert isinstance(end, Finished)
    assert len(end.value) == length
    (end,) = ends(events(("return", b"y" * length))).values()
    assert isinstance(end, Finished)
    assert end.value == b"y" * length


def test_a_task_may_start_processes_and_ignores_ctrl_c() -> None:
    received = ends(events(("subprocess",), ("interrupt",)))
    assert received == {0: Finished(0, 0), 1: Finished(1, None)}


def test_a_process_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE", 0.1)
    start = time.monotonic()
    assert ends(events(("leave thread",))) == {0: Finished(0, "done")}
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("workers", [1, 3])
def test_tasks_start_in_order_and_at_most_one_for_each_worker(workers: int) -> None:
    calls = [("count", n % 4) for n in range(12)]
    received = events(*calls, workers=workers)
    assert [e.key for e in received if isinstance(e, Started)] == list(range(12))
    assert max(len(now) for now in running(iter(received))) == workers
    assert len(ends(received)) == 12


def test_all_workers_work_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.at" for n in range(3)]
    with Runner("toy:behave", Workers(count=3)) as runner:
        for path in paths:
            runner.submit(path.name, ("wait for", path))
        received = runner.events()
        assert [next(received).key for _ in paths] == [path.name for path in paths]
        assert soon(lambda: all(path.exists() for path in paths))
        for path in reversed(paths):  # the last one started ends first
            path.with_suffix(".go").touch()
            assert next(received) == Finished(path.name, None)
        assert list(received) == []


def test_tasks_may_be_submitted_while_events_are_read() -> None:
    """As a search does: the next task depends on the last one's value."""
    seen = []
    with Runner("toy:echo", Workers(count=2)) as runner:
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


def test_no_tasks_no_events() -> None:
    assert events() == []


def test_a_task_costs_milliseconds() -> None:
    with Runner("toy:echo", Workers(count=2)) as runner:
        runner.submit("first", 0)  # starts the server
        list(runner.events())
        seconds = []  # the least of them: other programs run at the same time
        for _ in range(5):
            start = time.perf_counter()
            for key in range(10):
                runner.submit(key, key)
            assert len(ends(list(runner.events()))) == 10
            seconds.append(time.perf_counter() - start)
    assert min(seconds) / 10 < 0.1


@pytest.mark.slow
def test_a_thousand_tasks() -> None:
    calls = [("return", n) for n in range(1000)]
    start = time.perf_counter()
    received = events(*calls, workers=2)
    seconds = time.perf_counter() - start
    assert ends(received) == {n: Finished(n, n) for n in range(1000)}
    assert seconds / 1000 < 0.1
