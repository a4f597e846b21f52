"""Attempts at calls as jobs of a SLURM cluster, by submitit.

A job carries out one call in a process of its own. When SLURM preempts it, or its time is nearly
over, the call is asked to stop, leaves its checkpoint, and the job is queued again as the same job:
the call then goes on from its checkpoint. What became of jobs that leave no result is read in
SLURM's queue; accounts are not needed. submitit keeps calls and values as pickles in the folder, in
which therefore nobody but its owner may write.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.runner.local import GRACE, TAIL, TURN
from dse.runner.remote import attend, load, settings_of, text
from dse.runner.task import End, Report
from dse.space.rules import check, integer, knob, one_of, path, real

LOOK = 15.0
"""Seconds between two looks at SLURM's queue; within these another machine's result is seen in a
shared folder."""

UNKNOWN = "UNKNOWN"
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "PREEMPTED"}
ENDED |= {"OUT_OF_MEMORY", "TIMEOUT", UNKNOWN}
"""SLURM's states of a job that has ended, and that of one it no longer lists; one that is queued
again is then PENDING."""

MARGIN = 30
"""Seconds of a job's notice that are left to end it and to queue it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """What a call's job asks for; raises `ValueError` for a value outside its rule."""

    folder: Path = knob(  # noqa: RUF009
        Path("submitit-jobs"), path(), "folder of jobs and logs, which all nodes see"
    )
    cluster: str = knob("slurm", one_of("slurm", "local"), "local: processes here, for a try")
    partition: str = knob("", text("a name", empty=True), "SLURM's partition, or its own choice")
    account: str = knob("", text("a name", empty=True), "SLURM's account, or its own choice")
    qos: str = knob("", text("a name", empty=True), "quality of service, or SLURM's own choice")
    timeout_min: int = knob(240, integer(1, 525_600), "time limit of a job, minutes")
    timeouts: int = knob(100, integer(0, 10_000), "how often a job may run out of time and go on")
    notice: int = knob(60, integer(1, 3600), "seconds that a call has to stop when preempted")
    mem_gb: float = knob(4.0, real(0, 1e5, above=True), "memory of a job, GB")
    cpus_per_task: int = knob(1, integer(1, 4096), "processor cores of a job")

    def __post_init__(self) -> None:
        check(self)
        notice = self.notice + MARGIN
        if self.cluster == "slurm" and 60 * self.timeout_min <= 2 * notice:
            raise ValueError(
                f"`submitit.timeout_min` must be more than twice the {notice} s that "
                f"`submitit.notice` {self.notice} leaves at a job's end, got {self.timeout_min}"
            )


class Submitit:
    """A job for each call.

    Raises `ValueError` where submitit is not installed, a setting is wrong or SLURM is not here.
    """

    pauses = (60.0, 600.0)

    def __init__(self, function: str, patience: float, settings: Mapping[str, Any]) -> None:
        submitit = load("submitit")
        self._settings = jobs = settings_of(Jobs, "submitit", settings)
        self._function, self._patience = function, patience
        self._folder = jobs.folder.absolute()
        if jobs.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError(
                "`submitit.cluster` must be reached from here, got slurm: there is no sbatch"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            state = self._folder.stat()
            if state.st_uid != os.getuid() or state.st_mode & 0o022:
                raise PermissionError("others may write in it")
            self._folder /= uuid.uuid4().hex  # numbers of jobs may come again
            self._folder.mkdir(mode=0o700)
            self._executor = submitit.AutoExecutor(
                self._folder, jobs.cluster, **{f"{jobs.cluster}_max_num_timeout": jobs.timeouts}
            )
        except OSError as error:
            raise ValueError(
                f"`submitit.folder` must be a folder, got {jobs.folder}: {error}"
            ) from None
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"`submitit.cluster` must be reached from here, got slurm: {reason}"
            ) from None
        wishes = {"partition": jobs.partition, "account": jobs.account, "qos": jobs.qos}
        self._executor.update_parameters(
            timeout_min=jobs.timeout_min,
            mem_gb=jobs.mem_gb,
            cpus_per_task=jobs.cpus_per_task,
            slurm_signal_delay_s=jobs.notice + MARGIN,
            slurm_job_name="dse",
            slurm_additional_parameters={"requeue": True},
            **{f"slurm_{name}": wish for name, wish in wishes.items() if wish},
        )
        self._slurm = jobs.cluster == "slurm"
        self._looked = time.monotonic()
        self._attempts: list[_Attempt] = []

    def start(self, content: bytes) -> _Attempt:
        """Submit a job; raises `OSError` where SLURM takes no more."""
        spool = self._folder / uuid.uuid4().hex
        call = Job(self._function, content, self._patience, spool, self._settings.notice)
        try:
            attempt = _Attempt(self._executor.submit(call), spool)
        except RuntimeError as error:
            raise OSError(" ".join(str(error).split())) from None
        self._attempts.append(attempt)
        return attempt

    def wait(self, seconds: float) -> list[tuple[_Attempt, Report | End]]:
        """What has come; looks every half a second."""
        end = time.monotonic() + seconds
        looks = 2 if self._slurm else 1
        while True:
            with contextlib.suppress(OSError):  # shows what other machines wrote, says submitit
                self._folder.chmod(0o700)
            self._look()
            found: list[tuple[_Attempt, Report | End]] = []
            for attempt in list(self._attempts):
                over = attempt.over(looks)  # the words of its end are written by then
                found += [(attempt, Report(value)) for value in attempt.words()]
                if over:
                    if not attempt.job.paths.result_pickle.exists():
                        self._cancel(attempt)  # whatever it may be about to do
                    found.append((attempt, attempt.end()))
                    self._attempts.remove(attempt)
            left = end - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(left, TURN))

    def _look(self) -> None:
        """See which jobs have ended: here at once, in SLURM's queue not often."""
        if not self._slurm:
            for attempt in self._attempts:
                attempt.gone = [attempt.job.state] if attempt.job.done() else []
        elif self._attempts and time.monotonic() - self._looked >= LOOK:
            states = _queue()
            self._looked = time.monotonic()
            if states is None:
                return
            for attempt in self._attempts:
                state = states.get(attempt.job.job_id, UNKNOWN)
                attempt.gone = [*attempt.gone, state] if state in ENDED else []

    def stop(self, attempt: _Attempt) -> None:
        """Ask a call to end."""
        attempt.spool.with_suffix(".stop").touch()

    def kill(self, *attempts: _Attempt) -> None:
        """Cancel jobs, with one command; where SLURM does not answer they are asked to end."""
        if not attempts:
            return
        ended = self._cancel(*attempts)
        for attempt in attempts:
            self._attempts.remove(attempt)
            if ended:
                attempt.clear()
            else:
                self.stop(attempt)

    def _cancel(self, *attempts: _Attempt) -> bool:
        """Cancel jobs; returns whether that was done."""
        if self._slurm:
            words = ["scancel", *(attempt.job.job_id for attempt in attempts)]
            return _answer(words) is not None
        for attempt in attempts:
            attempt.job.cancel(check=False)
        end = time.monotonic() + GRACE
        while time.monotonic() < end and not all(a.job.done() for a in attempts):
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Cancel every job."""
        self.kill(*self._attempts)
        with contextlib.suppress(OSError):  # what failed has left its log
            self._folder.rmdir()


class _Attempt:
    """A job, and the files beside submitit's: words come in `spool`.words, a line of JSON each, and
    the call shall end where there is `spool`.stop. `gone` are the states in which the last looks
    have seen a job that had ended."""

    def __init__(self, job: Any, spool: Path) -> None:
        self.job, self.spool = job, spool
        self.gone: list[str] = []
        self._read = 0

    def words(self) -> list[Any]:
        """The words that came since the last look."""
        try:
            with self.spool.with_suffix(".words").open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        words = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):  # cut by a kill, then written on
                words.append(json.loads(line))
        return words

    def over(self, looks: int) -> bool:
        """Whether the job has left a result, or was seen to have ended in so many looks."""
        return self.job.paths.result_pickle.exists() or len(self.gone) >= looks

    def end(self) -> End:
        """How the attempt ended. A failed one's log stays."""
        log = _tail(self.job.paths.stderr)
        if not self.job.paths.result_pickle.exists():
            reason = f"the job ended without a result, {self.gone[0]}"
            if "OUT_OF_ME" in reason:
                return End("memory", reason=reason, details=log)
            return End("died", reason=reason, details=log)
        error = self.job.exception()
        if error is not None:
            told = [line for line in str(error).splitlines() if "Error:" in line]
            return End("failed", reason=(told or ["the job failed"])[-1], details=str(error))
        end: End = self.job.result()
        if end.kind in ("finished", "later"):
            self.clear()
        return end

    def clear(self) -> None:
        """Remove the job's files."""
        paths = self.job.paths
        spooled = (paths.submission_file, paths.submitted_pickle, paths.result_pickle)
        for file in (*spooled, paths.stdout, paths.stderr):
            file.unlink(missing_ok=True)
        for suffix in (".words", ".stop"):
            self.spool.with_suffix(suffix).unlink(missing_ok=True)


