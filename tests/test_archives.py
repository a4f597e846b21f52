"""Published files, whole and hostile: what comes out of them, and what is refused before use."""

from __future__ import annotations

import gzip
import hashlib
import io
import multiprocessing
import os
import pickle
import re
import resource
import signal
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dse.data import published as archives
from dse.data.published import File, Form, Missing, Published, Store, Unfit
from dse.sweep.preflight import check_data
from dse.trial.datasets import DATA_SETS, DataSet

FACTS = DataSet(
    num_classes=10, channels=3, image_size=4, train=10, test=4, mean=(), std=(), digest="0" * 64
)
RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (14, 4, 4, 3), np.uint8)
LABELS = (np.arange(14) % 10).astype(np.uint8)
SPLITS = (slice(0, 5), slice(5, 10), slice(10, 14))
NAMES = ("data_batch_1", "data_batch_2", "test_batch")
DIGEST = hashlib.sha256(
    PICTURES[:10].tobytes()
    + LABELS[:10].tobytes()
    + PICTURES[10:].tobytes()
    + LABELS[10:].tobytes()
).hexdigest()
REAL = Path(os.environ.get("SQUEEZENET_DSE_DATA", "/nonexistent"))
needs_cifar10 = pytest.mark.skipif(
    not (REAL / "cifar-10-batches-py").is_dir(), reason="SQUEEZENET_DSE_DATA has no CIFAR-10"
)


# Small files in the published forms -------------------------------------------------------------


