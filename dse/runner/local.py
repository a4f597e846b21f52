"""The engine that runs tasks in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from dse.runner import mps
from dse.runner.fork import GRACE, SERVER, Process, ending
from dse.runner.gpus import VISIBLE, Gpus
from dse.runner.process import Call
from dse.runner.task import End, Report, failure, is_of_gpu

TURN = 0.5
"""Maximum seconds that a driver waits before it checks its clock."""

TAIL = 8192
"""Bytes that are kept of the end of a process's stderr."""

DESCRIPTORS = 16
"""File descriptors that a driver needs to start a process and continue its own work."""

LOST = 2
"""Tasks in a row that fail on a GPU before it is considered lost; those that a fault ends at the
same time are one."""

STARTS = 3
"""Fork servers that may end without an answer, one after the other, before there is no room."""

ROOM = 60.0
"""Seconds for which no process can be started, while none runs, before a driver gives up."""

VMSTAT = Path("/proc/vmstat")


@dataclass(slots=True, eq=False)
class Attempt:
    """A process that runs a task, and what has come from it."""

    process: Process
    reports: Connection
    errors: Connection
    alive: Connection
    oom_kills: int
    visible: str | None
    gpu_failures: int  # in a row on its GPU, before it started
    tail: bytes = b""
    writes: bool = True
    silent: float = -TURN  # the turn in which it starts may have begun earlier


