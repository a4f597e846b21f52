"""What a job of submitit runs: one attempt at a task, in touch with the driver through files.

A job whose time is nearly over, or that SLURM preempts, asks its task to stop at a checkpoint and
is requeued as the same job; the task then resumes.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dse.runner import slurm
from dse.runner.local import TURN
from dse.runner.remote import attend, load
from dse.runner.task import End


class Spool:
    """Two files that a job and its driver share: reports are lines of JSON in `PATH.reports`, and
    the task stops where there is `PATH.stop`."""

    def __init__(self, path: Path) -> None:
        self._reports, self._stop = path.with_suffix(".reports"), path.with_suffix(".stop")
        self._read = 0

    def write(self, values: list[Any]) -> None:
        """Append reports."""
        if values:
            with self._reports.open("a") as file:
                file.write("".join(json.dumps(value, default=str) + "\n" for value in values))

    def read(self) -> list[Any]:
        """The reports that came since the last call."""
        try:
            with self._reports.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        values = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):  # cut by a kill, and continued after it
                values.append(json.loads(line))
        return values

    def stop(self) -> None:
        """Ask the task to stop."""
        self._stop.touch()

    @property
    def stopping(self) -> bool:
        """Whether the driver has asked the task to stop."""
        return self._stop.exists()

    def clear(self) -> None:
        """Remove the files."""
        for file in (self._reports, self._stop):
            file.unlink(missing_ok=True)


class Job:
    """One attempt at a task; submitit pickles it and calls it in the job."""

    def __init__(
        self, function: str, content: bytes, patience: float, spool: Path, notice: float
    ) -> None:
        self._function, self._content, self._patience = function, content, patience
        self._spool, self._notice = Spool(spool), notice
        self._signal: int | None = None
        self._path = list(sys.path)

    def __call__(self) -> End:
        """Run the task. Where SLURM ends the job, the task stops, and the job leaves no result but
        is requeued: by itself if it is still running, else by SLURM.

        SLURM announces the end with submitit's signal when the time is nearly over, or with
        SIGTERM, which it also sends to a job that is cancelled and must not be requeued.
        """
        submitit = load("submitit")
        sys.path += [folder for folder in self._path if folder not in sys.path]
        timeout = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        self._signal = None
        requeue: Any = signal.signal(timeout, self._note_signal)
        signal.signal(signal.SIGTERM, self._note_signal)
        end = attend(self._function, self._content, self._patience, self._report, self._notice)
        if self._signal is None and end.kind == "stopped":
            time.sleep(TURN)  # the task's own process got the signal first
        unfinished = end.kind in ("stopped", "died", "memory")
        if self._signal is None or not unfinished or self._spool.stopping:
            return end
        state = slurm.own_state()
        if state == "running" and self._signal != timeout:  # the signal was not SLURM's
            return end
        if state != "ending":  # where SLURM refuses, the driver retries the task
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                requeue(timeout, None)
        sys.exit(1)

    def checkpoint(self) -> Any:
        """What the requeued job runs: the same; submitit calls this."""
        submitit = load("submitit")
        saved = submitit.JobEnvironment().paths.submitted_pickle
        saved.with_suffix(".pkl.save_tmp").unlink(missing_ok=True)  # of one killed while it saved
        return submitit.helpers.DelayedSubmission(self)

    def _note_signal(self, number: int, _: object) -> None:
        if self._signal is None:
            self._signal = number

    def _report(self, values: list[Any]) -> bool:
        """Pass reports on; whether the task must stop."""
        self._spool.write(values)
        return self._signal is not None or self._spool.stopping
