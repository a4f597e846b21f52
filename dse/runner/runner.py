"""Many trials: a function and its inputs over local processes, a SLURM cluster or a Ray cluster.

The function is given by name ("package.module:function") and called as
`function(argument, tell)` in a process of its own, where `tell(value)` sends word of progress.
Whatever a call does, exception, exit, segmentation fault or kill, it costs that call alone.

An attempt ends in one of these ways, and the same rules hold wherever it was made:

- It returns a value: `Finished`.
- It raises: `Failed`, at once, for it would raise again.
- Its process dies, or hangs and is killed: tried again behind the others, `retries` times at most,
  then `Failed` with the last lines that the process wrote to stderr.
- There is not enough memory: tried once more when no other call runs, then `Failed`.
- It raises `Later`: asked again after a pause that grows, behind the others.
- It is asked to stop (`Runner.stop`), and leaves by `Stopped` or is killed: `Interrupted`.

| | local | submitit | ray |
|---|---|---|---|
| a call is | a process | a job, a process in it | a task, a process in it |
| words (`Told`) | at once | in a second or two, as JSON has them | in half a second |
| hangs are noticed | here | in the job | in the task |
| short memory: as Python or torch say, or by | the kernel | the kernel, SLURM | the kernel, Ray |
| last lines of stderr | the process's | or the job's log | none if the task died |
| tried once more with no other call of | this runner | this runner | this runner |
| preempted | | stopped, queued again: no event | the task died: tried again |
| the driver is killed | calls end at once | jobs go on | Ray ends its tasks |
"""

from __future__ import annotations

import heapq
import pickle
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from dse.runner.call import End, Later, Stopped, Tell, Word, failure, line_of
from dse.runner.local import ASKING, TURN, Local
from dse.space.rules import integer, one_of, real

__all__ = [
    "ASKING",
    "Event",
    "Failed",
    "Finished",
    "Function",
    "Interrupted",
    "Later",
    "Retried",
    "Runner",
    "Started",
    "Stopped",
    "Tell",
    "Told",
    "Waiting",
    "Workers",
]

Function = Callable[[Any, Tell], Any]

ENGINES = ("local", "submitit", "ray")
APART = 0.1
"""Seconds between two calls that are asked again, at least: asking costs a process."""


@dataclass(frozen=True, slots=True)
class Started:
    """A call has been given a process; again after `Retried`, not again after `Waiting`."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Told:
    """A call sent word of its progress."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call raised `Later` for the first time: it is asked again until it can be carried out."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Retried:
    """Attempt number `attempt` (from 1) ended for `reason`, and another will be made."""

    key: Hashable
    reason: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A call returned `value`."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A call ended without a value; `reason` is one line, `details` the traceback of an exception,
    else the last lines that the process wrote to stderr."""

    key: Hashable
    reason: str
    details: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The runner was stopped before the call ended, or before it began."""

    key: Hashable


Event = Started | Told | Waiting | Retried | Finished | Failed | Interrupted


class Engine(Protocol):
    """Where attempts are made. What `start` returns names an attempt and is hashable."""

    @property
    def pauses(self) -> tuple[float, float]:
        """Seconds until a call that raised `Later` is asked again: at first, and at most."""

    def start(self, content: bytes) -> Any:
        """Begin an attempt with a pickled argument; `OSError` where there is no room for more."""

    def wait(self, seconds: float) -> list[tuple[Any, Word | End]]:
        """What has come since; waits for the first, for some of `seconds`."""

    def ask(self, attempt: Any) -> None:
        """Ask a call to end."""

    def kill(self, *attempts: Any) -> None:
        """End attempts; nothing more comes from them."""

    def close(self) -> None:
        """End every attempt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Who carries calls out: `count` at a time, and how. The fields are `Runner`'s."""

    count: int = 1
    engine: str = "local"
    settings: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 2
    patience: float = 0.0

    def at_most(self, calls: int) -> int:
        """How many of some `calls` are carried out at a time, at least one."""
        return max(min(self.count, calls), 1)

    def runner(self, function: str, calls: int) -> Runner:
        """A runner for some `calls`; raises `ValueError` as `Runner` does."""
        return Runner(
            function,
            self.at_most(calls),
            engine=self.engine,
            settings=self.settings,
            retries=self.retries,
            patience=self.patience,
        )


