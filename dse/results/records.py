"""Records on disk <-> a `DataFrame`.

A results folder holds `trials/<trial_id>/`: `record.json` and what else a trial leaves, or
`failure.json` where it failed. Records are the only truth: tables are rebuilt from them at any
time. A finished trial's folder appears whole or not at all, and the first one stays; hidden names
are unfinished work, which nobody believes and `tidy` removes.

Any number of processes may work on one folder. What one of them alone may do it claims first, by a
POSIX record lock on a file of its own in `.claims`: the operating system ends a claim with the
process that holds it, however that ends, and a forked child does not keep it alive. There are no
process ids, leases or clocks. NFS (version 4, or 3 with its lock daemon) honours the locks between
machines; a mount with `nolock` honours them on one. Where a file system has none at all every
claim is granted, and the first record stays all the same.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dse.space import architecture as space
from dse.space import rules
from dse.trial import protocol
from dse.trial import record as trial
from dse.trial.record import ANSWER, COLUMNS, ID_DIGITS, QUESTION, Record, Trial, record_from

if TYPE_CHECKING:
    import pandas as pd

RECORD, FAILURE = "record.json", "failure.json"
CLAIMS, INDEX, RUNNING, UNFINISHED = ".claims", ".index", "running", ".unfinished"
DRAWN = ".drawn"
WRITE_AGAIN, PLACE_AGAIN, LOCK_AGAIN = 5, 10, 1000
"""Times that tables are made again where records appeared meanwhile (who left them does it too),
that a trial's folder is put in its place where others put files there, and that a file is locked
where others take it away."""

Standing = Literal["mine", "held", "done"]
Signature = tuple[int, int, int, int]
"""What tells one state of a file from another: inode, bytes, times of content and of status."""


class Damaged(ValueError):
    """Records that are not to be believed: a line each, with the file, the reason and a way out."""


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where a trial leaves its files."""
    return folder / "trials" / trial_id


def is_results(folder: Path) -> bool:
    """Whether a sweep may use `folder`: it is new, empty, or holds the trials of other sweeps.

    Raises `OSError` where it cannot be read.
    """
    trials = folder / "trials"
    try:
        named = all(re.fullmatch(f"[0-9a-f]{{{ID_DIGITS}}}", name) for name in _visible(trials))
        return (trials.is_dir() and named) or not _visible(folder)
    except NotADirectoryError:
        return False


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably: it is the old file or the new one, never a mixture.

    Raises `OSError` where that cannot be done; the old file is then still there.
    """
    with _hidden(path) as temporary:
        _write_new(temporary, content)
        temporary.replace(path)
    _sync(path.parent)


def make(folder: Path) -> None:
    """Make a folder and those above it, durably; raises `OSError` where that cannot be done."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


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


@contextmanager
def claim(folder: Path, trial_id: str) -> Iterator[Standing]:
    """Hold the right to train a trial for as long as the context lasts; says how it stands.

    "mine": this process may train it; "held": another one may, so ask again later; "done": its
    record is there. The claim is this process's: it ends with the context or the process. Raises
    `OSError` where the folder cannot be written.
    """
    with _locked(folder / "trials" / CLAIMS / trial_id) as standing:
        if finished(folder, [trial_id]):  # looked at after the claim: it may just have been left
            yield "done"
        else:
            yield "held" if standing == "held" else "mine"


def held(folder: Path, trial_id: str) -> bool:
    """Whether some process holds the claim to a trial now. Writes nothing."""
    return _is_locked(folder / "trials" / CLAIMS / trial_id)


def has_claims(folder: Path) -> bool:
    """Whether the file system of a results folder that exists has locks, so that claims exclude."""
    with _locked(folder / CLAIMS / secrets.token_hex(8)) as standing:
        return standing != "unknown"


def tidy(folder: Path) -> None:
    """Remove what killed processes left in a results folder: hidden work, claims, and the states of
    trials that are finished.

    A hidden name ends in a token whose claim its maker holds, so work in progress is left alone.
    """
    states = folder / "trials" / UNFINISHED
    begun = [states / name for name in _names(states) if (states / name).is_dir()]
    for place in begun:
        if finished(folder, [place.name]):
            shutil.rmtree(place, ignore_errors=True)
    for place in (folder, folder / "trials", *begun):
        for name in _names(place):
            if token := re.fullmatch(r"\..+\.([0-9a-f]{16})", name):
                with _locked(place / CLAIMS / token[1]) as standing:
                    if standing == "mine":
                        _remove(place / name)
        for name in _names(place / CLAIMS):
            with _locked(place / CLAIMS / name):
                pass  # it goes with the lock, unless another process holds it


