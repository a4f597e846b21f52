"""Many trials: a function and its inputs over local processes.

The function is given by name ("package.module:function") and called as
`function(argument, tell)` in a process of its own, where `tell(value)` sends word of progress.
Whatever a call does, exception, exit, segmentation fault or kill, it costs that call alone; and
no process outlives the one that drives it.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

Tell = Callable[[Any], None]
Function = Callable[[Any, Tell], Any]


@dataclass(frozen=True, slots=True)
class Started:
    """A call has been given a process."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Told:
    """A call sent word of its progress."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """A call returned `value`."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A call ended without a value; `reason` is one line, `details` the traceback if any."""

    key: Hashable
    reason: str
    details: str


Event = Started | Told | Finished | Failed


class Runner:
    """Calls of one function over `workers` processes; a context, closed by killing what runs.

    `submit` takes a call at any time, also while events are read, so that a search can choose
    its next trial when it knows the last one's answer.
    """

    def __init__(self, function: str, workers: int) -> None:
        self._function, self._workers = function, workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", function.partition(":")[0]])
        self._waiting: deque[tuple[Hashable, Any]] = deque()
        self._running: dict[Connection, tuple[Hashable, Any]] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe, (_, process) in self._running.items():
            process.kill()
            process.join()
            pipe.close()
        self._running.clear()
        self._waiting.clear()

    def submit(self, key: Hashable, argument: Any) -> None:
        """Queue a call; `key` names it in the events."""
        self._waiting.append((key, argument))

    def events(self) -> Iterator[Event]:
        """What happens, as it happens, until every submitted call has finished or failed."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._workers:
                yield self._start(*self._waiting.popleft())
            for pipe in wait(list(self._running)):
                assert isinstance(pipe, Connection)
                yield self._receive(pipe)

    def _start(self, key: Hashable, argument: Any) -> Started:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_call, args=(self._function, argument, theirs))
        process.start()
        theirs.close()
        self._running[ours] = (key, process)
        return Started(key)

    def _receive(self, pipe: Connection) -> Event:
        key, process = self._running[pipe]
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError):
            kind, value = "died", ""
        if kind == "told":
            return Told(key, value)
        del self._running[pipe]
        pipe.close()
        process.join()
        if kind == "finished":
            return Finished(key, value)
        if kind == "failed":
            return Failed(key, value.strip().splitlines()[-1], value)
        return Failed(key, _death(process.exitcode), "")


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"the process was killed by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"


def _call(function: str, argument: Any, pipe: Connection) -> None:
    """In the worker: one call, and its end told to the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    threading.Thread(target=_end_with_driver, args=(pipe,), daemon=True).start()
    module, _, name = function.partition(":")
    try:
        call: Function = getattr(importlib.import_module(module), name)
        message = ("finished", call(argument, lambda value: pipe.send(("told", value))))
    except BaseException:  # SystemExit too: it is the call's failure, told like any other
        message = ("failed", traceback.format_exc())
    pipe.send(message)


def _end_with_driver(pipe: Connection) -> None:
    """Nothing is ever sent this way: the pipe ends when the driver does."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)