@dataclass(slots=True, eq=False)
class _Call:
    key: Hashable
    argument: Any
    attempts: int = 0
    deaths: int = 0
    refusals: int = 0
    alone: bool = False
    asked: bool = False


class Runner:
    """Calls of one function, `workers` at a time; a context, closed by killing what runs.

    `submit` takes a call at any time, also while events are read, so that a search can choose
    its next trial when it knows the last one's answer. Calls start in the order submitted.
    Arguments, words of progress and values are pickled; what cannot be is a failed call. Every
    call ends in one of `Finished`, `Failed` and `Interrupted`.

    `engine` is local, submitit or ray, with its `settings`: the fields of `Jobs` and `Cluster`.

    `patience` is the longest silence of a call in seconds: one that neither tells nor looks at
    `tell.stopping` for longer hangs. The first word has no more time than the others, though the
    imports of the function's module do not count. The default 0 waits for ever: how long a step
    of the work may take, only the caller knows, and a wrong guess would kill good work.

    Raises `ValueError` where `function` is not "module:function", there is no worker, a number
    or a setting is out of its range, or the engine is not installed.
    """

    def __init__(
        self,
        function: str,
        workers: int,
        *,
        engine: str = "local",
        settings: Mapping[str, Any] | None = None,
        retries: int = 2,
        patience: float = 0.0,
    ) -> None:
        if not all(function.partition(":")):
            raise ValueError(f"`function` must be 'module:function', got {function!r}")
        if workers < 1:
            raise ValueError(f"`workers` must be at least 1, got {workers}")
        self._workers = workers
        self._retries = integer(0, 1000).accept("retries", retries)
        self._engine = _engine(
            one_of(*ENGINES).accept("runner.engine", engine),
            function,
            real(0, 1e9).accept("patience", patience),
            settings or {},
        )
        self._queue: deque[_Call] = deque()
        self._alone: deque[_Call] = deque()
        self._refused: list[tuple[float, int, _Call]] = []
        self._running: dict[Any, _Call] = {}
        self._news: deque[Event] = deque()
        self._crowded = False
        self._deadline: float | None = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._news.clear()
        self._idle()
        self._running.clear()
        self._engine.close()

    def submit(self, key: Hashable, argument: Any) -> None:
        """Queue a call; `key` names it in the events."""
        self._queue.append(_Call(key, argument))

    def stop(self, seconds: float) -> None:
        """Ask every call to end, and kill those that have not within `seconds`; start no more.

        Returns at once: the events tell what comes of it. Again, it can only shorten the time. May
        be called from a handler of signals. Raises `ValueError` for less than 0 seconds.
        """
        deadline = time.monotonic() + real(0, 1e9).accept("seconds", seconds)
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def events(self) -> Iterator[Event]:
        """What happens, as it happens, until every submitted call has ended."""
        while self._news or self._running or self._queue or self._alone or self._refused:
            if self._news:
                yield self._news.popleft()
            else:
                self._turn()

    def _turn(self) -> None:
        """Start what can be, else wait for what comes."""
        if self._deadline is None:
            while self._deadline is None and len(self._running) < self._workers:
                if not (call := self._next()):
                    break
                self._start(call)
        else:
            self._stop(self._deadline)
        if not self._news:
            for attempt, sign in self._engine.wait(self._pause()):
                self._hear(attempt, sign)

    def _next(self) -> _Call | None:
        """The next call to start, if one may: one that needs all the memory runs alone."""
        if self._crowded or any(call.alone for call in self._running.values()):
            return None
        if self._queue:
            return self._queue.popleft()
        if self._refused and self._refused[0][0] <= time.monotonic():
            call = heapq.heappop(self._refused)[2]
            if not call.alone:
                return call
            self._alone.append(call)
        return self._alone.popleft() if self._alone and not self._running else None

    def _start(self, call: _Call) -> None:
        try:
            content = pickle.dumps(call.argument)
        except Exception as error:
            end = failure(error)
            self._news.append(Failed(call.key, end.reason, end.details))
            return
        try:
            attempt = self._engine.start(content)
        except (OSError, EOFError) as error:
            self._crowded = bool(self._running)
            if self._crowded:  # there is room again when one has ended
                self._queue.appendleft(call)
            else:
                self._end(call, End("died", reason=f"no process could start: {line_of(error)}"))
            return
        self._running[attempt] = call
        if not call.refusals:
            self._news.append(Started(call.key))

    def _pause(self) -> float:
        """Seconds until there is something to do here that no call brings about."""
        times = [TURN]
        if self._deadline is not None:
            times.append(self._deadline - time.monotonic())
        elif self._refused and len(self._running) < self._workers:
            times.append(self._refused[0][0] - time.monotonic())
        return max(min(times), 0.0)

    def _hear(self, attempt: Any, sign: Word | End) -> None:
        if isinstance(sign, Word):
            self._news.append(Told(self._running[attempt].key, sign.value))
        else:
            self._crowded = False
            self._end(self._running.pop(attempt), sign)

    def _end(self, call: _Call, end: End) -> None:
        """What follows from the end of an attempt."""
        if end.kind == "finished":
            self._news.append(Finished(call.key, end.value))
        elif end.kind == "failed":
            self._news.append(Failed(call.key, end.reason, end.details))
        elif self._deadline is not None:
            self._news.append(Interrupted(call.key))
        elif end.kind == "later":
            self._refuse(call)
        elif end.kind == "memory":
            self._give_all_memory(call, end)
        else:
            self._retry(call, end)

    def _refuse(self, call: _Call) -> None:
        """Ask a call again after a pause: a longer one each time, and where many calls wait."""
        if not call.refusals:
            self._news.append(Waiting(call.key))
        first, most = self._engine.pauses
        pause = max(min(first * 2**call.refusals, most), APART * len(self._refused))
        call.refusals = min(call.refusals + 1, 30)
        heapq.heappush(self._refused, (time.monotonic() + pause, id(call), call))

    def _give_all_memory(self, call: _Call, end: End) -> None:
        call.attempts += 1
        if call.alone:
            reason = f"{end.reason}; tried again with no other call beside it"
            self._news.append(Failed(call.key, reason, end.details))
            return
        call.alone = True
        self._alone.append(call)
        self._news.append(Retried(call.key, end.reason, call.attempts))

    def _retry(self, call: _Call, end: End) -> None:
        call.attempts += 1
        call.deaths += 1
        if call.deaths <= self._retries:
            (self._alone if call.alone else self._queue).append(call)
            self._news.append(Retried(call.key, end.reason, call.attempts))
            return
        times = f"; tried {call.attempts} times" if call.attempts > 1 else ""
        self._news.append(Failed(call.key, end.reason + times, end.details))

    def _stop(self, deadline: float) -> None:
        """Interrupt what waits, ask what runs, and kill it when its time is over."""
        self._news.extend(Interrupted(call.key) for call in self._idle())
        for attempt, call in self._running.items():
            if not call.asked:
                self._engine.ask(attempt)
                call.asked = True
        if time.monotonic() >= deadline:
            for attempt, sign in self._engine.wait(0):
                self._hear(attempt, sign)
            self._engine.kill(*self._running)
            self._news.extend(Interrupted(call.key) for call in self._running.values())
            self._running.clear()

    def _idle(self) -> list[_Call]:
        """Take the calls that do not run."""
        calls = [*self._queue, *self._alone, *(call for _, _, call in self._refused)]
        self._queue.clear()
        self._alone.clear()
        self._refused.clear()
        return calls


def _engine(name: str, function: str, patience: float, settings: Mapping[str, Any]) -> Engine:
    """The engine of a name; those other than local are imported when they are asked for."""
    if name == "local":
        if settings:
            raise ValueError(f"`runner.local` must have no settings, got {', '.join(settings)}")
        return Local(function, patience)
    if name == "submitit":
        from dse.runner.submitit import Submitit

        return Submitit(function, patience, settings)
    from dse.runner.ray import Ray

    return Ray(function, patience, settings)
