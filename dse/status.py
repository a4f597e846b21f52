"""`python -m dse.status results/NAME`: what is done, failed and running, seen from outside."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dse.results import drivers, files, locks, records


class _Parser(argparse.ArgumentParser):
    """Arguments, whose mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 shown, 2 wrong). It changes nothing."""
    parser = _Parser(
        prog="python -m dse.status",
        description="Show what is done, failed and running in a results folder. Changes nothing.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    folder: Path = parser.parse_args(arguments).folder
    try:
        if not ((folder / "trials").is_dir() and files.is_results(folder)):
            raise ValueError("there are no trials")
        shown = list(lines(folder))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        print(_plain(f"`folder` must be a results folder, got {folder}: {reason}"), file=sys.stderr)
        return 2
    print(*map(_plain, shown), sep="\n")
    return 0


def lines(folder: Path) -> Iterator[str]:
    """How a results folder stands: its records, its failures, and each sweep at work on it."""
    failures = records.failures(folder)
    yield f"{folder}: {len(records.records(folder))} done, {len(failures)} failed"
    for trial_id, reason in failures.items():
        yield f"failed  {trial_id} {reason}"
    for word, lives in drivers.published(folder):
        try:
            yield from _of_sweep(folder, word, lives)
        except (TypeError, KeyError, AttributeError):
            yield "a sweep whose word cannot be read"


def _of_sweep(folder: Path, word: Mapping[str, Any], lives: bool) -> list[str]:
    """One sweep: how it stands and what it runs, or how to go on where it was killed."""
    if not lives:
        command = f"cd {shlex.quote(word['folder'])} && {word['command']}"
        return [f"a sweep was killed at: {word['stands']}; to go on: {command}"]
    states = {i: "running" if locks.held(folder, i) else "ending" for i in word["running"]}
    running = [f"{state} {i} {word['running'][i]}" for i, state in states.items()]
    return [f"a sweep runs: {word['stands']}", *running]


def _plain(text: str) -> str:
    """A text that is safe on a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


if __name__ == "__main__":
    sys.exit(main())