def save(folder: Path, record: Record, files: Mapping[str, bytes]) -> bool:
    """Leave a trial's record and its files; False where another one's were first.

    They become visible together, by one rename that an earlier record refuses, so that neither
    a kill nor a second writer can leave a mixture. What a failed attempt left there goes. Raises
    `OSError` where the folder cannot be written.
    """
    home = trial_folder(folder, record.trial.trial_id)
    make(home.parent)
    with _hidden(home) as unfinished:
        unfinished.mkdir()
        for name, content in {**files, RECORD: sealed(record.row())}.items():
            _write_new(unfinished / name, content)
        _sync(unfinished)
        if not _placed(unfinished, home):
            return False
    _sync(home.parent)
    return True


def fail(folder: Path, trial_id: str, reason: Mapping[str, Any]) -> None:
    """Leave word of a failed trial, unless its record is there.

    It is no record: the next sweep tries the trial again. Raises `OSError` where the folder
    cannot be written.
    """
    home = trial_folder(folder, trial_id)
    home.mkdir(parents=True, exist_ok=True)
    with _hidden(home) as temporary:
        _write_new(temporary, (json.dumps(dict(reason), indent=1) + "\n").encode())
        if not (home / RECORD).exists():
            temporary.replace(home / FAILURE)
        if (home / RECORD).exists():  # or has come in between
            (home / FAILURE).unlink(missing_ok=True)


def failures(folder: Path) -> dict[str, str]:
    """Trials that failed and have no record: the reason of each, one line."""
    found = {}
    trial_ids = _trial_ids(folder)
    for trial_id in sorted(set(trial_ids) - finished(folder, trial_ids)):
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
    return finished(folder, _trial_ids(folder))


