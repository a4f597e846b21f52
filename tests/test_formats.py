"""The readers of the published formats."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sets import (
    FACTS,
    IMAGES,
    LABELS,
    arrays_of,
    binary_archive,
    fine_archive,
    idx_files,
    pickled,
    python_archive,
    python_files,
)

from dse.data.formats import python_batches
from dse.data.published import Published
from dse.data.store import Store


@pytest.mark.parametrize("form", [python_files, python_archive, binary_archive, fine_archive])
def test_each_published_form_gives_the_same_arrays(
    form: Callable[[Path], Published], tmp_path: Path
) -> None:
    arrays = arrays_of(form(tmp_path), Store(root=tmp_path, cache=tmp_path / "cache"))
    assert np.array_equal(np.concatenate([arrays.train_images, arrays.test_images]), IMAGES)
    assert np.array_equal(np.concatenate([arrays.train_labels, arrays.test_labels]), LABELS)
    assert [len(part) for part in arrays] == [10, 10, 4, 4]
    assert not any(part.flags.writeable for part in arrays)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_give_gray_images(packed: bool, tmp_path: Path) -> None:
    tiny = idx_files(tmp_path, packed=packed)
    arrays = arrays_of(tiny, Store(root=tmp_path, cache=tmp_path / "cache"))
    assert np.array_equal(arrays.train_images, IMAGES[:10, ..., :1])
    assert np.array_equal(arrays.test_images, IMAGES[10:, ..., :1])
    assert np.array_equal(arrays.train_labels, LABELS[:10])
    assert np.array_equal(arrays.test_labels, LABELS[10:])


class Payload:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_payload_in_a_batch_is_not_run(protocol: int, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    content = pickle.dumps({"labels": Payload(touched)}, protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"unexpected name in a batch: \w+\.system"):
        python_batches([content], FACTS)
    assert not touched.exists()
    pickle.loads(content)
    assert touched.exists()  # it would have been run


@pytest.mark.parametrize(
    "name",
    [
        b"cbuiltins\neval\n",
        b"cnumpy\nload\n",
        b"cnumpy.core.multiarray\nfromfile\n",
        b"cnumpy\ndtype.__reduce__\n",
        b"(ios\nsystem\n",
        b"\x8c\x05posix\x8c\x06system\x93",
    ],
)
def test_a_batch_may_name_only_what_an_array_needs(name: bytes) -> None:
    assert np.array_equal(python_batches([pickled()], FACTS)[0].images, IMAGES[:5])
    with pytest.raises(pickle.UnpicklingError, match="unexpected name in a batch"):
        python_batches([pickled(reconstruct=name)], FACTS)


def test_an_archive_without_a_member_gives_no_arrays(tmp_path: Path) -> None:
    tiny = python_archive(tmp_path)
    (form,) = tiny.forms
    assert isinstance(form.read, partial)
    other = partial(form.read, names=["x/data_batch_1", "x/absent"])
    with pytest.raises(KeyError, match="x/absent"):
        other([(tmp_path / "x.tar.gz").read_bytes()], replace(FACTS))
