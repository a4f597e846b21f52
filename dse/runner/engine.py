"""What an engine does for the runner, and the engine of each name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dse.runner.local import Local
from dse.runner.task import End, Report

ENGINES = ("local", "submitit", "ray")


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


def make_engine(name: str, function: str, patience: float, settings: Mapping[str, Any]) -> Engine:
    """The engine of a name; those other than local are imported only when they are used.

    Raises `ValueError` where it is not installed or a setting is wrong.
    """
    if name == "local":
        if settings:
            raise ValueError(f"`runner.local` must have no settings, got {', '.join(settings)}")
        return Local(function, patience)
    if name == "submitit":
        from dse.runner.submitit import Submitit

        return Submitit(function, patience, settings)
    from dse.runner.ray import Ray

    return Ray(function, patience, settings)
