"""Processes for tasks, forked from a server that has imported what they need."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, wait

from dse.runner.forkserver import ANSWER
from dse.runner.task import memory_limit

CODE = "import sys; sys.path[:] = {}; from dse.runner.forkserver import serve; serve({})"

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
"""What asks a driver to stop: Ctrl-C, kill, a terminal that closes, SLURM."""

GRACE = 5.0
"""Seconds that a process may take to end after its task has, or its connection is closed."""


def ending(code: int | None) -> str:
    """How a process ended, by its exit code; minus a signal's number where that killed it."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with {'unknown exit code' if code is None else f'exit code {code}'}"


class Process:
    """A forked process; `status` can be read when it has ended.

    `code` is then its exit code, minus a signal's number where that killed it, and None where it is
    not known because the server was killed before.
    """

    def __init__(self, pid: int, status: Connection) -> None:
        self.pid, self.status = pid, status
        self.ended = False
        self.code: int | None = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end, at most some seconds."""
        if not self.ended and wait([self.status], seconds):
            self.ended = True
            content = os.read(self.status.fileno(), ANSWER.size)
            self.code = ANSWER.unpack(content)[0] if content else None

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Kill the process with all that it started, if it leads a group yet."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the process with all that it started, and wait for its end."""
        self.kill_group()
        self.signal(signal.SIGKILL)
        self.wait()


class Server:
    """The fork server of this process: started when needed, and again after it has ended."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Have no server: the one that a forked process inherits is its parent's."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def prepare(self, module: str) -> None:
        """Have the server import a module, and return at once."""
        with self._lock:
            self._send(module, [])

    def fork(self, module: str, descriptors: list[int]) -> int:
        """Fork a process that has imported `module`, if that can be, and return its id.

        `descriptors` are those that `dse.runner.forkserver` describes. Raises `ConnectionError`
        where the server has ended, and another `OSError` where there is no room for a process.
        """
        with self._lock:
            try:
                answer = self._send(module, descriptors).recv(ANSWER.size)
                if not answer:
                    raise ConnectionResetError
            except ConnectionError:
                how = ending(self._code())
                self.end()
                raise ConnectionResetError(f"the fork server {how}{memory_limit()}") from None
            except BaseException:  # interrupted too: a late answer would be the next task's
                self.end()
                raise
        pid: int = ANSWER.unpack(answer)[0]
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    def _send(self, module: str, descriptors: list[int]) -> socket.socket:
        """Send a request to the server."""
        if self._socket is None:
            self._socket = self._start()
        socket.send_fds(self._socket, [f"{module}\n".encode()], descriptors)
        return self._socket

    def _code(self) -> int | None:
        """The exit code of a server that has closed its connection."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(GRACE) if self._process else None
        return None

    def _start(self) -> socket.socket:
        """Start the server, with the stop signals blocked: only the driver answers them."""
        ours, theirs = socket.socketpair()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        places = [place for place in sys.path if isinstance(place, str)]  # others are ignored
        code = CODE.format(places, theirs.fileno())
        environment = dict(os.environ)
        environment.pop("OPENBLAS_DEFAULT_NUM_THREADS", None)  # of commands alone, see dse/__init__
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return ours

    def end(self) -> None:
        """End the server; the next request starts another one. Tasks continue."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


def _end_at_exit() -> None:
    """End the server; a signal that comes while Python exits does not interrupt this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    SERVER.end()


SERVER = Server()
os.register_at_fork(after_in_child=SERVER.forget)
atexit.register(_end_at_exit)
