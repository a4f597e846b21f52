"""What must hold before trials run: a folder that can be written, and the right data."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from dse.analysis.rendering import counted
from dse.data import cache, decodable, folder
from dse.data.fetch import locate
from dse.data.folder import Manifest
from dse.data.published import PUBLISHED
from dse.data.store import DataError, Report, Store
from dse.results import records, tables
from dse.results.files import TRIALS, Damaged, foreign
from dse.runner.cores import cores
from dse.space.rules import printable
from dse.sweep.errors import RequestError
from dse.sweep.messages import unwritable
from dse.trial.names import written
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

LISTED = 5
"""Maximum number of manifests, or of kinds of ignored files, that a line lists."""


def check_folder(folder: Path, key: str = "results.root", *, write: bool = True) -> None:
    """Raise `RequestError` if a results folder cannot be written, or holds something else.

    `key` is what the user gave the folder by; a plan does not `write`.
    """
    try:
        held = foreign(folder)
        candidates = (folder / "trials", folder, *folder.absolute().parents)
        nearest = next(path for path in candidates if path.exists() or path.is_symlink())
        if write:
            with tempfile.TemporaryDirectory(prefix=".", dir=nearest):
                pass
    except OSError as error:
        raise RequestError([unwritable(key, folder, error)]) from None
    if held is not None:
        rule = "must be a new folder or one with results of sweeps"
        raise RequestError([f"`name` {rule}, got {folder}, which holds {held}"])


def check_records(
    folder: Path, ids: Collection[str], kind: str = TRIALS, noun: str = "trial"
) -> None:
    """Raise `Damaged` if records that a command would count as done are damaged: first their
    number, then a line for each."""
    if damaged := records.damages(folder, kind, wanted=ids):
        count = f"{folder}: {counted(len(ids), noun)}, {len(damaged)} damaged; nothing was started"
        raise Damaged("\n".join([count, *damaged]))


def check_data(
    trials: Sequence[Trial],
    store: Store,
    say: Report = lambda line: None,
    *,
    decode: bool = True,
) -> None:
    """Make sure that the data of `trials` are present and genuine, before torch is imported.

    With `decode`, images of a folder are decoded too, unless they were before: by `cores()`
    processes. `say` is called with a line before a long step. Raises `RequestError` with lines
    for each data set that is missing, broken or not the published one.
    """

    def report(line: str) -> None:
        say(printable(line))

    sizes: dict[str, set[int]] = {}
    for protocol in (trial.protocol for trial in trials):
        sizes.setdefault(protocol.data, set()).add(protocol.image_size)
    checks: list[Callable[[], object]] = [
        *(partial(cache.prepare, data, store, of, report) for data, of in sizes.items()),
        *(partial(_check_folder, one, store, report, decode) for one in _folders(trials)),
    ]
    lines: list[str] = []
    for check in checks:
        try:
            check()
        except DataError as error:
            lines += str(error).splitlines()
    if lines:
        raise RequestError(lines)


def splits(trials: Sequence[Trial], store: Store) -> list[str]:
    """Where data are read from, if not from `data.root`, and how many images of a folder are
    trained on, in lines; of several shares the ends."""
    sets = sorted({trial.protocol.data for trial in trials})
    protocols = [trial.protocol for trial in trials if trial.protocol.data == "image_folder"]
    ends = [end(protocols, key=lambda p: p.train_images) for end in (min, max) if protocols]
    lines = [*filter(None, (_cached(data, store) for data in sets))]
    lines += [_split(protocol, store.root) for protocol in ends]
    return [printable(line) for line in dict.fromkeys(lines)]


def other_images(folder: Path, trials: Sequence[Trial]) -> list[str]:
    """A line where a results folder has trials of folders of images, none of them with the images
    of `trials`: all of these are to do."""
    wanted = {one.manifest for one in _folders(trials)}
    if not wanted or not records.ids(folder):
        return []
    try:
        table = tables.load(folder)
    except Damaged:  # trials that are not asked for; the tables will say so
        return []
    known = table.loc[table["data"] == "image_folder", "manifest"]
    if known.empty or known.isin(wanted).any():
        return []
    then, now = (", ".join(sorted(some)[:LISTED]) for some in ({*known}, wanted))
    of = f"{counted(len(known), 'trial')} of other images (`manifest` {then})"
    return [printable(f"{folder} has {of}; the images are now {now}: nothing is done for them")]


def _cached(name: str, store: Store) -> str:
    """A line where the set `name` is read from the cache, as `data.root` lacks it; or ""."""
    published = PUBLISHED.get(name)
    if not published:
        return ""
    with suppress(DataError):
        locate(published, replace(store, download=False), lambda line: None)
        return ""
    file = cache.CacheFile(published, store, published.facts.image_size)
    return f"{name} is read from its decoded copy, {file.path}" if file.is_whole() else ""


def _split(protocol: Protocol, root: Path) -> str:
    facts, kept, held_out = protocol.facts, protocol.train_images, protocol.validation_images
    taken = f"{kept:,} trained on"
    if kept < (left := facts.train - held_out):
        share = written(protocol.train_share)
        taken = f"{kept:,} of {left:,} trained on (train_share={share})"
    of_train = f"{facts.train:,} images in train/: {held_out:,} held out, {taken}"
    return f"{root}: {facts.num_classes:,} classes; {of_train}; {facts.test:,} in val/"


def notes(trials: Sequence[Trial], store: Store) -> list[str]:
    """What a plan says of folders of images, in lines; nothing of those that cannot be used."""
    lines = splits(trials, store)
    for protocol in _folders(trials):
        with suppress(DataError):
            manifest = folder.planned(protocol, store)
            lines += _ignored(manifest, store)
            if count := decodable.unchecked(manifest, store):
                checked = f"images of {store.root} are checked before training"
                lines.append(f"{checked}: {count:,} to decode")
    return [printable(line) for line in lines]


def _folders(trials: Sequence[Trial]) -> list[Protocol]:
    """A protocol for each folder of images."""
    protocols = [trial.protocol for trial in trials if trial.protocol.data == "image_folder"]
    return list({protocol.manifest: protocol for protocol in protocols}.values())


def _check_folder(protocol: Protocol, store: Store, report: Report, decode: bool) -> None:
    manifest = folder.prepare(protocol, store)
    for line in _ignored(manifest, store):
        report(line)
    if decode:
        decodable.check(manifest, store, cores(), report)


def _ignored(manifest: Manifest, store: Store) -> list[str]:
    if not manifest.ignored:
        return []
    count, kinds = sum(manifest.ignored.values()), Counter(manifest.ignored).most_common(LISTED)
    listed = ", ".join(f"{number:,} {kind}" for kind, number in kinds)
    more = ", ..." if len(manifest.ignored) > LISTED else ""
    return [f"{counted(count, 'file')} of {store.root} ignored, not images: {listed}{more}"]
