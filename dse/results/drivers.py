"""What the sweeps at work on a results folder say of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dse.results.atomic import hidden
from dse.results.files import CLAIMS, RUNNING, names
from dse.results.locks import is_locked


@contextmanager
def telling(folder: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A driver's word to others: a function that replaces what it says; gone with the context.

    It is no truth, so it is not made durable, and a disk that is full only leaves it old.
    """
    with hidden(folder / "trials" / RUNNING) as path:

        def tell(word: Mapping[str, Any]) -> None:
            with suppress(OSError), hidden(path) as temporary:
                temporary.write_text(json.dumps(dict(word)))
                temporary.replace(path)

        yield tell


def told(folder: Path) -> list[tuple[dict[str, Any], bool]]:
    """What the drivers on a results folder say, and of each whether it lives."""
    words = []
    place = folder / "trials"
    for name in names(place):
        if token := re.fullmatch(rf"\.{RUNNING}\.([0-9a-f]{{16}})", name):
            with suppress(OSError, ValueError, RecursionError):
                word = json.loads((place / name).read_bytes())
                if isinstance(word, dict):
                    words.append((word, is_locked(place / CLAIMS / token[1])))
    return words
