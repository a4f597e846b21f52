"""The engine that runs tasks as jobs of a SLURM cluster, by submitit.

The state of jobs that leave no result is read from SLURM's queue. submitit keeps tasks and
values as pickles in its folder, so only the folder's owner may write there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.runner import slurm
from dse.runner.fork import GRACE
from dse.runner.job import Job, Spool
from dse.runner.local import TAIL, TURN
from dse.runner.remote import load, text
from dse.runner.task import End, Report
from dse.space.rules import check, integer, knob, one_of, path, printable, real

POLL = 15.0
"""Seconds between two readings of SLURM's queue; by then a shared folder shows another machine's
result."""

UNIMPORTED = ("ModuleNotFoundError:", "ImportError:")
"""How the error of a job begins whose machine lacks this package, or a library it needs."""

LINE = 200
"""Maximum number of characters of a log's last line in a reason."""

MARGIN = 30
"""Seconds of a job's notice in which the job itself ends and is requeued."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """What a task's job asks for; raises `ValueError` for a value outside its rule."""

    folder: Path = knob(  # noqa: RUF009
        Path("submitit-jobs"), path(), "folder for jobs and logs, shared by all nodes"
    )
    cluster: str = knob(
        "slurm", one_of("slurm", "local"), "local: processes on this machine, for testing"
    )
    partition: str = knob(
        "", text("a name", empty=True), "SLURM partition (empty: the default one)"
    )
    account: str = knob("", text("a name", empty=True), "SLURM account (empty: your default one)")
    qos: str = knob("", text("a name", empty=True), "SLURM quality of service (empty: the default)")
    timeout_min: int = knob(240, integer(1, 525_600), "time limit of a job, minutes")
    timeouts: int = knob(100, integer(0, 10_000), "how often a job may time out and resume")
    notice: int = knob(60, integer(1, 3600), "seconds that a task has to stop when preempted")
    mem_gb: float = knob(4.0, real(0, 1e5, above=True), "memory of a job, GB")
    cpus_per_task: int = knob(1, integer(1, 4096), "CPU cores of a job")
    gpus: int = knob(0, integer(0, 1), "GPUs of a job")

    def __post_init__(self) -> None:
        check(self)
        notice = self.notice + MARGIN
        if self.cluster == "slurm" and 60 * self.timeout_min <= 2 * notice:
            raise ValueError(
                f"`submitit.timeout_min` must be more than twice the {notice} s that "
                f"`submitit.notice` {self.notice} leaves at a job's end, got {self.timeout_min}"
            )


class Submitit:
    """A job for each task.

    Raises `ValueError` where submitit is not installed or there is no SLURM.
    """

    pauses = (60.0, 600.0)

    def __init__(self, function: str, patience: float, settings: Jobs | None = None) -> None:
        load("submitit")
        self._function, self._patience = function, patience
        self._settings = settings or Jobs()
        self._slurm = self._settings.cluster == "slurm"
        if self._slurm and shutil.which("sbatch") is None:
            raise ValueError(
                "`submitit.cluster` must be reachable from here, got slurm: sbatch was not found"
            )
        self._folder = _own_folder(self._settings.folder)
        self._executor = _executor(self._folder, self._settings)
        self._polled = time.monotonic()
        self._attempts: list[_Attempt] = []

    def start(self, content: bytes) -> _Attempt:
        """Submit a job; raises `OSError` where SLURM accepts no more."""
        spool = self._folder / uuid.uuid4().hex
        job = Job(self._function, content, self._patience, spool, self._settings.notice)
        try:
            attempt = _Attempt(self._executor.submit(job), Spool(spool))
        except RuntimeError as error:
            raise OSError(" ".join(str(error).split())) from None
        self._attempts.append(attempt)
        return attempt

    def wait(self, seconds: float) -> list[tuple[_Attempt, Report | End]]:
        """What has come; checked every half a second."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):  # has NFS show what other machines wrote
                self._folder.chmod(0o700)
            self._poll()
            received: list[tuple[_Attempt, Report | End]] = []
            for attempt in list(self._attempts):
                received += self._receive(attempt)
            left = deadline - time.monotonic()
            if received or left <= 0:
                return received
            time.sleep(min(left, TURN))

    def _receive(self, attempt: _Attempt) -> list[tuple[_Attempt, Report | End]]:
        """The new reports of an attempt, and its end."""
        # Seen twice in the queue: a job that is requeued has ended for a moment.
        over = attempt.has_result() or len(attempt.ended) >= (2 if self._slurm else 1)
        received: list[Report | End] = [Report(value) for value in attempt.spool.read()]
        if over:
            if not attempt.has_result():
                self._cancel(attempt)  # in case it is still about to do something
            received.append(attempt.end())
            self._attempts.remove(attempt)
        return [(attempt, message) for message in received]

    def _poll(self) -> None:
        """Find out which jobs have ended; SLURM is asked every `POLL` seconds."""
        if not self._slurm:
            for attempt in self._attempts:
                attempt.ended = [attempt.job.state] if attempt.job.done() else []
        elif self._attempts and time.monotonic() - self._polled >= POLL:
            states = slurm.job_states()
            self._polled = time.monotonic()
            if states is None:
                return
            for attempt in self._attempts:
                state = states.get(attempt.job.job_id, slurm.UNKNOWN)
                attempt.ended = [*attempt.ended, state] if state in slurm.ENDED else []

    def stop(self, attempt: _Attempt) -> None:
        """Ask a task to stop."""
        attempt.spool.stop()

    def kill(self, *attempts: _Attempt) -> None:
        """Cancel jobs; where SLURM does not answer they are asked to stop."""
        if not attempts:
            return
        cancelled = self._cancel(*attempts)
        for attempt in attempts:
            self._attempts.remove(attempt)
            if cancelled:
                attempt.clear()
            else:
                self.stop(attempt)

    def _cancel(self, *attempts: _Attempt) -> bool:
        """Cancel jobs; returns whether that was done."""
        if self._slurm:
            return slurm.cancel(*(attempt.job.job_id for attempt in attempts))
        for attempt in attempts:
            attempt.job.cancel(check=False)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and not all(a.job.done() for a in attempts):
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Cancel every job."""
        self.kill(*self._attempts)
        for link in self._folder.glob(".submission_file_*"):  # submitit's, to files that are gone
            if not link.exists():
                link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds the logs of what failed
            self._folder.rmdir()


