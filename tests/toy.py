"""What the runner's tests run: calls of milliseconds that end in every way. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dse.runner import Tell

NUMBER = 1


class Unpicklable:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not for sending")


class Poison:
    """Is pickled, and raises where it is unpickled."""

    def __reduce__(self) -> Any:
        return int, ("poison",)


def echo(argument: Any, _: Tell) -> Any:
    return argument


def behave(argument: Any, tell: Tell) -> Any:
    """Do what the first word of the argument says, with the rest."""
    word, *rest = argument
    return BEHAVIOUR[word](tell, *rest)


def _count(tell: Tell, number: int) -> int:
    for n in range(number):
        tell(n)
    return number


def _raise(_: Tell, text: str) -> None:
    raise ValueError(text)


def _sleep(tell: Tell, seconds: float) -> float:
    tell(os.getpid())
    time.sleep(seconds)
    return seconds


def _wait_for(_: Tell, path: Path) -> None:
    """Write the name of the call to `path`, then wait until its `.go` is there."""
    path.touch()
    while not path.with_suffix(".go").exists():
        time.sleep(0.002)


def _leave_child(tell: Tell) -> None:
    """Die, and leave a process behind that keeps every pipe open."""
    tell(os.fork() or time.sleep(30))
    os._exit(7)


def _leave_thread(_: Tell) -> str:
    threading.Thread(target=time.sleep, args=(30,)).start()
    return "done"


def _tell_unpicklable(tell: Tell) -> None:
    tell(Unpicklable())


def _imports(_: Tell) -> list[str]:
    return sorted({"torch", "hydra", "omegaconf", "pandas", "numpy"} & set(sys.modules))


BEHAVIOUR: dict[str, Any] = {
    "return": lambda _, value: value,
    "count": _count,
    "bytes": lambda _, length: b"x" * length,
    "raise": _raise,
    "exit": lambda _, code: sys.exit(code),
    "_exit": lambda _, code: os._exit(code),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda _: ctypes.string_at(0),
    "interrupt": lambda _: signal.raise_signal(signal.SIGINT),
    "sleep": _sleep,
    "wait for": _wait_for,
    "leave child": _leave_child,
    "leave thread": _leave_thread,
    "return unpicklable": lambda _: Unpicklable(),
    "return poison": lambda _: Poison(),
    "tell unpicklable": _tell_unpicklable,
    "tell poison": lambda tell: tell(Poison()) or time.sleep(30),
    "imports": _imports,
    "main": lambda _: vars(sys.modules["__main__"]).get("__file__"),
    "subprocess": lambda _: subprocess.run(["true"], check=True).returncode,
}
