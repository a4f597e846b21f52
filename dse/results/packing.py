"""Adds what is finished to the packs of a results folder, and removes what is packed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dse.results import commands, compressed, curves, drivers, packs, records
from dse.results.atomic import tidy, write
from dse.results.files import (
    CLAIMS,
    COMPRESSED,
    KINDS,
    RECORD,
    TRIALS,
    finished,
    make,
    names,
    pack_of,
    trial_folder,
    trial_ids,
)
from dse.results.locks import locked
from dse.results.studies import IDS, STUDIES
from dse.trial.question import QUESTION


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
        done = [_added(folder, kind, [folder]) for kind in KINDS]
        if remove:
            done = [one._replace(removed=_removed(folder, one.kind)) for one in done]
    return [one for one in done if one.total]


def join(folders: Sequence[Path], into: Path) -> list[Packed]:
    """Add what is finished in some results folders to the packs of another one, made if need be.

    What several of them hold counts once, with the record of the first. Noted commands are copied
    too, and studies, as they say which trials a sampler chose: the end of a name says from where.
    Weights and compressed files stay where they are. Raises as `pack` does.
    """
    make(into)
    with locked(into / CLAIMS / "pack") as lock:
        if lock == "held":
            raise BlockingIOError(f"{into} is being packed by another command")
        done = [_added(into, kind, folders) for kind in KINDS]
        for folder in folders:
            for command in commands.noted(folder):
                commands.note(into, command.line, command.started)
            own = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
            for file in map(Path, names(folder / STUDIES)):
                if file.suffix in (".json", IDS) and not file.name.startswith("."):
                    make(into / STUDIES)
                    content = (folder / STUDIES / file).read_bytes()
                    write(into / STUDIES / f"{file.stem}-{own}{file.suffix}", content)
    return [one for one in done if one.total]


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


def _added(into: Path, kind: str, folders: Sequence[Path]) -> Packed:
    """Replace the pack of one kind, if there is something to add from some folders."""
    path, known = pack_of(into, kind), packs.ids(into, kind)
    rows, lists, before = packs.rows(into, kind), _curves(into, known, kind), len(known)
    ids, completed = {*known}, False
    for folder in folders:
        packed = packs.ids(folder, kind) - ids
        there = finished(folder, trial_ids(folder, kind), kind)
        new = there - packed - ids
        rows += [row for row in packs.rows(folder, kind) if row[packs.ID[kind]] in packed]
        rows += [_row(folder, own, kind) for own in sorted(new)]
        lacking = new | (there - lists.keys() if folder == into else set())
        found = {own: curves.checked(folder, own, kind) for own in sorted(lacking)}
        completed |= any(found.values())  # also where the pack lacks the curve of what it holds
        lists |= _curves(folder, packed, kind) | found
        ids |= packed | new
    if len(ids) > before or completed:
        rows.sort(key=lambda row: [row[name] for name in QUESTION])  # neighbours compress well
        write(path, packs.encoded(kind, rows, lists))
    return Packed(kind, len(ids) - before, len(ids), path.stat().st_size if ids else 0)


def _curves(folder: Path, ids: Iterable[str], kind: str) -> dict[str, dict[str, Any]]:
    """The packed curves of some ids: a list for each of their columns."""
    frame = packs.curves(folder, ids, kind)
    return {
        str(own): {name: curve[name].tolist() for name in curves.COLUMNS[kind]}
        for own, curve in frame.groupby(packs.ID[kind], sort=False)
    }


def _row(folder: Path, own: str, kind: str) -> dict[str, Any]:
    """The row of a record that has a folder."""
    if kind == COMPRESSED:
        return compressed.read(folder, own).row()
    return records.read(trial_folder(folder, own, TRIALS) / RECORD).row()
