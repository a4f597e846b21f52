"""A folder of pictures in ImageNet's layout -> its `Manifest`: what it holds, and its identity.

The folder holds train/ and val/, each with a directory per class, the same ones in both. train/
is the training set, val/ the test set: papers report it, and nothing is chosen by it. Hidden names
are ignored; anything else that is not a picture is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dse.data.store import DataError, Store
from dse.results.atomic import write
from dse.trial.protocol import Protocol

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TRAIN, TEST = "train", "val"
DIGEST_DIGITS = 20
FORMAT = 1
"""The version of a cached manifest's file."""

SETTLED = 2 * 10**9
"""Nanoseconds. A directory that changed so shortly before the scan may change again within one
tick of its file system's clock, unnoticed: such a manifest is not cached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a folder of pictures holds.

    `train` and `test` count the pictures of each class, at least one. `listing` has a line for
    each picture, "SIZE PATH": its bytes, and its path in the folder. Those of train/ come first;
    they are sorted by class and by name.
    """

    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    listing: bytes

    @property
    def text(self) -> str:
        """A protocol's field `manifest`: CLASSES-TRAIN-TEST-DIGEST.

        DIGEST is the beginning (80 bits) of the SHA-256 of all names and sizes. A digest of the
        contents would take hours for ImageNet.
        """
        digest = hashlib.sha256(self.listing).hexdigest()[:DIGEST_DIGITS]
        return f"{len(self.classes)}-{sum(self.train)}-{sum(self.test)}-{digest}"


def prepare(protocol: Protocol, store: Store) -> Manifest:
    """The manifest of `store.root`; raises `DataError` unless it is the protocol's."""
    manifest = read(store.root, store.cache)
    if manifest.text != protocol.manifest:
        raise DataError(
            f"`manifest` must be that of `data.root`, {manifest.text} for {store.root}, "
            f"got {protocol.manifest}"
        )
    return manifest


def read(root: Path, cache: Path) -> Manifest:
    """The manifest of the folder `root`. Raises `DataError` where it cannot be used.

    It is cached below `cache`, if that is writable, and the folder is scanned again when a class
    was added or removed or a class's directory has a new modification time. Overwriting a file in
    place changes neither: its size is compared when it is decoded.
    """
    home = root.absolute()
    started = time.time_ns()
    try:
        modified = _modified(home)
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:DIGEST_DIGITS]
        path = cache / "image_folder" / f"{name}.txt"
        key = {"format": FORMAT, "root": str(home), "modified": modified}
        manifest = _cached(path, key)
        if manifest is None:
            manifest = _scanned(home, list(modified[TRAIN]))
            if max(max(times.values()) for times in modified.values()) < started - SETTLED:
                _save(path, key, manifest)
    except OSError as error:
        raise _unusable(home, f"{error.filename}: {error.strerror}") from None
    except _Problem as problem:
        raise _unusable(home, str(problem)) from None
    return manifest


class _Problem(Exception):
    """What is wrong with a folder, in a few words."""


def _unusable(root: Path, problem: str) -> DataError:
    return DataError(
        f"`data.root` must hold {TRAIN}/ and {TEST}/ with a directory per class, "
        f"got {ascii(f'{root}: {problem}')[1:-1]}"
    )


# A scan -------------------------------------------------------------------------------------


def _modified(root: Path) -> dict[str, dict[str, int]]:
    """Each part's classes, sorted, and when their directories were modified (ns)."""
    parts = {part: _classes(root / part) for part in (TRAIN, TEST)}
    for part, other in ((TEST, TRAIN), (TRAIN, TEST)):
        lacking = [name for name in parts[other] if name not in parts[part]]
        if lacking:
            more = f" and {len(lacking) - 1:,} more" if lacking[1:] else ""
            raise _Problem(f"{part}/ has no {lacking[0]}{more}")
    if len(parts[TRAIN]) < 2:
        raise _Problem(f"{TRAIN}/ has {len(parts[TRAIN])} classes, at least 2 are needed")
    return parts


def _classes(part: Path) -> dict[str, int]:
    if not part.is_dir():
        raise _Problem(f"it has no {part.name}/")
    with os.scandir(part) as entries:
        named = sorted((e.name, e) for e in entries if not e.name.startswith("."))
    for name, entry in named:
        if not entry.is_dir():
            raise _Problem(f"{part.name}/{name} is not a directory")
    return {name: entry.stat().st_mtime_ns for name, entry in named}


def _scanned(root: Path, classes: list[str]) -> Manifest:
    lines: list[bytes] = []
    counts: dict[str, list[int]] = {TRAIN: [], TEST: []}
    for part, of_class in counts.items():
        for name in classes:
            pictures = _pictures(root, f"{part}/{name}")
            of_class.append(len(pictures))
            lines += pictures
    return Manifest(
        classes=tuple(classes),
        train=tuple(counts[TRAIN]),
        test=tuple(counts[TEST]),
        listing=b"".join(lines),
    )


def _pictures(root: Path, folder: str) -> list[bytes]:
    """The lines of one class's pictures, sorted by name."""
    sizes: dict[str, int] = {}
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                sizes[entry.name] = _size(entry, folder)
    if not sizes:
        raise _Problem(f"{folder}/ has no pictures")
    return [os.fsencode(f"{sizes[name]} {folder}/{name}\n") for name in sorted(sizes)]


def _size(entry: os.DirEntry[str], folder: str) -> int:
    """A picture's size in bytes."""
    name = entry.name
    if not name.lower().endswith(SUFFIXES) or "\n" in name:
        raise _Problem(f"{folder}/{name} is not a picture ({' '.join(SUFFIXES)})")
    try:
        size = entry.stat().st_size
    except FileNotFoundError:
        raise _Problem(f"{folder}/{name} is a broken link") from None
    if not entry.is_file():
        raise _Problem(f"{folder}/{name} is not a file")
    if not size:
        raise _Problem(f"{folder}/{name} is empty")
    return size


# A cached manifest: its SHA-256, its key and counts as JSON, and the listing --------------------


def _cached(path: Path, key: dict[str, object]) -> Manifest | None:
    """The manifest cached in `path`; None where it is missing, damaged or stale."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return None
        head, _, listing = content.partition(b"\n")
        header = json.loads(head)
        counts = header.pop("counts")
    except (OSError, ValueError, KeyError):
        return None
    if header != key:
        return None
    return Manifest(
        classes=tuple(header["modified"][TRAIN]),
        train=tuple(counts[TRAIN]),
        test=tuple(counts[TEST]),
        listing=listing,
    )


def _save(path: Path, key: dict[str, object], manifest: Manifest) -> None:
    """Cache a manifest if possible; without it, the folder is only scanned again."""
    head = json.dumps({**key, "counts": {TRAIN: manifest.train, TEST: manifest.test}})
    content = head.encode() + b"\n" + manifest.listing
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
