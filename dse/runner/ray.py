"""The engine that runs tasks on a Ray cluster.

A Ray task starts a process for one attempt, so that a Ray worker survives whatever the task does.
Ray itself retries nothing; the runner does.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from dse.runner.remote import attend, load, text
from dse.runner.task import End, Report, first_line
from dse.space.rules import check, integer, knob, real


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A Ray cluster and what a task asks for; raises `ValueError` for a value outside its rule."""

    address: str = knob("local", text("an address"), "address of a cluster, auto, or local")
    num_cpus: int = knob(1, integer(1, 4096), "CPU cores of a task")
    num_gpus: float = knob(0.0, real(0, 1024), "GPUs of a task; may be a fraction")
    mem_gb: float = knob(0.0, real(0, 1e5), "memory of a task, GB (0: not reserved)")

    def __post_init__(self) -> None:
        check(self)


class Ray:
    """A Ray task for each attempt; a cluster that was started here ends with `close`.

    Raises `ValueError` where Ray is not installed or the cluster is not there.
    """

    pauses = (0.5, 5.0)

    def __init__(self, function: str, patience: float, settings: Cluster | None = None) -> None:
        self._cluster = settings or Cluster()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = load("ray")
        self._function, self._patience = function, patience
        self._joined = not self._ray.is_initialized()
        if self._joined:
            self._join(self._cluster.address)
            if self._cluster.address == "local":
                self._check_resources()
        mailbox = self._ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Mailbox)
        self._mailbox = mailbox.remote()
        self._task = self._ray.remote(
            num_cpus=self._cluster.num_cpus,
            num_gpus=self._cluster.num_gpus,
            memory=round(self._cluster.mem_gb * 1e9) or None,
            max_retries=0,
        )(attempt)
        self._numbers = itertools.count()
        self._attempts: dict[int, Any] = {}

    def _join(self, address: str) -> None:
        """Join a cluster. Ray would wait minutes for an absent one, and take over SIGTERM."""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            host, colon, port = address.removeprefix("ray://").rpartition(":")
            if colon:
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            self._ray.init(address, **options)
        except Exception as error:  # Ray raises any; a bare one where a start takes too long
            rule = "`ray.address` must be the address of a running Ray cluster"
            raise ValueError(f"{rule}, got {address}: {first_line(error)}") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)

    def _check_resources(self) -> None:
        """Raise `ValueError` where a task asks for more than this machine has: Ray would wait
        forever. A cluster of several machines may grow."""
        (node,) = self._ray.nodes()
        for name, kind, unit in (
            ("num_cpus", "CPU", 1),
            ("num_gpus", "GPU", 1),
            ("mem_gb", "memory", 1e9),
        ):
            has, wanted = node["Resources"].get(kind, 0) / unit, getattr(self._cluster, name)
            if wanted > has:
                self._ray.shutdown()
                raise ValueError(
                    f"`ray.{name}` must be at most {has:g} on this machine, got {wanted:g}"
                )

    def start(self, content: bytes) -> int:
        """Submit a Ray task."""
        number = next(self._numbers)
        self._attempts[number] = self._task.remote(
            self._function, content, self._patience, self._mailbox, number
        )
        return number

    def wait(self, seconds: float) -> list[tuple[int, Report | End]]:
        """What has come; reports are fetched with each call."""
        tasks = list(self._attempts.values())
        if not tasks:
            time.sleep(seconds)
            return []
        self._ray.wait(tasks, timeout=seconds)
        done, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        numbers = {task: number for number, task in self._attempts.items()}
        received: list[tuple[int, Report | End]] = [
            (number, Report(pickle.loads(value)))
            for number, value in self._reports()
            if number in self._attempts
        ]
        for task in done:
            received.append((numbers[task], self._end(task)))
            del self._attempts[numbers[task]]
        return received

    def _reports(self) -> list[tuple[int, bytes]]:
        """The reports that have come; none where the cluster does not answer."""
        try:
            reports: list[tuple[int, bytes]] = self._ray.get(self._mailbox.take.remote())
        except self._ray.exceptions.RayError:
            return []
        return reports

    def _end(self, task: Any) -> End:
        """How an attempt ended."""
        errors = self._ray.exceptions
        try:
            end: End = self._ray.get(task)
        except errors.OutOfMemoryError as error:
            reason = "Ray killed the task for lack of memory"
            return End("memory", reason=reason, details=str(error))
        except errors.RayTaskError as error:  # not of the task: it could not run there at all
            return End("failed", reason=first_line(error.cause), details=str(error))
        except errors.RayError as error:
            return End("died", reason=f"the task died: {type(error).__name__}", details=str(error))
        return end

    def stop(self, number: int) -> None:
        """Ask a task to stop."""
        self._mailbox.stop.remote(number)

    def kill(self, *numbers: int) -> None:
        """End Ray tasks."""
        for number in numbers:
            self._ray.cancel(self._attempts.pop(number), force=True)

    def close(self) -> None:
        """End every Ray task, and what was started here."""
        self.kill(*self._attempts)
        self._ray.kill(self._mailbox)
        if self._joined:
            self._ray.shutdown()


class Mailbox:
    """A Ray actor through which tasks report, and learn whether they must stop."""

    def __init__(self) -> None:
        self._reports: list[tuple[int, bytes]] = []
        self._stopping: set[int] = set()

    def report(self, number: int, values: list[bytes]) -> bool:
        """Leave pickled reports of an attempt; returns whether it must stop."""
        self._reports += [(number, value) for value in values]
        return number in self._stopping

    def take(self) -> list[tuple[int, bytes]]:
        """The reports since the last call, in order."""
        reports, self._reports = self._reports, []
        return reports

    def stop(self, number: int) -> None:
        """Have an attempt stop."""
        self._stopping.add(number)


def attempt(function: str, content: bytes, patience: float, mailbox: Any, number: int) -> End:
    """One attempt at a task, as a Ray task."""
    ray = load("ray")

    def report(values: list[Any]) -> bool:
        pickled = [pickle.dumps(value) for value in values]
        stop: bool = ray.get(mailbox.report.remote(number, pickled))
        return stop

    return attend(function, content, patience, report)
