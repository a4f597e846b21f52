"""Files that are replaced as a whole: written under a hidden name, then renamed."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dse.results import packs
from dse.results.files import CLAIMS, KINDS, UNFINISHED, finished, names, remove, sync, write_new
from dse.results.locks import locked


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably: it is the old file or the new one, never a mixture.

    Raises `OSError` where that cannot be done; the old file is then still there.
    """
    with hidden(path) as temporary:
        write_new(temporary, content)
        temporary.replace(path)
    sync(path.parent)


@contextmanager
def hidden(path: Path) -> Iterator[Path]:
    """A new hidden name next to `path`; what is left there at the end is removed.

    It ends in a token that is locked while the context lasts, so that `tidy` leaves it alone.
    """
    with ExitStack() as stack:
        lock = "held"
        while lock == "held":  # by a `tidy` that saw the new file before it was locked
            token = secrets.token_hex(8)
            lock = stack.enter_context(locked(path.parent / CLAIMS / token))
        temporary = path.with_name(f".{path.name}.{token}")
        try:
            yield temporary
        finally:
            remove(temporary)


def tidy(folder: Path) -> None:
    """Remove what killed processes left in a results folder: hidden files, claims, and checkpoints
    of finished trials. What a living process works on stays."""
    checkpoints = folder / "trials" / UNFINISHED
    homes = [checkpoints / name for name in names(checkpoints) if (checkpoints / name).is_dir()]
    for home in homes:
        if finished(folder, [home.name]) or home.name in packs.ids(folder):
            shutil.rmtree(home, ignore_errors=True)
    for place in (folder, *(folder / kind for kind in KINDS), *homes):
        for name in names(place):
            if token := re.fullmatch(r"\..+\.([0-9a-f]{16})", name):
                with locked(place / CLAIMS / token[1]) as lock:
                    if lock == "mine":
                        remove(place / name)
        for name in filter(re.compile("[0-9a-f]+").fullmatch, names(place / CLAIMS)):
            with locked(place / CLAIMS / name):
                pass  # this removes the file, unless another process holds the lock
