"""The cache of published sets: made once, verified, mapped; and data prepared for commands."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import (
    DIGEST,
    FACTS,
    IMAGES,
    LABELS,
    arrays_of,
    in_cache,
    python_files,
)

from dse.data import cache
from dse.data.cache import HEADER, CacheFile, ensure
from dse.data.formats import Bytes
from dse.data.store import DataError, Store
from dse.space.architecture import LAYOUTS
from dse.sweep import preflight
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

REAL = Path(os.environ.get("SQUEEZENET_DSE_DATA", "/nonexistent"))
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path / "data", cache=tmp_path / "cache")


def cached(store: Store) -> CacheFile:
    """The file of the cache of a tiny set, just made."""
    tiny = python_files(store.root)
    ensure(tiny, store)
    return CacheFile(tiny, store, 4)


# Contents -----------------------------------------------------------------------------------------


def test_the_cache_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert Store().cache == Path("/somewhere/squeezenet-dse")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, as its rules say
    monkeypatch.setenv("HOME", "/home/me")
    assert Store().cache == Path("/home/me/.cache/squeezenet-dse")
    assert (Store().root, Store().download, Store().loaders) == (Path("data"), False, 0)


def test_a_declared_digest_of_the_arrays_is_checked(store: Store) -> None:
    tiny = replace(python_files(store.root), exact=True)
    with pytest.raises(DataError, match=f"^`data` tiny must have the digest 0+, got {DIGEST}$"):
        ensure(tiny, store)
    assert in_cache(store) == []
    right = replace(tiny, facts=replace(FACTS, digest=DIGEST))
    assert len(arrays_of(right, store).train_labels) == 10


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"num_classes": 11}, "11 classes, labels 0 .. 10, got 10 classes, labels 0 .. 9"),
        ({"num_classes": 9}, "9 classes, labels 0 .. 8, got 10 classes, labels 0 .. 9"),
        ({"mean": (0.2, 0.2, 0.2)}, "training pixels of mean 0.2000 0.2000 0.2000, got "),
        ({"std": (*FACTS.std[:2], 0.2)}, "training pixels of std 0."),
    ],
)
def test_declared_facts_are_checked(
    store: Store, wrong: dict[str, object], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "RESIZED_AT_ONCE", 2)
    tiny = python_files(store.root)
    with pytest.raises(DataError) as caught:
        ensure(replace(tiny, facts=replace(FACTS, **wrong)), store)
    assert str(caught.value).startswith(f"`data` tiny must have {line}")
    assert in_cache(store) == []


def test_a_cache_does_not_need_the_files_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cached(store)
    monkeypatch.setattr(preflight, "PUBLISHED", {"cifar10": file.published})
    sets = ("cifar10", "digits")
    trials = [Trial(layout=LAYOUTS["px8"], protocol=Protocol(data=data)) for data in sets]
    before = file.path.stat().st_mtime_ns
    assert preflight.notes(trials, store) == preflight.splits(trials, store) == []
    for path in store.root.iterdir():
        path.unlink()
    line = f"cifar10 is read from its decoded copy, {file.path}"
    assert preflight.notes(trials, store) == preflight.splits(trials, store) == [line]
    assert preflight.splits(trials, replace(store, cache=store.root)) == []
    assert len(arrays_of(file.published, store).train_images) == 10
    assert file.path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "damage",
    ["pixel", "label", "header", "digest", "cut", "empty", "longer", "header alone", "folder"],
)
def test_a_damaged_cache_is_made_again(damage: str, store: Store) -> None:
    file = cached(store)
    content = file.path.read_bytes()
    size, declared = len(content), content.index(b'"sha256"') + 12
    places = {"pixel": HEADER + 3, "label": size - 1, "header": 3, "digest": declared}
    lengths = {"cut": size - 1, "empty": 0, "longer": size + 1, "header alone": HEADER}
    if damage in places:
        file.path.write_bytes(content[: places[damage]] + b"\x07" + content[places[damage] + 1 :])
    elif damage in lengths:
        file.path.write_bytes(content[: lengths[damage]].ljust(lengths[damage], b"\0"))
    else:
        file.path.unlink()
        file.path.symlink_to(store.root)
    assert not file.is_genuine()
    ensure(file.published, store)
    assert file.path.read_bytes() == content


def test_a_cache_of_other_arrays_is_not_used(store: Store) -> None:
    """It is whole and has a valid checksum, but not of what was asked for."""
    file = cached(store)
    tiny = file.published
    for other in (
        replace(tiny, name="other"),
        replace(tiny, facts=replace(FACTS, digest="1" * 64)),
        replace(tiny, facts=replace(FACTS, train=4, test=10)),
    ):
        theirs = CacheFile(other, store, 4)
        if theirs.path != file.path:
            theirs.path.write_bytes(file.path.read_bytes())
        assert not theirs.is_whole()
        assert not theirs.is_genuine()
    assert file.is_genuine()
    assert not replace(file, published=replace(tiny, exact=True)).is_genuine()


def test_workers_trust_a_verified_cache_and_make_an_incomplete_one_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cached(store)
    monkeypatch.setattr(cache, "PUBLISHED", {"tiny": file.published})
    with monkeypatch.context() as patch:
        patch.setattr(CacheFile, "is_genuine", None)  # no contents are hashed again
        assert np.array_equal(cache.arrays("tiny", store).train_images, IMAGES[:10])
    file.path.write_bytes(file.path.read_bytes()[:-1])
    assert np.array_equal(cache.arrays("tiny", store).train_images, IMAGES[:10])
    file.path.unlink()
    assert np.array_equal(cache.arrays("tiny", store).train_images, IMAGES[:10])


def test_images_are_resized_once_and_verified(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = cached(store).published
    monkeypatch.setattr(cache, "PUBLISHED", {"tiny": tiny})
    monkeypatch.setattr(cache, "RESIZED_AT_ONCE", 3)
    calls = []

    def halved(images: Bytes) -> Bytes:
        calls.append(len(images))
        return images[:, ::2, ::2]

    for _ in range(2):
        arrays = cache.resized("tiny", store, 2, halved)
        assert np.array_equal(arrays.train_images, IMAGES[:10, ::2, ::2])
        assert np.array_equal(arrays.train_labels, LABELS[:10])
        assert np.array_equal(arrays.test_images, IMAGES[10:, ::2, ::2])
        assert np.array_equal(arrays.test_labels, LABELS[10:])
    assert calls == [3, 3, 3, 1, 3, 1]
    cache.prepare("tiny", store, [2, 4, 9])
    path = CacheFile(tiny, store, 2).path
    assert path.exists()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    cache.prepare("tiny", store, [4])
    assert path.exists()  # it was not asked for
    cache.prepare("tiny", store, [2])
    assert not path.exists()
    assert np.array_equal(cache.resized("tiny", store, 2, halved).test_labels, LABELS[10:])


# Processes and disks ------------------------------------------------------------------------------


def test_concurrent_processes_read_the_files_once(store: Store) -> None:
    tiny, reports = python_files(store.root), FORK.SimpleQueue()
    start = FORK.Barrier(4)

    def process() -> None:
        start.wait()
        ensure(tiny, store, reports.put)
        assert np.array_equal(arrays_of(tiny, store).test_images, IMAGES[10:])

    running = [FORK.Process(target=process) for _ in range(4)]
    for each in running:
        each.start()
    for each in running:
        each.join(60)
    assert [each.exitcode for each in running] == [0] * 4
    assert reports.get() == f"reading tiny from {store.root}"
    assert reports.empty()
    assert in_cache(store) == [CacheFile(tiny, store, 4).path.name]


def test_a_killed_builder_leaves_no_trace(store: Store) -> None:
    tiny = python_files(store.root)
    file, started = CacheFile(tiny, store, 4), FORK.Event()

    def parts() -> Iterator[Bytes]:
        yield IMAGES[:10]
        started.set()
        time.sleep(60)

    victim = FORK.Process(target=file.build, args=(parts, lambda: False))
    victim.start()
    assert started.wait(60)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    (remains,) = in_cache(store)
    assert remains.startswith(".")
    assert len(arrays_of(tiny, store).train_labels) == 10
    assert in_cache(store) == [file.path.name]


@pytest.mark.parametrize("place", ["/proc/nope", "file", "file/below"])
def test_a_cache_that_cannot_be_written_is_one_line(place: str, store: Store) -> None:
    tiny = python_files(store.root)
    (store.root / "file").touch()
    elsewhere = replace(store, cache=store.root / place)
    with pytest.raises(DataError) as caught:
        ensure(tiny, elsewhere)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("`data.cache` must be a writable folder, got ")


def test_a_full_disk_leaves_nothing(store: Store) -> None:
    tiny, reports = python_files(store.root), FORK.SimpleQueue()

    def process() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER + 100, -1))
        try:
            ensure(tiny, store)
        except DataError as error:
            reports.put(str(error))

    child = FORK.Process(target=process)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert reports.get() == (
        f"`data.cache` must be a writable folder, got {store.cache}: File too large"
    )
    assert in_cache(store) == []


# For commands -------------------------------------------------------------------------------------


def test_a_command_prepares_its_data_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ["protocol=cifar10,mnist", "data.root=data", "data.cache=cache", "sr=0.5"]
    run = [sys.executable, "-m", "dse.sweep", *arguments]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("`data.root` must hold cifar10, ")
    assert second.startswith("`data.root` must hold mnist, ")
    assert not (tmp_path / "results").exists()
    plan = subprocess.run([*run, "plan=true"], cwd=tmp_path, capture_output=True, check=False)
    assert plan.returncode == 0, plan.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL / "cifar-10-batches-py").is_dir(), reason="SQUEEZENET_DSE_DATA has no CIFAR-10"
)
def test_a_sweep_on_cifar10_needs_its_files_once(tmp_path: Path) -> None:
    settings = ["data.cache=cache", "runner.workers=1", "name=cifar10"]
    values = ["protocol=cifar10", "sr=0.125", "epochs=1", "train_share=0.02"]
    run = [sys.executable, "-m", "dse.sweep", *values, *settings]

    def again(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*run, *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    first = again(f"data.root={REAL}")
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("reading cifar10 from ")
    done = again()  # nothing to train: no data are needed
    assert (done.returncode, "0 to do" in done.stderr) == (0, True)
    other = again("seed=1")  # the cache is enough
    assert other.returncode == 0, other.stderr
    assert "reading" not in other.stderr
