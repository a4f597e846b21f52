"""Files that are replaced whole: a hidden name, then one rename."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dse.results.files import CLAIMS, UNFINISHED, finished, names, remove, sync, write_new
from dse.results.locks import locked


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably: it is the old file or the new one, never a mixture.

    Raises `OSError` where that cannot be done; the old file is then still there.
    """
    with hidden(path) as temporary:
        write_new(temporary, content)
        temporary.replace(path)
    sync(path.parent)


def tidy(folder: Path) -> None:
    """Remove what killed processes left in a results folder: hidden work, claims, and the states of
    trials that are finished.

    A hidden name ends in a token whose claim its maker holds, so work in progress is left alone.
    """
    states = folder / "trials" / UNFINISHED
    begun = [states / name for name in names(states) if (states / name).is_dir()]
    for place in begun:
        if finished(folder, [place.name]):
            shutil.rmtree(place, ignore_errors=True)
    for place in (folder, folder / "trials", *begun):
        for name in names(place):
            if token := re.fullmatch(r"\..+\.([0-9a-f]{16})", name):
                with locked(place / CLAIMS / token[1]) as standing:
                    if standing == "mine":
                        remove(place / name)
        for name in names(place / CLAIMS):
            with locked(place / CLAIMS / name):
                pass  # it goes with the lock, unless another process holds it


@contextmanager
def hidden(path: Path) -> Iterator[Path]:
    """A new hidden name beside `path`, gone in the end whatever it has become.

    It ends in a token whose claim is held as long.
    """
    with ExitStack() as stack:
        standing = "held"
        while standing == "held":  # by a `tidy` that came between its making and its lock
            token = secrets.token_hex(8)
            standing = stack.enter_context(locked(path.parent / CLAIMS / token))
        hidden = path.with_name(f".{path.name}.{token}")
        try:
            yield hidden
        finally:
            remove(hidden)
