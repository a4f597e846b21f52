"""What a results folder holds, and how files in it are written durably.

A results folder holds `trials/<trial_id>/`, with `record.json` and what else a trial leaves, or
with `failure.json` where it failed; and `compressed/<compressed_id>/` in the same way. Finished
ones may be packed instead: see `dse.results.packs`. Names that start with a dot are unfinished
work, caches and claims. What else lies there, desktop.ini or a conflicted copy, is ignored.
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

from dse.trial.question import ID_DIGITS, Missing

Signature = tuple[int, int, int, int]
"""What differs when a file has changed: inode, bytes, and the times of its content and status."""

TRIALS, COMPRESSED = KINDS = ("trials", "compressed")
"""The folders of a results folder: what each holds is by id."""
RECORD, FAILURE, TABLE = "record.json", "failure.json", "table.csv"
CLAIMS, INDEX, RUNNING, UNFINISHED = ".claims", ".index", "running", ".unfinished"
DRAWN, DRAWN_COMPRESSED = ".drawn", ".drawn_compressed"
COMMANDS = "commands.jsonl"
LISTED = 12
"""Maximum number of results folders that a message lists."""
ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")


class Damaged(ValueError):
    """Records that cannot be trusted: a line each, with the file, the reason and what to do."""


def refused(path: Path, error: object, advice: str, later: Iterable[str] = ()) -> Damaged:
    """The error for a file with records that are damaged, or that cannot be read here because
    another version wrote them: a later one with the fields `later`, or one without a field."""
    for name in later:
        return Damaged(f"{path} is of a later version, which has `{name}`: update dse to read it")
    if isinstance(error, Missing):
        lacks = f"{path} is of another version of dse: {str(error).splitlines()[0]}"
        return Damaged(f"{lacks}; it is not damaged, keep it")
    reason = (str(error).splitlines() or [""])[0]
    return Damaged(f"{path} is damaged ({reason}): {advice}")


def trial_folder(folder: Path, trial_id: str, kind: str = TRIALS) -> Path:
    """The folder of a trial's files, or with `kind` of a compressed network's."""
    return folder / kind / trial_id


def pack_of(folder: Path, kind: str = TRIALS) -> Path:
    """The file that holds packed trials, or packed compressed networks."""
    return folder / f"{kind}.parquet"


def trial_ids(folder: Path, kind: str = TRIALS) -> list[str]:
    """The ids of the trials, or of another kind, that have a folder, finished or not."""
    return [name for name in names(folder / kind) if ID.fullmatch(name)]


def finished(folder: Path, trial_ids: Iterable[str], kind: str = TRIALS) -> set[str]:
    """Those of `trial_ids` that have a folder with a record; packed ones are not looked for."""
    done = set()
    for trial_id in trial_ids:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(f"{folder}/{kind}/{trial_id}/{RECORD}")  # noqa: PTH116  faster than a Path
            done.add(trial_id)
    return done


def has_trials(folder: Path) -> bool:
    """Whether `folder` is a results folder with trials, packed or in a folder each.

    Raises `OSError` where it cannot be read.
    """
    there = (folder / TRIALS).is_dir() or pack_of(folder).is_file()
    return there and foreign(folder) is None


def require_trials(folder: Path) -> None:
    """Raise `ValueError` where `folder` is not a results folder with trials.

    Raises `OSError` where it cannot be read.
    """
    if not has_trials(folder):
        reason = "it has no trials" if folder.exists() else "there is no such folder"
        if (folder / TABLE).is_file():
            reason = f"it has no trials, only a {TABLE}"
        with suppress(OSError):
            if own := [str(path) for path in sorted(folder.iterdir()) if has_trials(path)]:
                more = f" and {len(own) - LISTED} more" if len(own) > LISTED else ""
                reason += f"; results folders in it: {', '.join(own[:LISTED])}{more}"
        raise ValueError(f"`folder` must be a results folder, got {folder}: {reason}")


def foreign(folder: Path) -> str | None:
    """A name in `folder` for which no sweep may use it; None where it is a results folder or empty.

    Raises `OSError` where it cannot be read.
    """
    trials, held = folder / TRIALS, names(folder)
    inside = names(trials) if trials.is_dir() else []
    if {COMMANDS, pack_of(folder).name} & set(held) or any(map(ID.fullmatch, inside)):
        return None
    held = inside if trials.is_dir() else held
    return next((name for name in held if not name.startswith(".")), None)


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  only names are needed
    except FileNotFoundError:
        return []


def signature(path: str | Path) -> Signature | None:
    """The signature of a file; None where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        state = os.stat(path)  # noqa: PTH116  with a Path, 100,000 records take twice as long
        return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    return None


def sealed(row: Mapping[str, Any]) -> bytes:
    """A row as JSON, NaN as null, with a checksum over its names and values."""
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return (json.dumps({**plain, "sha256": _digest(plain)}, indent=1) + "\n").encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """The row that `sealed` wrote; raises `ValueError` where it was cut or changed."""
    try:
        row = json.loads(content)
    except ValueError:
        raise ValueError("it is cut off or not JSON") from None
    if not isinstance(row, dict):
        raise ValueError("it is not a JSON object")
    if row.pop("sha256", None) != _digest(row):
        raise ValueError("its checksum is wrong")
    return row


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def make(folder: Path) -> None:
    """Make a folder and its parents, durably; raises `OSError` where that cannot be done."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file durably; an `OSError` names the file and the number of bytes."""
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"{os.strerror(error.errno or 0)} ({len(content):,} bytes)"
        raise OSError(error.errno, reason, str(path)) from None


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder, if that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
