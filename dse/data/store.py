"""Where a machine keeps its data sets, and the error for data that cannot be used."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dse.results.files import sync

Report = Callable[[str], None]
"""Called with a line before a step that may take long."""

DECODABLE = "`data.root` must hold images that can be decoded"

LISTED = 10
"""Maximum number of problems that a message lists."""


class DataError(ValueError):
    """Data that are missing, damaged or not the declared ones, or a folder that cannot be used.

    The message is one or more lines for the user.
    """


DATA_ERROR = f"{DataError.__module__}.{DataError.__name__}: "
"""How the reason of a task's failure begins where data are missing, broken or have changed."""


def _user_cache() -> Path:
    """The user's cache folder (XDG base directory specification), or `.cache` without a home."""
    path = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not path.is_absolute():
        try:
            path = Path.home() / ".cache"
        except RuntimeError:  # a user without a home
            path = Path(".cache")
    return path / "squeezenet-dse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Where a machine keeps data sets, and how it reads them. Never part of a trial's question.

    `root` holds the published files, `cache` the arrays made from them. With `download`, files
    missing from `root` are fetched. `loaders` is the number of processes that decode the images
    of a streamed set, for each process of a trial (0: that one does).
    """

    root: Path = Path("data")
    cache: Path = field(default_factory=_user_cache)
    download: bool = False
    loaders: int = 0

    def absolute(self) -> Store:
        """The same store, for a process with another working directory."""
        return replace(self, root=self.root.absolute(), cache=self.cache.absolute())


DEFAULT = Store()


@contextmanager
def writable(folder: Path, setting: str) -> Iterator[None]:
    """Turn an `OSError` into a `DataError` about `setting`, which names `folder`."""
    try:
        yield
    except OSError as error:
        message = f"`{setting}` must be a writable folder, got {folder}: {reason(error)}"
        raise DataError(message) from None


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that replaces `path` durably on success; on an exception nothing is left of it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def listed(rule: str, problems: Sequence[str]) -> str:
    """A message about all that breaks a rule: one line, or a line each for the first `LISTED`.

    >>> print(listed("`x` must be even", ["1"]))
    `x` must be even, got 1
    >>> print(listed("`x` must be even", ["1", "3"]))
    `x` must be even, got 2 problems:
      1
      3
    """
    if len(problems) == 1:
        return f"{rule}, got {problems[0]}"
    lines = [f"{rule}, got {len(problems):,} problems:", *(f"  {p}" for p in problems[:LISTED])]
    if problems[LISTED:]:
        lines.append(f"  and {len(problems) - LISTED:,} more")
    return "\n".join(lines)


def reason(error: BaseException) -> str:
    """An exception's message on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0][:200]
