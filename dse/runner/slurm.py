"""What SLURM says of jobs. Its accounting is not needed."""

from __future__ import annotations

import os
import subprocess
from typing import Literal

UNKNOWN = "UNKNOWN"
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "PREEMPTED"}
ENDED |= {"OUT_OF_MEMORY", "TIMEOUT", UNKNOWN}
"""SLURM's states of a job that has ended, and that of a job it no longer lists. A job that is
requeued is PENDING."""


def job_states() -> dict[str, str] | None:
    """The states of the user's jobs, those that ended in the last minutes included; None where
    SLURM does not answer."""
    which = [f"--user={os.getuid()}", "--states=all"]
    answer = _run("squeue", *which, "--noheader", "--format=%A %T")
    if answer is None:
        return None
    return dict(line.split() for line in answer.splitlines() if len(line.split()) == 2)


def cancel(*jobs: str) -> bool:
    """Cancel jobs with one command; returns whether that was done."""
    return _run("scancel", *jobs) is not None


def own_state() -> Literal["running", "to be preempted", "ending"]:
    """The state of the job that this process belongs to.

    It is "running" also where there is no job of SLURM. A job that is "ending" is requeued or not,
    as SLURM decides; where SLURM does not answer it is assumed to be ending.
    """
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return "running"
    answer = _run("scontrol", "show", "job", "--oneliner", number) or ""
    facts = dict(text.partition("=")[::2] for text in answer.split())
    if facts.get("JobState") not in ("RUNNING", "SIGNALING"):
        return "ending"
    preempted = facts.get("PreemptTime", "None") not in ("None", "N/A")
    return "to be preempted" if preempted else "running"


def _run(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=plain)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
