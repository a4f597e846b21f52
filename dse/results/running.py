"""What runs on a results folder, or was killed there, in words: for `dse.status`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from dse.results import commands, drivers, files, locks, records
from dse.trial.names import short_id

QUEUED = "starting or queued"


def of_command(folder: Path, status: Mapping[str, Any], is_running: bool) -> list[str]:
    """A running command and its tasks, or how to resume one that was killed."""
    kind = status["kind"]
    what, running = f"a {drivers.named(status)}", status["running"]
    if not is_running:
        copied = drivers.is_copy(folder, status)
        killed = f"{what} was killed"
        if copied:
            killed += ", or runs on the folder that this was copied or moved from"
        line = commands.moved(status["command"], folder, status["folder"])
        command = f"cd {shlex.quote(status['folder'])} && {line}"
        if "count" not in status:  # of an earlier version
            return [f"{killed}: {status['summary']}; to resume: {command}"]
        failed = f", {status['failed']} failed" if status["failed"] else ""
        count = f"{_done(folder, status)} of {status['count']} done{failed}"
        return [f"{killed}: {count}; to resume: {command}"]
    finished = records.ids(folder, kind)
    states = {key: _state(folder, key, kind, finished) for key in running}
    summary = status["summary"]
    if queued := list(states.values()).count(QUEUED):
        counts = f"{len(running) - queued} running, {queued} {QUEUED}".removeprefix("0 running, ")
        summary = summary.replace(f", {len(running)} running", f", {counts}", 1)
    shown = [f"{what} is running: {summary}"]
    for key, state in states.items():
        shown.append(f"{state}: {called(status['names'][key], key)}: {running[key]}")
    return shown


def _state(folder: Path, key: str, kind: str, finished: Set[str]) -> str:
    """What a task does that a command has started: one without a claim or a record loads its
    modules, or is a job in a cluster's queue, perhaps again."""
    if locks.held(folder, key, kind):
        return "running"
    return "ending" if key in finished else QUEUED


def _done(folder: Path, status: Mapping[str, Any]) -> int:
    """How many tasks of a command that was killed are done: some ended after its last status."""
    return int(status["done"]) + len(status["running"].keys() & records.ids(folder, status["kind"]))


def is_done(folder: Path, status: Mapping[str, Any]) -> bool:
    """Whether a command that was killed had nothing left to do."""
    return "count" in status and _done(folder, status) == status["count"]


def unlisted(folder: Path, published: Sequence[tuple[Mapping[str, Any], bool]]) -> Iterator[str]:
    """A line for each task that runs and is listed by no running command: jobs outlive theirs."""
    names, listed, alive = dict[str, str](), set[str](), False
    for status, is_running in published:
        with suppress(TypeError, AttributeError):
            names |= status.get("names", {})
            listed |= status.get("running", {}).keys() if is_running else set()
        alive |= is_running
    # what a running command has begun last it may not have listed yet
    how = "running" if alive else "running, by a job whose command has ended"
    for kind in [files.TRIALS] if alive else files.KINDS:
        for key in filter(files.ID.fullmatch, files.names(folder / kind / files.CLAIMS)):
            if key not in listed and locks.held(folder, key, kind):
                yield f"{how}: {called(names.get(key, f'trial {short_id(key)}'), key)}"


def called(name: str, trial_id: str) -> str:
    """A trial's name and its short id."""
    short = short_id(trial_id)
    return name if short in name else f"{name} ({short})"
