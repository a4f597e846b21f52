"""Many tasks: a function and its arguments over processes here, a SLURM cluster or a Ray cluster.

The function is given by name ("package.module:function"). Each task is a call
`function(argument, report)` in a process of its own, where `report(value)` sends progress. An
exception, exit, segmentation fault or kill ends that one task alone.

An attempt at a task ends in one of these ways; the rules are the same for all engines:

- It returns a value: `Finished`.
- It raises an exception: `Failed` at once, because it would raise it again.
- Its process dies, or hangs and is killed, or its GPU fails: it is retried after the queued tasks,
  `retries` times at most, then `Failed` with the last lines that the process wrote to stderr.
- It runs out of memory, or can start no process or thread: it is retried once while no other task
  runs, then `Failed`.
- It raises `Later`: it is started again after the queued tasks, with growing pauses.
- It is asked to stop (`Runner.stop`, `Runner.cancel`) and raises `Stopped`, or is killed:
  `Interrupted`.

Where there is no room for another process, because processes, memory or file descriptors are used
up, tasks wait until there is; no attempt is counted. A task that cannot import the function's
module while another task runs waits too, as memory may be short; where none runs: `OSError`.

| | local | submitit | ray |
|---|---|---|---|
| a task is | a process | a job with a process in it | a Ray task with a process in it |
| progress arrives | at once | in a second or two, as JSON | in half a second |
| a hang is detected by | the driver | the job | the Ray task |
| lack of memory: reported by Python, torch or | the kernel | the kernel, SLURM | the kernel, Ray |
| last lines of stderr are | the process's | those, or the job's log | none if the Ray task died |
| a retry for memory excludes other tasks of | this runner | this runner | this runner |
| a preempted task is | | stopped and requeued; no event | a Ray task that died: retried |
| if the driver is killed | tasks end at once | jobs go on | Ray ends its tasks |
"""

from __future__ import annotations

import heapq
import pickle
import re
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from dse.runner.engine import ENGINES
from dse.runner.events import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Reported,
    Retried,
    Started,
    Waiting,
)
from dse.runner.gpus import Gpus
from dse.runner.local import ROOM, TURN
from dse.runner.mps import service
from dse.runner.ray import Cluster
from dse.runner.submitit import Jobs
from dse.runner.task import End, Report, failure, first_line

