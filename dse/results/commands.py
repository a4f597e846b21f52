"""The command lines of the sweeps on a results folder, so that a report can repeat them.

`commands.jsonl` has a line of JSON for each: when it started, and the command. Nothing depends on
it: records say what was trained.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dse.results.files import COMMANDS, make


class Command(NamedTuple):
    """A command line, quoted for a shell, and the time when it first started: ISO 8601, UTC."""

    line: str
    started: str


def note(folder: Path, line: str) -> None:
    """Note a command that starts on a results folder, unless it was the last to start there.

    Raises `OSError` where it cannot be written.
    """
    if line in (command.line for command in noted(folder)[-1:]):
        return
    make(folder / "trials")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"command": line, "started": started}) + "\n"
    with (folder / COMMANDS).open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        torn = file.read(1) not in (b"", b"\n")  # by a full disk or a kill
        file.write(("\n" * torn + text).encode())  # at once: lines of two sweeps do not mix


def noted(folder: Path) -> list[Command]:
    """The distinct commands noted in a results folder, in the order in which they last started;
    damaged lines are left out."""
    found: dict[str, Command] = {}
    with suppress(FileNotFoundError):
        for text in (folder / COMMANDS).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                row = json.loads(text)
                command = Command(str(row["command"]), str(row["started"]))
                found[command.line] = found.pop(command.line, command)
    return list(found.values())
