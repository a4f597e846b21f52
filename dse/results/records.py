"""A trial's record on disk: it appears whole and once, or a failure is noted in its place.

Records are the only truth: tables are rebuilt from them at any time. A finished trial's folder
appears as a whole or not at all, and the first one stays.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dse.results import packs
from dse.results.atomic import hidden
from dse.results.files import (
    COMPRESSED,
    FAILURE,
    RECORD,
    TRIALS,
    Damaged,
    finished,
    make,
    refused,
    sealed,
    sync,
    trial_folder,
    trial_ids,
    unsealed,
    write_new,
)
from dse.trial.names import short_id
from dse.trial.question import Trial
from dse.trial.record import COLUMNS, Record, record_from

ROUNDING = 0.5
"""Points by which accuracies of one trial may differ between machines without a message."""

ATTEMPTS = 10
"""How often a trial's folder is renamed to its place while others write there."""

AGAIN = {
    TRIALS: "remove its folder to train the trial again",
    COMPRESSED: "remove its folder to compress the network again",
}
"""What to do about a damaged record of each kind."""


PACKED = "train it again under another `name`"
"""What to do about a trial without weights whose record is in a pack."""

DIGESTS = {
    "weights.safetensors": "weights_sha256",
    "sparse.safetensors": "sparse_sha256",
    "curve.csv": "curve_sha256",
}
"""What a `record.json` calls the SHA-256 of each of a trial's other files. It is no column."""


class Failure(NamedTuple):
    """Why a trial failed, in one line, and what the trial is called."""

    name: str
    reason: str


def save(folder: Path, record: Record, files: Mapping[str, bytes]) -> bool:
    """Save a trial's record and its files; False where another record was first.

    The `record.json` also holds the SHA-256 of the weights and of the curve.
    """
    digests = {DIGESTS[n]: hashlib.sha256(files[n]).hexdigest() for n in DIGESTS if n in files}
    return save_row(folder, record.trial.trial_id, {**record.row(), **digests}, files)


def save_row(
    folder: Path, name: str, row: Mapping[str, Any], files: Mapping[str, bytes], kind: str = TRIALS
) -> bool:
    """Save the row and the files of what is called `name`; False where another row was first.

    They appear together, by one rename that fails where there is a record, so that neither a kill
    nor a second writer can leave a mixture. What a failed attempt left there is removed. Raises
    `OSError` where the folder cannot be written.
    """
    home = trial_folder(folder, name, kind)
    make(home.parent)
    with hidden(home) as unfinished:
        unfinished.mkdir()
        for file, content in {**files, RECORD: sealed(row)}.items():
            write_new(unfinished / file, content)
        sync(unfinished)
        if not _rename(unfinished, home):
            return False
    sync(home.parent)
    return True


def fail(folder: Path, trial_id: str, failure: Mapping[str, str], kind: str = TRIALS) -> None:
    """Note a failed trial's `name`, `reason` and `details`, unless it has a record.

    This is not a record: the next sweep tries the trial again. Raises `OSError` where the folder
    cannot be written.
    """
    home = trial_folder(folder, trial_id, kind)
    home.mkdir(parents=True, exist_ok=True)
    with hidden(home) as temporary:
        write_new(temporary, (json.dumps(dict(failure), indent=1) + "\n").encode())
        if not (home / RECORD).exists():
            temporary.replace(home / FAILURE)
        if (home / RECORD).exists():  # it may have appeared in between
            (home / FAILURE).unlink(missing_ok=True)


def failures(folder: Path, kind: str = TRIALS) -> dict[str, Failure]:
    """The failures of trials that have no record, by `trial_id`; or of another kind, by its id."""
    done = ids(folder, kind)
    every = trial_ids(folder, kind)
    paths = {i: trial_folder(folder, i, kind) / FAILURE for i in every if i not in done}
    return {i: _failure(i, path) for i, path in paths.items() if path.exists()}


