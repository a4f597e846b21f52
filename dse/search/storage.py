"""Where a study is kept: a journal of Optuna in the results folder, or a PostgreSQL database."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from dse.results import studies
from dse.results.files import CLAIMS, make
from dse.results.locks import locked
from dse.results.studies import JOURNAL
from dse.sweep.errors import RequestError

LOCK = "search"
PATIENCE = 1.0
"""Seconds in which another process that only looks at the lock must have released it."""

ATTEMPTS = 5
"""How often an empty database is opened while others make its tables."""

EXTRA = "search-postgresql"
"""The extra of the package that installs the driver of PostgreSQL."""


@contextmanager
def opened(folder: Path, url: str) -> Iterator[BaseStorage]:
    """The storage of a results folder's studies, which no other process may use meanwhile.

    With a URL, other machines may use the same database, each with a results folder of its own.
    Raises `RequestError` where another search runs on the folder, or the database cannot be used,
    and `OSError` where it fails later.
    """
    make(folder / "trials")
    with _alone(folder), _as_os_error(url):
        yield _database(url) if url else _journal(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder's searches."""
    end = time.monotonic() + PATIENCE
    while True:
        with locked(folder / CLAIMS / LOCK) as lock:
            if lock != "held":
                yield
                return
        if time.monotonic() > end:
            raise RequestError(
                [f"another search runs on {folder}: wait until it ends, or choose another `name`"]
            )
        time.sleep(0.05)


def _journal(folder: Path) -> BaseStorage:
    path = folder / JOURNAL
    recover(path)
    for lock in folder.glob(f"{JOURNAL}.lock*"):  # of a process that was killed
        with suppress(OSError):
            lock.unlink()
    return JournalStorage(JournalFileBackend(str(path)))


def recover(path: Path) -> None:
    """Remove what a killed process left of its last record in a journal.

    Raises `RequestError` where another record is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if damage := studies.damage(path.parent):
        again = f"remove it and {path.with_name(studies.STUDIES)} to begin again"
        raise RequestError([f"{damage}: restore it, or {again}; what is trained stays"])
    _, whole = studies.torn(content)
    if whole < len(content):
        os.truncate(path, whole)


def _database(url: str) -> BaseStorage:
    for attempt in range(ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return RDBStorage(url.replace("postgresql:", "postgresql+psycopg:", 1))
        except ImportError:
            line = f"`storage` needs a package: pip install 'squeezenet-dse[{EXTRA}]'"
            raise RequestError([line]) from None
        except Exception as error:  # of SQLAlchemy, which only Optuna imports
            line = f"`storage` cannot be used, got {url}: {_reason(error)}"
            if "connection" in str(error):
                break
            time.sleep(0.2 * (attempt + 1))  # another machine may be making the same tables
    raise RequestError([line])


@contextmanager
def _as_os_error(url: str) -> Iterator[None]:
    """Let a database that fails look like a disk that does."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise OSError(f"{url}: {_reason(error.__cause__ or error)}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg"):
            raise OSError(f"{url}: {_reason(error)}") from None
        raise


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
