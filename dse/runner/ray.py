"""Attempts at calls as tasks of a Ray cluster.

A task carries out one call in a process of its own, so that a Ray worker outlives what a call
does. Ray itself tries nothing again: the runner's rules hold.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dse.runner.remote import attend, load, settings_of, text
from dse.runner.task import End, Report, first_line
from dse.space.rules import check, integer, knob, real


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A Ray cluster and what a task asks of it; raises `ValueError` for a value out of its rule."""

    address: str = knob("local", text("an address"), "of a cluster; auto; local: start one here")
    num_cpus: int = knob(1, integer(1, 4096), "processor cores of a task")
    num_gpus: float = knob(0.0, real(0, 1024), "GPUs of a task, a share of one too")
    mem_gb: float = knob(0.0, real(0, 1e5), "memory of a task, GB; 0: Ray does not count it")

    def __post_init__(self) -> None:
        check(self)


class Ray:
    """A task for each call; a cluster that was started here ends with `close`.

    Raises `ValueError` where Ray is not installed, a setting is wrong or the cluster is not there.
    """

    pauses = (0.5, 5.0)

    def __init__(self, function: str, patience: float, settings: Mapping[str, Any]) -> None:
        self._cluster = settings_of(Cluster, "ray", settings)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = load("ray")
        self._function, self._patience = function, patience
        self._joined = not self._ray.is_initialized()
        if self._joined:
            self._join(self._cluster.address)
            if self._cluster.address == "local":
                self._check_wishes()
        self._post = self._ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(
            Post
        ).remote()
        self._task = self._ray.remote(
            num_cpus=self._cluster.num_cpus,
            num_gpus=self._cluster.num_gpus,
            memory=round(self._cluster.mem_gb * 1e9) or None,
            max_retries=0,
        )(attempt)
        self._numbers = itertools.count()
        self._attempts: dict[int, Any] = {}

    def _join(self, address: str) -> None:
        """Join a cluster. Ray would ask an absent one for minutes, and take SIGTERM for itself."""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            host, colon, port = address.removeprefix("ray://").rpartition(":")
            if colon:
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            self._ray.init(address, **options)
        except Exception as error:  # Ray raises any, a bare one where a start takes too long
            rule = "`ray.address` must be that of a Ray cluster that answers"
            raise ValueError(f"{rule}, got {address}: {first_line(error)}") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)

    def _check_wishes(self) -> None:
        """Raise `ValueError` where this machine never has what a task asks for: it would wait for
        ever. A cluster of more machines may grow."""
        (node,) = self._ray.nodes()
        for name, kind, unit in (
            ("num_cpus", "CPU", 1),
            ("num_gpus", "GPU", 1),
            ("mem_gb", "memory", 1e9),
        ):
            has, wish = node["Resources"].get(kind, 0) / unit, getattr(self._cluster, name)
            if wish > has:
                self._ray.shutdown()
                raise ValueError(
                    f"`ray.{name}` must be at most {has:g} on this machine, got {wish:g}"
                )

    def start(self, content: bytes) -> int:
        """Submit a task."""
        number = next(self._numbers)
        self._attempts[number] = self._task.remote(
            self._function, content, self._patience, self._post, number
        )
        return number

    def wait(self, seconds: float) -> list[tuple[int, Report | End]]:
        """What has come; words are fetched every half a second."""
        tasks = list(self._attempts.values())
        if not tasks:
            time.sleep(seconds)
            return []
        self._ray.wait(tasks, timeout=seconds)
        done, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        numbers = {task: number for number, task in self._attempts.items()}
        found: list[tuple[int, Report | End]] = []
        for number, word in self._words():
            if number in self._attempts:
                found.append((number, Report(pickle.loads(word))))
        for task in done:
            found.append((numbers[task], self._end(task)))
            del self._attempts[numbers[task]]
        return found

    def _words(self) -> list[tuple[int, bytes]]:
        """The words that tasks have left; none where the cluster does not answer."""
        try:
            words: list[tuple[int, bytes]] = self._ray.get(self._post.take.remote())
        except self._ray.exceptions.RayError:
            return []
        return words

    def _end(self, task: Any) -> End:
        """How an attempt ended; what Ray says of a task that died is one line."""
        errors = self._ray.exceptions
        try:
            end: End = self._ray.get(task)
        except errors.OutOfMemoryError as error:
            return End(
                "memory", reason="Ray killed the task for lack of memory", details=str(error)
            )
        except errors.RayTaskError as error:  # not the call's: the task itself cannot run there
            return End("failed", reason=first_line(error.cause), details=str(error))
        except errors.RayError as error:
            return End("died", reason=f"the task died: {type(error).__name__}", details=str(error))
        return end

    def stop(self, number: int) -> None:
        """Ask a call to end."""
        self._post.stop.remote(number)

    def kill(self, *numbers: int) -> None:
        """End tasks."""
        for number in numbers:
            self._ray.cancel(self._attempts.pop(number), force=True)

    def close(self) -> None:
        """End every task, and what was started here."""
        self.kill(*self._attempts)
        self._ray.kill(self._post)
        if self._joined:
            self._ray.shutdown()


class Post:
    """Where tasks leave words, pickled, and learn whether to stop: an actor."""

    def __init__(self) -> None:
        self._words: list[tuple[int, bytes]] = []
        self._stopping: set[int] = set()

    def report(self, number: int, words: list[bytes]) -> bool:
        """Leave words of an attempt; whether it shall stop."""
        self._words += [(number, word) for word in words]
        return number in self._stopping

    def take(self) -> list[tuple[int, bytes]]:
        """The words left since the last time, in order."""
        words, self._words = self._words, []
        return words

    def stop(self, number: int) -> None:
        """Have an attempt stop."""
        self._stopping.add(number)


def attempt(function: str, content: bytes, patience: float, post: Any, number: int) -> End:
    """One attempt at a call: a Ray task."""
    ray = load("ray")

    def report(words: list[Any]) -> bool:
        stop: bool = ray.get(post.report.remote(number, [pickle.dumps(word) for word in words]))
        return stop

    return attend(function, content, patience, report)