class _Attempt:
    """A job and its spool; `ended` lists the states in which the last polls saw it ended."""

    def __init__(self, job: Any, spool: Spool) -> None:
        self.job, self.spool = job, spool
        self.ended: list[str] = []

    def has_result(self) -> bool:
        """Whether the job has left a result."""
        return bool(self.job.paths.result_pickle.exists())

    def end(self) -> End:
        """How the attempt ended. The log of a failed one stays."""
        log = _tail(self.job.paths.stderr).strip()
        if not self.has_result():
            state, lines = self.ended[0], log.splitlines()
            reason = f"job {self.job.job_id} ended without a result, {state}"
            if lines:
                reason += f": {printable(lines[-1])[:LINE]}"
            return End("memory" if "OUT_OF_ME" in state else "died", reason=reason, details=log)
        error = self.job.exception()
        if error is not None:
            lines = [line for line in str(error).splitlines() if "Error:" in line]
            reason = (lines or ["the job failed"])[-1]
            return End(
                "unimported" if reason.startswith(UNIMPORTED) else "failed",
                reason=f"{reason}{self._where()}",
                details=str(error),
            )
        end: End = self.job.result()
        if end.kind in ("finished", "later"):
            self.clear()
        return end

    def _where(self) -> str:
        """On which machine the job ran, where its log says so."""
        found = re.search(r"hostname=([^\s,]+)", _tail(self.job.paths.stdout))
        return f" (job {self.job.job_id} on {found[1]})" if found else ""

    def clear(self) -> None:
        """Remove the job's files."""
        paths = self.job.paths
        pickles = (paths.submission_file, paths.submitted_pickle, paths.result_pickle)
        for file in (*pickles, paths.stdout, paths.stderr):
            file.unlink(missing_ok=True)
        self.spool.clear()


def _own_folder(parent: Path) -> Path:
    """A new folder, because the numbers of jobs may repeat; only its owner may write in it."""
    folder = parent.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = folder.stat()
        if state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise PermissionError("others may write to it")
        folder /= uuid.uuid4().hex
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ValueError(
            f"`submitit.folder` must be a writable folder of your own, got {parent}: {error}"
        ) from None
    return folder


def _executor(folder: Path, jobs: Jobs) -> Any:
    """submitit's executor for such jobs."""
    options = {f"{jobs.cluster}_max_num_timeout": jobs.timeouts}
    try:
        executor = load("submitit").AutoExecutor(folder, jobs.cluster, **options)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`submitit.cluster` must be reachable from here, got slurm: {reason}"
        ) from None
    choices = {"partition": jobs.partition, "account": jobs.account, "qos": jobs.qos}
    executor.update_parameters(
        timeout_min=jobs.timeout_min,
        mem_gb=jobs.mem_gb,
        cpus_per_task=jobs.cpus_per_task,
        slurm_signal_delay_s=jobs.notice + MARGIN,
        slurm_job_name="dse",
        slurm_additional_parameters={"requeue": True},
        **{f"slurm_{name}": choice for name, choice in choices.items() if choice},
        **({"gpus_per_node": jobs.gpus} if jobs.gpus else {}),
    )
    return executor


def _tail(log: Path) -> str:
    """The end of a job's log, whatever was written there."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - TAIL, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
