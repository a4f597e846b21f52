"""Text for a person at a terminal: lines on stderr, volumes, the command to resume."""

from __future__ import annotations

import errno
import shlex
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from dse.space.rules import printable

ANOTHER = "search under another `name`"
"""What to do where a search needs weights that were removed."""

tqdm.set_lock(threading.RLock())  # its own is shared with forked processes, which may be killed
tqdm.monitor_interval = 0  # no thread: a bar is refreshed where something happens

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors where a disk is full, or the user's share of it."""


def full(path: Path) -> str:
    """What is said of the disk that a path is on, where it is full."""
    return f"the disk of {path} is full (or out of inodes)"


def unwritable(key: str, path: Path, error: OSError) -> str:
    """The line for a path that could not be written; `key` is what the user gave it by."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in FULL:
        return f"{full(path)}: {reason}"
    return f"`{key}` must be writable, got {path}: {reason}"


def say(*texts: object) -> None:
    """Print lines to stderr, above the progress bar, with what does not print escaped.

    An error in writing is ignored.
    """
    with suppress(OSError):
        tqdm.write(as_lines(texts), file=sys.stderr, end="")


def as_lines(texts: Iterable[object]) -> str:
    r"""Texts as lines, in which what does not print is escaped.

    >>> as_lines(["a\x1b", "b\nc"])
    'a\\x1b\nb\nc\n'
    """
    return "".join(f"{printable(line)}\n" for text in texts for line in str(text).split("\n"))


def resume_command() -> str:
    """The command line of this process, quoted for a shell: repeating it resumes a sweep."""
    return shlex.join(sys.orig_argv)


def volume(size_bytes: float) -> str:
    """Bytes in MiB or GiB.

    >>> volume(54_120), volume(3 * 2**30)
    ('0.1 MiB', '3.0 GiB')
    """
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.1f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"
