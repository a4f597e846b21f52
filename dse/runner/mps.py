"""NVIDIA's multi-process service (MPS), with which the work of processes on one GPU overlaps.

Without it they take turns. The service is a program of the driver, and needs no rights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
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
"""What is there while a service runs that everybody uses who names no other."""

MOST = 48
"""Processes on a GPU at a time that the service takes (NVIDIA's documentation of MPS, Volta to
Hopper)."""

SERVE = f"""
"$0" -d && echo started && cat > /dev/null
echo quit | "$0" > /dev/null 2>&1
rm -rf "${FOLDER}"
"""
"""Runs the service until stdin is closed, as it is where the driver of the tasks is killed."""

SECONDS = 20.0
"""How long the service may take to start, and to end before it is no longer waited for."""


@contextmanager
def overlapping() -> Iterator[str]:
    """Let the work of processes overlap that are given this one's `FOLDER`; yields why it does not,
    or nothing. A service that runs already is used."""
    if FOLDER in os.environ or USUAL.exists():
        yield ""
        return
    control = shutil.which(CONTROL)
    if control is None:
        yield f"{CONTROL} is not installed"
        return
    service, folder, reason = None, "", ""
    try:
        folder = tempfile.mkdtemp(prefix="mps-")
        service = _serve(control, folder)
        reason = _not_started(service) or _unusable(folder)
    except OSError as error:  # there is no room for a folder or a process
        reason = first_line(error)
    try:
        if not reason:
            os.environ[FOLDER] = folder
        yield reason
    finally:
        os.environ.pop(FOLDER, None)
        if service:
            with suppress(subprocess.TimeoutExpired):
                service.communicate(timeout=SECONDS)


def _serve(control: str, folder: str) -> subprocess.Popen[bytes]:
    """Start the service in a folder, which is removed when it has ended."""
    environment = {**os.environ, FOLDER: folder, LOG: folder}
    environment.pop(VISIBLE, None)  # it would number the GPUs anew
    return subprocess.Popen(
        ["sh", "-c", SERVE, control],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the driver of the tasks
    )


def _not_started(service: subprocess.Popen[bytes]) -> str:
    """Wait for the service; why it did not start, or nothing."""
    assert service.stdout
    if not wait([service.stdout.fileno()], SECONDS):
        return f"{CONTROL} did not start within {SECONDS:g} s"
    first = os.read(service.stdout.fileno(), 4096).decode(errors="replace").strip()
    return "" if first.endswith("started") else f"{CONTROL}: {first.partition(chr(10))[0]}"


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
    return "processes do not reach the GPUs by it"