class Local:
    """A process for each task, forked from a server that has imported the function's module.

    A process that sends neither a report nor a heartbeat for `patience` seconds (0: no limit) is
    considered hung and is killed. Only the time in which this driver was awake and listening
    counts, so that one that is suspended together with its tasks kills none of them; it counts from
    the fork, after the server's imports. A process's stderr is forwarded to this one's.

    With `gpus`, each process sees one of them: the one with the fewest tasks, except those that
    failed `LOST` tasks in a row while others did not.
    """

    pauses = (0.1, 2.0)

    def __init__(self, function: str, patience: float, gpus: Gpus | None = None) -> None:
        self._function, self._patience = function, patience
        self._gpus, self._gpu_failures = gpus or (), Counter[str | None]()
        self._module = function.partition(":")[0]
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        with contextlib.suppress(OSError):
            SERVER.prepare(self._module)  # it imports while the caller prepares its tasks
        self._attempts: list[Attempt] = []
        self._last_wait = time.monotonic()

    def start(self, content: bytes) -> Attempt:
        """Start a process; raises `OSError` where there is no room for more: `ConnectionError`
        where `STARTS` servers have ended."""
        _check_descriptors()
        for _ in range(STARTS - 1):
            with contextlib.suppress(ConnectionError):  # the next one is started
                return self._start(content)
        return self._start(content)

    def _start(self, content: bytes) -> Attempt:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            status, their_status = Pipe(duplex=False)
            reports, their_reports = Pipe(duplex=False)
            errors, their_errors = Pipe(duplex=False)
            their_alive, alive = Pipe(duplex=False)
            for end in (status, reports, errors, alive):
                ours.enter_context(end)
            passed = (their_status, their_reports, their_errors, their_alive)
            for end in passed:
                theirs.enter_context(end)
            visible, oom_kills = self._visible(), _oom_kills()
            pid = SERVER.fork(self._module, [end.fileno() for end in passed])
            ours.pop_all()
        attempt = Attempt(
            process=Process(pid, status),
            reports=reports,
            errors=errors,
            alive=alive,
            oom_kills=oom_kills,
            visible=visible,
            gpu_failures=self._gpu_failures[visible],
        )
        self._attempts.append(attempt)
        os.set_blocking(errors.fileno(), False)
        with contextlib.suppress(OSError):  # it died at once
            variables = {VISIBLE: visible, mps.FOLDER: os.environ.get(mps.FOLDER)}
            alive.send(Call(self._function, content, sys.path, variables, self._cores))
        return attempt

    def wait(self, seconds: float) -> list[tuple[Attempt, Report | End]]:
        """What came, in order for each attempt; waits at most `seconds` for the first."""
        sources: list[Any] = []
        for attempt in self._attempts:
            sources += [attempt.process.status, attempt.reports]
            sources += [attempt.errors] if attempt.writes else []
        ready = set(wait(sources, max(0.0, min(seconds, TURN))))
        awake = min(time.monotonic() - self._last_wait, TURN)
        self._last_wait = time.monotonic()
        received: list[tuple[Attempt, Report | End]] = []
        for attempt in list(self._attempts):
            if attempt.errors in ready:
                _forward_stderr(attempt)
            attempt.silent += awake
            messages = self._messages(attempt, attempt.process.status in ready)
            received += [(attempt, message) for message in messages]
        return received

    def stop(self, attempt: Attempt) -> None:
        """Ask a task to stop; it does when it next reports or reads `stopping`."""
        attempt.process.signal(signal.SIGTERM)

    def kill(self, *attempts: Attempt) -> None:
        """End attempts with all that they started; nothing more comes from them."""
        for attempt in attempts:
            attempt.process.kill_group()
        for attempt in attempts:
            self._attempts.remove(attempt)
            attempt.process.kill()
            _forward_stderr(attempt)
            for end in (attempt.reports, attempt.errors, attempt.alive, attempt.process.status):
                end.close()

    def close(self) -> None:
        """End every attempt."""
        self.kill(*self._attempts)

    def _visible(self) -> str | None:
        """The next process's `CUDA_VISIBLE_DEVICES`; without GPUs to choose from, this one's."""
        if not self._gpus:
            return os.environ.get(VISIBLE)
        tasks = Counter(attempt.visible for attempt in self._attempts)
        lost = {name: count >= LOST for name, count in self._gpu_failures.items()}
        names = [gpu.visible for gpu in self._gpus]
        return min(names, key=lambda name: (lost.get(name, False), tasks[name]))

    def _messages(self, attempt: Attempt, ended: bool) -> Iterator[Report | End]:
        """What has come: a message, or all of them and the end where the process has `ended`."""
        if ended:
            attempt.process.kill_group()  # a child that it has left would keep the pipe open
        try:
            while attempt.reports.poll():
                content = attempt.reports.recv_bytes()
                attempt.silent = 0.0
                try:
                    message = pickle.loads(content)
                except Exception as error:
                    yield self._finish(attempt, failure(error))
                    return
                if isinstance(message, End):
                    attempt.process.wait(GRACE)
                    yield self._finish(attempt, message)
                    return
                if message is not None:
                    yield message
                if not ended:
                    return
        except (EOFError, OSError):  # the process died, perhaps while it was sending
            ended = True
        if ended:
            yield self._finish(attempt, self._death(attempt))
        elif self._patience and attempt.silent >= self._patience:
            _dump_stack(attempt)
            reason = f"the process sent no heartbeat for {self._patience:g} s and was killed"
            yield self._finish(attempt, End("died", reason=reason))

    def _finish(self, attempt: Attempt, end: End) -> End:
        """Kill what is left of an attempt; its end, with the last of stderr where it died."""
        self.kill(attempt)
        lost = end.kind == "died" and is_of_gpu(end.reason)
        self._gpu_failures[attempt.visible] = lost * (attempt.gpu_failures + 1)
        if end.kind != "died" or end.details:
            return end
        return replace(end, details=attempt.tail.decode(errors="replace"))

    def _death(self, attempt: Attempt) -> End:
        """Why a process ended without a result."""
        attempt.process.wait(GRACE)
        attempt.process.kill()
        code = attempt.process.code
        if code == -signal.SIGKILL and _oom_kills() > attempt.oom_kills:
            return End("memory", reason="the process was killed for lack of memory")
        return End("died", reason=f"the process {ending(code)}")


def _check_descriptors() -> None:
    """Raise `OSError` where a start would leave the driver too few for its own work."""
    spare: list[int] = []
    try:
        for _ in range(DESCRIPTORS):
            spare.append(os.dup(spare[0] if spare else 0))
    finally:
        for descriptor in spare:
            os.close(descriptor)


def _forward_stderr(attempt: Attempt) -> None:
    """Read up to 64 KiB of a process's stderr: write all of it to ours, and keep the end."""
    with contextlib.suppress(OSError):  # nothing is there, or our stderr is closed
        content = os.read(attempt.errors.fileno(), 2**16)
        attempt.writes = bool(content)
        attempt.tail = (attempt.tail + content)[-TAIL:]
        while content:
            content = content[os.write(2, content) :]


def _dump_stack(attempt: Attempt) -> None:
    """Have a process that hangs write to stderr where it is, if it can."""
    attempt.process.signal(signal.SIGUSR2)
    if wait([attempt.errors], TURN):
        time.sleep(0.05)  # it writes in pieces


def _oom_kills() -> int:
    """How many processes this machine's kernel has killed for lack of memory; 0 if not known."""
    with contextlib.suppress(OSError, ValueError):
        for line in VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
