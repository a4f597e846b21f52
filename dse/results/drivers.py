"""What the commands that run on a results folder publish about themselves, for `dse.status`.

Nothing depends on it: it is not durable, and gone when the command ends.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dse.results.atomic import hidden
from dse.results.files import CLAIMS, COMPRESSED, RUNNING, TRIALS, names
from dse.results.locks import is_locked

COMMANDS = {TRIALS: "sweep", COMPRESSED: "compression"}
"""What a command is called that makes each kind, unless it publishes another name."""


@contextmanager
def publishing(folder: Path, name: str = "") -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that publishes a command's status in place of its last one, within the context.

    `name` is what the command is called, such as "search". A full disk only leaves the last one
    there.
    """
    with hidden(folder / "trials" / RUNNING) as path:
        own = {"inode": folder.stat().st_ino, **({"name": name} if name else {})}

        def publish(status: Mapping[str, Any]) -> None:
            with suppress(OSError), hidden(path) as temporary:
                temporary.write_text(json.dumps({**status, **own}))
                temporary.replace(path)

        handle = os.open(path.parent, os.O_RDONLY)
        try:
            yield publish
        finally:
            with suppress(OSError):  # also where the folder was renamed meanwhile
                os.unlink(path.name, dir_fd=handle)
            os.close(handle)


def named(status: Mapping[str, Any]) -> str:
    """What the command of a status is called."""
    return str(status.get("name") or COMMANDS.get(status.get("kind", ""), "command"))


def is_copy(folder: Path, status: Mapping[str, Any]) -> bool:
    """Whether a status was published in another folder, and copied to this one, or moved here from
    another file system."""
    inode = folder.stat().st_ino
    return bool(status.get("inode", inode) != inode)  # those of earlier versions have none


def published(folder: Path) -> list[tuple[dict[str, Any], bool]]:
    """The status of each command on a results folder, and whether it still runs."""
    statuses = []
    trials = folder / "trials"
    for name in names(trials):
        if token := re.fullmatch(rf"\.{RUNNING}\.([0-9a-f]{{16}})", name):
            with suppress(OSError, ValueError, RecursionError):
                status = json.loads((trials / name).read_bytes())
                if isinstance(status, dict):
                    statuses.append((status, is_locked(trials / CLAIMS / token[1])))
    return statuses
