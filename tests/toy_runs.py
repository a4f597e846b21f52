"""Running the toy's tasks, and what came of them."""

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

from dse.runner.events import Event, Failed, Finished, Interrupted, Reported, Retried, Started
from dse.runner.runner import Runner, Workers

TESTS = Path(__file__).parent


def events(
    *calls: Any, workers: int = 2, function: str = "toy:behave", **settings: Any
) -> list[Event]:
    """All events of some tasks, each named by its number."""
    with Runner(function, Workers(count=workers, **settings)) as runner:
        for key, call in enumerate(calls):
            runner.submit(key, call)
        return list(runner.events())


def ends(received: Sequence[Event]) -> dict[Any, Finished | Failed | Interrupted]:
    """How each task ended; each ended once."""
    last = [event for event in received if isinstance(event, (Finished, Failed, Interrupted))]
    assert len({event.key for event in last}) == len(last)
    return {event.key: event for event in last}


def pids(received: Sequence[Event]) -> list[int]:
    """The process ids that tasks reported."""
    return [event.value for event in received if isinstance(event, Reported) and event.value]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # as it is read
        return False
    return state not in "ZX"


def soon(condition: Callable[[], bool], seconds: float = 200) -> bool:
    """Whether `condition` becomes true within some seconds, more than a busy machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def running(received: Iterator[Event]) -> Iterator[set[Any]]:
    """The tasks that run after each event."""
    now: set[Any] = set()
    for event in received:
        if isinstance(event, Started):
            now.add(event.key)
        elif isinstance(event, (Finished, Failed, Retried)):
            now.remove(event.key)
        yield set(now)


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
    """A driver in a session of its own, started as `python -m driver`; it is killed at the end."""
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
    """The process ids that two tasks report first; 0 is not one."""
    assert driver.stdout is not None
    pids = []
    for line in driver.stdout:
        if line.startswith("Reported") and "value=0)" not in line:
            pids.append(int(line.partition("value=")[2].rstrip(")\n")))
        if len(pids) == 2:
            return pids
    raise AssertionError(driver.stderr and driver.stderr.read())


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
