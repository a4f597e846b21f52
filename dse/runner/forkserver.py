"""The fork server: a process that imports what tasks need, and forks a process for each task.

`dse.runner.fork` starts it and talks to it over a pair of sockets that has no name, so that nothing
depends on a folder for temporary files. A request is a line with the name of a module, which is
imported before the first fork, and the file descriptors of a task; the answer is the process's id,
or an error. Without descriptors there is no answer.

A fork that fails ends nothing else, and tasks continue where the server is killed. It ends at once
when its driver has ended: cleaning up what it has imported, torch for instance, would keep the
driver waiting for more than a second. SLURM sends its signals to all processes of a job: those that
ask to stop are blocked here, and the others ignored.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import socket
import struct
import sys
import traceback
from functools import partial
from multiprocessing.connection import Connection, wait

from dse.runner.process import work

ANSWER = struct.Struct("i")
"""A process's id; an error's number, negative, where there is no process."""

PASSED = 4
"""File descriptors of a task: of its status, reports, errors and driver."""


def serve(descriptor: int) -> None:
    """Answer the requests that come over a socket until its other end is closed."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    driver = socket.socket(fileno=descriptor)
    statuses: dict[int, int] = {}
    while True:
        ready = wait([driver, ended])  # select() takes no descriptor above 1023
        if ended in ready:
            ended.recv(4096)
            _reap(statuses)
        if driver in ready:
            modules, passed, _, _ = socket.recv_fds(driver, 4096, PASSED)
            if not modules:
                os._exit(0)
            for module in modules.decode().split():  # two requests may have come by now
                with contextlib.suppress(BaseException):  # a task's process reports why
                    importlib.import_module(module)
            for received in passed:  # a program that a task starts must not keep them open
                os.set_inheritable(received, False)
            if passed:
                answer = _fork(passed, statuses, (driver, ended, wake))
                with contextlib.suppress(OSError):  # the driver has gone
                    driver.send(ANSWER.pack(answer))


def _fork(passed: list[int], statuses: dict[int, int], sockets: tuple[socket.socket, ...]) -> int:
    """Fork a task's process; the answer to the driver."""
    pid = -errno.EMFILE  # not all of them could be received
    try:
        if len(passed) == PASSED:
            pid = os.fork()
    except OSError as error:
        pid = -(error.errno or errno.EAGAIN)
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in sockets:
            one.close()
        for descriptor in statuses.values():
            os.close(descriptor)
        _run(*passed)
    if pid > 0:
        statuses[pid] = passed.pop(0)
    for descriptor in passed:
        os.close(descriptor)
    return pid


def _run(status: int, *ends: int) -> None:
    """In a task's process: carry out the task, and end.

    The process keeps its status open, which shows that it runs where the server has been killed.
    """
    code = 1
    try:
        os.register_at_fork(after_in_child=partial(os.close, status))
        work(*(Connection(end) for end in ends))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _reap(statuses: dict[int, int]) -> None:
    """Report the exit codes of the processes that have ended."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        descriptor = statuses.pop(pid, None)
        if descriptor is not None:
            with contextlib.suppress(OSError):  # the driver has gone
                os.write(descriptor, ANSWER.pack(os.waitstatus_to_exitcode(status)))
            os.close(descriptor)
