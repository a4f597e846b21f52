"""Claims: the right of one process to train a trial.

A claim is a POSIX record lock on a separate file in `.claims`. The operating system releases it
when the process that holds it ends, however that happens, and a forked child does not keep it.
There are no process ids, leases or clocks. NFS (version 4, or 3 with its lock daemon) enforces the
locks between machines; a mount with `nolock` enforces them on one. Where a file system has no locks
at all, every claim is granted, and still the first record of a trial stays.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from dse.results.files import CLAIMS, TRIALS, finished, make

ATTEMPTS = 1000
"""How often a process tries to lock a file that others keep removing."""

HELD = {errno.EACCES, errno.EAGAIN}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

Lock = Literal["mine", "held", "unknown"]

_mine: dict[tuple[int, Path], object] = {}
"""What this process has locked. A record lock does not exclude its own process, and is released
when the process closes any handle of the file, so a file listed here must not be opened again."""


@contextmanager
def claim(
    folder: Path, trial_id: str, kind: str = TRIALS
) -> Iterator[Literal["mine", "held", "done"]]:
    """Hold the right to train a trial, or to make what is of another kind, if it is free.

    "mine": this process may train it; "held": another one may, so ask again later; "done": it has
    a record. A claim ends with the context or the process. Raises `OSError` where the folder cannot
    be written.
    """
    with locked(folder / kind / CLAIMS / trial_id) as lock:
        # checked under the lock: the last holder may have saved
        if finished(folder, [trial_id], kind):
            yield "done"
        else:
            yield "held" if lock == "held" else "mine"


def held(folder: Path, trial_id: str, kind: str = TRIALS) -> bool:
    """Whether a process holds the claim to a trial now. Writes nothing."""
    return is_locked(folder / kind / CLAIMS / trial_id)


def has_claims(folder: Path) -> bool:
    """Whether the file system of an existing results folder has locks, so that claims exclude."""
    with locked(folder / CLAIMS / secrets.token_hex(8)) as lock:
        return lock != "unknown"


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Lock a file while the context lasts, and remove it afterwards.

    "mine"; "held" where another holder has the lock; "unknown" where the file system has no locks.
    """
    key, token = (os.getpid(), path.absolute()), object()
    if _mine.setdefault(key, token) is not token:
        yield "held"
        return
    try:
        lock, handle = _lock(path)
        try:
            yield lock
        finally:
            if handle is not None and os.getpid() == key[0]:  # a forked child holds nothing
                _release(path, handle)
    finally:
        del _mine[key]


def is_locked(path: Path) -> bool:
    """Whether a process, this one included, holds the lock of a file."""
    if (os.getpid(), path.absolute()) in _mine:
        return True
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(handle)
    return False


def _lock(path: Path) -> tuple[Lock, int | None]:
    """Lock a file that is made for it; its handle, unless another process holds the lock."""
    for _ in range(ATTEMPTS):
        try:
            make(path.parent.parent)
            with suppress(FileExistsError):
                path.parent.mkdir()
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # another process has just removed one of the folders
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, handle):
                return "mine", handle
            os.close(handle)  # the last holder has removed the file
        except OSError as error:
            if error.errno in NO_LOCKS:
                return "unknown", handle
            os.close(handle)
            if error.errno in HELD:
                return "held", None
            raise
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _release(path: Path, handle: int) -> None:
    """Remove a locked file, then release its lock, so that the next holder sees that it is gone."""
    with suppress(OSError):
        path.unlink()
    os.close(handle)
    with suppress(OSError):
        path.parent.rmdir()


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
