"""A trial's record on disk: saved whole and once, or a failure in its place.

Records are the only truth: tables are rebuilt from them at any time. A finished trial's folder
appears whole or not at all, and the first one stays.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dse.results.atomic import hidden
from dse.results.files import (
    FAILURE,
    RECORD,
    finished,
    make,
    sealed,
    sync,
    trial_folder,
    trial_ids,
    unsealed,
    write_new,
)
from dse.trial.question import Trial
from dse.trial.record import Record, record_from

PLACE_AGAIN = 10
"""Times that a trial's folder is put in its place where others put files there."""


class Damaged(ValueError):
    """Records that are not to be believed: a line each, with the file, the reason and a way out."""


def save(folder: Path, record: Record, files: Mapping[str, bytes]) -> bool:
    """Leave a trial's record and its files; False where another one's were first.

    They become visible together, by one rename that an earlier record refuses, so that neither
    a kill nor a second writer can leave a mixture. What a failed attempt left there goes. Raises
    `OSError` where the folder cannot be written.
    """
    home = trial_folder(folder, record.trial.trial_id)
    make(home.parent)
    with hidden(home) as unfinished:
        unfinished.mkdir()
        for name, content in {**files, RECORD: sealed(record.row())}.items():
            write_new(unfinished / name, content)
        sync(unfinished)
        if not _placed(unfinished, home):
            return False
    sync(home.parent)
    return True


def fail(folder: Path, trial_id: str, reason: Mapping[str, Any]) -> None:
    """Leave word of a failed trial, unless its record is there.

    It is no record: the next sweep tries the trial again. Raises `OSError` where the folder
    cannot be written.
    """
    home = trial_folder(folder, trial_id)
    home.mkdir(parents=True, exist_ok=True)
    with hidden(home) as temporary:
        write_new(temporary, (json.dumps(dict(reason), indent=1) + "\n").encode())
        if not (home / RECORD).exists():
            temporary.replace(home / FAILURE)
        if (home / RECORD).exists():  # or has come in between
            (home / FAILURE).unlink(missing_ok=True)


def failures(folder: Path) -> dict[str, str]:
    """Trials that failed and have no record: the reason of each, one line."""
    found = {}
    ids = trial_ids(folder)
    for trial_id in sorted(set(ids) - finished(folder, ids)):
        path = trial_folder(folder, trial_id) / FAILURE
        if path.exists():
            try:
                reason = str(json.loads(path.read_bytes())["reason"])
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                reason = f"its {FAILURE} cannot be read"
            found[trial_id] = " ".join(reason.split())
    return found


def records(folder: Path) -> set[str]:
    """All trials whose record is there."""
    return finished(folder, trial_ids(folder))


def unfinished(folder: Path, trials: Iterable[Trial]) -> list[Trial]:
    """Those of `trials` that have no record there."""
    by_id = {one.trial_id: one for one in trials}
    done = finished(folder, by_id)
    return [one for trial_id, one in by_id.items() if trial_id not in done]


def read(path: Path) -> Record:
    """The record in a trial's `record.json`.

    Raises `Damaged` where it is cut, changed, no record or another trial's.
    """
    try:
        row = unsealed(path.read_bytes())
        record = record_from({k: math.nan if v is None else v for k, v in row.items()})
        if path.parent.name != record.trial.trial_id:
            raise ValueError(f"it is the record of {record.trial.trial_id}")
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise Damaged(
            f"{path} is damaged ({reason}): remove its folder to train the trial again"
        ) from None
    return record


def _placed(unfinished: Path, home: Path) -> bool:
    """Rename a finished trial's folder to its place; False where a record is there."""
    for _ in range(PLACE_AGAIN):
        try:
            unfinished.rename(home)  # it may replace an empty folder, and no other
            return True
        except OSError as error:
            if (home / RECORD).exists():
                return False
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        _clear(home)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(home))


def _clear(home: Path) -> None:
    """Empty the folder of a trial without a record, unless a finished one takes its place."""
    with suppress(FileNotFoundError):
        handle = os.open(home, os.O_RDONLY)
        try:  # by the handle, which stays with the folder that was there, never by its name
            names = os.listdir(handle)  # noqa: PTH208
            for name in names if RECORD not in names else []:
                if stat.S_ISDIR(os.lstat(name, dir_fd=handle).st_mode):
                    shutil.rmtree(name, dir_fd=handle)
                else:
                    os.unlink(name, dir_fd=handle)
        finally:
            os.close(handle)