def _answer(words: list[str]) -> str | None:
    """What one of SLURM's commands says; None where it fails."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=own)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout


def _queue() -> dict[str, str] | None:
    """The states of the user's jobs, also of those that ended in the last minutes; None where SLURM
    does not answer."""
    chosen = [f"--user={os.getuid()}", "--states=all"]
    answer = _answer(["squeue", *chosen, "--noheader", "--format=%A %T"])
    if answer is None:
        return None
    return dict(line.split() for line in answer.splitlines() if len(line.split()) == 2)


def _standing() -> str:
    """How the job that this process is in stands: it "runs", also where it is none of SLURM's; it
    "will end", where SLURM has told that it will preempt it; or it "ends", and is queued again or
    not, as SLURM decides. No answer is taken for an end."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return "runs"
    answer = _answer(["scontrol", "show", "job", "--oneliner", number]) or ""
    facts = dict(word.partition("=")[::2] for word in answer.split())
    if facts.get("JobState") not in ("RUNNING", "SIGNALING"):
        return "ends"
    return "runs" if facts.get("PreemptTime", "None") in ("None", "N/A") else "will end"


def _tail(log: Path) -> str:
    """The end of a job's log, whatever was written there."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - TAIL, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class Job:
    """What submitit carries out in a job: one attempt at a call."""

    def __init__(
        self, function: str, content: bytes, patience: float, spool: Path, notice: float
    ) -> None:
        self._function, self._content, self._patience = function, content, patience
        self._spool, self._notice = spool, notice
        self._asked: int | None = None
        self._path = list(sys.path)

    def __call__(self) -> End:
        """Attend the call. Where SLURM wants the job to end, so does the call, and the job leaves
        no result but is queued again: by itself where it still runs, else by SLURM.

        SLURM says so by submitit's signal near the end of the job's time, or by SIGTERM, which it
        also sends to a job that is cancelled and shall not be queued again.
        """
        submitit = load("submitit")
        sys.path += [folder for folder in self._path if folder not in sys.path]
        wish = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        self._asked = None
        requeue: Any = signal.signal(wish, self._ask)
        signal.signal(signal.SIGTERM, self._ask)
        end = attend(self._function, self._content, self._patience, self._report, self._notice)
        if self._asked is None and end.kind == "stopped":
            time.sleep(TURN)  # a signal to the call itself came first
        if self._asked is None or end.kind not in ("stopped", "died", "memory") or self._stop():
            return end
        stands = _standing()
        if stands == "runs" and self._asked != wish:  # the signal was not SLURM's
            return end
        if stands != "ends":  # where SLURM refuses, the driver tries again
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                requeue(wish, None)
        sys.exit(1)

    def checkpoint(self) -> Any:
        """What the job queued again shall carry out: the same; submitit asks."""
        submitit = load("submitit")
        saved = submitit.JobEnvironment().paths.submitted_pickle
        saved.with_suffix(".pkl.save_tmp").unlink(missing_ok=True)  # of one killed while it saved
        return submitit.helpers.DelayedSubmission(self)

    def _ask(self, number: int, _: object) -> None:
        if self._asked is None:
            self._asked = number

    def _report(self, words: list[Any]) -> bool:
        if words:
            with self._spool.with_suffix(".words").open("a") as file:
                file.write("".join(json.dumps(word, default=str) + "\n" for word in words))
        return self._asked is not None or self._stop()

    def _stop(self) -> bool:
        """Whether the driver has asked for the end."""
        return self._spool.with_suffix(".stop").exists()