SPACING = 0.1
"""Minimum seconds between two starts of waiting tasks: each start costs a process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """How tasks run: `count` at a time, on an engine.

    `settings` are the engine's, None for its defaults; those of the local engine are the GPUs among
    which tasks are divided. `device` is what tasks compute on: cpu or cuda. `processes` is how
    many each task starts for itself, its own included; a "GPU" of `settings` is then as many.
    With `mps` the tasks on a GPU run concurrently through NVIDIA's service, which is started.
    `retries` is how often a task whose process died is retried.

    `patience` is the longest silence of a task in seconds: one that neither reports nor reads
    `report.stopping` for longer is considered hung. The imports of the function's module do not
    count. The default 0 means no limit: only the caller knows how long a step of the work may
    take, and a wrong guess would kill good work.
    """

    count: int = 1
    engine: str = "local"
    settings: Jobs | Cluster | Gpus | None = None
    device: str = "cpu"
    processes: int = 1
    mps: bool = False
    retries: int = 2
    patience: float = 0.0

    @property
    def place(self) -> tuple[str] | tuple[str, int]:
        """The last arguments of a task: its device, and its number of processes where it has
        several."""
        return (self.device, self.processes) if self.processes > 1 else (self.device,)


@dataclass(slots=True, eq=False)
class _Task:
    """A task and the state of its attempts so far."""

    key: Hashable
    argument: Any
    attempts: int = 0
    deaths: int = 0
    postponed: int = 0
    alone: bool = False
    cancelled: bool = False
    asked_to_stop: bool = False


class Runner:
    """Runs tasks of one function; a context that kills what still runs when it is left.

    `submit` accepts tasks at any time, also while events are read, so that a search can choose its
    next trial from the last one's result. Tasks start in the order submitted. Arguments, progress
    and values are pickled; a task fails where they cannot be. Each task ends in one of `Finished`,
    `Failed` and `Interrupted`.

    `say` gets a line when tasks first wait for room, or cannot run concurrently on a GPU. Raises
    `ValueError` where the engine is not installed or not available.
    """

    def __init__(
        self, function: str, workers: Workers, say: Callable[[str], object] = lambda line: None
    ) -> None:
        self._workers, self._retries = workers.count, workers.retries
        self._engine = ENGINES[workers.engine](function, workers.patience, workers.settings)
        self._queue: deque[_Task] = deque()
        self._alone: deque[_Task] = deque()
        self._postponed: list[tuple[float, int, _Task]] = []
        self._running: dict[Any, _Task] = {}
        self._events: deque[Event] = deque()
        self._say, self._said = say, set[str]()
        self._mps = service() if workers.mps else nullcontext("")
        self._full_until = 0.0
        self._lacking: float | None = None
        self._deadline: float | None = None

    def __enter__(self) -> Runner:
        if reason := self._mps.__enter__():
            self._say(
                f"tasks on a GPU take turns, which is slower than with NVIDIA's MPS: {reason}"
            )
        return self

    def __exit__(self, *error: Any) -> None:
        self._events.clear()
        self._take_idle()
        self._running.clear()
        self._engine.close()
        self._mps.__exit__(*error)

    def submit(self, key: Hashable, argument: Any) -> None:
        """Queue a task; `key` names it in the events."""
        self._queue.append(_Task(key, argument))

    def cancel(self, *keys: Hashable) -> None:
        """Ask some tasks to stop; the others go on. Each ends as `Interrupted` unless it is done
        first.

        Returns at once, and does nothing where no task of a key waits or runs.
        """
        chosen = set(keys)
        idle = self._take_idle(lambda task: task.key in chosen)
        self._events.extend(Interrupted(task.key) for task in idle)
        for attempt, task in self._running.items():
            if task.key in chosen and not task.asked_to_stop:
                task.cancelled = task.asked_to_stop = True
                self._engine.stop(attempt)

    def stop(self, seconds: float) -> None:
        """Start no more tasks, ask those that run to stop, and kill those that have not ended
        within `seconds`.

        Returns at once; the events report how the tasks end. Calling it again can only shorten
        the time. A signal handler may call it.
        """
        deadline = time.monotonic() + seconds
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def events(self, turn: Callable[[], None] = lambda: None) -> Iterator[Event]:
        """What happens, as it happens, until every submitted task has ended.

        `turn` is called several times a second, also while nothing happens. Raises `OSError` where
        no task runs and for `ROOM` seconds none could be started, the process that starts them
        keeps ending, or the function's module cannot be imported. That is no fault of the tasks:
        those that have not ended are as if they were not submitted.
        """
        while self._events or self._running or self._queue or self._alone or self._postponed:
            if self._events:
                yield self._events.popleft()
            else:
                self._turn()
                turn()

    def _turn(self) -> None:
        """Start what can be started, then wait for what comes."""
        if self._deadline is None:
            while self._deadline is None and len(self._running) < self._workers:
                if not (task := self._next()):
                    break
                self._start(task)
        else:
            self._stop(self._deadline)
        if not self._events:
            self._receive(self._pause())

    def _next(self) -> _Task | None:
        """The next task to start, if one may: one that needs all the memory runs alone."""
        if any(task.alone for task in self._running.values()):
            return None
        if time.monotonic() < self._full_until:
            return None
        if self._queue:
            return self._queue.popleft()
        if self._postponed and self._postponed[0][0] <= time.monotonic():
            task = heapq.heappop(self._postponed)[2]
            if not task.alone:
                return task
            self._alone.append(task)
        return self._alone.popleft() if self._alone and not self._running else None

    def _start(self, task: _Task) -> None:
        try:
            content = pickle.dumps(task.argument)
        except Exception as error:
            self._end(task, failure(error))
            return
        try:
            attempt = self._engine.start(content)
        except OSError as error:
            (self._alone if task.alone else self._queue).appendleft(task)
            self._wait_for_room(error)
            return
        self._lacking = None
        self._running[attempt] = task
        if not task.postponed:
            self._events.append(Started(task.key))

    def _wait_for_room(self, error: OSError) -> None:
        """Hold, since others may use what there is; raises `OSError` where none do."""
        now = time.monotonic()
        if self._running or self._lacking is None:
            self._lacking = now
        lost = isinstance(error, ConnectionError) and not self._running
        if lost or now - self._lacking >= ROOM:
            raise OSError(f"no process could be started: {first_line(error)}") from error
        self._hold(first_line(error))

    def _hold(self, reason: str) -> None:
        """Start no task until one has ended, or for a moment; say once for each reason."""
        first, most = self._engine.pauses
        pause = most if self._running else min(first, ROOM / 4)
        self._full_until = time.monotonic() + pause
        known = re.sub(r"\bjob \d+", "job", reason)  # the number differs each time
        if known not in self._said:
            self._said.add(known)
            alone = f"every {pause:g} s, for {ROOM:g} s"
            again = f"when one ends, or after {pause:g} s" if self._running else alone
            self._say(f"no more tasks can be started now: {reason}; tried again {again}")

    def _pause(self) -> float:
        """Seconds until the next deadline that does not depend on a task."""
        times = [TURN]
        if self._deadline is not None:
            times.append(self._deadline - time.monotonic())
        elif self._postponed and len(self._running) < self._workers:
            times.append(self._postponed[0][0] - time.monotonic())
        return max(min(times), 0.0)

    def _receive(self, seconds: float) -> None:
        """Take what comes from attempts; wait at most `seconds` for the first."""
        for attempt, message in self._engine.wait(seconds):
            if isinstance(message, Report):
                self._events.append(Reported(self._running[attempt].key, message.value))
            else:
                self._full_until = 0.0
                self._end(self._running.pop(attempt), message)

    def _end(self, task: _Task, end: End) -> None:
        """What follows from the end of an attempt."""
        if end.kind == "finished":
            self._events.append(Finished(task.key, end.value))
        elif end.kind == "failed":
            self._events.append(Failed(task.key, end.reason, end.details))
        elif self._deadline is not None or task.cancelled:
            self._events.append(Interrupted(task.key))
        elif end.kind == "unimported":
            if not self._running:
                raise OSError(f"no task can run: {end.reason}")
            (self._alone if task.alone else self._queue).appendleft(task)
            self._hold(end.reason)
        elif end.kind == "later":
            self._postpone(task)
        elif end.kind == "memory":
            self._retry_alone(task, end)
        else:
            self._retry(task, end)

    def _postpone(self, task: _Task) -> None:
        """Start a task again after a pause: longer each time, and where many tasks wait."""
        if not task.postponed:
            self._events.append(Waiting(task.key))
        first, most = self._engine.pauses
        pause = max(min(first * 2**task.postponed, most), SPACING * len(self._postponed))
        task.postponed = min(task.postponed + 1, 30)
        heapq.heappush(self._postponed, (time.monotonic() + pause, id(task), task))

    def _retry_alone(self, task: _Task, end: End) -> None:
        task.attempts += 1
        if task.alone:
            reason = f"{end.reason}; retried while no other task ran"
            self._events.append(Failed(task.key, reason, end.details))
            return
        task.alone = True
        self._alone.append(task)
        self._events.append(Retried(task.key, end.reason, task.attempts))

    def _retry(self, task: _Task, end: End) -> None:
        task.attempts += 1
        task.deaths += 1
        if task.deaths <= self._retries:
            (self._alone if task.alone else self._queue).append(task)
            self._events.append(Retried(task.key, end.reason, task.attempts))
            return
        times = f"; tried {task.attempts} times" if task.attempts > 1 else ""
        self._events.append(Failed(task.key, end.reason + times, end.details))

    def _stop(self, deadline: float) -> None:
        """Interrupt what waits, ask what runs to stop, and kill it when the time is over."""
        self._events.extend(Interrupted(task.key) for task in self._take_idle())
        for attempt, task in self._running.items():
            if not task.asked_to_stop:
                self._engine.stop(attempt)
                task.asked_to_stop = True
        if time.monotonic() >= deadline:
            self._receive(0)
            self._engine.kill(*self._running)
            self._events.extend(Interrupted(task.key) for task in self._running.values())
            self._running.clear()

    def _take_idle(self, chosen: Callable[[_Task], bool] = lambda _: True) -> list[_Task]:
        """Remove and return the tasks that do not run, those chosen or all."""
        tasks = [*self._queue, *self._alone, *(task for _, _, task in self._postponed)]
        self._queue = deque(task for task in self._queue if not chosen(task))
        self._alone = deque(task for task in self._alone if not chosen(task))
        self._postponed = [entry for entry in self._postponed if not chosen(entry[2])]
        heapq.heapify(self._postponed)
        return [task for task in tasks if chosen(task)]
