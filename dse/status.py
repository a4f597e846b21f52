"""`python -m dse.status results/NAME`: what is done, failed and running in a results folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dse.results import drivers, files, locks, records
from dse.sweep.errors import Parser, printable
from dse.sweep.messages import say
from dse.sweep.streams import print_lines, with_streams
from dse.trial.names import short_id


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 2 for a wrong folder. It changes nothing."""
    return with_streams(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m dse.status",
        description="Show what is done, failed and running in a results folder. Changes nothing.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    folder: Path = parser.parse_args(arguments).folder
    try:
        if not files.has_trials(folder):
            raise ValueError("it has no trials")
        shown = list(lines(folder))
    except files.Damaged as error:
        say(error)
        return 1
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        say(printable(f"`folder` must be a results folder, got {folder}: {reason}"))
        return 2
    print_lines(*map(printable, shown))
    return 0


def lines(folder: Path) -> Iterator[str]:
    """A line for the whole folder, one for each failed trial, and those of each command on it."""
    for kind, what in (files.TRIALS, ""), (files.COMPRESSED, " compressed"):
        done, failures = records.ids(folder, kind), records.failures(folder, kind)
        if done or failures or kind == files.TRIALS:
            yield f"{folder}: {len(done)}{what or ' done'}, {len(failures)} failed"
        for trial_id, failure in failures.items():
            yield f"failed: {_called(failure.name, trial_id)}: {failure.reason}"
    for status, is_running in drivers.published(folder):
        try:
            yield from _command(folder, status, is_running)
        except (TypeError, KeyError, AttributeError):
            yield "a command whose status cannot be read"


def _command(folder: Path, status: Mapping[str, Any], is_running: bool) -> list[str]:
    """A running command and its tasks, or how to resume one that was killed."""
    kind = status["kind"]
    what = f"a {drivers.COMMANDS[kind]}"
    if not is_running:
        command = f"cd {shlex.quote(status['folder'])} && {status['command']}"
        return [f"{what} was killed: {status['summary']}; to resume: {command}"]
    shown = [f"{what} is running: {status['summary']}"]
    for trial_id, progress in status["running"].items():
        state = "running" if locks.held(folder, trial_id, kind) else "ending"
        shown.append(f"{state}: {_called(status['names'][trial_id], trial_id)}: {progress}")
    return shown


def _called(name: str, trial_id: str) -> str:
    """A trial's name and its short id."""
    short = short_id(trial_id)
    return name if short in name else f"{name} ({short})"


if __name__ == "__main__":
    sys.exit(main())
