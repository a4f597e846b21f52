"""What the runner's tests run: tasks of milliseconds that end in every way, without torch."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dse.runner import task
from dse.runner.task import Later, Reporter, Stopped

NUMBER = 1


class Unpicklable:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not for sending")


class Poison:
    """Is pickled, and raises where it is unpickled."""

    def __reduce__(self) -> Any:
        return int, ("poison",)


def echo(argument: Any, _: Reporter) -> Any:
    return argument


def behave(argument: Any, report: Reporter) -> Any:
    """Do what the first part of the argument says, with the rest."""
    kind, *rest = argument
    return BEHAVIOUR[kind](report, *rest)


def _count(report: Reporter, number: int) -> int:
    for n in range(number):
        report(n)
    return number


def _raise(_: Reporter, text: str) -> None:
    raise ValueError(text)


def _raise_error(error: Exception) -> None:
    raise error


def _shout(_: Reporter) -> int:
    """Write to stderr what is not text."""
    return os.write(2, b"\xff\xfe\x80 no text")


def _die_while_sending(report: Reporter, length: int) -> bytes:
    """Return this many bytes, and die while they are sent: they wait until they are received."""
    report(os.getpid())
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(length)


def _sleep(report: Reporter, seconds: float) -> float:
    report(os.getpid())
    time.sleep(seconds)
    return seconds


def _wait_for(_: Reporter, path: Path) -> None:
    """Make the file `path`, then wait until its `.go` is there."""
    path.touch()
    while not path.with_suffix(".go").exists():
        time.sleep(0.002)


def _wait_for_go(report: Reporter, path: Path) -> str:
    """Report and wait to be killed; where `path` is there, return at once."""
    if path.exists():
        return "resumed"
    report(os.getpid())
    time.sleep(1000)
    return "slept"


def _leave_child(report: Reporter, *code: int) -> None:
    """Leave a child that keeps every pipe open; die where there is an exit code."""
    child = os.fork()
    if child == 0:
        time.sleep(1000)
        os._exit(0)
    report(child)
    for number in code:
        os._exit(number)


def _leave_program(report: Reporter) -> None:
    """Leave a program that runs for long, and wait to be killed."""
    os.system("sleep 1000 &")
    report(os.getpid())
    time.sleep(1000)


def _kill_often(_: Reporter, path: Path, times: int) -> int:
    """Die the first `times` times, counted in a file; return the number of this attempt."""
    with path.open("a") as file:
        file.write("x")
    attempt = path.stat().st_size
    if attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt


def _report_pid(report: Reporter) -> None:
    with contextlib.suppress(Stopped):  # a test stops it as soon as it has the report
        report(os.getpid())


def _freeze(report: Reporter) -> None:
    """Stop the process as a hang in C does: none of its threads runs, no signal is answered."""
    _report_pid(report)
    os.kill(os.getpid(), signal.SIGSTOP)


def _work(report: Reporter, seconds: float, *, reports: bool) -> str:
    """Work in steps of 10 ms; report in each, or only read `stopping`."""
    task.HEARTBEAT = 0.1  # of this process alone
    report(os.getpid())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        if reports:
            report(0)
        elif report.stopping:
            raise Stopped
    return "worked"


def _work_until(report: Reporter, path: str | Path) -> str:
    """Report every 10 ms until `path` is there."""
    report(os.getpid())
    for _ in range(10_000):
        if Path(path).exists():
            return "worked"
        time.sleep(0.01)
        report(0)
    raise TimeoutError(f"{path} did not appear")


def _deaf(report: Reporter) -> None:
    """Neither report nor read `stopping` again."""
    _report_pid(report)
    time.sleep(1000)


def _finish_when_stopped(report: Reporter) -> str:
    _report_pid(report)
    while not report.stopping:
        time.sleep(0.01)
    return "saved"


def _wait_turn(_: Reporter, path: Path) -> str:
    """Ask to be started later until `path` is there."""
    if not path.exists():
        raise Later
    return "had"


def _too_large(_: Reporter) -> None:
    """Ask for more memory than this process may have."""
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    bytearray(2**32)


def _write_and_die(_: Reporter, length: int) -> None:
    """Write to stderr below Python, and abort as C libraries do."""
    os.write(2, b"." * length + b"\nthe last lines\n")
    os.abort()


def _killed_for_memory(_: Reporter, vmstat: Path) -> None:
    """Die as if the kernel killed it for lack of memory, which counts such kills."""
    count = int(vmstat.read_text().split()[-1])
    vmstat.write_text(f"pgfault 5\noom_kill {count + 1}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def _save_and_resume(report: Reporter, folder: Path) -> list[int]:
    """Ten steps with a checkpoint in each from which another attempt resumes; the first attempt
    waits in its fifth to be stopped."""
    report(os.getpid())
    saved = folder / "steps"
    steps = saved.read_text().split() if saved.exists() else []
    first = not steps
    while len(steps) < 10:
        steps.append(str(len(steps)))
        saved.write_text(" ".join(steps))
        report(len(steps))
        while first and len(steps) == 5:
            time.sleep(0.01)
            if report.stopping:
                raise Stopped
    return [int(step) for step in steps]


def _leave_thread(_: Reporter) -> str:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return "done"


def _report_unpicklable(report: Reporter) -> None:
    report(Unpicklable())


def _on_gpu(report: Reporter, seconds: float, lost: str = "none") -> str | None:
    """Return which GPUs are visible; where it is the `lost` one, it fails in mid-task."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    report(visible)
    time.sleep(seconds)
    if visible == lost:
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")
    return visible


