"""What engines share whose tasks run on other machines."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

from dse.runner.local import ROOM, TURN, Attempt, Local
from dse.runner.task import End
from dse.space.rules import Rule


def require(engine: str) -> None:
    """Raise `ValueError` where the library of an engine, an optional extra, is not installed."""
    try:
        spec = importlib.util.find_spec(engine)
    except ValueError:  # its import is blocked
        spec = None
    if spec is None or spec.origin is None:  # a folder of that name is not a library
        raise ValueError(
            f"`runner.engine` {engine} needs an extra: pip install 'squeezenet-dse[{engine}]'"
        )


def load(engine: str) -> Any:
    """The library of an engine; raises `ValueError` where it is not installed."""
    require(engine)
    return importlib.import_module(engine)


def text(meaning: str, *, empty: bool = False) -> Rule:
    """A line of printable text without space at its ends."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or value != value.strip():
            raise ValueError
        if not (value or empty):
            raise ValueError
        return value

    return Rule(meaning, read)


def attend(
    function: str,
    content: bytes,
    patience: float,
    report: Callable[[list[Any]], bool],
    notice: float = math.inf,
) -> End:
    """Run one attempt at a task in a process of this machine, for a driver elsewhere.

    At least every half a second, `report` gets the values that were reported and returns whether
    the task must stop. A task that has not ended `notice` seconds after that is killed.
    """
    engine = Local(function, patience)
    asked, deadline = False, math.inf
    try:
        attempt = _started(engine, content)
        while time.monotonic() < deadline:
            messages = [message for _, message in engine.wait(TURN)]
            must_stop = report([m.value for m in messages if not isinstance(m, End)])
            for message in messages:
                if isinstance(message, End):
                    return message
            if must_stop and not asked:
                engine.stop(attempt)
                asked, deadline = True, time.monotonic() + notice
        return End("stopped", reason="the process did not stop when asked, and was killed")
    except OSError as error:
        return End("died", reason=f"no process could be started: {error}")
    finally:
        engine.close()


def _started(engine: Local, content: bytes) -> Attempt:
    """Start an attempt; waits where there is no room for its process."""
    deadline = time.monotonic() + ROOM
    while True:
        try:
            return engine.start(content)
        except OSError as error:
            if isinstance(error, ConnectionError) or time.monotonic() >= deadline:
                raise
        time.sleep(TURN)
