"""Checkpoints of unfinished trials: the newest undamaged one is where a trial resumes.

They are in `trials/.unfinished/<trial_id>/` of a results folder until the trial's record is there,
a file each, named by the number of steps. A checkpoint is bytes, and only the training knows what
they mean, except for the first line: JSON with the trial's `question` and its `position`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dse.results import packs
from dse.results.atomic import write
from dse.results.files import UNFINISHED, finished, make, names
from dse.results.locks import held
from dse.trial.question import Trial, trial_from

KEPT = 2
"""How many checkpoints of a trial are kept: one to spare, in case a disk loses the newest."""

DIGEST = hashlib.sha256().digest_size


def checkpoint_folder(folder: Path, trial_id: str) -> Path:
    """The folder of a trial's checkpoints."""
    return folder / "trials" / UNFINISHED / trial_id


def save(folder: Path, trial_id: str, step: int, state: bytes) -> None:
    """Save a trial's state after `step` steps, durably; then remove all but the newest ones.

    Those of later steps are removed too: a trial at this step could not resume from them. Raises
    `OSError` where it cannot be written; the earlier ones are then still there.
    """
    place = checkpoint_folder(folder, trial_id)
    make(place)
    write(place / f"{step:012}", _digest(trial_id, step, state) + state)
    kept = [path for path in _checkpoints(place) if int(path.name) <= step][:KEPT]
    for path in _checkpoints(place):
        if path not in kept:
            with suppress(OSError):
                path.unlink()


def begun(folder: Path) -> set[str]:
    """The ids of the trials that have a checkpoint, damaged or not; none where the folder cannot be
    read."""
    ids: list[str] = []
    with suppress(OSError):
        ids = names(folder / "trials" / UNFINISHED)
    return {trial_id for trial_id in ids if _checkpoints(checkpoint_folder(folder, trial_id))}


def newest(folder: Path, trial_id: str) -> Iterator[bytes]:
    """A trial's checkpoints, the newest first; damaged ones and other trials' are skipped."""
    for path in _checkpoints(checkpoint_folder(folder, trial_id)):
        with suppress(OSError):
            content = path.read_bytes()
            state = content[DIGEST:]
            if content[:DIGEST] == _digest(trial_id, int(path.name), state):
                yield state


class Unfinished(NamedTuple):
    """Where a trial without a record resumes: after `epoch` whole epochs, and `batches` of the next
    one. `trial` is None in a checkpoint of an earlier release."""

    trial: Trial | None
    epoch: int
    batches: int


def unfinished(folder: Path) -> dict[str, Unfinished]:
    """Where each trial resumes that has a checkpoint, no record, and no process, by `trial_id`."""
    ids = names(folder / "trials" / UNFINISHED)
    done, found = (finished(folder, ids) | packs.ids(folder)) if ids else set(), {}
    for trial_id in ids:
        if trial_id not in done and not held(folder, trial_id):
            for state in islice(newest(folder, trial_id), 1):
                found[trial_id] = _position(state)
    return found


def _position(state: bytes) -> Unfinished:
    """What the first line of a checkpoint says."""
    try:
        head = json.loads(state.partition(b"\n")[0])
        position = head["position"]
        trial = trial_from(head["question"]) if head.get("question") else None
        return Unfinished(trial, int(position["epoch"]) - 1, int(position["batches"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Unfinished(None, 0, 0)


def clear(folder: Path, trial_id: str) -> None:
    """Remove a trial's checkpoints."""
    shutil.rmtree(checkpoint_folder(folder, trial_id), ignore_errors=True)


def _checkpoints(place: Path) -> list[Path]:
    """The files of checkpoints in a folder, the newest first."""
    try:
        paths = [path for path in place.iterdir() if path.name.isascii() and path.name.isdigit()]
    except OSError:
        return []
    return sorted(paths, reverse=True)


def _digest(trial_id: str, step: int, state: bytes) -> bytes:
    return hashlib.sha256(f"{trial_id}/{step}/".encode() + state).digest()
