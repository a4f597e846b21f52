"""How a command ends: by itself, by an expected error, or by a signal that asks it to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dse.results.files import Damaged
from dse.runner.fork import STOP_SIGNALS
from dse.runner.runner import Runner
from dse.sweep.errors import RequestError
from dse.sweep.messages import FULL, full, resume_command, say
from dse.sweep.streams import with_streams

STOP = 25.0
"""Maximum seconds that running tasks have to stop when the command is asked to: a trial stops after
its step, on a GPU after some steps. Clusters often kill after 30 s."""


def guarded(command: Callable[[list[str]], int], arguments: Sequence[str] | None) -> int:
    """Run a command, by default with the process's own arguments, and return its exit code.

    A `RequestError` is printed and returns 2; other expected errors return 1, an interruption 130.
    See `with_streams` for what becomes of the standard streams.
    """
    return with_streams(lambda: _guarded(command, arguments))


def _guarded(command: Callable[[list[str]], int], arguments: Sequence[str] | None) -> int:
    signals = _stop_signals()
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        return command(list(sys.argv[1:] if arguments is None else arguments))
    except RequestError as error:
        say(*error.lines)
        return 2
    except Damaged as error:
        say(error)
        return 1
    except OSError as error:  # a full disk, a folder that vanished: records are whole or absent
        reason = str(error)
        if error.errno in FULL and error.filename is not None:
            reason = f"{full(Path(str(error.filename)).parent)}: {error.strerror}"
        say(f"stopped: {reason}; once this is fixed, resume with: {resume_command()}")
        return 1
    except KeyboardInterrupt:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        say(f"interrupted; resume with: {resume_command()}")
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopped_by_signals(runner: Runner) -> Iterator[list[int]]:
    """On a stop signal, let the running trials stop; on a second one, stop at once.

    Yields a list that then holds the first signal. Does nothing outside the main thread.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if received and number == signal.SIGHUP:  # a closing shell sends it, then the system too
            return
        if received:
            raise KeyboardInterrupt
        received.append(number)
        runner.stop(STOP)

    before = {number: signal.signal(number, stop) for number in _stop_signals()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> list[signal.Signals]:
    """The signals that stop a sweep; none outside the main thread, which alone can handle them.

    Under `nohup`, SIGHUP stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or not ignored]
