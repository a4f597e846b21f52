"""What the engines share whose attempts are made on other machines."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from dse.runner.local import TURN, Local
from dse.runner.task import End
from dse.space.rules import Rule

Settings = TypeVar("Settings")


def require(engine: str) -> None:
    """Raise `ValueError` where the library of an engine, an optional extra, is not installed."""
    try:
        found = importlib.util.find_spec(engine)
    except ValueError:  # it is kept out
        found = None
    if found is None or found.origin is None:  # a folder of that name is no library
        raise ValueError(
            f"`runner.engine` {engine} must have the extra installed: "
            f"pip install 'squeezenet-dse[{engine}]'"
        )


def load(engine: str) -> Any:
    """The library of an engine; raises `ValueError` where it is not installed."""
    require(engine)
    return importlib.import_module(engine)


def settings_of(kind: type[Settings], engine: str, values: Mapping[str, Any]) -> Settings:
    """An engine's settings; raises `ValueError` for an unknown one or a value out of its rule."""
    names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in names]
    if unknown:
        rule = f"`runner.{engine}` must have no settings but {', '.join(names)}"
        raise ValueError(f"{rule}, got {', '.join(map(str, unknown))}")
    return kind(**values)


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
    seconds: float = math.inf,
) -> End:
    """One attempt at a call, made in a process of this machine for a driver elsewhere.

    Every turn, half a second at most, `report` takes the words that came and says whether the
    call shall end. One that has not ended within `seconds` of that is killed.
    """
    engine = Local(function, patience)
    asked, deadline = False, math.inf
    try:
        attempt = engine.start(content)
        while time.monotonic() < deadline:
            signs = [sign for _, sign in engine.wait(TURN)]
            words = [sign.value for sign in signs if not isinstance(sign, End)]
            ask = report(words) and not asked
            for sign in signs:
                if isinstance(sign, End):
                    return sign
            if ask:
                engine.stop(attempt)
                asked, deadline = True, time.monotonic() + seconds
        return End("stopped", reason="the process did not end when asked, and was killed")
    except (OSError, EOFError) as error:
        return End("died", reason=f"no process could start: {error}")
    finally:
        engine.close()
