"""Attempts at calls as processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from dse.runner.call import End, Word, failure, work

GRACE = 5.0
"""Seconds that a process may take to end after its call has."""

TURN = 0.5
"""Seconds after which a waiting driver looks at its clock."""

TAIL = 8192
"""Bytes that are kept of the end of what a process wrote to stderr."""

DESCRIPTORS = 12
"""File descriptors that a process costs its driver while it is started, with some to spare."""

VMSTAT = Path("/proc/vmstat")

ASKING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
"""What asks a driver to end: Ctrl-C, whoever stops a process, a terminal that is closed, SLURM."""


@dataclass(slots=True, eq=False)
class Attempt:
    """A process that carries out a call, and what has come from it."""

    process: ForkServerProcess
    line: socket.socket
    errors: Connection
    life: Connection
    kills: int
    received: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    writes: bool = True
    silent: float = -TURN  # the turn in which it starts may have begun before
    ended: bool = False


class Local:
    """Processes forked from a server that has imported the function's module, one for each call.

    A process that sends neither word nor other sign of life for `patience` seconds (0: any) hangs
    and is killed. The seconds are those in which this process was awake and listening, so that one
    that is suspended with its calls kills none of them; they count from the fork, which follows the
    server's imports. What a process writes to stderr goes on to this one's.
    """

    pauses = (0.1, 2.0)

    def __init__(self, function: str, patience: float) -> None:
        self._function, self._patience = function, patience
        self._context = multiprocessing.get_context("forkserver")
        imports = ["dse.runner.server", __name__, function.partition(":")[0]]
        self._context.set_forkserver_preload(imports)
        with contextlib.suppress(OSError), _apart():
            forkserver.ensure_running()  # it imports while the caller prepares its calls
        self._attempts: list[Attempt] = []
        self._looked = time.monotonic()

    def start(self, content: bytes) -> Attempt:
        """Start a process; raises `OSError` or `EOFError` where there can be no other."""
        _check_descriptors()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            line, line_there = socket.socketpair()
            ours.enter_context(line)
            theirs.enter_context(line_there)
            errors, errors_there = self._context.Pipe(duplex=False)
            ours.enter_context(errors)
            theirs.enter_context(errors_there)
            life_there, life = self._context.Pipe(duplex=False)
            ours.enter_context(life)
            theirs.enter_context(life_there)
            process = self._context.Process(
                target=work, args=(self._function, content, line_there, errors_there, life_there)
            )
            kills = _kills()
            with _apart():
                _fork(process)
            ours.pop_all()
        os.set_blocking(errors.fileno(), False)
        attempt = Attempt(process, line, errors, life, kills)
        self._attempts.append(attempt)
        return attempt

    def wait(self, seconds: float) -> list[tuple[Attempt, Word | End]]:
        """What came, in order of each attempt; waits for the first, `seconds` at most."""
        owners: dict[Any, Attempt] = {}
        for attempt in self._attempts:
            owners |= {attempt.process.sentinel: attempt, attempt.line: attempt}
            if attempt.writes:
                owners[attempt.errors] = attempt
        ready = set(wait(list(owners), max(0.0, min(seconds, TURN))))
        awake = min(time.monotonic() - self._looked, TURN)
        self._looked = time.monotonic()
        found: list[tuple[Attempt, Word | End]] = []
        for attempt in list(self._attempts):
            if attempt.errors in ready:
                _pass_on(attempt)
            attempt.ended = attempt.process.sentinel in ready
            attempt.silent += awake
            for sign in self._signs(attempt, attempt.ended or attempt.line in ready):
                found.append((attempt, sign))
        return found

    def ask(self, attempt: Attempt) -> None:
        """Ask a call to end; it does when it next tells or looks."""
        attempt.process.terminate()

    def kill(self, *attempts: Attempt) -> None:
        """End attempts with all that they started; nothing more comes from them."""
        for attempt in attempts:
            _kill_group(attempt.process)
        for attempt in attempts:
            self._attempts.remove(attempt)
            _kill(attempt.process)
            _pass_on(attempt)
            for end in (attempt.line, attempt.errors, attempt.life, attempt.process):
                end.close()

    def close(self) -> None:
        """End every attempt."""
        self.kill(*self._attempts)

    def _signs(self, attempt: Attempt, ready: bool) -> Iterator[Word | End]:
        """The signs that have come whole; after an end, or where a process hangs, no more."""
        over = ready and not _fill(attempt)
        try:
            for sign in _whole(attempt.received):
                attempt.silent = 0.0
                if isinstance(sign, End):
                    attempt.process.join(GRACE)
                    yield self._close(attempt, sign)
                    return
                if sign is not None:
                    yield sign
        except Exception as error:  # what was sent does not unpickle here
            yield self._close(attempt, failure(error))
            return
        if over:
            yield self._close(attempt, self._death(attempt))
        elif self._patience and attempt.silent >= self._patience:
            _ask_where(attempt)
            reason = f"the process sent no word for {self._patience:g} seconds and was killed"
            yield self._close(attempt, End("died", reason=reason))

    def _close(self, attempt: Attempt, end: End) -> End:
        """End what is left of an attempt; its end, with its last lines where it left no word."""
        self.kill(attempt)
        if end.kind != "died":
            return end
        return replace(end, details=attempt.tail.decode(errors="replace"))

    def _death(self, attempt: Attempt) -> End:
        """Why a process ended without a word."""
        attempt.process.join(GRACE)
        _kill(attempt.process)
        code = attempt.process.exitcode
        if code == -signal.SIGKILL and _kills() > attempt.kills:
            return End("memory", reason="the process was killed for lack of memory")
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                return End("died", reason=f"the process was killed by {name}")
        return End("died", reason=f"the process ended with exit code {code}")


def _check_descriptors() -> None:
    """Raise `OSError` before a start that would fail halfway: the server that forks dies of it."""
    spare: list[int] = []
    try:
        for _ in range(DESCRIPTORS):
            spare.append(os.dup(0 if not spare else spare[0]))
    finally:
        for descriptor in spare:
            os.close(descriptor)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Keep three things of the driver from a new process: `__main__`, which it would import again
    although it calls its function by name; the signals that ask it to end, which only the driver
    answers; and SIGTERM until it can answer."""
    main = sys.modules["__main__"]
    resource_tracker.ensure_running()  # starts with the first process, and would unblock Ctrl-C
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _fork(process: ForkServerProcess) -> None:
    """Start a process; a server that was just killed may look alive for a moment."""
    for seconds in (0.02, 0.2, 2.0):
        try:
            return process.start()
        except ConnectionRefusedError:
            time.sleep(seconds)
    return process.start()


