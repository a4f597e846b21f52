"""Readers of the published formats: bytes of verified files -> images and labels.

The files' SHA-256 has been checked before any of these is called.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dse.trial.datasets import DataSet

Bytes = NDArray[np.uint8]


class Batch(NamedTuple):
    """Some of a set's images, uint8 (n, h, w, channels), and their labels, uint8 (n)."""

    images: Bytes
    labels: Bytes


Reader = Callable[[Sequence[bytes], DataSet], list[Batch]]
"""The contents of a set's files -> its batches in order; the last one is the test set."""


def tar_batches(
    contents: Sequence[bytes], facts: DataSet, *, names: Sequence[str], read: Reader
) -> list[Batch]:
    """The batches that `read` makes of the members `names` of a compressed tar.

    The members are read in memory: nothing is extracted to disk.
    """
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(contents[0]), mode="r:gz") as tar:
        for member in tar:
            if member.name in names and (file := tar.extractfile(member)):
                members[member.name] = file.read()
    return read([members[name] for name in names], facts)


PICKLED_ARRAY = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""The names in a pickled array, as (module, name), and what they stand for."""


class _Unpickler(pickle.Unpickler):
    """Resolves the names of `PICKLED_ARRAY`, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED_ARRAY:
            raise pickle.UnpicklingError(f"unexpected name in a batch: {module}.{name}")
        return PICKLED_ARRAY[module, name]


def python_batches(contents: Sequence[bytes], facts: DataSet) -> list[Batch]:
    """The batches of CIFAR-10's "python version": pickled dictionaries."""
    batches = []
    for content in contents:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        labels = np.array(batch[b"labels"], np.uint8)
        batches.append(Batch(_channels_last(batch[b"data"], facts), labels))
    return batches


def binary_batches(contents: Sequence[bytes], facts: DataSet, *, labels: int = 1) -> list[Batch]:
    """The batches of CIFAR's "binary version": records of `labels` bytes and then the pixels.

    The last label counts: CIFAR-100 has the coarse one first, then the fine one.
    """
    batches = []
    for content in contents:
        size = labels + facts.channels * facts.image_size**2
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        batches.append(Batch(_channels_last(records[:, labels:], facts), records[:, labels - 1]))
    return batches


def _channels_last(rows: Bytes, facts: DataSet) -> Bytes:
    """Rows (n, channels * h * w) as images (n, h, w, channels)."""
    planes = rows.reshape(-1, facts.channels, facts.image_size, facts.image_size)
    return planes.transpose(0, 2, 3, 1)


def idx_batches(contents: Sequence[bytes], facts: DataSet) -> list[Batch]:
    """The batches of four IDX files, compressed or not: images, labels, test's images, labels.

    The format: http://yann.lecun.com/exdb/mnist/.
    """
    del facts  # the files state their shapes
    train, train_labels, test, test_labels = map(_idx_array, contents)
    return [Batch(train[..., None], train_labels), Batch(test[..., None], test_labels)]


def _idx_array(content: bytes) -> Bytes:
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