def _variable(_: Reporter, name: str) -> str | None:
    return os.environ.get(name)


def _imports(_: Reporter) -> list[str]:
    return sorted({"torch", "hydra", "omegaconf", "pandas", "numpy"} & set(sys.modules))


BEHAVIOUR: dict[str, Any] = {
    "return": lambda _, value: value,
    "count": _count,
    "shout": _shout,
    "bytes": lambda _, length: b"x" * length,
    "raise": _raise,
    "exit": lambda _, code: sys.exit(code),
    "_exit": lambda _, code: os._exit(code),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda _: ctypes.string_at(0),
    "interrupt": lambda _: signal.raise_signal(signal.SIGINT),
    "die while sending": _die_while_sending,
    "sleep": _sleep,
    "wait for": _wait_for,
    "wait for go": _wait_for_go,
    "leave child": _leave_child,
    "leave program": _leave_program,
    "leave child and sleep": lambda report: _leave_child(report) or time.sleep(1000),
    "kill often": _kill_often,
    "freeze": _freeze,
    "report steadily": lambda report, seconds: _work(report, seconds, reports=True),
    "work until": _work_until,
    "check steadily": lambda report, seconds: _work(report, seconds, reports=False),
    "deaf": _deaf,
    "finish when stopped": _finish_when_stopped,
    "wait turn": _wait_turn,
    "too large": _too_large,
    "short of memory": lambda _, text: (_ for _ in ()).throw(RuntimeError(text)),
    "no thread": lambda _: _raise_error(RuntimeError("can't start new thread")),
    "no process": lambda _: _raise_error(BlockingIOError(errno.EAGAIN, "unavailable")),
    "killed for memory": _killed_for_memory,
    "write and die": _write_and_die,
    "save and resume": _save_and_resume,
    "close stderr": lambda _: os.close(2) or time.sleep(0.2),
    "leave thread": _leave_thread,
    "return unpicklable": lambda _: Unpicklable(),
    "return poison": lambda _: Poison(),
    "report unpicklable": _report_unpicklable,
    "report poison": lambda report: report(Poison()) or time.sleep(1000),
    "on gpu": _on_gpu,
    "variable": _variable,
    "imports": _imports,
    "main": lambda _: vars(sys.modules["__main__"]).get("__file__"),
    "subprocess": lambda _: subprocess.run(["true"], check=True).returncode,
}
