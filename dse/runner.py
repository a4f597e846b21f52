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
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType, TracebackType
from typing import Any

Tell = Callable[[Any], None]
Function = Callable[[Any, Tell], Any]

GRACE = 5.0
"""Seconds that a process may take to end after its call has."""


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
    its next trial when it knows the last one's answer. Calls start in the order submitted.
    Arguments, words of progress and values are pickled; what cannot be is a failed call.

    Raises `ValueError` where `function` is not "module:function" or there is no worker.
    """

    def __init__(self, function: str, workers: int) -> None:
        module, _, name = function.partition(":")
        if not (module and name):
            raise ValueError(f"`function` must be 'module:function', got {function!r}")
        if workers < 1:
            raise ValueError(f"`workers` must be at least 1, got {workers}")
        self._function, self._workers = function, workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, module])
        self._waiting: deque[tuple[Hashable, Any]] = deque()
        self._running: dict[Connection, tuple[Hashable, ForkServerProcess]] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        for _, process in self._running.values():
            process.kill()
        while self._running:
            pipe, (_, process) = self._running.popitem()
            process.join()
            pipe.close()

    def submit(self, key: Hashable, argument: Any) -> None:
        """Queue a call; `key` names it in the events."""
        self._waiting.append((key, argument))

    def events(self) -> Iterator[Event]:
        """What happens, as it happens, until every submitted call has finished or failed."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._workers:
                yield self._start(*self._waiting.popleft())
            for pipe in self._ready():
                yield self._receive(pipe)

    def _start(self, key: Hashable, argument: Any) -> Started | Failed:
        try:
            content = pickle.dumps(argument)
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_call, args=(self._function, content, theirs))
            with theirs, _apart():
                process.start()
        except Exception as error:  # not to be pickled, or no memory or process left
            return Failed(key, _reason(error), traceback.format_exc())
        self._running[ours] = (key, process)
        return Started(key)

    def _ready(self) -> list[Connection]:
        """The pipes of calls that sent something or ended; waits for the first, if any runs."""
        owners: dict[Any, Connection] = {pipe: pipe for pipe in self._running}
        owners |= {process.sentinel: pipe for pipe, (_, process) in self._running.items()}
        return list(dict.fromkeys(owners[ready] for ready in wait(list(owners)))) if owners else []

    def _receive(self, pipe: Connection) -> Event:
        key, process = self._running[pipe]
        kind, value = "died", None
        try:
            if pipe.poll():  # not where it ended, and a child of its own keeps the pipe open
                kind, value = pipe.recv()
        except (EOFError, OSError):
            pass
        except Exception as error:  # what was sent does not unpickle here
            process.kill()
            kind, value = "failed", (_reason(error), traceback.format_exc())
        if kind == "told":
            return Told(key, value)
        del self._running[pipe]
        process.join(GRACE)
        process.kill()
        process.join()
        pipe.close()
        if kind == "finished":
            return Finished(key, value)
        return Failed(key, *(value or (_death(process.exitcode), "")))


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Keep two things of the driver from a new process: `__main__`, which it would import again
    although it calls its function by name, and Ctrl-C, which only the driver answers."""
    main = sys.modules["__main__"]
    resource_tracker.ensure_running()  # starts with the first process, and would unblock Ctrl-C
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _reason(error: BaseException) -> str:
    """An exception as one line."""
    return traceback.format_exception_only(error)[0].strip().splitlines()[0]


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"the process was killed by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"


# In the worker ------------------------------------------------------------------------------


def _call(function: str, content: bytes, pipe: Connection) -> None:
    """One call, and its end told to the driver."""
    threading.Thread(target=_end_with_driver, args=(pipe,), daemon=True).start()
    module, _, name = function.partition(":")
    try:
        call: Function = getattr(importlib.import_module(module), name)
        value = call(pickle.loads(content), lambda word: pipe.send(("told", word)))
        pipe.send(("finished", value))
    except BaseException as error:  # SystemExit too: it is the call's failure, told like any
        with contextlib.suppress(OSError):  # nobody listens any more
            pipe.send(("failed", (_reason(error), traceback.format_exc())))


def _end_with_driver(pipe: Connection) -> None:
    """Nothing is ever sent this way: the pipe ends when the driver does."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)