def _fill(attempt: Attempt) -> bool:
    """Take what has come, all of it where the process has ended; whether more may come."""
    try:
        while part := attempt.line.recv(2**20, socket.MSG_DONTWAIT):
            attempt.received += part
            attempt.silent = 0.0
            if not attempt.ended:
                return True
    except BlockingIOError:
        return not attempt.ended
    except OSError:  # reset by a process that died
        pass
    return False


def _whole(received: bytearray) -> Iterator[Word | End | None]:
    """Take the whole signs off the front of `received`."""
    while len(received) >= 8:
        size = 8 + int.from_bytes(received[:8], "big")
        if len(received) < size:
            return
        content = bytes(received[8:size])
        del received[:size]
        yield pickle.loads(content)


def _pass_on(attempt: Attempt) -> None:
    """Take what a process wrote to stderr, 64 KiB at a time: keep the end, write on the whole."""
    with contextlib.suppress(OSError):  # nothing there, or nobody reads this process's stderr
        content = os.read(attempt.errors.fileno(), 2**16)
        attempt.writes = bool(content)
        attempt.tail = (attempt.tail + content)[-TAIL:]
        while content:
            content = content[os.write(2, content) :]


def _ask_where(attempt: Attempt) -> None:
    """Have a process that hangs write to stderr where, if it can."""
    _signal(attempt.process, signal.SIGUSR2, os.kill)
    if wait([attempt.errors], TURN):
        time.sleep(0.05)  # it writes in pieces


def _kill(process: ForkServerProcess) -> None:
    _kill_group(process)
    process.kill()
    process.join()


def _kill_group(process: ForkServerProcess) -> None:
    """Kill a call's process with what it started; it leads a group unless it is still starting."""
    _signal(process, signal.SIGKILL, os.killpg)


def _signal(process: ForkServerProcess, number: int, send: Callable[[int, int], None]) -> None:
    """Send a signal to a process or its group, if it has begun and is not gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.pid:
            send(process.pid, number)


def _kills() -> int:
    """How many processes this machine's kernel has killed for lack of memory, 0 if it is silent."""
    with contextlib.suppress(OSError, ValueError):
        for line in VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
