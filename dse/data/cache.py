"""The cache of published sets: their arrays in files that all processes of a machine map.

A file of the cache:

    a header: one line of JSON, padded with spaces to `HEADER` bytes
    training images (n, h, w, channels), their labels (n), test images, their labels; all uint8
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dse.data.fetch import locate, verified
from dse.data.formats import Batch, Bytes
from dse.data.published import PUBLISHED, Published
from dse.data.store import DataError, Report, Store, new_file, reason, writable

HEADER = 4096
FORMAT = 1
"""The version of the cache's layout and of how images are resized into it."""

RESIZED_AT_ONCE = 1000
"""Images that are resized, or whose pixels are counted, at a time."""
CLOSE = 0.002
"""How far mean and standard deviation of the pixels may be from the declared ones."""


class Arrays(NamedTuple):
    """A set's images, uint8 (n, h, w, channels), and their labels, uint8 (n), as published."""

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes


def prepare(
    name: str, store: Store, image_sizes: Iterable[int] = (), report: Report = lambda line: None
) -> None:
    """Make sure that the arrays of the set `name` are in the cache and genuine.

    Reads, and downloads if asked to, the published files where they are not. Resized arrays of
    `image_sizes` that turn out damaged are removed. Sets that are not in `PUBLISHED` need nothing.
    Raises `DataError`.
    """
    if name not in PUBLISHED:
        return
    published = PUBLISHED[name]
    ensure(published, store, report)
    for side in set(image_sizes) - {published.facts.image_size}:
        file = CacheFile(published, store, side)
        if file.path.exists() and not file.is_genuine():
            with writable(store.cache, "data.cache"):
                file.path.unlink(missing_ok=True)


def arrays(name: str, store: Store) -> Arrays:
    """The arrays of the set `name`, read-only and mapped, so that all processes share them.

    Relies on `prepare` for the contents; a file that is missing or incomplete is made again.
    Raises `DataError`.
    """
    published = PUBLISHED[name]
    file = CacheFile(published, store, published.facts.image_size)
    if not file.is_whole():
        ensure(published, store)
    return file.arrays()


def resized(name: str, store: Store, side: int, resize: Callable[[Bytes], Bytes]) -> Arrays:
    """As `arrays`, with images of `side` pixels.

    `resize`, uint8 (n, h, w, channels) -> (n, side, side, channels), is called in the first
    process that needs them; the others wait for it and map the result.
    """
    source, file = arrays(name, store), CacheFile(PUBLISHED[name], store, side)

    def parts() -> Iterator[Bytes]:
        for images, labels in (source[:2], source[2:]):
            for start in range(0, len(images), RESIZED_AT_ONCE):
                yield resize(images[start : start + RESIZED_AT_ONCE])
            yield labels

    file.build(parts, unless=file.is_whole)
    return file.arrays()


def ensure(published: Published, store: Store, report: Report = lambda line: None) -> None:
    """Put verified arrays into the cache, once even if several processes ask at the same time."""
    file = CacheFile(published, store, published.facts.image_size)

    def parts() -> list[Bytes]:
        form, folder = locate(published, store, report)
        report(f"reading {published.name} from {folder}")
        contents = [verified(folder / file.name, file) for file in form.files]
        *train, test = form.read(contents, published.facts)
        check_facts(published, train, test)
        return [*(b.images for b in train), *(b.labels for b in train), *test]

    file.build(parts, unless=file.is_genuine)


def check_facts(published: Published, train: Sequence[Batch], test: Batch) -> None:
    """Raise `DataError` unless the labels are 0 .. `num_classes` - 1, and the training pixels have
    the declared `mean` and `std`."""
    facts, rule = published.facts, f"`data` {published.name} must have"
    labels = np.unique(np.concatenate([batch.labels for batch in (*train, test)]))
    if labels.tolist() != list(range(facts.num_classes)):
        classes = f"{facts.num_classes} classes, labels 0 .. {facts.num_classes - 1}"
        got = f"{len(labels)} classes, labels {labels.min()} .. {labels.max()}"
        raise DataError(f"{rule} {classes}, got {got}")
    counts = np.zeros((facts.channels, 256))  # of the values of the pixels
    for images, _ in train:
        for start in range(0, len(images), RESIZED_AT_ONCE):
            some = images[start : start + RESIZED_AT_ONCE]
            for channel, sums in enumerate(counts):
                sums += np.bincount(some[..., channel].ravel(), minlength=256)
    shares, values = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt(shares @ values**2 - mean**2)
    for name, declared, actual in (("mean", facts.mean, mean), ("std", facts.std, std)):
        if not np.allclose(declared, actual, rtol=0, atol=CLOSE):
            wanted, got = (
                " ".join(f"{value:.4f}" for value in some) for some in (declared, actual)
            )
            raise DataError(f"{rule} training pixels of {name} {wanted}, got {got}")


