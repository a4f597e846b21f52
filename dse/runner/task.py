"""One task as the process that runs it sees it, and how an attempt at it may end."""

from __future__ import annotations

import errno
import importlib
import pickle
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

HEARTBEAT = 1.0
"""Minimum seconds between two heartbeats."""

OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "can't start new thread",
    "status_alloc_failed",
    "device_allocation_failed",
)
"""How torch reports a lack of memory on a CPU or a GPU, and Python one of threads, in lower
case."""

GPU_FAILURE = (
    "cuda error",
    "cudnn error",
    "no cuda gpus are available",
    "found no nvidia driver",
    "cudagetdevicecount",
)
"""How torch reports that a GPU has failed or is gone, in lower case."""


class Stopped(BaseException):
    """Raised in a task that was asked to stop: it saves a checkpoint if it can, and lets this pass.

    Not an `Exception`, so that code that handles failures does not catch it.
    """


class Died(Exception):
    """Raised by a task that has lost a process of its own: it is retried, as if it had died."""


class Later(Exception):
    """Raised by a task that cannot run yet: it is started again after a pause."""


@dataclass(frozen=True, slots=True)
class Report:
    """The task reported `value`."""

    value: Any


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt at a task ended; `reason` is one line, `details` may be many.

    `finished`: it returned `value`; `failed`: it raised an exception; `memory`: it ran out of
    memory, or could start no process or thread; `died`: its process ended or was killed without a
    result, its GPU failed, or it raised `Died`; `later`, `stopped`: it raised `Later` or `Stopped`;
    `unimported`: its function's module could not be imported.
    """

    kind: Literal["finished", "failed", "memory", "died", "later", "stopped", "unimported"]
    value: Any = None
    reason: str = ""
    details: str = ""


class Reporter:
    """How a task reports progress: `report(value)`.

    Raises `Stopped`, after the value is sent, where the task was asked to stop. `send` gets a
    `Report`, or None as a heartbeat, or an `End`.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send, self._stopping, self._sent = send, False, time.monotonic()

    def __call__(self, value: Any) -> None:
        self._sent = time.monotonic()
        self._send(Report(value))
        if self._stopping:
            raise Stopped

    @property
    def stopping(self) -> bool:
        """Whether the task was asked to stop. Reading this counts as a heartbeat, as a report
        does; it takes less than a microsecond, so that a loop can read it in every step."""
        if time.monotonic() - self._sent >= HEARTBEAT:
            self._sent = time.monotonic()
            self._send(None)
        return self._stopping

    def fail(self, error: BaseException) -> None:
        """End the task as if it had raised `error`: for a thread of a task that waits in a call
        which nothing can interrupt."""
        self._send(failure(error))

    def stop(self) -> None:
        """Ask the task to stop."""
        self._stopping = True


def run_task(function: str, content: bytes, report: Reporter) -> End:
    """Call `function` ("module:function") with the pickled argument and `report`: how it ended."""
    module, _, name = function.partition(":")
    try:
        imported = importlib.import_module(module)
    except BaseException as error:
        reason = f"{module} could not be imported: {first_line(error)}{memory_limit()}"
        return End("unimported", reason=reason)
    try:
        return End("finished", getattr(imported, name)(pickle.loads(content), report))
    except Later:
        return End("later")
    except Stopped:
        return End("stopped", reason="the process was asked to stop")
    except BaseException as error:  # SystemExit too: the task failed
        return failure(error)


def failure(error: BaseException) -> End:
    """The end of an attempt that raised `error`."""
    text = str(error).lower()
    out_of_memory = (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN))
        or (isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY))
    )
    reason, trace = first_line(error), "".join(traceback.format_exception(error))
    if out_of_memory:
        return End("memory", reason=reason, details=trace)
    if isinstance(error, Died):
        return End("died", reason=str(error), details=trace)
    lost = isinstance(error, RuntimeError) and is_of_gpu(text)
    return End("died" if lost else "failed", reason=reason, details=trace)


def is_of_gpu(text: str) -> bool:
    """Whether a message says that a GPU has failed."""
    return any(words in text.lower() for words in GPU_FAILURE)


def memory_limit() -> str:
    """What a message adds where a limit may be the cause: `ulimit -v`, if it is set."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    unlimited = limit == resource.RLIM_INFINITY
    return "" if unlimited else f" (`ulimit -v` limits memory to {limit // 1024:,} KiB)"


def first_line(error: BaseException) -> str:
    """The type of an exception and the first line of its message."""
    return traceback.format_exception_only(error)[0].strip().splitlines()[0]
