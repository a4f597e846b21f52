"""Claims: what one process alone may do, it claims first.

A claim is a POSIX record lock on a file of its own in `.claims`: the operating system ends it with
the process that holds it, however that ends, and a forked child does not keep it alive. There are
no process ids, leases or clocks. NFS (version 4, or 3 with its lock daemon) honours the locks
between machines; a mount with `nolock` honours them on one. Where a file system has none at all
every claim is granted, and the first record stays all the same.
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

from dse.results.files import CLAIMS, finished, make

LOCK_AGAIN = 1000
"""Times that a file is locked where others take it away."""


Standing = Literal["mine", "held", "done"]


@contextmanager
def claim(folder: Path, trial_id: str) -> Iterator[Standing]:
    """Hold the right to train a trial for as long as the context lasts; says how it stands.

    "mine": this process may train it; "held": another one may, so ask again later; "done": its
    record is there. The claim is this process's: it ends with the context or the process. Raises
    `OSError` where the folder cannot be written.
    """
    with locked(folder / "trials" / CLAIMS / trial_id) as standing:
        if finished(folder, [trial_id]):  # looked at after the claim: it may just have been left
            yield "done"
        else:
            yield "held" if standing == "held" else "mine"


def held(folder: Path, trial_id: str) -> bool:
    """Whether some process holds the claim to a trial now. Writes nothing."""
    return is_locked(folder / "trials" / CLAIMS / trial_id)


def has_claims(folder: Path) -> bool:
    """Whether the file system of a results folder that exists has locks, so that claims exclude."""
    with locked(folder / CLAIMS / secrets.token_hex(8)) as standing:
        return standing != "unknown"


NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


_mine: dict[tuple[int, Path], object] = {}
"""What this process has locked. A record lock does not exclude its own process, and goes when the
process closes any handle of the file: so a file that is here is not opened again."""


@contextmanager
def locked(path: Path) -> Iterator[Literal["mine", "held", "unknown"]]:
    """Lock a file of its own while the context lasts, if no other holder has; it goes with it.

    "unknown" where the file system has no locks.
    """
    key, token = (os.getpid(), path.absolute()), object()
    if _mine.setdefault(key, token) is not token:
        yield "held"
        return
    try:
        handle = _lock(path)
        try:
            yield "held" if handle is None else "mine" if handle >= 0 else "unknown"
        finally:
            if handle is not None and key[0] == os.getpid():  # a forked child holds nothing
                with suppress(OSError):
                    path.unlink()  # first: who waits for the lock sees that its file is gone
                if handle >= 0:
                    os.close(handle)
                with suppress(OSError):
                    path.parent.rmdir()
    finally:
        del _mine[key]


def _lock(path: Path) -> int | None:
    """A handle of the file, locked; None where another process holds it, -1 without locks."""
    for _ in range(LOCK_AGAIN):
        make(path.parent.parent)
        with suppress(FileExistsError):
            path.parent.mkdir()
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # the last holder took the folder with it
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, handle):
                return handle
            os.close(handle)  # the last holder took the file with it
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return None
            if error.errno in NO_LOCKS:
                return -1
            raise
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file, this one included."""
    if (os.getpid(), path.absolute()) in _mine:
        return True
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    finally:
        os.close(handle)
    return False
