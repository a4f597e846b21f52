"""The command lines of the sweeps on a results folder, so that a report can repeat them.

`commands.jsonl` has a line of JSON for each: when it started, and the command. Nothing depends on
it: records say what was trained.
"""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dse.results.files import COMMANDS, make

NAMES = {"dse.sweep": "figure3a", "dse.search": "search", "dse.reproduce": "reproduce"}
"""The results folder's name where neither `name` nor a page is given, by command."""
PAGES = ("-c", "--config")
"""How the options begin that name a page, which may name the folder."""


class Command(NamedTuple):
    """A command line, quoted for a shell, and the time when it first started: ISO 8601, UTC."""

    line: str
    started: str


def note(folder: Path, line: str, started: str = "") -> None:
    """Note a command that starts on a results folder, now or at `started`, unless it was the last
    to start there.

    Raises `OSError` where it cannot be written.
    """
    if line in (command.line for command in noted(folder)[-1:]):
        return
    make(folder / "trials")
    started = started or datetime.now(UTC).isoformat(timespec="seconds")
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


def moved(line: str, folder: Path, start: str = "") -> str:
    """A command line for a results folder that may have been renamed or moved since.

    It gets the `name` and the `results.root` that the folder has now, unless it leads there from
    the directory `start` (default: the current one) as it is.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # of a line that was changed by hand
        return line
    names = [NAMES[word] for word in words if word in NAMES]
    if not names:
        return line
    given = dict(word.partition("=")[::2] for word in words)
    name = given.get("name") or ("" if any(word.startswith(PAGES) for word in words) else names[0])
    root = Path(start, given.get("results.root", "results"))
    home = folder.resolve()
    changed = {"name": home.name} if name != home.name else {}
    if root.resolve() != home.parent:
        changed["results.root"] = str(home.parent)
    kept = [word for word in words if word.partition("=")[0] not in changed]
    return shlex.join([*kept, *(f"{key}={text}" for key, text in changed.items())])
