"""Adds what is finished to the packs of a results folder, and removes what is packed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dse.results import commands, compressed, curves, drivers, packs, records, studies
from dse.results.atomic import tidy, write
from dse.results.files import (
    CLAIMS,
    COMPRESSED,
    KINDS,
    RECORD,
    TRIALS,
    finished,
    foreign,
    make,
    pack_of,
    trial_folder,
    trial_ids,
)
from dse.results.locks import locked
from dse.results.records import ROUNDING
from dse.trial.names import short_id
from dse.trial.question import QUESTION

Row = dict[str, Any]
Own = tuple[dict[str, Row], dict[str, Row]]
"""Records by id, and the curves there are: a list for each of their columns."""


class Packed(NamedTuple):
    """How many records of a kind were added to its pack, how many it holds, its bytes, and how
    many folders were removed."""

    kind: str
    added: int
    total: int
    size: int
    removed: int = 0


def pack(folder: Path, remove: bool = False) -> list[Packed]:
    """Add the finished trials and compressed networks of a results folder to its packs.

    A pack is replaced as a whole, so that a kill leaves the old one or the new one. With `remove`
    the folders of all that is packed are deleted afterwards, with weights and compressed files; a
    kill leaves some of them, which the next call removes.

    Raises `Damaged` where a record, a curve or a pack cannot be trusted, `ValueError` where a
    command runs that may still look for a folder to remove, `BlockingIOError` where another process
    packs this folder, and `OSError` where it cannot be written.
    """
    with locked(folder / CLAIMS / "pack") as lock:
        if lock == "held":
            raise BlockingIOError(f"{folder} is being packed by another command")
        if remove:
            _check_idle(folder)
            tidy(folder)  # checkpoints of finished trials, which would seem unfinished afterwards
        done = [_replaced(folder, kind, *_own(folder, kind)) for kind in KINDS]
        if remove:
            done = [one._replace(removed=_removed(folder, one.kind)) for one in done]
    return [one for one in done if one.total]


def join(folders: Sequence[Path], into: Path) -> tuple[list[Packed], list[str]]:
    """Add what is finished in some results folders to the packs of another one, made if need be.

    What several hold counts once, with the record of `into`, else of the first. Where another one's
    accuracies differ from that by more than `ROUNDING` points, its compressed networks of the trial
    are left out, and a line is returned. Noted commands are copied too, and studies, as they say
    which trials a sampler chose. Weights and compressed files stay where they are.

    Raises as `pack` does, and `ValueError` also where a folder cannot be read, `into` holds
    something else, or nothing is finished.
    """
    if name := foreign(into):
        raise ValueError(f"`into` must be a results folder or a new one, got {into}: it has {name}")
    sources = [one for one in dict.fromkeys(map(Path.resolve, folders)) if one != into.resolve()]
    try:
        found = {folder: {kind: _own(folder, kind) for kind in KINDS} for folder in sources}
    except OSError as error:
        raise ValueError(f"`folder` cannot be read: {error}") from None
    if not any(rows for kinds in found.values() for rows, _ in kinds.values()):
        raise ValueError(f"`folder` must have finished trials, got {', '.join(map(str, folders))}")
    make(into)
    with locked(into / CLAIMS / "pack") as lock:
        if lock == "held":
            raise BlockingIOError(f"{into} is being packed by another command")
        for folder in sources:  # first, or after a kill trials would seem to be a grid's
            for command in commands.noted(folder):
                commands.note(into, command.line, command.started)
            studies.copy(folder, into)
        found = {into: {kind: _own(into, kind) for kind in KINDS}, **found}
        unlike = set[tuple[Path, str]]()  # a folder's trials, before its compressed networks
        done = [_replaced(into, kind, *_merged(found, kind, unlike)) for kind in KINDS]
    lines = [
        f"{short_id(own)} of {folder} differs by more than {ROUNDING} points: left out, with its "
        "compressed networks"
        for folder, own in sorted(unlike)
    ]
    return [one for one in done if one.total], lines


def _merged(
    found: Mapping[Path, Mapping[str, Own]], kind: str, unlike: set[tuple[Path, str]]
) -> Own:
    """The records of one kind in several folders, each from the first that has it; `unlike` gets
    the folders and trials that differ from that, and what belongs to them is left out."""
    rows, lists = dict[str, Row](), dict[str, Row]()
    for folder, kinds in found.items():
        own_rows, own_lists = kinds[kind]
        for own, row in own_rows.items():
            if own not in rows and (folder, row["trial_id"]) not in unlike:
                rows[own], lists[own] = row, own_lists.get(own, {})
            elif kind == TRIALS and _differ(row, rows[own]):
                unlike.add((folder, own))
    return rows, lists


def _differ(one: Row, other: Row) -> bool:
    return any(abs(one[name] - other[name]) > ROUNDING for name in ("top1", "val_top1"))


def _removed(folder: Path, kind: str) -> int:
    """Delete the folders of what is packed; returns how many there were."""
    packed = packs.ids(folder, kind).intersection(trial_ids(folder, kind))
    for own in packed:
        home = trial_folder(folder, own, kind)
        home.unlink() if home.is_symlink() else shutil.rmtree(home)
    return len(packed)


def _check_idle(folder: Path) -> None:
    """Raise `ValueError` where a sweep, which would train again what another one has finished, or
    a compression, which needs the weights, runs on a folder."""
    running = [status for status, runs in drivers.published(folder) if runs]
    if running:
        what = drivers.named(running[0])
        raise ValueError(f"`remove` must be false while a {what} runs on {folder}, got true")


def _own(folder: Path, kind: str) -> Own:
    """What is finished in a folder, packed or not."""
    known = packs.ids(folder, kind)
    there = finished(folder, trial_ids(folder, kind), kind)
    rows = {str(row[packs.ID[kind]]): row for row in packs.rows(folder, kind)}
    rows |= {own: _row(folder, own, kind) for own in sorted(there - known)}
    lists: dict[str, Row] = {
        str(own): {name: curve[name].tolist() for name in curves.COLUMNS[kind]}
        for own, curve in packs.curves(folder, known, kind).groupby(packs.ID[kind], sort=False)
    }
    found = {own: curves.checked(folder, own, kind) for own in sorted(there - lists.keys())}
    return rows, lists | {own: dict(curve) for own, curve in found.items() if curve}


def _replaced(folder: Path, kind: str, rows: Mapping[str, Row], lists: Mapping[str, Row]) -> Packed:
    """Replace the pack of one kind, if there is something to add to it."""
    path, known = pack_of(folder, kind), packs.ids(folder, kind)
    with_curves = {*packs.curves(folder, known, kind)[packs.ID[kind]]}
    new = rows.keys() - known
    if new or any(curve for own, curve in lists.items() if own not in with_curves):
        every = sorted(rows.values(), key=lambda row: [row[name] for name in QUESTION])
        write(path, packs.encoded(kind, every, lists))  # neighbours compress well
    return Packed(kind, len(new), len(rows), path.stat().st_size if rows else 0)


def _row(folder: Path, own: str, kind: str) -> Row:
    """The row of a record that has a folder."""
    if kind == COMPRESSED:
        return compressed.read(folder, own).row()
    return records.read(trial_folder(folder, own, TRIALS) / RECORD).row()
