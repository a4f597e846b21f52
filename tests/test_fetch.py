"""Published files: where they are looked for, how they are verified and downloaded."""

from __future__ import annotations

import hashlib
import os
import re
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sets import IMAGES, arrays_of, idx_files, in_cache, python_archive, python_files

from dse.data import cache, fetch
from dse.data.cache import ensure
from dse.data.published import PUBLISHED, File, Published
from dse.data.store import DataError, Store
from dse.trial.datasets import DATA_SETS

REAL = Path(os.environ.get("SQUEEZENET_DSE_DATA", "/nonexistent"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path / "data", cache=tmp_path / "cache")


def refused(tiny: Published, store: Store) -> str:
    """The line with which a set is refused; nothing is left in the cache."""
    with pytest.raises(DataError) as caught:
        ensure(tiny, store)
    (line,) = str(caught.value).splitlines()
    assert in_cache(store) == []
    return line


# The declared sets --------------------------------------------------------------------------------


def test_the_declared_sets_are_consistent() -> None:
    assert set(PUBLISHED) == set(DATA_SETS) - {"digits"}
    for name, published in PUBLISHED.items():
        assert (published.name, published.facts) == (name, DATA_SETS[name])
        downloadable = [form for form in published.forms if form.downloadable]
        assert downloadable
        for file in (file for form in published.forms for file in form.files):
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.address.rpartition("/")[2] in (file.name, "")
        if not published.exact:
            hashes = [file.sha256 for file in downloadable[0].files]
            joined = hashlib.sha256("".join(hashes).encode()).hexdigest()
            assert published.facts.digest == (hashes[0] if len(hashes) == 1 else joined)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_unpacked_idx_files_have_the_size_of_their_arrays(name: str) -> None:
    packed, unpacked = PUBLISHED[name].forms
    assert packed.folders == unpacked.folders
    assert packed.folders[0] == {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}[name]
    for one, other in zip(packed.files, unpacked.files, strict=True):
        assert one.name == f"{other.name}.gz"
    sizes = [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    assert [file.size for file in unpacked.files] == sizes


@pytest.mark.skipif(
    not (REAL / "cifar-10-batches-py").is_dir(), reason="SQUEEZENET_DSE_DATA has no CIFAR-10"
)
def test_cifar10_is_the_published_one(store: Store) -> None:
    from torchvision.datasets import CIFAR10

    home = REAL / "cifar-10-batches-py"
    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
        assert hashlib.md5((home / name).read_bytes()).hexdigest() == md5
    real = replace(store, root=REAL)
    cache.prepare("cifar10", real)
    arrays = cache.arrays("cifar10", real)
    assert np.bincount(arrays.train_labels).tolist() == [5000] * 10
    assert np.bincount(arrays.test_labels).tolist() == [1000] * 10
    facts = DATA_SETS["cifar10"]
    pixels = arrays.train_images[:].reshape(-1, 3)
    counts = [np.bincount(pixels[:, channel], minlength=256) for channel in range(3)]
    means = [count @ np.arange(256) / len(pixels) / 255 for count in counts]
    squares = [count @ np.arange(256) ** 2 / len(pixels) / 255**2 for count in counts]
    deviations = [(s - m * m) ** 0.5 for s, m in zip(squares, means, strict=True)]
    assert [round(m, 4) for m in means] == list(facts.mean)
    assert [round(d, 4) for d in deviations] == list(facts.std)


# Files that are not there -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_missing_set_is_one_line_with_all_places_and_the_download(
    name: str, store: Store
) -> None:
    with pytest.raises(DataError) as caught:
        cache.prepare(name, store)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"`data.root` must hold {name}, got {store.root} without ")
    for form in PUBLISHED[name].forms:
        assert form.files[0].name in line
        assert all(f"{folder}/" in line for folder in form.folders if folder)
    assert re.search(r"; data.download=true fetches [\d,]+ bytes$", line)
    assert len(line) < 300 + len(str(store.root))
    assert not store.root.exists()


def test_the_line_for_mnist(store: Store) -> None:
    with pytest.raises(DataError) as caught:
        cache.prepare("mnist", store)
    places = "in MNIST/raw/ or mnist/ or data.root"
    assert str(caught.value) == (
        f"`data.root` must hold mnist, got {store.root} without train-images-idx3-ubyte.gz and 3 "
        f"more files {places}, or train-images-idx3-ubyte and 3 more files {places}; "
        "data.download=true fetches 11,594,722 bytes"
    )


def test_a_file_missing_from_a_set_is_named(store: Store) -> None:
    tiny = python_files(store.root)
    (store.root / "test_batch").unlink()
    assert refused(tiny, store).endswith("; data.root lacks test_batch")
    tiny = idx_files(store.root)
    (store.root / "raw/b.gz").unlink()
    (store.root / "raw/d.gz").unlink()
    assert refused(tiny, store).endswith(
        "a.gz and 3 more files in raw/ or data.root; raw lacks b.gz, d.gz"
    )


def test_files_may_be_in_any_of_the_folders(store: Store) -> None:
    tiny = idx_files(store.root, packed=False)
    for path in (store.root / "raw").iterdir():
        path.rename(store.root / path.name)
    assert len(arrays_of(tiny, store).train_labels) == 10