def _failure(trial_id: str, path: Path) -> Failure:
    try:
        noted = json.loads(path.read_bytes())
        name, reason = noted.get("name", f"trial {short_id(trial_id)}"), noted["reason"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        name, reason = f"trial {short_id(trial_id)}", f"its {FAILURE} cannot be read"
    return Failure(" ".join(str(name).split()), " ".join(str(reason).split()))


def ids(folder: Path, kind: str = TRIALS) -> set[str]:
    """The ids of all trials that have a record, or of all of another kind, packed or not.

    Raises `Damaged` where a pack cannot be trusted.
    """
    return finished(folder, trial_ids(folder, kind), kind) | packs.ids(folder, kind)


def unfinished(folder: Path, trials: Iterable[Trial]) -> list[Trial]:
    """Those of `trials` that have no record. Raises `Damaged` where a pack cannot be trusted."""
    by_id = {trial.trial_id: trial for trial in trials}
    done = finished(folder, by_id) | packs.ids(folder)
    return [trial for trial_id, trial in by_id.items() if trial_id not in done]


def damages(
    folder: Path,
    kind: str = TRIALS,
    check: Callable[[Path, Mapping[str, Any]], None] = lambda home, row: None,
    wanted: Iterable[str] | None = None,
) -> list[str]:
    """A line for each record of a kind, or of the `wanted` ids, that was cut or changed, or is that
    of another folder; those in a pack are not looked at.

    Only checksums and ids are compared, which takes a fifth of the time of reading records. `check`
    raises `Damaged` for what else is wrong in a folder with this row.
    """
    lines = []
    every = trial_ids(folder, kind) if wanted is None else wanted
    for own in sorted(finished(folder, every, kind) - packs.ids(folder, kind)):
        home = trial_folder(folder, own, kind)
        try:
            check(home, read_row(home / RECORD, kind))
        except Damaged as error:
            lines.append(str(error))
        except (ValueError, RecursionError) as error:
            lines.append(str(refused(home / RECORD, error, AGAIN[kind])))
        except OSError:  # it has just been packed, or cannot be read
            continue
    return lines


def read(path: Path) -> Record:
    """The record in a trial's `record.json`.

    Raises `Damaged` where it was cut or changed, is not a record, or is that of another trial.
    """
    row: dict[str, Any] = {}
    try:
        row = read_row(path)
        record = record_from(row)
    except (ValueError, TypeError, RecursionError) as error:
        later = row.keys() - {*COLUMNS, *DIGESTS.values()}
        raise refused(path, error, AGAIN[TRIALS], later) from None
    return record


def check_file(path: Path, content: bytes) -> None:
    """Raise `Damaged` where a trial's weights or curve are not those that its record names.

    Those of earlier versions name none, and a file outside of a trial's folder has no record. One
    that cannot be read is left to its readers.
    """
    said = None
    with suppress(OSError, ValueError, RecursionError):
        said = read_row(path.parent / RECORD).get(DIGESTS.get(path.name, ""))
    if said not in (None, hashlib.sha256(content).hexdigest()):
        what = "is not what its record says: changed or of another trial"
        folder, own = path.absolute().parents[2], path.parent.name
        again = PACKED if own in packs.ids(folder) else AGAIN[TRIALS]
        raise Damaged(f"{path} {what}; {again}")


def read_row(path: Path, kind: str = TRIALS) -> dict[str, Any]:
    """The row in a `record.json`; raises `ValueError` where it was cut or changed, or is not that
    of its folder."""
    row = unsealed(path.read_bytes())
    if (own := row.get(packs.ID[kind])) != path.parent.name:
        raise ValueError(f"it is the record of {own}" if own else "it is not a record")
    return {name: math.nan if value is None else value for name, value in row.items()}


def _rename(unfinished: Path, home: Path) -> bool:
    """Rename a finished trial's folder to its place; False where there is a record."""
    for _ in range(ATTEMPTS):
        try:
            unfinished.rename(home)  # this may replace an empty folder, and no other
            return True
        except OSError as error:
            if (home / RECORD).exists():
                return False
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        _clear(home)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(home))


def _clear(home: Path) -> None:
    """Empty the folder of a trial without a record.

    Its files are removed through a handle, which stays with this folder when a finished one takes
    its name meanwhile.
    """
    with suppress(FileNotFoundError):
        handle = os.open(home, os.O_RDONLY)
        try:
            names = os.listdir(handle)  # noqa: PTH208
            for name in names if RECORD not in names else []:
                if stat.S_ISDIR(os.lstat(name, dir_fd=handle).st_mode):
                    shutil.rmtree(name, dir_fd=handle)
                else:
                    os.unlink(name, dir_fd=handle)
        finally:
            os.close(handle)
