"""NVIDIA's multi-process service (MPS), with which processes run concurrently on one GPU.

Without it they take turns. The service is a program of the driver, and needs no root privileges.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path

from dse.runner.gpus import VISIBLE, ask_driver
from dse.runner.task import first_line

CONTROL = "nvidia-cuda-mps-control"

FOLDER, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
"""The folder in which a process looks for the service, and the one of the service's logs."""

USUAL = Path("/tmp/nvidia-mps/control")
"""Exists while a service runs in the default folder."""

MOST = 48
"""Processes on a GPU that the service takes (NVIDIA's documentation of MPS, Volta to Hopper)."""

SERVE = f"""
trap "" PIPE
"$0" -d && echo started && cat > /dev/null
{{ echo quit | "$0"; }} > /dev/null 2>&1
rm -rf "${FOLDER}"
"""
"""Runs the service until stdin is closed, as it is where the driver of the tasks is killed."""

SECONDS = 20.0
"""How long it may take to start the service, to check it, and to end it."""


@contextmanager
def service() -> Iterator[str]:
    """Let processes that get `FOLDER` from this one run concurrently on a GPU.

    Yields the reason where they cannot, else "". Where `FOLDER` is set, or a service runs in the
    default folder, none is started.
    """
    if FOLDER in os.environ or USUAL.exists():
        yield ""
        return
    control = shutil.which(CONTROL)
    if control is None:
        yield f"{CONTROL} is not installed"
        return
    with tempfile.TemporaryDirectory(prefix="mps-", ignore_cleanup_errors=True) as folder:
        process = None
        try:
            process = _start(control, folder)
            reason = _not_started(process) or _unusable(folder)
        except OSError as error:  # there is no room for a process
            reason = first_line(error)
        try:
            if not reason:
                os.environ[FOLDER] = folder
            yield reason
        finally:
            os.environ.pop(FOLDER, None)
            if process:
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=SECONDS)


def _start(control: str, folder: str) -> subprocess.Popen[bytes]:
    """Start the service in a folder, which is removed when it has ended."""
    environment = {**os.environ, FOLDER: folder, LOG: folder}
    environment.pop(VISIBLE, None)  # it would renumber the GPUs
    return subprocess.Popen(
        ["sh", "-c", SERVE, control],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the driver of the tasks
    )


def _not_started(process: subprocess.Popen[bytes]) -> str:
    """Wait for the service; why it did not start, or nothing."""
    assert process.stdout
    output, text, end = process.stdout.fileno(), "", time.monotonic() + SECONDS
    while wait([output], max(end - time.monotonic(), 0)):
        chunk = os.read(output, 4096)
        text += chunk.decode(errors="replace")
        if text.endswith("started\n"):
            return ""
        if not chunk:
            return f"{CONTROL}: {text.strip().partition(chr(10))[0] or 'it did not start'}"
    return f"{CONTROL} did not start within {SECONDS:g} s"


def _unusable(folder: str) -> str:
    """Why a process cannot use the GPUs by the service in `folder`, or nothing."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from dse.runner.gpus import ask_driver; "
    with suppress(subprocess.TimeoutExpired):
        found = subprocess.run(
            [sys.executable, "-c", code + "print(ask_driver())"],
            env={**os.environ, FOLDER: folder},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if found.stdout.strip() == repr(ask_driver()):
            return ""
    return "processes do not reach the GPUs through it"
