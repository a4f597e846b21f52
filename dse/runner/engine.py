"""What an engine does for the runner, and the engine of each name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dse.runner.local import Local
from dse.runner.ray import Ray
from dse.runner.submitit import Submitit
from dse.runner.task import End, Report


class Engine(Protocol):
    """Where attempts at tasks run. `start` returns an attempt, which is hashable."""

    @property
    def pauses(self) -> tuple[float, float]:
        """Seconds until a task that raised `Later` is started again: at first, and at most."""

    def start(self, content: bytes) -> Any:
        """Start an attempt with a pickled argument; `OSError` where there is no room for more."""

    def wait(self, seconds: float) -> list[tuple[Any, Report | End]]:
        """What has come from attempts; waits at most about `seconds` for the first."""

    def stop(self, attempt: Any) -> None:
        """Ask a task to stop."""

    def kill(self, *attempts: Any) -> None:
        """End attempts; nothing more comes from them."""

    def close(self) -> None:
        """End every attempt."""


ENGINES: Mapping[str, Callable[[str, float, Any], Engine]] = {
    "local": Local,
    "submitit": Submitit,
    "ray": Ray,
}
"""By name: makes an engine of a function, the patience in seconds, and the engine's settings.

Raises `ValueError` where the engine is not installed or not available.
"""
