"""A folder of images in ImageNet's layout -> its `Manifest`: what it holds, and its identity.

The folder holds train/ and val/, each with a directory per class, the same ones in both. train/
is the training set, val/ the test set: papers report it, and nothing is chosen by it.
`dse.data.scan` says what counts as an image.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dse.data.scan import Found, classes, images
from dse.data.store import DataError, Store, listed
from dse.results.atomic import write
from dse.space.rules import printable
from dse.trial.protocol import Protocol

TRAIN, TEST = "train", "val"
DIGEST_DIGITS = 20
FORMAT = 2
"""The version of a cached manifest's file."""

RULE = f"`data.root` must hold {TRAIN}/ and {TEST}/ with a directory per class"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a folder of images holds.

    `train` and `test` count the images of each class, at least one. `listing` has a line for
    each image, "SIZE PATH": its bytes, and its path in the folder. Those of train/ come first;
    they are sorted by class and by name. `ignored` counts what is no part of it, by kind.
    """

    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    listing: bytes
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """A protocol's field `manifest`: CLASSES-TRAIN-TEST-DIGEST.

        DIGEST is the beginning (80 bits) of the SHA-256 of all names and sizes. A digest of the
        contents would take hours for ImageNet.
        """
        digest = hashlib.sha256(self.listing).hexdigest()[:DIGEST_DIGITS]
        return f"{len(self.classes)}-{sum(self.train)}-{sum(self.test)}-{digest}"


def read(root: Path, cache: Path) -> Manifest:
    """The manifest of the folder `root`: the name and size of every file are read.

    It is cached below `cache`, if that is writable. Raises `DataError` with all that is wrong.
    """
    home = root.absolute()
    if not os.access(home, os.F_OK):
        rule = f"`data.root` must be an existing folder, got {str(root)!r}"
        raise DataError(printable(f"{rule}; give data.root=DIR"))
    manifest, problems = _scanned(home)
    if problems:
        raise DataError(listed(RULE, [printable(f"{home}: {p}") for p in problems]))
    _save(cached(home, cache, "txt"), manifest)
    return manifest


def prepare(protocol: Protocol, store: Store) -> Manifest:
    """The manifest of `store.root`; raises `DataError` unless it is the protocol's."""
    manifest = read(store.root, store.cache)
    if manifest.text != protocol.manifest:
        now, then = manifest.text.split("-"), protocol.manifest.split("-")
        counts = zip(("classes", f"images in {TRAIN}/", f"in {TEST}/"), now, then, strict=False)
        changes = [f"{int(a):,} {what}, were {int(b):,}" for what, a, b in counts if a != b]
        raise DataError(
            f"the images of `data.root` ({store.root}) are not those of these trials: "
            f"{', '.join(changes) or 'other names or sizes'} (`manifest` {manifest.text}, was "
            f"{protocol.manifest}); bring the old ones back or train again"
        )
    return manifest


def planned(protocol: Protocol, store: Store) -> Manifest:
    """As `prepare`, without a scan where the last one found the protocol's manifest.

    It is for trials, whose command has just scanned the folder. A file that was replaced since by
    one of another size is an error when it is decoded.
    """
    manifest = _load(cached(store.root, store.cache, "txt"))
    if manifest is not None and manifest.text == protocol.manifest:
        return manifest
    return prepare(protocol, store)


def cached(root: Path, cache: Path, kind: str) -> Path:
    """The file of the cache that holds one `kind` of knowledge of the folder `root`."""
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:DIGEST_DIGITS]
    return cache / "image_folder" / f"{name}.{kind}"


def _scanned(root: Path) -> tuple[Manifest, list[str]]:
    """What the folder holds, and all that is wrong with it."""
    parts = {part: classes(root, part) for part in (TRAIN, TEST)}
    names = [name for name in parts[TRAIN].sizes if name in parts[TEST].sizes]
    found = {part: images(root, [f"{part}/{name}" for name in names]) for part in parts}
    lines = (
        os.fsencode(f"{size} {part}/{name}/{file}\n")
        for part, of_class in found.items()
        for name, one in zip(names, of_class, strict=True)
        for file, size in one.sizes.items()
    )
    every = [*parts.values(), *found[TRAIN], *found[TEST]]
    manifest = Manifest(
        classes=tuple(names),
        train=tuple(len(one.sizes) for one in found[TRAIN]),
        test=tuple(len(one.sizes) for one in found[TEST]),
        listing=b"".join(lines),
        ignored=dict(Counter(chain(*(one.ignored for one in every)))),
    )
    return manifest, [*_differences(parts), *chain(*(one.problems for one in every))]


def _differences(parts: Mapping[str, Found]) -> Iterator[str]:
    """The classes that one part has and the other has not."""
    for part, other in ((TEST, TRAIN), (TRAIN, TEST)):
        lacking = [name for name in parts[other].sizes if name not in parts[part].sizes]
        if lacking and parts[part].sizes:
            more = f" and {len(lacking) - 1:,} more" if lacking[1:] else ""
            yield f"{part}/ has no {lacking[0]}{more}"
    if len(parts[TRAIN].sizes) == 1:
        yield f"{TRAIN}/ has 1 class, at least 2 are needed"


# A cached manifest: its SHA-256, its classes and counts as JSON, and the listing ----------------


def _load(path: Path) -> Manifest | None:
    """The manifest cached in `path`; None where it is missing or damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return None
        head, _, listing = content.partition(b"\n")
        known = json.loads(head)
        if known["format"] != FORMAT:
            return None
        facts = {name: tuple(known[name]) for name in ("classes", "train", "test")}
        return Manifest(**facts, listing=listing, ignored=known["ignored"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _save(path: Path, manifest: Manifest) -> None:
    """Cache a manifest if possible; without it, each trial scans the folder."""
    if _load(path) == manifest:
        return
    facts = {name: getattr(manifest, name) for name in ("classes", "train", "test", "ignored")}
    content = json.dumps({"format": FORMAT, **facts}).encode() + b"\n" + manifest.listing
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