def test_a_set_unpacked_or_not_is_the_same_set(store: Store) -> None:
    """The cache, and so the data of a trial, does not change with the form that was read."""
    packed, unpacked = (
        idx_files(store.root / kind, packed=kind == "packed") for kind in ("packed", "unpacked")
    )
    both = replace(packed, forms=packed.forms + unpacked.forms)
    caches = []
    for kind in ("packed", "unpacked"):
        place = Store(root=store.root / kind, cache=store.cache / kind)
        ensure(both, place)
        (name,) = in_cache(place)
        caches.append((name, (place.cache / name).read_bytes()))
    assert caches[0] == caches[1]


# Damaged files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [python_files, python_archive, idx_files])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "empty"])
def test_a_damaged_file_is_refused_before_it_is_read(form: Any, damage: str, store: Store) -> None:
    tiny = form(store.root)
    (published,) = tiny.forms
    path = store.root / published.folders[0] / published.files[0].name
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    damaged = {"flipped": bytes(flipped), "cut": content[:-1], "longer": content + b"\0"}
    path.write_bytes(damaged.get(damage, b""))
    unread = replace(tiny, forms=(replace(published, read=None),))  # type: ignore[arg-type]
    line = refused(unread, store)
    assert line.startswith(f"{path} must have {len(content):,} bytes with the SHA-256 ")
    assert line.endswith(": remove or replace it")


def test_a_path_that_is_no_plain_file_is_not_opened(store: Store) -> None:
    tiny = python_files(store.root)
    path = store.root / "test_batch"
    path.unlink()
    os.mkfifo(path)  # to open it would wait forever for a writer
    assert refused(tiny, store).endswith("lacks test_batch")


# Downloads ----------------------------------------------------------------------------------------

BODY = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """Sends `BODY` in the way that the last part of the path says, and counts the bytes."""

    sent = 0

    def do_GET(self) -> None:
        way = self.path.rpartition("/")[2]
        if way == "gone":
            self.send_error(404)
            return
        if way == "moved":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        self.send_response(200)
        if way in ("whole", "cut"):
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        try:
            for content in self._contents(way):
                self.wfile.write(content)
                Handler.sent += len(content)
        except OSError:  # the other side hung up
            pass

    def _contents(self, way: str) -> Iterator[bytes]:
        if way == "silent":
            time.sleep(100)
        elif way == "endless":
            for _ in range(2000):
                yield BODY
        else:
            yield {
                "cut": BODY[:-1000],
                "short": BODY[:-1],
                "long": BODY + b"\0",
                "wrong": BODY[:-1] + b"\0",
            }.get(way, BODY)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def server() -> Iterator[str]:
    """The address of an HTTP server on the loopback."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads, running.block_on_close = True, False
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def body(address: str, way: str) -> File:
    return File(way, len(BODY), hashlib.sha256(BODY).hexdigest(), address + way)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("gone", "HTTP Error 404"),
        ("moved", "file"),
        ("cut", "got 255,000 bytes"),
        ("short", "got 255,999 bytes"),
        ("long", "got more than 256,000 bytes"),
        ("endless", "got more than 256,000 bytes"),
        ("wrong", f"got {hashlib.sha256(BODY[:-1] + bytes(1)).hexdigest()}"),
        ("silent", "timed out"),
    ],
)
def test_a_failed_download_leaves_nothing(way: str, words: str, tmp_path: Path) -> None:
    Handler.sent = 0
    with server() as address:
        start = time.monotonic()
        with pytest.raises(DataError) as caught:
            fetch.download(body(address, way), tmp_path, timeout=0.5 if way == "silent" else 60)
        assert time.monotonic() - start < 60
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"`data.download` could not download {address}{way} to {tmp_path}: ")
    assert "; expected 256,000 bytes with the SHA-256 " in line
    assert words in line
    assert list(tmp_path.iterdir()) == []
    assert Handler.sent < 50 * len(BODY)  # of 2,000: it ends with the first byte too many


def test_an_address_without_a_server_is_reported(tmp_path: Path) -> None:
    with server() as address:
        pass
    with pytest.raises(DataError, match="refused"):
        fetch.download(body(address, "whole"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_files_are_downloaded_on_request(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = python_archive(store.root / "elsewhere")
    content = (store.root / "elsewhere/x.tar.gz").read_bytes()
    monkeypatch.setattr(sys.modules[__name__], "BODY", content)
    reports: list[str] = []
    with server() as address:
        (form,) = contents.forms
        file = replace(form.files[0], address=address + "x.tar.gz")
        form = replace(form, folders=("below/raw", ""), files=(file,))
        tiny = replace(contents, forms=(form,))
        with pytest.raises(DataError, match=f"data.download=true fetches {file.size:,} bytes"):
            ensure(tiny, store)
        ensure(tiny, replace(store, download=True), reports.append)
    assert (store.root / "below/raw/x.tar.gz").read_bytes() == content
    assert [line.split()[0] for line in reports] == ["downloading", "reading"]
    assert np.array_equal(arrays_of(tiny, store).train_images, IMAGES[:10])


def test_a_file_in_place_is_never_replaced_by_a_download(store: Store) -> None:
    tiny = python_files(store.root)
    (form,) = tiny.forms
    files = tuple(replace(file, address="http://127.0.0.1:9/x") for file in form.files)
    (store.root / "test_batch").write_bytes(b"mine")
    changed = replace(tiny, forms=(replace(form, files=files),))
    assert "remove or replace it" in refused(changed, replace(store, download=True))
    assert (store.root / "test_batch").read_bytes() == b"mine"
