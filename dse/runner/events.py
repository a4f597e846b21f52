"""What happens to a task, as `Runner.events` yields it; `key` is the task's name."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Started:
    """The task runs: for the first time, or again after `Retried` or where its module could not be
    imported; not again after `Waiting`."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Reported:
    """The task reported progress."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """The task raised `Later` for the first time; it is started again until it can run."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Retried:
    """Attempt number `attempt` (from 1) ended for `reason`, and another one follows."""

    key: Hashable
    reason: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The task returned `value`."""

    key: Hashable
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The task ended without a value.

    `reason` is one line; `details` is the traceback of an exception, else the last lines that the
    process wrote to stderr.
    """

    key: Hashable
    reason: str
    details: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The runner was stopped before the task ended or started."""

    key: Hashable


Event = Started | Reported | Waiting | Retried | Finished | Failed | Interrupted
