"""The process of one task: how it reports to its driver, stops when asked, and ends with it."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import signal
import threading
from multiprocessing.connection import Connection

from dse.runner.gpus import VISIBLE
from dse.runner.task import Reporter, failure, run_task


def work(
    function: str,
    content: bytes,
    visible: str | None,
    reports: Connection,
    errors: Connection,
    alive: Connection,
) -> None:
    """Run one task in this process, which leads a process group of its own.

    `visible` are its GPUs, as `CUDA_VISIBLE_DEVICES` lists them; None for all.
    Reports and the end go over `reports`; stderr goes to `errors`; when the driver ends, `alive`
    is closed and the whole group is killed. SIGTERM asks the task to stop; SIGUSR2 writes to
    stderr where it is.
    """
    os.setpgrp()
    os.environ.pop(VISIBLE, None)  # the server may have been started with another value
    if visible is not None:
        os.environ[VISIBLE] = visible
    os.dup2(errors.fileno(), 2)
    errors.close()
    faulthandler.enable(2, all_threads=False)
    faulthandler.register(signal.SIGUSR2, 2, all_threads=False)
    _end_with(alive)
    reporter = Reporter(reports.send)
    _stop_on_sigterm(reporter)
    end = run_task(function, content, reporter)
    try:
        reports.send(end)
    except OSError:  # the driver has gone
        pass
    except BaseException as error:  # the value cannot be pickled
        reports.send(failure(error))


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
    threading.Thread(target=_wait_for_end, args=(alive,), daemon=True).start()
    if hasattr(fcntl, "F_SETSIG"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(alive, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)


def _wait_for_end(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os.killpg(0, signal.SIGKILL)
