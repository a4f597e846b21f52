"""The runner: whatever a call does costs that call alone, and no process outlives its driver."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy import Poison, Unpicklable

from dse.runner import local, slurm
from dse.runner.events import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Reported,
    Retried,
    Started,
    Waiting,
)
from dse.runner.job import Spool
from dse.runner.runner import Runner, Workers

TESTS = Path(__file__).parent


def events(
    *calls: Any, workers: int = 2, function: str = "toy:behave", **settings: Any
) -> list[Event]:
    """All events of some calls, each keyed by its number."""
    with Runner(function, Workers(count=workers, **settings)) as runner:
        for key, call in enumerate(calls):
            runner.submit(key, call)
        return list(runner.events())


def ends(found: Sequence[Event]) -> dict[Any, Finished | Failed | Interrupted]:
    """How each call ended; each ended once."""
    last = [event for event in found if isinstance(event, (Finished, Failed, Interrupted))]
    assert len({event.key for event in last}) == len(last)
    return {event.key: event for event in last}


def pids(found: Sequence[Event]) -> list[int]:
    """The process ids that calls told."""
    return [event.value for event in found if isinstance(event, Reported) and event.value]


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
    monkeypatch.setattr(local, "GRACE", 60)
    start = time.monotonic()
    found = ends(events(("return", 1), call, ("return", 2), ("return", 3), retries=0))
    assert time.monotonic() - start < 20  # and nobody waited for a process that is gone
    failure = found.pop(1)
    assert isinstance(failure, Failed)
    assert failure.reason == reason
    assert ("Traceback" in failure.details) is not reason.startswith("the process")
    assert ("Fatal Python error" in failure.details) is reason.endswith("SIGSEGV")
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
    monkeypatch.setattr(local, "GRACE", 0.1)
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
        elif isinstance(event, (Finished, Failed, Retried)):
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
    with Runner("toy:behave", Workers(count=3)) as runner:
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


def test_no_calls_no_events() -> None:
    assert events() == []


@pytest.mark.parametrize("function", ["toy", ":behave", "toy:", ""])
def test_a_function_is_named_by_its_module(function: str) -> None:
    with pytest.raises(ValueError, match="`function` must be 'module:function', got"):
        Runner(function, Workers(count=1))


@pytest.mark.parametrize("workers", [0, -1])
def test_there_is_at_least_one_worker(workers: int) -> None:
    with pytest.raises(ValueError, match=f"`workers` must be at least 1, got {workers}"):
        Runner("toy:echo", Workers(count=workers))


# Trying again -------------------------------------------------------------------------------


def test_a_call_whose_process_dies_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    found = events(("kill often", path, 2), ("return", 1))
    assert ends(found) == {0: Finished(0, 3), 1: Finished(1, 1)}
    reason = "the process was killed by SIGKILL"
    mine = [event for event in found if event.key == 0]
    assert mine == [
        Started(0),
        Retried(0, reason, 1),
        Started(0),
        Retried(0, reason, 2),
        Started(0),
        Finished(0, 3),
    ]


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (4, 5)])
def test_a_poison_call_is_given_up(tmp_path: Path, retries: int, attempts: int) -> None:
    path = tmp_path / "attempts"
    poison = ("kill often", path, 1000)
    found = events(("return", 1), poison, ("return", 2), poison, workers=1, retries=retries)
    assert path.stat().st_size == 2 * attempts
    times = f"; tried {attempts} times" if attempts > 1 else ""
    failed = {key: Failed(key, f"the process was killed by SIGKILL{times}", "") for key in (1, 3)}
    assert ends(found) == {0: Finished(0, 1), 2: Finished(2, 2), **failed}
    last = [found.index(end) for end in ends(found).values()]
    assert sorted(last[:2]) == last[:2]  # those behind did not wait for it


def test_an_exception_is_not_tried_again() -> None:
    assert [type(event) for event in events(("raise", "x"))] == [Started, Failed]
    assert [type(event) for event in events(("exit", 1))] == [Started, Failed]


@pytest.mark.parametrize("length", [0, 1_000_000])
def test_the_last_words_on_stderr_are_kept(length: int, capfd: pytest.CaptureFixture[str]) -> None:
    (failure,) = ends(events(("say and die", length), retries=0)).values()
    assert isinstance(failure, Failed)
    assert failure.reason == "the process was killed by SIGABRT"
    assert "\nthe last words\nFatal Python error: Aborted" in failure.details
    assert "toy.py" in failure.details
    assert len(failure.details.encode()) <= local.TAIL
    passed_on = capfd.readouterr().err
    assert passed_on.startswith("." * length + "\nthe last words\n")
    assert passed_on.endswith(failure.details)


def test_stderr_closed_by_a_call_is_no_news() -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("close stderr",))
        found = runner.events()
        assert isinstance(next(found), Started)
        start = time.process_time()
        assert list(found) == [Finished(0, None)]
    assert time.process_time() - start < 0.1  # while it slept 0.2 s


@pytest.mark.parametrize("number", sorted({*local.STOP_SIGNALS, signal.SIGUSR2}))
def test_a_signal_to_the_server_that_forks_costs_nothing(number: signal.Signals) -> None:
    """SLURM sends its signals to all processes of a job."""
    found = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("tell steadily", 0.3))
        for event in runner.events():
            found.append(event)
            if len(found) == 2:
                os.kill(_forkserver._forkserver_pid, number)
    assert not any(isinstance(event, Retried) for event in found)
    assert found[-1] == Finished(0, "worked")


def test_the_server_that_forks_may_die(tmp_path: Path) -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("wait for go", tmp_path / "go"))
        found = []
        for event in runner.events():
            found.append(event)
            if len(found) == 2:
                (tmp_path / "go").touch()
                os.kill(_forkserver._forkserver_pid, signal.SIGKILL)
    assert Retried(0, "the process ended with exit code 255", 1) in found
    assert found[-1] == Finished(0, "gone on")
    assert len(pids(found)) == 1
    assert not any(alive(pid) for pid in pids(found))


def test_few_file_descriptors_are_no_failure(tmp_path: Path) -> None:
    """40 workers want about 200 descriptors, and there are 64: fewer calls run at once."""
    (tmp_path / "many.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from dse.runner.events import Failed, Finished, Retried\n"
        "from dse.runner.runner import Runner, Workers\n"
        "with Runner('toy:behave', Workers(count=40)) as runner:\n"
        "    for key in range(80):\n"
        "        runner.submit(key, ('tell steadily', 0.03))\n"
        "    found = list(runner.events())\n"
        "print(*(sum(isinstance(e, k) for e in found) for k in (Finished, Failed, Retried)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "many"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("80 0 0\n", "")


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2"])
def test_retries_are_counted(retries: Any) -> None:
    with pytest.raises(ValueError, match="`retries` must be a whole number in 0"):
        Runner("toy:echo", Workers(count=1, retries=retries))


# Hangs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "retries"), [("deaf", 1), ("freeze", 0)])
def test_a_call_that_hangs_is_killed_and_tried_again(word: str, retries: int) -> None:
    found = events((word,), ("return", 1), patience=0.5, retries=retries)
    reason = "the process sent no sign of life for 0.5 s and was killed"
    assert [e for e in found if isinstance(e, Retried)] == [Retried(0, reason, 1)] * retries
    failure = ends(found)[0]
    assert isinstance(failure, Failed)
    assert failure.reason == reason + "; tried 2 times" * retries
    assert ("in _deaf" in failure.details) is (word == "deaf")  # where it hung, if it could say
    assert len(pids(found)) == 1 + retries
    assert not any(alive(pid) for pid in pids(found))


def test_progress_is_life_however_long_it_takes() -> None:
    seconds = 2.6  # longer than the time between two signs of life of a call that only looks
    found = events(("tell steadily", seconds), ("look steadily", seconds), patience=1.5)
    assert ends(found) == {0: Finished(0, "worked"), 1: Finished(1, "worked")}
    assert not [event for event in found if isinstance(event, Retried)]


def test_a_driver_that_reads_no_events_kills_nobody() -> None:
    with Runner("toy:behave", Workers(count=1, patience=0.5)) as runner:
        runner.submit(0, ("tell steadily", 1.8))
        found = runner.events()
        next(found)
        time.sleep(1.5)
        assert list(found)[-1] == Finished(0, "worked")


def test_a_suspended_driver_and_its_calls_go_on(tmp_path: Path) -> None:
    settings = "dict(patience=0.7, retries=0)"
    with drive(tmp_path, "toy:behave", "('tell steadily', 1.5)", settings) as driver:
        pids = workers_of(driver)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in (driver.pid, *pids):
                os.kill(pid, number)
            time.sleep(1.4 if number == signal.SIGSTOP else 0)
        out, errors = driver.communicate(timeout=30)
    assert out.count("Finished") == 2
    assert errors == ""


@pytest.mark.parametrize("patience", [-1, float("nan"), "long"])
def test_patience_is_some_seconds(patience: Any) -> None:
    with pytest.raises(ValueError, match=r"`patience` must be in \[0, 1e\+09\], got"):
        Runner("toy:echo", Workers(count=1, patience=patience))


# Memory -------------------------------------------------------------------------------------


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
def test_a_call_short_of_memory_is_tried_once_more_alone(
    call: tuple[Any, ...], reason: str
) -> None:
    """Whatever else is there to do: two others run at first, and four come before it."""
    others = [("tell steadily", 0.1)] * 6
    found = events(*others[:2], call, *others[2:], workers=3)
    end = ends(found)[2]
    assert isinstance(end, Failed)
    assert end.reason == f"{reason}; retried while no other task ran"
    assert "Traceback" in end.details
    assert [e for e in found if isinstance(e, Retried)] == [Retried(2, reason, 1)]
    at = max(n for n, event in enumerate(found) if event == Started(2))
    assert list(running(iter(found)))[at] == {2}
    assert found[at + 1] == end


def test_two_short_of_memory_do_not_meet() -> None:
    calls = [("short of memory", "out of memory")] * 3
    found = events(*calls, ("tell steadily", 0.2), workers=4)
    second = {n for n, e in enumerate(found) if isinstance(e, Started)} - {0, 1, 2, 3}
    assert len(second) == 3
    assert all(len(now) == 1 for n, now in enumerate(running(iter(found))) if n in second)
    assert len(ends(found)) == 4


def test_the_kernels_kill_for_lack_of_memory_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 5\noom_kill 3\n")
    monkeypatch.setattr(local, "VMSTAT", vmstat)
    found = events(("killed for memory", vmstat), ("return", 1), retries=5)
    reason = "the process was killed for lack of memory"
    assert [e for e in found if isinstance(e, Retried)] == [Retried(0, reason, 1)]
    again = f"{reason}; retried while no other task ran"
    assert ends(found) == {0: Failed(0, again, ""), 1: Finished(1, 1)}


@pytest.mark.parametrize("content", [None, "", "oom_kill many\n"])
def test_a_kernel_that_counts_no_kills(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "vmstat").write_text(content)
    monkeypatch.setattr(local, "VMSTAT", tmp_path / "vmstat")
    failure = Failed(0, "the process was killed by SIGKILL", "")
    assert ends(events(("kill",), retries=0)) == {0: failure}


# Later --------------------------------------------------------------------------------------


def test_a_call_that_cannot_be_carried_out_yet_is_asked_again(tmp_path: Path) -> None:
    """Behind the others, by one worker, which is not kept busy meanwhile."""
    path = tmp_path / "turn"
    start, found = time.process_time(), []
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit("held", ("wait turn", path))
        for key in range(3):
            runner.submit(key, ("return", key))
        for event in runner.events():
            found.append(event)
            if event == Finished(2, 2):
                runner.submit("long", ("tell steadily", 1.0))
            if event == Finished("long", "worked"):
                path.touch()
    assert [event for event in found if event.key == "held"] == [
        Started("held"),
        Waiting("held"),
        Finished("held", "had"),
    ]
    assert time.process_time() - start < 0.7


def test_many_waiting_calls_are_asked_ten_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, found = time.monotonic(), []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(8):
            runner.submit(key, ("wait turn", tmp_path / "turn"))
        for event in runner.events():
            found.append(event)
            if len(found) == 16:
                break
        assert {type(event) for event in found} == {Started, Waiting}
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
    assert time.monotonic() - whole < 20


def test_a_waiting_call_can_be_stopped(tmp_path: Path) -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("wait turn", tmp_path / "never"))
        for event in runner.events():
            if event == Waiting(0):
                runner.stop(10)
    assert event == Interrupted(0)


# Stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["tell steadily", "look steadily"])
def test_calls_end_when_asked_and_no_other_starts(word: str) -> None:
    found = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(4):
            runner.submit(key, (word, 60))
        start = time.monotonic()
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported) and event.key == 1:
                runner.stop(30)
        assert time.monotonic() - start < 10
        assert [e.key for e in found if isinstance(e, Started)] == [0, 1]
        assert ends(found) == {key: Interrupted(key) for key in range(4)}
        runner.submit("after", (word, 0))
        assert list(runner.events()) == [Interrupted("after")]


def test_what_finishes_in_time_has_finished() -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("finish when asked",))
        runner.submit(1, ("raise", "x"))
        found = []
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported):
                runner.stop(30)
    assert ends(found)[0] == Finished(0, "saved")


@pytest.mark.parametrize("word", ["deaf", "freeze"])
def test_who_does_not_end_in_time_is_killed(word: str) -> None:
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(3):
            runner.submit(key, (word,))
        found = []
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported) and len(pids(found)) == 2:
                start = time.monotonic()
                runner.stop(0.3)
        assert 0.3 <= time.monotonic() - start < 10
    assert ends(found) == {key: Interrupted(key) for key in range(3)}
    assert not any(alive(pid) for pid in pids(found))


def test_a_second_stop_can_only_shorten_the_time() -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("deaf",))
        start, found = time.monotonic(), []
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported):
                runner.stop(50)
                runner.stop(0)
                runner.stop(100)
        assert found[-1] == Interrupted(0)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("seconds", [-1, float("nan"), "soon"])
def test_a_call_has_some_seconds_to_end(seconds: Any) -> None:
    with (
        Runner("toy:echo", Workers(count=1)) as runner,
        pytest.raises(ValueError, match=r"`seconds` must be in \[0, 1e\+09\], got"),
    ):
        runner.stop(seconds)


def test_a_signal_handler_may_stop_the_runner() -> None:
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("look steadily", 60))
        previous = signal.signal(signal.SIGALRM, lambda *_: runner.stop(30))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            start = time.monotonic()
            assert list(runner.events())[-1] == Interrupted(0)
            assert time.monotonic() - start < 5
        finally:
            signal.signal(signal.SIGALRM, previous)


def test_sigterm_from_elsewhere_asks_one_call_which_is_tried_again(tmp_path: Path) -> None:
    found = []
    with Runner("toy:behave", Workers(count=1)) as runner:
        runner.submit(0, ("save and go on", tmp_path))
        for event in runner.events():
            if isinstance(event, Reported) and event.value == 5:  # it waits
                os.kill(pids(found)[0], signal.SIGTERM)
            found.append(event)
    assert Retried(0, "the process was asked to stop", 1) in found
    assert found[-1] == Finished(0, list(range(10)))


# Ends ---------------------------------------------------------------------------------------


def test_closing_kills_what_runs() -> None:
    start = time.monotonic()
    pids: list[int] = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        for key in range(4):
            runner.submit(key, ("sleep", 60))
        found = runner.events()
        while len(pids) < 2:
            pids += [event.value for event in [next(found)] if isinstance(event, Reported)]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
    assert list(runner.events()) == []
    assert time.monotonic() - start < 20


def test_a_worker_killed_from_outside_is_told_at_once() -> None:
    with Runner("toy:behave", Workers(count=1, retries=0)) as runner:
        runner.submit("victim", ("sleep", 60))
        runner.submit("next", ("return", 1))
        found = []
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported):
                os.kill(event.value, signal.SIGKILL)
    assert Failed("victim", "the process was killed by SIGKILL", "") in found
    assert found[-1] == Finished("next", 1)


DRIVER = """
import sys
print(f"{__name__} is imported", flush=True)
import hydra
from dse.runner.runner import Runner, Workers