def text(content: bytes) -> bytes:
    """A string as Python 2 pickled it."""
    return b"T" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def pickled(
    rows: Any = PICTURES[:5],
    labels: Sequence[int] = tuple(LABELS[:5]),
    *,
    reconstruct: bytes = b"cnumpy.core.multiarray\n_reconstruct\n",
    extra: bytes = b"",
) -> bytes:
    """A batch as CIFAR-10's "python version" has it, opcode by opcode."""
    values = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)).tobytes()
    shape = number(len(rows)) + number(len(values) // max(len(rows), 1)) + b"\x86"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = reconstruct + b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    array += b"(" + number(1) + shape + kind + b"\x89" + text(values) + b"tb"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    body = text(b"labels") + b"q\x01" + listed + text(b"data") + array + extra
    return b"\x80\x02}(" + body + b"u."


def recorded(prefix: bytes = b"") -> list[bytes]:
    """The batches as the "binary version" has them, `prefix` before each label."""
    planes = PICTURES.transpose(0, 3, 1, 2).reshape(14, -1)
    records = [prefix + bytes([y]) + p.tobytes() for y, p in zip(LABELS, planes, strict=True)]
    return [b"".join(records[split]) for split in SPLITS]


def tarred(entries: Sequence[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    """A compressed tar of names, or whole headers, and contents."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for entry, content in entries:
            member = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            if isinstance(entry, str):
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def idx(array: np.ndarray[Any, Any]) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def published(
    root: Path,
    contents: dict[str, bytes],
    decode: Callable[..., Any],
    members: dict[str, int] | None = None,
    **facts: Any,
) -> Published:
    """Files under `root`, and the set whose published files they are."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (root / name).write_bytes(content)
    files = tuple(
        File(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    form = Form(folders=("",), files=files, decode=decode, members=members or {})
    return Published(name="tiny", facts=replace(FACTS, **facts), forms=(form,))


def python_files(root: Path) -> Published:
    rows = [pickled(PICTURES[split], LABELS[split]) for split in SPLITS]
    return published(root, dict(zip(NAMES, rows, strict=True)), archives.python_batches)


def python_archive(root: Path) -> Published:
    rows = [pickled(PICTURES[split], LABELS[split]) for split in SPLITS]
    entries = [(f"py/{name}", row) for name, row in zip(NAMES, rows, strict=True)]
    members = {name: len(row) for name, row in entries}
    folder = tarfile.TarInfo("py")
    folder.type = tarfile.DIRTYPE
    content = tarred([(folder, b""), ("py/readme.html", b"?"), *reversed(entries)])
    return published(root, {"py.tar.gz": content}, archives.python_batches, members)


def binary_archive(root: Path) -> Published:
    entries = [(f"bin/{name}.bin", row) for name, row in zip(NAMES, recorded(), strict=True)]
    members = {name: len(row) for name, row in entries}
    return published(root, {"b.tar.gz": tarred(entries)}, archives.binary_batches, members)


def fine_archive(root: Path) -> Published:
    one, two, test = recorded(b"\x13")
    entries = [("100/train.bin", one + two), ("100/test.bin", test)]
    members = {name: len(row) for name, row in entries}
    decode = partial(archives.binary_batches, labels=2)
    return published(root, {"100.tar.gz": tarred(entries)}, decode, members)


FORMS = [python_files, python_archive, binary_archive, fine_archive]


def one_file(root: Path, content: bytes) -> Published:
    """A set whose three files are a given training batch, a good one and a test batch."""
    rows = [content, *(pickled(PICTURES[split], LABELS[split]) for split in SPLITS[1:])]
    return published(root, dict(zip(NAMES, rows, strict=True)), archives.python_batches)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path / "data", cache=tmp_path / "cache")


def arrays_of(tiny: Published, store: Store) -> archives.Arrays:
    archives.ensure(tiny, store)
    side = tiny.facts.image_size
    return archives.mapped(archives.cache_path(tiny, store, side), tiny, side)


def in_cache(store: Store) -> list[str]:
    """What is in the cache, but for locks."""
    return sorted(p.name for p in store.cache.glob("**/*") if p.suffix != ".lock" and p.is_file())


def refused(tiny: Published, store: Store) -> str:
    """The line with which a set is refused; nothing is left in the cache."""
    with pytest.raises(Unfit) as caught:
        archives.ensure(tiny, store)
    (line,) = str(caught.value).splitlines()
    assert in_cache(store) == []
    return line


# What comes out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_each_published_form_gives_the_same_arrays(
    form: Callable[[Path], Published], store: Store
) -> None:
    found = arrays_of(replace(form(store.root), exact=False), store)
    assert np.array_equal(np.concatenate([found.train_pictures, found.test_pictures]), PICTURES)
    assert np.array_equal(np.concatenate([found.train_labels, found.test_labels]), LABELS)
    assert [len(part) for part in found] == [10, 10, 4, 4]
    assert not any(part.flags.writeable for part in found)


def test_idx_files_give_gray_pictures(store: Store) -> None:
    gray = PICTURES[..., 0]
    contents = {
        "a": idx(gray[:10]), "b": idx(LABELS[:10]), "c": idx(gray[10:]), "d": idx(LABELS[10:])
    }  # fmt: skip
    found = arrays_of(published(store.root, contents, archives.idx_batches, channels=1), store)
    assert np.array_equal(found.train_pictures, gray[:10, ..., None])
    assert np.array_equal(found.test_labels, LABELS[10:])


def test_a_declared_digest_of_the_arrays_is_checked(store: Store) -> None:
    tiny = replace(python_files(store.root), exact=True)
    right = replace(tiny, facts=replace(FACTS, digest=DIGEST))
    assert "pictures and labels of the digest" in refused(tiny, store)
    assert len(arrays_of(right, store).train_labels) == 10


def test_the_declared_sets_are_whole() -> None:
    assert set(archives.PUBLISHED) == set(DATA_SETS) - {"digits"}
    for name, known in archives.PUBLISHED.items():
        assert (known.name, known.facts) == (name, DATA_SETS[name])
        assert any(form.fetchable for form in known.forms)
        for file in (file for form in known.forms for file in form.files):
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.address.rpartition("/")[2] in (file.name, "")
        if known.exact:
            continue
        (form,) = known.forms
        hashes = [file.sha256 for file in form.files]
        joined = hashlib.sha256("".join(hashes).encode()).hexdigest()
        assert known.facts.digest == (hashes[0] if len(hashes) == 1 else joined)


@pytest.mark.parametrize("name", sorted(archives.PUBLISHED))
def test_a_missing_set_is_one_line_that_says_what_is_expected_where(
    name: str, store: Store
) -> None:
    with pytest.raises(Missing) as caught:
        archives.prepare(name, store)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"`data.root` must hold {name}: ")
    assert all(file.name in line for form in archives.PUBLISHED[name].forms for file in form.files)
    assert f"got {store.root}" in line
    assert "data.download=true fetches" in line
    assert not store.root.exists()


def test_a_set_with_a_file_missing_names_it(store: Store) -> None:
    tiny = python_files(store.root)
    (store.root / "test_batch").unlink()
    with pytest.raises(Missing, match="it without test_batch"):
        archives.ensure(tiny, store)


def test_embedded_digits_need_nothing(store: Store) -> None:
    archives.prepare("digits", store)
    assert not store.cache.exists()


def test_the_cache_has_a_home_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert Store().cache == Path("/somewhere/squeezenet-dse")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be passed over, as its rules say
    monkeypatch.setenv("HOME", "/home/me")
    assert Store().cache == Path("/home/me/.cache/squeezenet-dse")
    assert (Store().root, Store().download, Store().loaders) == (Path("data"), False, 0)


@needs_cifar10
def test_cifar10_is_the_published_one(store: Store) -> None:
    from torchvision.datasets import CIFAR10

    home = REAL / "cifar-10-batches-py"
    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
        with (home / name).open("rb") as file:
            assert hashlib.file_digest(file, "md5").hexdigest() == md5
    real = replace(store, root=REAL)
    archives.prepare("cifar10", real)
    found = archives.arrays("cifar10", real)
    assert np.bincount(found.train_labels).tolist() == [5000] * 10
    assert np.bincount(found.test_labels).tolist() == [1000] * 10
    facts = DATA_SETS["cifar10"]
    pixels = found.train_pictures[:].reshape(-1, 3)
    counts = [np.bincount(pixels[:, channel], minlength=256) for channel in range(3)]
    means = [count @ np.arange(256) / len(pixels) / 255 for count in counts]
    squares = [count @ np.arange(256) ** 2 / len(pixels) / 255**2 for count in counts]
    deviations = [(s - m * m) ** 0.5 for s, m in zip(squares, means, strict=True)]
    assert [round(m, 4) for m in means] == list(facts.mean)
    assert [round(d, 4) for d in deviations] == list(facts.std)


# Damaged files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "empty", "other"])
def test_a_damaged_file_is_refused_before_it_is_read(
    form: Callable[[Path], Published], damage: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = form(store.root)
    path = store.root / tiny.forms[0].files[0].name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(
        {
            "flipped": bytes(content),
            "cut": path.read_bytes()[:-1],
            "longer": path.read_bytes() + b"\0",
            "empty": b"",
            "other": b"\x80\x02.".ljust(len(content), b"\0"),
        }[damage]
    )
    monkeypatch.setattr(archives, "members", None)
    monkeypatch.setattr(archives, "_Unpickler", None)
    assert refused(tiny, store).startswith(f"{path} must have {len(content):,} bytes with the SHA-")


def test_what_is_no_plain_file_is_not_opened(store: Store) -> None:
    tiny = python_files(store.root)
    path = store.root / "test_batch"
    path.unlink()
    os.mkfifo(path)  # nobody ever writes: to open it would be to wait for ever
    with pytest.raises(Missing, match="it without test_batch"):
        archives.ensure(tiny, store)


# Hostile archives -------------------------------------------------------------------------------


def header(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> Any:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


GOOD = [("py/a", b"aaaa"), ("py/b", b"bb")]
WANTED = {"py/a": 4, "py/b": 2}
HOSTILE: dict[str, list[tuple[Any, bytes]]] = {
    "parent": [("../x", b"x")],
    "parent inside": [("py/../../x", b"x")],
    "absolute": [("/tmp/x", b"x")],
    "absolute wanted": [("/py/a", b"aaaa")],
    "elsewhere": [("other/x", b"x")],
    "nested": [("py/deep/x", b"x")],
    "top": [("x", b"x")],
    "symlink": [(header("py/a", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "symlink beside": [(header("py/x", tarfile.SYMTYPE, "a"), b"")],
    "hard link": [(header("py/a", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "character device": [(header("py/a", tarfile.CHRTYPE), b"")],
    "block device": [(header("py/x", tarfile.BLKTYPE), b"")],
    "fifo": [(header("py/a", tarfile.FIFOTYPE), b"")],
    "sparse": [(header("py/a", tarfile.GNUTYPE_SPARSE), b"")],
    "folder": [(header("py/a", tarfile.DIRTYPE), b"")],
    "folder elsewhere": [(header("deep/py", tarfile.DIRTYPE), b"")],
    "shorter": [("py/a", b"aaa")],
    "longer": [("py/a", b"aaaaa")],
    "twice": [("py/a", b"aaaa"), ("py/a", b"AAAA")],
    "large note": [("py/notes", bytes(archives.NOTES + 1))],
}


@pytest.mark.parametrize("first", sorted(HOSTILE))
@pytest.mark.parametrize("before", [True, False])
def test_a_strange_member_is_refused(first: str, before: bool) -> None:
    entries = [*HOSTILE[first], *GOOD] if before else [*GOOD, *HOSTILE[first]]
    content = tarred(entries)
    with pytest.raises(ValueError, match=r"^the member '"):
        list(archives.members(io.BytesIO(content), WANTED))


def test_members_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match=r"^no member py/b$"):
        list(archives.members(io.BytesIO(tarred(GOOD[:1])), WANTED))
    assert dict(archives.members(io.BytesIO(tarred(GOOD)), WANTED)) == dict(GOOD)


@pytest.mark.parametrize("size", [10 * 2**30, 8 * 2**60])
def test_a_member_of_gigabytes_is_refused_by_its_header(size: int) -> None:
    """10 GiB of zeros are 10 MB compressed: here the first of them, behind their header."""
    head = header("py/a", size=size).tobuf(tarfile.GNU_FORMAT)
    content = gzip.compress(head + bytes(2**20))
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"the member 'py/a' of {size:,} bytes"):
        list(archives.members(io.BytesIO(content), WANTED))
    assert time.monotonic() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_a_bomb_is_not_unpacked(kind: bytes) -> None:
    """A header that declares 64 MiB of names, or a note of so many, all really there."""
    head = header("py/note", kind, size=2**26).tobuf(tarfile.GNU_FORMAT)
    content = gzip.compress(head + bytes(2**26))
    assert len(content) < 2**17
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"more bytes than were published|the member 'py/note'"):
        list(archives.members(io.BytesIO(content), WANTED))
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_every_cut_of_an_archive_is_refused(store: Store) -> None:
    """Even where somebody declared the cut file as the published one."""
    content = (python_archive(store.root), (store.root / "py.tar.gz").read_bytes())[1]
    members = python_archive(store.root).forms[0].members
    for end in range(0, len(content) - 20, 7):
        tiny = published(
            store.root, {"py.tar.gz": content[:end]}, archives.python_batches, dict(members)
        )
        refused(tiny, store)


def test_a_compressed_file_gives_what_was_published_and_no_more() -> None:
    assert archives.gunzipped(gzip.compress(b"abc"), 3) == b"abc"
    with pytest.raises(ValueError, match="fewer than 4 bytes"):
        archives.gunzipped(gzip.compress(b"abc"), 4)
    bomb = gzip.compress(bytes(2**26)) + gzip.compress(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 100 bytes"):
        archives.gunzipped(bomb, 100)
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"", mtime=0),
        gzip.compress(bytes(24), mtime=0),
        idx(PICTURES[:10, ..., 0])[:-9],
        idx(PICTURES[:9, ..., 0]),
        idx(PICTURES[:10]),
        idx(PICTURES[:10, ..., 0].astype(np.int32)),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, store: Store) -> None:
    gray = PICTURES[10:, ..., 0]
    contents = {"a": content, "b": idx(LABELS[:10]), "c": idx(gray), "d": idx(LABELS[10:])}
    tiny = published(store.root, contents, archives.idx_batches, channels=1)
    assert refused(tiny, store).startswith(f"`data` tiny must be as published, got {store.root}: ")


# Hostile pickles --------------------------------------------------------------------------------


class Payload:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_payload_is_not_run(protocol: int, store: Store, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    content = pickle.dumps({"labels": Payload(touched)}, protocol)
    assert "no batch of pictures" in refused(one_file(store.root, content), store)
    assert not touched.exists()
    pickle.loads(content)
    assert touched.exists()  # it would have been run


@pytest.mark.parametrize(
    "name",
    [
        b"cposix\nsystem\n",
        b"cbuiltins\neval\n",
        b"c__builtin__\neval\n",
        b"cnumpy\nload\n",
        b"cnumpy.core.multiarray\nfromfile\n",
        b"cnumpy._core.multiarray\n_reconstruct\n",
        b"cnumpy\ndtype.__reduce__\n",
        b"cdse.archives\nfetch\n",
        b"(ios\nsystem\n",
        b"\x82\x01",
        b"P1\n",
        b"\x8c\x05posix\x8c\x06system\x93",
    ],
)
def test_other_names_than_those_of_an_array_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match=r"no batch of pictures: the (name|opcode) "):
        archives.python_batch(pickled(reconstruct=name), FACTS)


def test_a_place_far_ahead_in_the_memo_takes_no_memory() -> None:
    bomb = pickled(extra=b"r\xff\xff\xff\x7f" + text(b"x") + b"N")
    with pytest.raises(ValueError, match="the place 2,147,483,647 of 2"):
        archives.python_batch(bomb, FACTS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of escapes in what is no batch
def test_a_damaged_pickle_is_a_batch_or_a_value_error() -> None:
    content = pickled()
    whole = archives.python_batch(content, FACTS)
    assert np.array_equal(whole.pictures, PICTURES[:5])
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r"no batch of pictures|labels"):
            archives.python_batch(content[:end], FACTS)
    for place in range(len(content)):
        for value in RANDOM.integers(0, 256, 4):
            changed = bytearray(content)
            changed[place] = value
            with suppress(ValueError):
                archives.python_batch(bytes(changed), FACTS)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 2, 3, 10], "the label 10 of 10 classes"),
        ([0, 1, 2, 3, -1], "labels that are no class numbers"),
        ([0, 1, 2, 3, 256], "labels that are no class numbers"),
        ([0, 1, 2, 3], "9 + 4 labels"),
        ([0, 1, 2, 3, 4, 5], "11 + 4 labels"),
        ([], "labels that are no class numbers"),
    ],
)
def test_labels_out_of_range_are_refused(labels: list[int], words: str, store: Store) -> None:
    assert words in refused(one_file(store.root, pickled(labels=labels)), store)


def test_pictures_of_another_number_or_size_are_refused(store: Store) -> None:
    for rows in (PICTURES[:4], PICTURES[:5, :2], PICTURES[:0]):
        refused(one_file(store.root, pickled(rows)), store)
    with pytest.raises(ValueError, match="are no records of 49"):
        archives.binary_batches([bytes(50)], FACTS)
    coarse = replace(FACTS, train=11)
    assert "10 + 4 labels" in refused(replace(python_files(store.root), facts=coarse), store)


# The cache --------------------------------------------------------------------------------------


def cached(store: Store) -> tuple[Published, Path]:
    tiny = python_files(store.root)
    archives.ensure(tiny, store)
    return tiny, archives.cache_path(tiny, store, 4)


def test_a_cache_needs_the_files_no_more(store: Store) -> None:
    tiny, path = cached(store)
    before = path.stat().st_mtime_ns
    for file in tiny.forms[0].files:
        (store.root / file.name).unlink()
    assert len(arrays_of(tiny, store).train_pictures) == 10
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "damage",
    ["pixel", "label", "header", "digest", "cut", "empty", "longer", "header alone", "folder"],
)
def test_a_damaged_cache_is_made_again(damage: str, store: Store) -> None:
    tiny, path = cached(store)
    content = path.read_bytes()
    size = len(content)
    declared = content.index(b'"sha256"') + 12
    places = {"pixel": archives.HEADER + 3, "label": size - 1, "header": 3, "digest": declared}
    lengths = {"cut": size - 1, "empty": 0, "longer": size + 1, "header alone": archives.HEADER}
    if damage in places:
        path.write_bytes(content[: places[damage]] + b"\x07" + content[places[damage] + 1 :])
    elif damage in lengths:
        path.write_bytes(content[: lengths[damage]].ljust(lengths[damage], b"\0"))
    else:
        path.unlink()
        path.symlink_to(store.root)
    assert not archives.genuine(path, tiny, 4)
    archives.ensure(tiny, store)
    assert path.read_bytes() == content


def test_a_cache_of_other_arrays_is_not_believed(store: Store) -> None:
    """Whole, with a checksum of its own, but not of what was asked for."""
    tiny, path = cached(store)
    for other in (
        replace(tiny, name="other"),
        replace(tiny, facts=replace(FACTS, digest="1" * 64)),
        replace(tiny, facts=replace(FACTS, train=4, test=10)),
    ):
        assert not archives.genuine(path, other, 4)
    assert not archives.genuine(path, tiny, 8)
    exact = replace(tiny, exact=True)  # its digest says what the arrays are
    assert archives.genuine(path, tiny, 4)
    assert not archives.genuine(path, exact, 4)


def test_workers_believe_a_verified_cache_and_make_a_damaged_one_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, path = cached(store)
    monkeypatch.setattr(archives, "PUBLISHED", {"tiny": tiny})
    monkeypatch.setattr(archives, "genuine", None)  # no contents are hashed again
    assert np.array_equal(archives.arrays("tiny", store).train_pictures, PICTURES[:10])
    monkeypatch.undo()
    monkeypatch.setattr(archives, "PUBLISHED", {"tiny": tiny})
    path.write_bytes(path.read_bytes()[:-1])
    assert np.array_equal(archives.arrays("tiny", store).train_pictures, PICTURES[:10])
    path.unlink()
    assert np.array_equal(archives.arrays("tiny", store).train_pictures, PICTURES[:10])


def test_pictures_are_resized_once_and_verified(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, _ = cached(store)
    monkeypatch.setattr(archives, "PUBLISHED", {"tiny": tiny})
    monkeypatch.setattr(archives, "TOGETHER", 3)
    calls = []

    def halved(pictures: archives.Bytes) -> archives.Bytes:
        calls.append(len(pictures))
        return pictures[:, ::2, ::2]

    for _ in range(2):
        found = archives.resized("tiny", store, 2, halved)
        assert np.array_equal(found.train_pictures, PICTURES[:10, ::2, ::2])
        assert np.array_equal(found.test_pictures, PICTURES[10:, ::2, ::2])
        assert np.array_equal(found.test_labels, LABELS[10:])
    assert calls == [3, 3, 3, 1, 3, 1]
    archives.prepare("tiny", store, [2, 4, 9])
    path = archives.cache_path(tiny, store, 2)
    assert path.exists()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    archives.prepare("tiny", store, [4])
    assert path.exists()  # nobody asked for it
    archives.prepare("tiny", store, [2])
    assert not path.exists()
    assert np.array_equal(archives.resized("tiny", store, 2, halved).test_labels, LABELS[10:])


FORK = multiprocessing.get_context("fork")


def test_processes_at_once_read_the_files_once(store: Store) -> None:
    tiny, told = python_files(store.root), FORK.SimpleQueue()
    start = FORK.Barrier(6)

    def process() -> None:
        start.wait()
        archives.ensure(tiny, store, told.put)
        assert np.array_equal(arrays_of(tiny, store).test_pictures, PICTURES[10:])

    running = [FORK.Process(target=process) for _ in range(6)]
    for each in running:
        each.start()
    for each in running:
        each.join(20)
    assert [each.exitcode for each in running] == [0] * 6
    assert told.get() == f"reading tiny from {store.root}"
    assert told.empty()
    assert in_cache(store) == [archives.cache_path(tiny, store, 4).name]


def test_a_killed_builder_is_no_obstacle(store: Store) -> None:
    tiny = python_files(store.root)
    path, started = archives.cache_path(tiny, store, 4), FORK.Event()

    def parts() -> Iterator[archives.Bytes]:
        yield PICTURES[:10]
        started.set()
        time.sleep(60)

    def process() -> None:
        with archives._built(path, store, lambda: False):
            archives.write(path, tiny, 4, parts())

    victim = FORK.Process(target=process)
    victim.start()
    assert started.wait(20)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    (remains,) = in_cache(store)
    assert remains.startswith(".")
    assert len(arrays_of(tiny, store).train_labels) == 10
    assert in_cache(store) == [path.name]


@pytest.mark.parametrize("place", ["/proc/nope", "file", "file/below"])
def test_a_cache_that_cannot_be_written_is_one_line(place: str, store: Store) -> None:
    tiny = python_files(store.root)
    (store.root / "file").touch()
    elsewhere = replace(store, cache=store.root / place)
    with pytest.raises(Unfit) as caught:
        archives.ensure(tiny, elsewhere)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("`data.cache` must be a folder that can be written, got ")


def test_a_full_disk_leaves_nothing(store: Store) -> None:
    tiny, told = python_files(store.root), FORK.SimpleQueue()

    def process() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (archives.HEADER + 100, -1))
        try:
            archives.ensure(tiny, store)
        except Unfit as error:
            told.put(str(error))

    child = FORK.Process(target=process)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert told.get() == (
        f"`data.cache` must be a folder that can be written, got {store.cache}: File too large"
    )
    assert in_cache(store) == []


# Downloads --------------------------------------------------------------------------------------

BODY = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """Sends `BODY` in the way that the path's last part says; counts what was sent."""

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
        except OSError:  # the other side has had enough
            pass

    def _contents(self, way: str) -> Iterator[bytes]:
        if way == "silent":
            time.sleep(3)
        elif way == "drip":
            for n in range(60):
                yield BODY[n : n + 1]
                time.sleep(0.05)
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
    """The address of a real HTTP server on the loopback."""
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
        ("cut", "255,000 of 256,000 bytes"),
        ("short", "255,999 of 256,000 bytes"),
        ("long", "more than 256,000 bytes"),
        ("endless", "more than 256,000 bytes"),
        ("wrong", "the SHA-256 "),
        ("silent", "timed out"),
        ("drip", "not done in 0.4 s"),
    ],
)
def test_a_failed_download_leaves_nothing(way: str, words: str, tmp_path: Path) -> None:
    Handler.sent = 0
    with server() as address:
        start = time.monotonic()
        with pytest.raises(Unfit) as caught:
            archives.fetch(body(address, way), tmp_path, timeout=0.5, most_seconds=0.4)
        assert time.monotonic() - start < 2
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"`data.download` must fetch {address}{way} into {tmp_path}, got ")
    assert words in line
    assert list(tmp_path.iterdir()) == []
    assert Handler.sent < 50 * len(BODY)  # of 2,000: it ends with the first byte too many


