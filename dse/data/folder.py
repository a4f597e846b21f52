"""A folder of pictures in ImageNet's layout -> its `Manifest`: what it holds, and its identity.

The folder holds train/ and val/, each with a directory per class, the same ones in both. train/
is the training set, val/ the test set: it is what papers report, and nothing is chosen by it.
Hidden names are passed over; anything else that is no picture is told.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dse.data.published import Store, Unfit
from dse.results.atomic import write
from dse.trial.protocol import Protocol

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TRAIN, TEST = "train", "val"
DIGEST_DIGITS = 20
FORMAT = 1
"""The version of a kept manifest's file."""

SETTLED = 2 * 10**9
"""Nanoseconds. A directory that changed so shortly before the scan may change again within one
tick of its file system's clock, unseen: such a manifest is not kept."""


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

        DIGEST is the beginning (80 bits) of the SHA-256 of all names and sizes. That of the
        contents would take hours for ImageNet.
        """
        digest = hashlib.sha256(self.listing).hexdigest()[:DIGEST_DIGITS]
        return f"{len(self.classes)}-{sum(self.train)}-{sum(self.test)}-{digest}"


def prepare(protocol: Protocol, store: Store) -> Manifest:
    """The manifest of `store.root`, which must be the one that the protocol names.

    Raises `Unfit` where it is another one, or the folder cannot be used.
    """
    found = read(store.root, store.cache)
    if found.text != protocol.manifest:
        raise Unfit(
            f"`manifest` must be that of `data.root`, {found.text} for {store.root}, "
            f"got {protocol.manifest}"
        )
    return found


def read(root: Path, cache: Path) -> Manifest:
    """The manifest of the folder `root`.

    It is kept below `cache`, where that can be written, and scanned anew when a class has come
    or gone or the modification time of a class's directory has changed. A file that is overwritten
    in its place changes neither: its size is compared when it is decoded. Raises `Unfit`.
    """
    home = root.absolute()
    started = time.time_ns()
    try:
        modified = _modified(home)
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:DIGEST_DIGITS]
        path = cache / "image_folder" / f"{name}.txt"
        key = {"format": FORMAT, "root": str(home), "modified": modified}
        found = _kept(path, key)
        if found is None:
            found = _scanned(home, list(modified[TRAIN]))
            if max(max(times.values()) for times in modified.values()) < started - SETTLED:
                _keep(path, key, found)
    except OSError as error:
        raise _unfit(home, f"{error.filename}: {error.strerror}") from None
    except _Odd as odd:
        raise _unfit(home, str(odd)) from None
    return found


class _Odd(Exception):
    """What is wrong with a folder, in a few words."""


def _unfit(root: Path, odd: str) -> Unfit:
    return Unfit(
        f"`data.root` must hold {TRAIN}/ and {TEST}/ with a directory per class, "
        f"got {ascii(f'{root}: {odd}')[1:-1]}"
    )


# A scan -------------------------------------------------------------------------------------


def _modified(root: Path) -> dict[str, dict[str, int]]:
    """Each part's classes, sorted, and when their directories were modified (ns)."""
    parts = {part: _classes(root / part) for part in (TRAIN, TEST)}
    for part, other in ((TEST, TRAIN), (TRAIN, TEST)):
        lacking = [name for name in parts[other] if name not in parts[part]]
        if lacking:
            more = f" and {len(lacking) - 1:,} more" if lacking[1:] else ""
            raise _Odd(f"{part}/ has no {lacking[0]}{more}")
    if len(parts[TRAIN]) < 2:
        raise _Odd(f"{TRAIN}/ has {len(parts[TRAIN])} classes, of at least 2")
    return parts


def _classes(part: Path) -> dict[str, int]:
    if not part.is_dir():
        raise _Odd(f"there is no {part.name}/")
    with os.scandir(part) as entries:
        named = sorted((e.name, e) for e in entries if not e.name.startswith("."))
    for name, entry in named:
        if not entry.is_dir():
            raise _Odd(f"{part.name}/{name} is no directory")
    return {name: entry.stat().st_mtime_ns for name, entry in named}


def _scanned(root: Path, classes: list[str]) -> Manifest:
    lines: list[bytes] = []
    counts: dict[str, list[int]] = {TRAIN: [], TEST: []}
    for part, of_class in counts.items():
        for name in classes:
            found = _pictures(root, f"{part}/{name}")
            of_class.append(len(found))
            lines += found
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
        raise _Odd(f"{folder}/ has no pictures")
    return [os.fsencode(f"{sizes[name]} {folder}/{name}\n") for name in sorted(sizes)]


def _size(entry: os.DirEntry[str], folder: str) -> int:
    """A picture's bytes, at least one."""
    name = entry.name
    if not name.lower().endswith(SUFFIXES) or "\n" in name:
        raise _Odd(f"{folder}/{name} is no picture ({' '.join(SUFFIXES)})")
    try:
        size = entry.stat().st_size
    except FileNotFoundError:
        raise _Odd(f"{folder}/{name} is a broken link") from None
    if not entry.is_file():
        raise _Odd(f"{folder}/{name} is no file")
    if not size:
        raise _Odd(f"{folder}/{name} is empty")
    return size


# A kept manifest: its SHA-256, what it was made of as JSON, and the listing --------------------


def _kept(path: Path, key: dict[str, object]) -> Manifest | None:
    """The manifest kept in `path`; None where there is none, or it is cut, changed or stale."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return None
        head, _, listing = content.partition(b"\n")
        made_of = json.loads(head)
        counts = made_of.pop("counts")
    except (OSError, ValueError, KeyError):
        return None
    if made_of != key:
        return None
    return Manifest(
        classes=tuple(made_of["modified"][TRAIN]),
        train=tuple(counts[TRAIN]),
        test=tuple(counts[TEST]),
        listing=listing,
    )


def _keep(path: Path, key: dict[str, object], found: Manifest) -> None:
    """Keep a manifest, where that can be done: without it the next scan takes longer, no more."""
    head = json.dumps({**key, "counts": {TRAIN: found.train, TEST: found.test}})
    content = head.encode() + b"\n" + found.listing
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
