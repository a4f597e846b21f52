"""The standard streams of a command: each may be missing, or full, or its reader may leave."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from dse.results.files import Damaged
from dse.space.rules import printable
from dse.sweep.errors import RequestError
from dse.sweep.messages import as_lines, say

_errors: list[OSError] = []
"""Why standard output could not be written; empty when a command begins."""


def with_streams(command: Callable[[], int]) -> int:
    """Run a command with three standard streams, and return its exit code: 130 after Ctrl-C.

    A stream that is missing is the null device. What stdout cannot encode is escaped. Printing ends
    quietly where the reader of stdout leaves; another error in writing it gets one line, and 0
    becomes 1. The command itself runs to its end.
    """
    _open_missing()
    _errors.clear()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command()
    except SystemExit as end:  # of argparse, which has printed its help or a mistake
        raise SystemExit(_ended(end.code)) from None
    except KeyboardInterrupt:  # of a command that has nothing to stop or to resume
        say("interrupted")
        code = 130
    return _ended(code)


def reported(command: Callable[[], int]) -> int:
    """Run a command as `with_streams` does, and put its mistakes in a line each.

    `Damaged` gives 1, and any other `ValueError` or `OSError` 2.
    """

    def run() -> int:
        try:
            return command()
        except Damaged as error:
            say(error)
            return 1
        except (ValueError, OSError) as error:
            say(*(error.lines if isinstance(error, RequestError) else [printable(str(error))]))
            return 2

    return with_streams(run)


def print_lines(*texts: object) -> None:
    """Print lines to stdout at once, with what does not print escaped; never raises `OSError`."""
    try:
        print(as_lines(texts), end="", flush=True)
    except OSError as error:
        _lose(sys.stdout, error)


def _open_missing() -> None:
    """Open the null device for each stream that is missing.

    Python has None for such a stream, and its number would go to the next file that is opened: what
    this process, its server and its workers write to stderr would end up there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _ended(code: Any) -> int:
    """The exit code, after a last flush: an error in Python's own flush at exit makes it 120."""
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except OSError as error:
            _lose(stream, error)
    return code or int(bool(_errors))


def _lose(stream: TextIO, error: OSError) -> None:
    """Send what a stream still holds, and all that follows, to the null device."""
    with suppress(OSError):  # a stream without a number
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if stream is sys.stdout and not isinstance(error, (BrokenPipeError, ConnectionResetError)):
        _errors.append(error)
        say(f"standard output cannot be written: {error.strerror}")