def main():
    with Runner(sys.argv[1], Workers(count=2, **eval(sys.argv[3]))) as runner:
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
def drive(
    folder: Path, function: str, argument: str, settings: str = "{}"
) -> Iterator[subprocess.Popen[str]]:
    """A driver as `python -m driver`, in a session of its own that is killed in the end."""
    (folder / "driver.py").write_text(DRIVER)
    with subprocess.Popen(
        [sys.executable, "-m", "driver", function, argument, settings],
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
    """The process ids that two calls tell first; 0 is none."""
    assert driver.stdout is not None
    pids = []
    for line in driver.stdout:
        if line.startswith("Reported") and "value=0)" not in line:
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


@pytest.mark.parametrize("code", [(), (7,)])
def test_what_a_call_leaves_behind_ends_with_it(code: tuple[int, ...]) -> None:
    found = events(("leave child", *code), ("return", 1), retries=0)
    (child,) = pids(found)
    assert soon(lambda: not alive(child))
    assert len(ends(found)) == 2


@pytest.mark.parametrize("word", ["freeze", "leave child"])
def test_nothing_outlives_a_driver_that_is_killed(tmp_path: Path, word: str) -> None:
    """Neither a call whose process answers no signal, nor a process that a call has started."""
    calls = f"('{word}',)" if word == "freeze" else "('leave child and sleep',)"
    with drive(tmp_path, "toy:behave", calls) as driver:
        started = workers_of(driver)
        assert soon(lambda: all(alive(pid) for pid in started))
        driver.kill()
        driver.wait(timeout=10)
        assert soon(lambda: not any(alive(pid) for pid in started))


def test_a_call_costs_milliseconds() -> None:
    with Runner("toy:echo", Workers(count=2)) as runner:
        runner.submit("first", 0)  # starts the server
        list(runner.events())
        start = time.perf_counter()
        for key in range(50):
            runner.submit(key, key)
        assert len(ends(list(runner.events()))) == 50
    assert (time.perf_counter() - start) / 50 < 0.1


# Engines ------------------------------------------------------------------------------------


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes started from here find the toy."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))


@pytest.fixture
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of jobs on this machine."""
    request.getfixturevalue("toys")
    return {"cluster": "local", "folder": str(tmp_path / "jobs"), "notice": 10}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


CALLS = [("count", 2), ("raise", "x"), ("kill",), ("return", {"a": (1, None)}), ("shout",)]


def check_calls(found: list[Event]) -> None:
    """What becomes of `CALLS`, with one retry, by any engine."""
    end = ends(found)
    assert end[0] == Finished(0, 2)
    assert [event.value for event in found if isinstance(event, Reported)] == [0, 1]
    assert isinstance(end[1], Failed)
    assert end[1].reason == "ValueError: x"
    assert "Traceback" in end[1].details
    reason = "the process was killed by SIGKILL"
    assert [e for e in found if isinstance(e, Retried)] == [Retried(2, reason, 1)]
    assert end[2] == Failed(2, f"{reason}; tried 2 times", "")
    assert end[3] == Finished(3, {"a": (1, None)})
    assert end[4] == Finished(4, 11)


def test_local_calls() -> None:
    check_calls(events(*CALLS, retries=1))


def test_jobs(jobs: dict[str, Any]) -> None:
    pytest.importorskip("submitit")
    found = events(*CALLS, workers=4, engine="submitit", settings=jobs, retries=1)
    check_calls(found)
    folder = Path(jobs["folder"])
    assert folder.stat().st_mode & 0o77 == 0
    assert len(list(folder.glob("*/*_log.err"))) == 3  # of the attempts that failed


def test_a_preempted_job_goes_on_and_a_killed_one_is_tried_again(
    jobs: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    found: list[Event] = []
    go = tmp_path / "go"
    with Runner("toy:behave", Workers(count=2, engine="submitit", settings=jobs)) as runner:
        runner.submit("preempted", ("save and go on", tmp_path))
        runner.submit("killed", ("wait for go", go))
        for event in runner.events():
            if isinstance(event, Reported) and event.value == 5:  # it waits
                (process,) = pids([e for e in found if e.key == "preempted"])[:1]
                os.kill(parent(parent(process)), signal.SIGUSR2)
            if (
                isinstance(event, Reported)
                and event.key == "killed"
                and not (tmp_path / "go").exists()
            ):
                go.touch()
                os.kill(parent(parent(event.value)), signal.SIGKILL)
            found.append(event)
    assert ends(found) == {
        "preempted": Finished("preempted", list(range(10))),
        "killed": Finished("killed", "gone on"),
    }
    first, *steps = pids([event for event in found if event.key == "preempted"])
    assert steps[:5] == [1, 2, 3, 4, 5]
    assert steps[6:] == [6, 7, 8, 9, 10]
    assert steps[5] != first
    reason = "the job ended without a result, FINISHED"
    assert [e for e in found if isinstance(e, Retried)] == [Retried("killed", reason, 1)]
    assert [e.key for e in found if isinstance(e, Started)].count("preempted") == 1
    assert not any(alive(pid) for pid in (first, steps[5]))


def test_jobs_of_slurm_are_cancelled_by_one_command(
    jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    engine = module.Submitit("toy:behave", 0, jobs)
    engine._slurm = True
    cleared: list[int] = []
    engine._attempts = [
        SimpleNamespace(
            job=SimpleNamespace(job_id=str(n)),
            spool=Spool(tmp_path / str(n)),
            clear=lambda n=n: cleared.append(n),
        )
        for n in range(5)
    ]
    commands: list[list[str]] = []
    monkeypatch.setattr(slurm, "_run", lambda *words: commands.append([*words]) or answers.pop())
    answers = ["", None, ""]
    engine.kill(*engine._attempts[1:3])
    assert cleared == [1, 2]
    left = engine._attempts[-1]
    engine.kill(left)  # SLURM does not answer
    assert left.spool.stopping
    engine.close()
    engine.close()
    assert commands == [["scancel", "1", "2"], ["scancel", "4"], ["scancel", "0", "3"]]
    assert cleared == [1, 2, 0, 3]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Programs that say a line; without one they fail. `tests/test_slurm.py` has the real ones."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def write(program: str, line: str) -> None:
        (place / program).write_text(f"#!/bin/sh\necho '{line}'\ntest -n '{line}'\n")
        (place / program).chmod(0o755)

    return write


def test_a_job_of_slurm_is_over_when_its_queue_says_so_twice(
    jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, says: Callable[[str, str], None]
) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    monkeypatch.setattr(module, "POLL", 0.0)
    engine = module.Submitit("toy:behave", 0, jobs)
    engine._slurm = True
    attempt = module._Attempt(SimpleNamespace(job_id="7"), Spool(Path("none")))
    engine._attempts = [attempt]
    queued_again = ["7 RUNNING", "7 PREEMPTED", "7 PENDING", "7 COMPLETING"]
    for line in [*queued_again, "7 TIMEOUT", "", "8 RUNNING"]:  # at last it is no longer listed
        assert len(attempt.ended) < 2
        says("squeue", line)
        engine._poll()
    assert attempt.ended == ["TIMEOUT", "UNKNOWN"]
    engine._attempts = []


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("JobId=7 JobState=RUNNING Reason=None PreemptTime=None", "running"),
        ("JobId=7 JobState=RUNNING PreemptEligibleTime=N/A", "running"),
        ("JobId=7 JobState=RUNNING PreemptTime=2026-11-21T19:34:09", "to be preempted"),
        ("JobId=7 JobState=SIGNALING PreemptTime=2026-11-21T19:34:09", "to be preempted"),
        ("JobId=7 JobState=COMPLETING PreemptTime=None Restarts=1", "ending"),
        ("JobId=7 JobState=PENDING PreemptTime=None Restarts=1", "ending"),
        ("", "ending"),
    ],
)
def test_what_sigterm_means_is_what_slurm_says(
    line: str, state: str, says: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("scontrol", line)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.own_state() == "running"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm.own_state() == state


def test_words_that_a_kill_has_cut_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "spool.reports").write_bytes(b'[1, 2]\n{"a": [3\xff[4]\n[5]\n[6')
    assert Spool(tmp_path / "spool").read() == [[1, 2], [5]]


@pytest.mark.slow
def test_jobs_that_hang_or_are_stopped(jobs: dict[str, Any]) -> None:
    pytest.importorskip("submitit")
    settings: dict[str, Any] = {"engine": "submitit", "settings": jobs, "retries": 0}
    (failure,) = ends(events(("deaf",), patience=1, **settings)).values()
    assert isinstance(failure, Failed)
    assert failure.reason == "the process sent no sign of life for 1 s and was killed"
    assert "in _deaf" in failure.details
    check_stop(settings, 6)


def check_stop(settings: dict[str, Any], seconds: float) -> None:
    """Stop two calls, of which one does not hear."""
    found: list[Event] = []
    with Runner("toy:behave", Workers(count=2, **settings)) as runner:
        for key, word in enumerate(("finish when asked", "deaf", "deaf")):
            runner.submit(key, (word,))
        for event in runner.events():
            found.append(event)
            if isinstance(event, Reported) and len(pids(found)) == 2:
                runner.stop(seconds)
    assert ends(found) == {0: Finished(0, "saved"), 1: Interrupted(1), 2: Interrupted(2)}
    assert soon(lambda: not any(alive(pid) for pid in pids(found)))


def test_stopped_local_calls() -> None:
    check_stop({}, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_tasks_of_ray() -> None:
    """On a cluster of this machine, of two cores."""
    ray = pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    settings: dict[str, Any] = {"engine": "ray", "retries": 1}
    try:
        check_calls(events(*CALLS, **settings))
        check_stop(settings, 6)
        found: list[Event] = []
        with Runner("toy:behave", Workers(count=2, **settings, patience=1)) as runner:
            runner.submit("killed", ("tell steadily", 2))
            runner.submit("hangs", ("deaf",))
            for event in runner.events():
                found.append(event)
                told = pids([e for e in found if e.key == "killed"])
                if told and isinstance(event, Reported) and told == [event.value]:
                    os.kill(parent(parent(event.value)), signal.SIGKILL)
        assert Retried("killed", "the task died: WorkerCrashedError", 1) in found
        assert ends(found)["killed"] == Finished("killed", "worked")
        assert "sent no sign of life for 1 s" in ends(found)["hangs"].reason
        assert soon(lambda: not any(alive(pid) for pid in pids(found)))
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_a_ray_cluster_of_its_own() -> None:
    ray = pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    with Runner("toy:behave", Workers(count=2, engine="ray", retries=1)) as runner:
        assert signal.getsignal(signal.SIGTERM) is handler
        for key, call in enumerate(CALLS):
            runner.submit(key, call)
        check_calls(list(runner.events()))
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        ({"num_cpus": 4000}, "`ray.num_cpus` must be at most "),
        ({"num_gpus": 1000}, "`ray.num_gpus` must be at most "),
        ({"mem_gb": 99_000}, "`ray.mem_gb` must be at most "),
    ],
)
@pytest.mark.slow
def test_what_this_machine_never_has_is_not_waited_for(wish: dict[str, Any], line: str) -> None:
    ray = pytest.importorskip("ray")
    with pytest.raises(ValueError, match=f"^{line}.* on this machine, got "):
        Runner("toy:behave", Workers(count=1, engine="ray", settings=wish))
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "here:now", "::1:99999"])
def test_a_ray_cluster_that_is_not_there(address: str) -> None:
    pytest.importorskip("ray")
    line = f"^`ray.address` must be that of a Ray cluster that answers, got {address}: "
    with pytest.raises(ValueError, match=line):
        Runner("toy:echo", Workers(count=1, engine="ray", settings={"address": address}))


@pytest.mark.parametrize("engine", ["submitit", "ray"])
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    line = rf"^`runner.engine` {engine} must have the extra installed: pip install 'squeezenet-dse"
    with pytest.raises(ValueError, match=rf"{line}\[{engine}\]'$"):
        Runner("toy:echo", Workers(count=1, engine=engine))


@pytest.mark.parametrize(
    ("engine", "settings", "line"),
    [
        ("slurm", {}, "`runner.engine` must be one of local, submitit, ray, got 'slurm'"),
        ("local", {"cores": 2}, "`runner.local` must have no settings, got cores"),
        ("submitit", {"queue": "a"}, "`runner.submitit` must have no settings but folder, clus"),
        ("submitit", {"cluster": "pbs"}, "`cluster` must be one of slurm, local, got 'pbs'"),
        ("submitit", {"timeout_min": 0}, "`timeout_min` must be a whole number in 1 .. 525600"),
        ("submitit", {"partition": "a\nb"}, "`partition` must be a name, got 'a\\nb'"),
        (
            "submitit",
            {"folder": __file__, "cluster": "local"},
            "`submitit.folder` must be a folder, got ",
        ),
        ("ray", {"num_gpus": "one"}, "`num_gpus` must be in [0, 1024], got 'one'"),
        ("ray", {"adress": "auto"}, "`runner.ray` must have no settings but address, num_cpus"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(
    engine: str, settings: dict[str, Any], line: str
) -> None:
    if engine != "slurm" and engine != "local":
        pytest.importorskip(engine)
    with pytest.raises(ValueError, match="^" + re.escape(line)) as told:
        Runner("toy:echo", Workers(count=1, engine=engine, settings=settings))
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_a_thousand_calls() -> None:
    calls = [("return", n) for n in range(1000)]
    start = time.perf_counter()
    found = events(*calls, workers=2)
    seconds = time.perf_counter() - start
    assert ends(found) == {n: Finished(n, n) for n in range(1000)}
    assert seconds / 1000 < 0.1
