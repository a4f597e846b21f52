"""What lies in a results folder, and durable files in it.

A results folder holds `trials/<trial_id>/`: `record.json` and what else a trial leaves, or
`failure.json` where it failed. Hidden names are unfinished work.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dse.trial.question import ID_DIGITS

RECORD, FAILURE = "record.json", "failure.json"


CLAIMS, INDEX, RUNNING, UNFINISHED = ".claims", ".index", "running", ".unfinished"


DRAWN = ".drawn"


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where a trial leaves its files."""
    return folder / "trials" / trial_id


def is_results(folder: Path) -> bool:
    """Whether a sweep may use `folder`: it is new, empty, or holds the trials of other sweeps.

    Raises `OSError` where it cannot be read.
    """
    trials = folder / "trials"
    try:
        named = all(re.fullmatch(f"[0-9a-f]{{{ID_DIGITS}}}", name) for name in visible(trials))
        return (trials.is_dir() and named) or not visible(folder)
    except NotADirectoryError:
        return False


def make(folder: Path) -> None:
    """Make a folder and those above it, durably; raises `OSError` where that cannot be done."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sealed(row: Mapping[str, Any]) -> bytes:
    """A file of JSON: a row, NaN as null, and a checksum over both names and values."""
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return (json.dumps({**plain, "sha256": _digest(plain)}, indent=1) + "\n").encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """The row in such a file; raises `ValueError` where it is cut or changed, or none."""
    row = json.loads(content)
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object")
    if row.pop("sha256", None) != _digest(row):
        raise ValueError("its checksum is wrong")
    return row


def finished(folder: Path, trial_ids: Iterable[str]) -> set[str]:
    """Those of `trial_ids` whose record is there."""
    found = set()
    for trial_id in trial_ids:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(f"{folder}/trials/{trial_id}/{RECORD}")  # noqa: PTH116  as in `_signature`
            found.add(trial_id)
    return found


def visible(folder: Path) -> list[str]:
    """The names in a folder but for hidden ones; none where it does not exist."""
    return [name for name in names(folder) if not name.startswith(".")]


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  names alone
    except FileNotFoundError:
        return []


def trial_ids(folder: Path) -> list[str]:
    """The names of a results folder's trials, whatever they hold."""
    return [name for name in names(folder / "trials") if name[0] in "0123456789abcdef"]


def remove(path: Path) -> None:
    """Remove a file or folder, if that can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_new(path: Path, content: bytes) -> None:
    """A new file that holds `content` durably; its `OSError` names the file and the bytes."""
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"{os.strerror(error.errno or 0)} ({len(content):,} bytes)"
        raise OSError(error.errno, reason, str(path)) from None


def sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
