"""Data sets of 10 + 4 images of 4x4 pixels, as files in the published formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dse.data.cache import Arrays, CacheFile, ensure
from dse.data.formats import Reader, binary_batches, idx_batches, python_batches, tar_batches
from dse.data.published import File, Form, Published
from dse.data.store import Store
from dse.trial.datasets import DataSet

IMAGES = np.random.default_rng(0).integers(0, 256, (14, 4, 4, 3), np.uint8)
FACTS = DataSet(
    num_classes=10,
    channels=3,
    image_size=4,
    train=10,
    test=4,
    mean=tuple((IMAGES[:10] / 255).mean((0, 1, 2))),
    std=tuple((IMAGES[:10] / 255).std((0, 1, 2))),
    digest="0" * 64,
)
LABELS = (np.arange(14) % 10).astype(np.uint8)
SPLITS = (slice(0, 5), slice(5, 10), slice(10, 14))
NAMES = ("data_batch_1", "data_batch_2", "test_batch")
DIGEST = hashlib.sha256(
    IMAGES[:10].tobytes() + LABELS[:10].tobytes() + IMAGES[10:].tobytes() + LABELS[10:].tobytes()
).hexdigest()


def pickled(
    rows: Any = IMAGES[:5],
    labels: Sequence[int] = tuple(LABELS[:5]),
    reconstruct: bytes = b"cnumpy.core.multiarray\n_reconstruct\n",
) -> bytes:
    """A batch of CIFAR-10's "python version", opcode by opcode as Python 2 pickled it."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(content)) + content

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    values = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)).tobytes()
    shape = number(len(rows)) + number(len(values) // len(rows)) + b"\x86"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = reconstruct + b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    array += b"(" + number(1) + shape + kind + b"\x89" + text(values) + b"tb"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"labels") + listed + text(b"data") + array + b"u."


def recorded(prefix: bytes = b"") -> list[bytes]:
    """The batches as the "binary version" has them, `prefix` before each label."""
    planes = IMAGES.transpose(0, 3, 1, 2).reshape(14, -1)
    records = [prefix + bytes([y]) + p.tobytes() for y, p in zip(LABELS, planes, strict=True)]
    return [b"".join(records[split]) for split in SPLITS]


def tarred(members: Mapping[str, bytes]) -> bytes:
    """A compressed tar of files by their names."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def idx(array: Any) -> bytes:
    """An array as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def published(
    root: Path, contents: Mapping[str, bytes], read: Reader, folders: tuple[str, ...] = ("",)
) -> Published:
    """Files in the first of `folders` under `root`, and the set whose published files they are."""
    (root / folders[0]).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (root / folders[0] / name).write_bytes(content)
    files = tuple(
        File(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    form = Form(folders=folders, files=files, read=read)
    return Published(name="tiny", facts=FACTS, forms=(form,))


def python_files(root: Path) -> Published:
    """The unpacked folder of CIFAR-10's "python version"."""
    rows = [pickled(IMAGES[split], LABELS[split]) for split in SPLITS]
    return published(root, dict(zip(NAMES, rows, strict=True)), python_batches)


def archive(root: Path, members: Mapping[str, bytes], read: Reader) -> Published:
    """One compressed tar, with members in another order and others among them."""
    shuffled = {"x/readme.html": b"?", **dict(reversed(members.items())), "x/more": b"!"}
    tar = partial(tar_batches, names=list(members), read=read)
    return published(root, {"x.tar.gz": tarred(shuffled)}, tar)


def python_archive(root: Path) -> Published:
    """The archive of CIFAR-10's "python version"."""
    rows = [pickled(IMAGES[split], LABELS[split]) for split in SPLITS]
    return archive(root, {f"x/{n}": r for n, r in zip(NAMES, rows, strict=True)}, python_batches)


def binary_archive(root: Path) -> Published:
    """The archive of CIFAR-10's "binary version"."""
    rows = zip(NAMES, recorded(), strict=True)
    return archive(root, {f"x/{name}.bin": row for name, row in rows}, binary_batches)


def fine_archive(root: Path) -> Published:
    """The archive of CIFAR-100's "binary version": a coarse label, a fine one, pixels."""
    one, two, test = recorded(b"\x13")
    members = {"x/train.bin": one + two, "x/test.bin": test}
    return archive(root, members, partial(binary_batches, labels=2))


def idx_files(root: Path, *, packed: bool = True) -> Published:
    """MNIST's files, compressed or not: gray images."""
    gray = IMAGES[..., 0]
    arrays = {"a": gray[:10], "b": LABELS[:10], "c": gray[10:], "d": LABELS[10:]}
    contents = {name: idx(array) for name, array in arrays.items()}
    if packed:
        contents = {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    tiny = published(root, contents, idx_batches, ("raw", ""))
    return replace(tiny, facts=replace(FACTS, channels=1, mean=FACTS.mean[:1], std=FACTS.std[:1]))


def arrays_of(tiny: Published, store: Store) -> Arrays:
    """The arrays of a set, by way of the cache."""
    ensure(tiny, store)
    return CacheFile(tiny, store, tiny.facts.image_size).arrays()


def in_cache(store: Store) -> list[str]:
    """The files in the cache, without locks."""
    return sorted(p.name for p in store.cache.glob("**/*") if p.suffix != ".lock" and p.is_file())