@dataclass(frozen=True, slots=True)
class CacheFile:
    """The file of the cache with a set's images at `side` x `side` pixels, and their labels."""

    published: Published
    store: Store
    side: int

    @property
    def path(self) -> Path:
        """Its place; each set and size has a name of its own."""
        name, digest = self.published.name, self.published.facts.digest
        return self.store.cache / f"{name}-{self.side}px-{digest[:16]}.bin"

    @property
    def shapes(self) -> list[list[int]]:
        """The shapes of the four arrays."""
        facts = self.published.facts
        image = [self.side, self.side, facts.channels]
        return [[facts.train, *image], [facts.train], [facts.test, *image], [facts.test]]

    def header(self, sha256: str) -> dict[str, Any]:
        """The header for contents with the digest `sha256`."""
        return {
            "format": FORMAT,
            "data": self.published.name,
            "digest": self.published.facts.digest,
            "shapes": self.shapes,
            "sha256": sha256,
        }

    def arrays(self) -> Arrays:
        """The arrays, mapped read-only; raises `DataError` unless size and header are right."""
        _, content = self._mapped()
        counts = [math.prod(shape) for shape in self.shapes]
        parts = np.split(np.frombuffer(content, np.uint8, offset=HEADER), np.cumsum(counts[:-1]))
        return Arrays(*(p.reshape(shape) for p, shape in zip(parts, self.shapes, strict=True)))

    def is_whole(self) -> bool:
        """Whether the file exists and has the size and header that it should."""
        try:
            self._mapped()
        except DataError:
            return False
        return True

    def is_genuine(self) -> bool:
        """Whether the file is whole and its contents have their digest."""
        try:
            declared, content = self._mapped()
        except DataError:
            return False
        actual = hashlib.sha256(memoryview(content)[HEADER:]).hexdigest()
        return actual == declared == self._digest(actual)

    def _mapped(self) -> tuple[str, mmap.mmap]:
        """The digest that the file declares, and the whole file."""
        size = HEADER + sum(map(math.prod, self.shapes))
        try:
            with self.path.open("rb") as file:
                header = json.loads(file.read(HEADER))
                if header != self.header(header["sha256"]):
                    raise ValueError(f"it is of other data than {self.published.name}")
                if os.fstat(file.fileno()).st_size != size:
                    raise ValueError(f"it must have {size:,} bytes")
                return header["sha256"], mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise DataError(f"{self.path} must be a file of the cache: {reason(error)}") from None

    def build(self, parts: Callable[[], Iterable[Bytes]], unless: Callable[[], bool]) -> None:
        """Write the file's consecutive `parts`, `unless` it is good already.

        One process at a time builds, while the others wait. What a killed one left is removed.
        """
        if unless():
            return
        with writable(self.store.cache, "data.cache"):
            self.store.cache.mkdir(parents=True, exist_ok=True)
            with (self.store.cache / f"{self.path.name}.lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not unless():
                    for remains in self.store.cache.glob(f".{self.path.name}.*"):
                        remains.unlink(missing_ok=True)
                    self.write(parts())

    def write(self, parts: Iterable[Bytes]) -> None:
        """Write the file whole or not at all. Raises `DataError` where its digest is not right."""
        digest = hashlib.sha256()
        with new_file(self.path) as file:
            file.seek(HEADER)
            for part in parts:
                content = np.ascontiguousarray(part).data
                digest.update(content)
                file.write(content)
            actual = digest.hexdigest()
            if actual != (rule := self._digest(actual)):
                name = self.published.name
                raise DataError(f"`data` {name} must have the digest {rule}, got {actual}")
            file.seek(0)
            file.write(json.dumps(self.header(actual)).encode().ljust(HEADER - 1) + b"\n")

    def _digest(self, actual: str) -> str:
        """What the contents' digest must be: `actual`, unless one is declared for these arrays."""
        facts = self.published.facts
        return facts.digest if self.published.exact and self.side == facts.image_size else actual
