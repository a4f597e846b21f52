"""The process of one task: how it reports to its driver, stops when asked, and ends with it."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import importlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from dse.runner.task import Reporter, failure, run_task


@dataclass(frozen=True, slots=True)
class Call:
    """A task for a process: a function by name, its pickled argument, and surroundings.

    `path` is the driver's `sys.path`; `variables` are of the environment, None for one that is not
    set; `cores` are those of the driver, None where the system does not say.
    """

    function: str
    content: bytes
    path: list[str]
    variables: Mapping[str, str | None]
    cores: set[int] | None


def work(reports: Connection, errors: Connection, alive: Connection) -> None:
    """Run one task in this process, which leads a process group of its own.

    The `Call` comes over `alive`. Reports and the end go over `reports`; stderr goes to `errors`;
    when the driver ends, `alive` is closed and the whole group is killed. SIGTERM asks the task to
    stop; SIGUSR2 writes to stderr where it is.
    """
    os.setpgrp()
    os.dup2(errors.fileno(), 2)
    errors.close()
    faulthandler.enable(2, all_threads=False)
    faulthandler.register(signal.SIGUSR2, 2, all_threads=False)
    try:
        call: Call = alive.recv()
    except (EOFError, OSError):  # the driver has gone, or given up
        return
    _end_with(alive)
    _surround(call)
    reporter = Reporter(reports.send)
    _stop_on_sigterm(reporter)
    end = run_task(call.function, call.content, reporter)
    try:
        reports.send(end)
    except OSError:  # the driver has gone
        pass
    except BaseException as error:  # the value cannot be pickled
        reports.send(failure(error))


def _surround(call: Call) -> None:
    """Give this process its driver's surroundings: the server's may be of another time, and a
    library may have bound the server to one core (OpenMP does, where OMP_PROC_BIND is set)."""
    sys.path[:] = call.path
    for name, value in call.variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    with contextlib.suppress(BaseException):  # the server has imported it, or the task reports why
        importlib.import_module(call.function.partition(":")[0])
    if call.cores:
        with contextlib.suppress(OSError):  # they have been taken away meanwhile
            os.sched_setaffinity(0, call.cores)


def _stop_on_sigterm(reporter: Reporter) -> None:
    """Let SIGTERM stop the task; until now it was blocked, so that none is lost."""
    pid = os.getpid()

    def stop(*_: object) -> None:
        if os.getpid() == pid:
            reporter.stop()
        else:  # a child that the task forked: there the signal has its usual effect
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_with(alive: Connection) -> None:
    """Kill this process group when the other end of `alive` is closed; nothing is ever sent.

    A thread waits for that. Where no thread can run, because the process is stopped or a C function
    holds the interpreter's lock, Linux sends the signal itself.
    """
    with contextlib.suppress(RuntimeError):  # no more threads are allowed
        threading.Thread(target=_wait_for_end, args=(alive,), daemon=True).start()
    if hasattr(fcntl, "F_SETSIG"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(alive, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if alive.poll():  # the driver ended meanwhile
        _wait_for_end(alive)


def _wait_for_end(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os.killpg(0, signal.SIGKILL)
