"""One call, as the process that carries it out sees it, and how it may end."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import importlib
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

BEAT = 1.0
"""Seconds between two signs of life at the most often."""

MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
"""How torch says on a processor or a GPU that memory is short, in lower case."""


class Stopped(BaseException):
    """The call was asked to end: it leaves a checkpoint if it can, and lets this pass.

    No `Exception`, so that a handler of failures does not take it for one.
    """


class Later(Exception):
    """Raised by a call that cannot be carried out yet: it is asked again after a pause."""


@dataclass(frozen=True, slots=True)
class Word:
    """A call told `value`."""

    value: Any


@dataclass(frozen=True, slots=True)
class End:
    """How one attempt at a call ended; `reason` is one line, `details` some.

    `finished` with a value; `failed` by an exception; `memory`: there was not enough; `died`: its
    process ended, or was killed, without a word; `later` and `stopped` by the exceptions above.
    """

    kind: Literal["finished", "failed", "memory", "died", "later", "stopped"]
    value: Any = None
    reason: str = ""
    details: str = ""


class Tell:
    """What a call sends word of its progress with: `tell(value)`.

    Raises `Stopped`, after the word is sent, where the call was asked to end.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send, self._stopping, self._sent = send, False, time.monotonic()

    def __call__(self, value: Any) -> None:
        self._sent = time.monotonic()
        self._send(Word(value))
        if self._stopping:
            raise Stopped

    @property
    def stopping(self) -> bool:
        """Whether the call was asked to end. To look is a sign of life, as a word is; a look costs
        less than a microsecond, so that a loop can look in every step."""
        if time.monotonic() - self._sent >= BEAT:
            self._sent = time.monotonic()
            self._send(None)
        return self._stopping

    def stop(self) -> None:
        """Ask the call to end."""
        self._stopping = True


def carry_out(function: str, content: bytes, tell: Tell) -> End:
    """`function` ("module:function") called with the pickled argument and `tell`: how it ended."""
    try:
        module, _, name = function.partition(":")
        call = getattr(importlib.import_module(module), name)
        return End("finished", call(pickle.loads(content), tell))
    except Later:
        return End("later")
    except Stopped:
        return End("stopped", reason="the process was asked to end")
    except BaseException as error:  # SystemExit too: it is the call's failure, told like any
        return failure(error)


def failure(error: BaseException) -> End:
    """The end that an exception is."""
    text = str(error).lower()
    short = (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(words in text for words in MEMORY))
    )
    trace = "".join(traceback.format_exception(error))
    return End("memory" if short else "failed", reason=line_of(error), details=trace)


def line_of(error: BaseException) -> str:
    """An exception as one line."""
    return traceback.format_exception_only(error)[0].strip().splitlines()[0]


# A process for one call ---------------------------------------------------------------------


def work(
    function: str, content: bytes, line: socket.socket, errors: Connection, life: Connection
) -> None:
    """One call in a process of its own, which leads a process group.

    Words and the end go over `line`, what is written to stderr goes to `errors`, and when `life`
    ends, as the driver does, so does the whole group. SIGTERM asks the call to end; SIGUSR2
    writes to stderr where it is.
    """
    os.setpgrp()
    os.dup2(errors.fileno(), 2)
    errors.close()
    faulthandler.enable(2, all_threads=False)
    faulthandler.register(signal.SIGUSR2, 2, all_threads=False)
    _end_with(life)
    tell = Tell(lambda sign: send(line, sign))
    _stop_on_sigterm(tell)
    end = carry_out(function, content, tell)
    try:
        send(line, end)
    except OSError:  # nobody listens any more
        pass
    except BaseException as error:  # the value is not to be pickled
        send(line, failure(error))


def send(line: socket.socket, sign: Word | End | None) -> None:
    """Send a sign: its length in 8 bytes, then its pickle."""
    content = pickle.dumps(sign)
    line.sendall(len(content).to_bytes(8, "big") + content)


def _stop_on_sigterm(tell: Tell) -> None:
    """The driver has blocked SIGTERM for a process that is not here yet."""
    pid = os.getpid()

    def asked(*_: object) -> None:
        if os.getpid() == pid:
            tell.stop()
        else:  # a child forked by the call, for which the signal means what it always means
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, asked)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_with(life: Connection) -> None:
    """Kill this process group when the other end of `life` is closed; nothing is ever sent.

    Linux does it even where no thread can: in a process that is stopped, or whose interpreter is
    locked by a hanging C function.
    """
    threading.Thread(target=_wait_for_end, args=(life,), daemon=True).start()
    if hasattr(fcntl, "F_SETSIG"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _wait_for_end(life: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        life.recv_bytes()
    os.killpg(0, signal.SIGKILL)