def test_nobody_at_the_address_is_told(tmp_path: Path) -> None:
    with server() as address:
        pass
    with pytest.raises(Unfit, match="refused"):
        archives.fetch(body(address, "whole"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_are_fetched_where_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = python_archive(store.root / "elsewhere")
    content = (store.root / "elsewhere/py.tar.gz").read_bytes()
    monkeypatch.setattr(sys.modules[__name__], "BODY", content)
    told: list[str] = []
    with server() as address:
        (form,) = contents.forms
        file = replace(form.files[0], address=address + "py.tar.gz")
        form = replace(form, folders=("below/raw", ""), files=(file,))
        tiny = replace(contents, forms=(form,))
        with pytest.raises(Missing, match=f"data.download=true fetches {file.size:,} bytes"):
            archives.ensure(tiny, store)
        archives.ensure(tiny, replace(store, download=True), told.append)
    assert (store.root / "below/raw/py.tar.gz").read_bytes() == content
    assert [line.split()[0] for line in told] == ["fetching", "reading"]
    assert np.array_equal(arrays_of(tiny, store).train_pictures, PICTURES[:10])


def test_a_file_in_place_is_never_replaced_by_a_download(store: Store) -> None:
    tiny = python_files(store.root)
    (form,) = tiny.forms
    files = tuple(replace(file, address="http://127.0.0.1:9/x") for file in form.files)
    (store.root / "test_batch").write_bytes(b"mine")
    changed = replace(tiny, forms=(replace(form, files=files),))
    assert "remove or replace it" in refused(changed, replace(store, download=True))
    assert (store.root / "test_batch").read_bytes() == b"mine"


# The commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sweep", "reproduce"])
def test_a_command_asks_for_its_data_before_it_trains(command: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ["protocol=cifar10,mnist", "data.root=data", "data.cache=cache", "seed=0"]
    run = [sys.executable, "-m", f"dse.{command}", *arguments]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("`data.root` must hold cifar10: ")
    assert second.startswith("`data.root` must hold mnist: ")
    assert not (tmp_path / "results").exists()
    plan = subprocess.run([*run, "plan=true"], cwd=tmp_path, capture_output=True, check=False)
    assert plan.returncode == 0, plan.stderr


def test_nothing_is_asked_for_where_nothing_is_to_do(store: Store) -> None:
    check_data([], store)
    assert not store.cache.exists()


@pytest.mark.slow
@needs_cifar10
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
    done = again()  # nothing to train: no data are asked for
    assert (done.returncode, "1 done before, 0 to do" in done.stderr) == (0, True)
    other = again("seed=1")  # the cache is enough
    assert other.returncode == 0, other.stderr
    assert "reading" not in other.stderr