@contextmanager
def telling(folder: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A driver's word to others: a function that replaces what it says; gone with the context.

    It is no truth, so it is not made durable, and a disk that is full only leaves it old.
    """
    with _hidden(folder / "trials" / RUNNING) as path:

        def tell(word: Mapping[str, Any]) -> None:
            with suppress(OSError), _hidden(path) as temporary:
                temporary.write_text(json.dumps(dict(word)))
                temporary.replace(path)

        yield tell


def told(folder: Path) -> list[tuple[dict[str, Any], bool]]:
    """What the drivers on a results folder say, and of each whether it lives."""
    words = []
    place = folder / "trials"
    for name in _names(place):
        if token := re.fullmatch(rf"\.{RUNNING}\.([0-9a-f]{{16}})", name):
            with suppress(OSError, ValueError, RecursionError):
                word = json.loads((place / name).read_bytes())
                if isinstance(word, dict):
                    words.append((word, _is_locked(place / CLAIMS / token[1])))
    return words


def finished(folder: Path, trial_ids: Iterable[str]) -> set[str]:
    """Those of `trial_ids` whose record is there."""
    found = set()
    for trial_id in trial_ids:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(f"{folder}/trials/{trial_id}/{RECORD}")  # noqa: PTH116  as in `_signature`
            found.add(trial_id)
    return found


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


def load(folder: Path) -> pd.DataFrame:
    """The table of all records in a results folder: a row a trial, columns `COLUMNS`.

    Rows are sorted by question, so that the table does not depend on who finished first. Raises
    `Damaged` with a line for each damaged record.
    """
    return _table(folder, _signatures(folder), *_indexed(folder))


def write_tables(folder: Path) -> pd.DataFrame:
    """Rebuild `table.csv` and `table.parquet` from the records; returns the table.

    In the CSV a loss that is NaN is an empty cell; no cell is a formula to a spreadsheet. Tables
    that these very records gave before stay as they are. Raises `Damaged` as `load` does.
    """
    for _ in range(WRITE_AGAIN):
        now = _now(folder)
        found, (old, known) = _signatures(folder), _indexed(folder)
        table = _table(folder, found, old, known)
        if not found or known != found or not _has_csv(folder):
            parquet, text = table.to_parquet(index=False), table.to_csv(index=False).encode()
            write(folder / "table.csv", text)
            write(folder / "table.parquet", parquet)
            write(folder / INDEX, _index(folder, parquet, table["trial_id"], found, now))
        if _signatures(folder) == found:  # else another's newer tables may have been replaced
            break
    return table


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are promised to be equal between runs on one machine."""
    return table[["trial_id", *QUESTION, *ANSWER]]


# Tables -------------------------------------------------------------------------------------
#
# `table.parquet` is believed where `.index` says so: a line of JSON with its SHA-256, then four
# 64-bit numbers a row, the signature of the record that the row was read from. A record whose
# signature is another is read again, so that the records stay the only truth.


def _table(
    folder: Path, found: Mapping[str, Signature], old: pd.DataFrame, known: Mapping[str, Signature]
) -> pd.DataFrame:
    """The table of the records `found`: their rows in `old` where they are `known`, else read."""
    import pandas as pd  # a third of a second that `--help` and a bad request need not wait

    if found and found == known:
        return old
    rows, damaged = [], []
    for trial_id in sorted(i for i, signature in found.items() if known.get(i) != signature):
        try:
            rows.append(read(trial_folder(folder, trial_id) / RECORD).row())
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise Damaged("\n".join(damaged))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    kept = old[[found.get(i) == known[i] for i in old["trial_id"]]] if len(old) else old
    if len(kept):
        table = pd.concat([kept, table]) if rows else kept
    return table.sort_values(list(QUESTION), kind="stable", ignore_index=True)


def _signatures(folder: Path) -> dict[str, Signature]:
    """The signature of every record's file."""
    found = {}
    for trial_id in _trial_ids(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            found[trial_id] = _signature(f"{folder}/trials/{trial_id}/{RECORD}")
    return found


def _signature(path: str | Path) -> Signature:
    state = os.stat(path)  # noqa: PTH116  a Path for each of 100,000 records takes as long again
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _now(folder: Path) -> int:
    """The time by the clock of the folder's file system, nanoseconds."""
    with _hidden(folder / INDEX) as mark:
        mark.touch()
        return mark.stat().st_ctime_ns


def _index(
    folder: Path, parquet: bytes, trial_ids: Iterable[str], found: Mapping[str, Signature], now: int
) -> bytes:
    """The index of a table just written, whose records were looked for from `now` on.

    A record as young as `now` is left out: it could change without a change of its times.
    """
    import numpy as np

    head = {
        "parquet": hashlib.sha256(parquet).hexdigest(),
        "rules": _rules(),
        "csv": _signature(folder / "table.csv"),
    }
    rows = [found[i] if found[i][3] < now else (0, 0, 0, 0) for i in trial_ids]
    return json.dumps(head).encode() + b"\n" + np.array(rows, dtype="<i8").tobytes()


def _indexed(folder: Path) -> tuple[pd.DataFrame, dict[str, Signature]]:
    """The table that was last written, and the signature of each row's record.

    Both are empty where there is none, or it is not to be believed.
    """
    import numpy as np
    import pandas as pd

    try:
        parquet = (folder / "table.parquet").read_bytes()
        head, _, body = (folder / INDEX).read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["rules"] != _rules() or facts["parquet"] != hashlib.sha256(parquet).hexdigest():
            raise ValueError
        table = pd.read_parquet(io.BytesIO(parquet))
        signatures = np.frombuffer(body, dtype="<i8").reshape(len(table), 4).tolist()
        return table, dict(zip(table["trial_id"], map(tuple, signatures), strict=True))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return pd.DataFrame({"trial_id": []}), {}


def _has_csv(folder: Path) -> bool:
    """Whether `table.csv` is there as it was written beside the index."""
    with suppress(OSError, ValueError, TypeError, KeyError), (folder / INDEX).open("rb") as file:
        return tuple(json.loads(file.readline())["csv"]) == _signature(folder / "table.csv")
    return False


@functools.cache
def _rules() -> str:
    """A digest of the modules that decide what a record is: others may read it otherwise."""
    modules = (rules, space, protocol, trial)
    sources = [Path(str(module.__file__)).read_bytes() for module in modules]
    return hashlib.sha256(b"".join(sources) + repr(COLUMNS).encode()).hexdigest()


# Files --------------------------------------------------------------------------------------


def _visible(folder: Path) -> list[str]:
    """The names in a folder but for hidden ones; none where it does not exist."""
    return [name for name in _names(folder) if not name.startswith(".")]


def _names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  names alone
    except FileNotFoundError:
        return []


def _trial_ids(folder: Path) -> list[str]:
    """The names of a results folder's trials, whatever they hold."""
    return [name for name in _names(folder / "trials") if name[0] in "0123456789abcdef"]


@contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """A new hidden name beside `path`, gone in the end whatever it has become.

    It ends in a token whose claim is held as long.
    """
    with ExitStack() as stack:
        standing = "held"
        while standing == "held":  # by a `tidy` that came between its making and its lock
            token = secrets.token_hex(8)
            standing = stack.enter_context(_locked(path.parent / CLAIMS / token))
        hidden = path.with_name(f".{path.name}.{token}")
        try:
            yield hidden
        finally:
            _remove(hidden)


def _remove(path: Path) -> None:
    """Remove a file or folder, if that can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


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


def _write_new(path: Path, content: bytes) -> None:
    """A new file that holds `content` durably; its `OSError` names the file and the bytes."""
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"{os.strerror(error.errno or 0)} ({len(content):,} bytes)"
        raise OSError(error.errno, reason, str(path)) from None


def _sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


# Claims -------------------------------------------------------------------------------------

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_mine: dict[tuple[int, Path], object] = {}
"""What this process has locked. A record lock does not exclude its own process, and goes when the
process closes any handle of the file: so a file that is here is not opened again."""


@contextmanager
def _locked(path: Path) -> Iterator[Literal["mine", "held", "unknown"]]:
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


def _is_locked(path: Path) -> bool:
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
