"""An unfinished trial's states on disk: the newest whole one is where it goes on.

They stand in `trials/.unfinished/<trial_id>/` of a results folder, one file for each, named by
the number of steps, until the trial's record is there. A state is bytes; what they mean is the
business of the one who trains.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dse.results.atomic import write
from dse.results.files import UNFINISHED, make

KEPT = 2
"""So many of the newest states are kept: one more than is needed, in case a disk loses one."""

DIGEST = hashlib.sha256().digest_size


def home(folder: Path, trial_id: str) -> Path:
    """Where a trial's states stand."""
    return folder / "trials" / UNFINISHED / trial_id


def keep(folder: Path, trial_id: str, step: int, state: bytes) -> None:
    """Keep a trial's state after `step` steps, durably; older ones than the one before it go.

    So do later ones: who is at this step could not go on from them. Raises `OSError` where it
    cannot be written; the older ones are then still there.
    """
    place = home(folder, trial_id)
    make(place)
    write(place / f"{step:012}", _seal(trial_id, step, state) + state)
    states = _states(place)
    earlier = (n for n, path in enumerate(states) if int(path.name) <= step)
    here = next(earlier, len(states))  # none where the folder has gone
    for path in states[:here] + states[here + KEPT :]:
        with suppress(OSError):
            path.unlink()


def newest(folder: Path, trial_id: str) -> Iterator[bytes]:
    """A trial's states, the newest first; damaged ones and other trials' are passed over."""
    for path in _states(home(folder, trial_id)):
        with suppress(OSError):
            content = path.read_bytes()
            state = content[DIGEST:]
            if content[:DIGEST] == _seal(trial_id, int(path.name), state):
                yield state


def clear(folder: Path, trial_id: str) -> None:
    """Remove a trial's states."""
    shutil.rmtree(home(folder, trial_id), ignore_errors=True)


def _states(place: Path) -> list[Path]:
    """The files of states, the newest first."""
    try:
        named = [path for path in place.iterdir() if path.name.isascii() and path.name.isdigit()]
    except OSError:
        return []
    return sorted(named, reverse=True)


def _seal(trial_id: str, step: int, state: bytes) -> bytes:
    return hashlib.sha256(f"{trial_id}/{step}/".encode() + state).digest()
