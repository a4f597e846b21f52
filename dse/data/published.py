"""Published data sets -> their arrays, verified, and one copy in memory for all processes.

A set's files are looked for under `data.root` in the layouts in which they are published. Their
size and SHA-256 are checked before anything in them is interpreted, and nothing that they hold is
run or extracted. Their arrays are written once as plain bytes into `data.cache`, which every
process maps. A file of the cache:

    a header: one line of JSON, filled up with spaces to `HEADER` bytes
    training pictures (n, h, w, channels), their labels (n), test pictures, their labels; all uint8
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import math
import mmap
import os
import pickle
import pickletools
import secrets
import struct
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dse.trial.datasets import DATA_SETS, DataSet

Bytes = NDArray[np.uint8]
Tell = Callable[[str], None]

HEADER = 4096
FORMAT = 1
"""The version of the cache's layout and of how pictures are resized into it."""

BLOCK = 2**20
"""Bytes that are copied or hashed at a time."""

TOGETHER = 1000
"""Pictures that are resized at a time."""

NOTES = 2**16
"""Bytes that a member of an archive may have which is neither pictures nor labels."""


class Missing(ValueError):
    """A set whose files are not there: one line that says which are expected where."""


class Unfit(ValueError):
    """Files that are not the published ones, or a place that cannot be used: one line."""


def _user_cache() -> Path:
    """The folder for caches of the XDG base directory specification; for a user without a home,
    one in the working directory.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not given.is_absolute():
        try:
            given = Path.home() / ".cache"
        except RuntimeError:
            given = Path(".cache")
    return given / "squeezenet-dse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Where a machine keeps data sets, and how it reads them; no part of any question.

    `root` holds published files, `cache` the arrays made of them. `download` fetches what is not
    under `root`. `loaders` is the number of processes that decode the pictures of a streamed set
    (0: the trial's own).
    """

    root: Path = Path("data")
    cache: Path = field(default_factory=_user_cache)
    download: bool = False
    loaders: int = 0

    def absolute(self) -> Store:
        """The same, for a process that may stand in another folder."""
        return replace(self, root=self.root.absolute(), cache=self.cache.absolute())


DEFAULT = Store()


class Arrays(NamedTuple):
    """A set's pictures, uint8 (n, h, w, channels), and their labels, uint8 (n), as published."""

    train_pictures: Bytes
    train_labels: Bytes
    test_pictures: Bytes
    test_labels: Bytes


class Batch(NamedTuple):
    """Some of a set's pictures, uint8 (n, h, w, channels), and their labels, uint8 (n)."""

    pictures: Bytes
    labels: Bytes


@dataclass(frozen=True, slots=True)
class File:
    """A published file: its name, its size in bytes, its SHA-256, and where it is published."""

    name: str
    size: int
    sha256: str
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One form in which a set is published.

    All `files` stand in one of `folders` under `data.root`. `decode` makes batches of their
    contents, in order, of which the last is the test set. Where `members` (name -> bytes) are
    given, the only file is a compressed tar, and theirs are the contents.
    """

    folders: tuple[str, ...]
    files: tuple[File, ...]
    decode: Callable[[Sequence[bytes], DataSet], Sequence[Batch]]
    members: Mapping[str, int] = field(default_factory=dict)

    @property
    def fetchable(self) -> bool:
        """Whether every file has an address."""
        return all(file.address for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A data set as it is published: its declared facts and its forms, the first found is read.

    `exact` says that the facts' digest is of the arrays themselves.
    """

    name: str
    facts: DataSet
    forms: tuple[Form, ...]
    exact: bool = False


# What the commands and `data` ask ---------------------------------------------------------------


def prepare(
    name: str, store: Store, image_sizes: Iterable[int] = (), tell: Tell = lambda line: None
) -> None:
    """Make sure that the arrays of the set `name` are in the cache and genuine, once per sweep.

    The published files are needed, or fetched, where they are not. Caches of the given picture
    sizes are verified as well where they are; `tell` hears of what takes long. A set that is not
    in `PUBLISHED` needs nothing. Raises `Missing` or `Unfit`.
    """
    if name not in PUBLISHED:
        return
    published = PUBLISHED[name]
    ensure(published, store, tell)
    for side in set(image_sizes) - {published.facts.image_size}:
        path = cache_path(published, store, side)
        if path.exists() and not genuine(path, published, side):
            with _told_of(store.cache, "data.cache"):
                path.unlink(missing_ok=True)


def arrays(name: str, store: Store) -> Arrays:
    """The arrays of the set `name`, read-only and mapped, so that all processes share them.

    What `prepare` verified is believed where its size and header are right, and otherwise made
    again. Raises `Missing` or `Unfit`.
    """
    published = PUBLISHED[name]
    side = published.facts.image_size
    path = cache_path(published, store, side)
    if not _sound(path, published, side):
        ensure(published, store)
    return mapped(path, published, side)


def resized(name: str, store: Store, side: int, resize: Callable[[Bytes], Bytes]) -> Arrays:
    """As `arrays`, with pictures of `side` pixels.

    `resize`, uint8 (n, h, w, channels) -> (n, side, side, channels), is called by the first
    process that asks; the others wait and map what it made.
    """
    published = PUBLISHED[name]
    source = arrays(name, store)
    path = cache_path(published, store, side)
    with _built(path, store, lambda: _sound(path, published, side)) as needed:
        if needed:
            write(path, published, side, _resized_parts(source, resize))
    return mapped(path, published, side)


def _resized_parts(source: Arrays, resize: Callable[[Bytes], Bytes]) -> Iterator[Bytes]:
    for part in source:
        blocks = range(0, len(part), TOGETHER)
        yield from (resize(part[n : n + TOGETHER]) for n in blocks) if part.ndim > 1 else [part]


# The cache --------------------------------------------------------------------------------------


def cache_path(published: Published, store: Store, side: int) -> Path:
    """The file of the cache for pictures of `side` pixels."""
    return store.cache / f"{published.name}-{side}px-{published.facts.digest[:16]}.bin"


def ensure(published: Published, store: Store, tell: Tell = lambda line: None) -> None:
    """Leave the verified cache of a set, built once however many processes ask at once."""
    side = published.facts.image_size
    path = cache_path(published, store, side)
    if genuine(path, published, side):
        return
    with _built(path, store, lambda: genuine(path, published, side)) as needed:
        if needed:
            write(path, published, side, decoded(published, store, tell))


def mapped(path: Path, published: Published, side: int) -> Arrays:
    """The arrays in a file of the cache, mapped read-only; raises `Unfit` where it is not whole."""
    header, shapes = _expected(published, side), _shapes(published.facts, side)
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(HEADER))
            if not isinstance(found, dict) or {**found, "sha256": ""} != {**header, "sha256": ""}:
                raise Unfit(f"{path} must be a cache of {published.name} at {side} pixels")
            if os.fstat(file.fileno()).st_size != HEADER + sum(map(math.prod, shapes)):
                raise Unfit(f"{path} must be whole")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, Unfit):
            raise
        raise Unfit(f"{path} must be a file of the cache: {_reason(error)}") from None
    offset, parts = HEADER, []
    for shape in shapes:
        count = math.prod(shape)
        parts.append(np.frombuffer(content, np.uint8, count, offset).reshape(shape))
        offset += count
    return Arrays(*parts)


def _sound(path: Path, published: Published, side: int) -> bool:
    """Whether a file of the cache has the size and header that it should."""
    try:
        mapped(path, published, side)
    except Unfit:
        return False
    return True


def genuine(path: Path, published: Published, side: int) -> bool:
    """Whether a file of the cache is there, whole, and has the contents that it was made with."""
    if not _sound(path, published, side):
        return False
    try:
        with path.open("rb") as file:
            declared = json.loads(file.read(HEADER))["sha256"]
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError):
        return False
    of_arrays = published.exact and side == published.facts.image_size
    return bool(found == declared == (published.facts.digest if of_arrays else declared))


def write(path: Path, published: Published, side: int, parts: Iterable[Bytes]) -> None:
    """Write a file of the cache of the arrays' consecutive `parts`, whole or not at all."""
    digest = hashlib.sha256()
    with _new(path) as file:
        file.seek(HEADER)
        for part in parts:
            content = np.ascontiguousarray(part).data
            digest.update(content)
            file.write(content)
        header = {**_expected(published, side), "sha256": digest.hexdigest()}
        file.seek(0)
        file.write(json.dumps(header).encode().ljust(HEADER - 1) + b"\n")


def _expected(published: Published, side: int) -> dict[str, Any]:
    """The header of a cache, but for the digest of its contents."""
    return {
        "format": FORMAT,
        "data": published.name,
        "digest": published.facts.digest,
        "shapes": [list(shape) for shape in _shapes(published.facts, side)],
    }


def _shapes(facts: DataSet, side: int) -> list[tuple[int, ...]]:
    picture = (side, side, facts.channels)
    return [(facts.train, *picture), (facts.train,), (facts.test, *picture), (facts.test,)]


@contextmanager
def _built(path: Path, store: Store, done: Callable[[], bool]) -> Iterator[bool]:
    """Whether this process must build `path`: the only one that may, while the others wait.

    What a killed builder left unfinished goes.
    """
    if done():
        yield False
        return
    with _told_of(store.cache, "data.cache"):
        store.cache.mkdir(parents=True, exist_ok=True)
        lock = (store.cache / f"{path.name}.lock").open("wb")
    with lock, _told_of(store.cache, "data.cache"):
        fcntl.flock(lock, fcntl.LOCK_EX)
        needed = not done()
        if needed:
            for remains in store.cache.glob(f".{path.name}.*"):
                remains.unlink(missing_ok=True)
        yield needed


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes `path`, durably, where nothing is raised, and otherwise is gone."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _told_of(folder: Path, setting: str) -> Iterator[None]:
    """Turn an `OSError` into a line about the setting that names `folder`."""
    try:
        yield
    except OSError as error:
        raise Unfit(
            f"`{setting}` must be a folder that can be written, got {folder}: {_reason(error)}"
        ) from None


def _reason(error: BaseException) -> str:
    """An exception in a few words, on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0][:200]


# The published files -----------------------------------------------------------------------------


def decoded(published: Published, store: Store, tell: Tell) -> list[Bytes]:
    """The arrays of a set's published files as consecutive parts, verified.

    Raises `Missing` where the files are not there, `Unfit` where they are not the published ones.
    """
    form, folder = _found(published, store, tell)
    tell(f"reading {published.name} from {folder}")
    try:
        batches = form.decode(_contents(form, folder), published.facts)
        return _verified(batches, published)
    except Unfit:
        raise
    except (ValueError, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise Unfit(
            f"`data` {published.name} must be as published, got {folder}: {_reason(error)}"
        ) from None


def _found(published: Published, store: Store, tell: Tell) -> tuple[Form, Path]:
    """The first form that is there, whole, and its folder; fetched where the store says so."""
    for form in published.forms:
        for home in form.folders:
            if not _away(form, store.root / home):
                return form, store.root / home
    fetchable = next((form for form in published.forms if form.fetchable), None)
    if not (store.download and fetchable):
        raise Missing(_expectation(published, store))
    folder = store.root / fetchable.folders[0]
    with _told_of(store.root, "data.root"):
        folder.mkdir(parents=True, exist_ok=True)
    for file in _away(fetchable, folder):
        tell(f"fetching {file.address} ({file.size:,} bytes) into {folder}")
        fetch(file, folder)
    return fetchable, folder


def _away(form: Form, folder: Path) -> list[File]:
    """The files of a form that are not in `folder`."""
    return [file for file in form.files if not (folder / file.name).is_file()]


def _expectation(published: Published, store: Store) -> str:
    """The line that says which files are expected where, what is missing, and how to get it."""
    choices, found, ways = [], [], []
    for form in published.forms:
        homes = " or ".join(f"{home}/" if home else "itself" for home in form.folders)
        names = ", ".join(file.name for file in form.files)
        choices.append(names if form.folders == ("",) else f"{names} in {homes}")
        for home in form.folders:
            away = _away(form, store.root / home)
            if len(away) < len(form.files):
                names = ", ".join(file.name for file in away)
                found.append(f"{home or 'it'} without {names}")
        if form.fetchable:
            size = sum(file.size for file in form.files)
            ways.append(f"data.download=true fetches {size:,} bytes")
    return (
        f"`data.root` must hold {published.name}: {'; or '.join(choices)}; "
        f"got {store.root}, {', '.join(found) or 'where none is'}; {'; '.join(ways[:1])}"
    )


def _contents(form: Form, folder: Path) -> list[bytes]:
    """The verified contents of a form's files, or of its archive's members, in their order."""
    with ExitStack() as files:
        opened = [files.enter_context(verified(folder / file.name, file)) for file in form.files]
        if form.members:
            found = dict(members(opened[0], form.members))
            return [found[name] for name in form.members]
        return [file.read() for file in opened]


@contextmanager
def verified(path: Path, file: File) -> Iterator[BinaryIO]:
    """The file at `path`, open, after its size and SHA-256 were found to be those of `file`.

    Raises `Unfit` otherwise.
    """
    rule = f"{path} must have {file.size:,} bytes with the SHA-256 {file.sha256}"
    try:
        content = path.open("rb")
    except OSError as error:
        raise Unfit(f"{path} must be a file that can be read: {_reason(error)}") from None
    with content:
        size = os.fstat(content.fileno()).st_size
        if size != file.size:
            raise Unfit(f"{rule}, got {size:,} bytes: remove or replace it")
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != file.sha256:
            raise Unfit(f"{rule}, got {digest}: remove or replace it")
        content.seek(0)
        yield content


def _verified(batches: Sequence[Batch], published: Published) -> list[Bytes]:
    """The parts of the cache of these batches, the last of which is the test set.

    Raises `ValueError` where they have not the declared shapes, classes or digest.
    """
    facts = published.facts
    picture = (facts.image_size, facts.image_size, facts.channels)
    *train, test = batches
    counts = (sum(len(batch.labels) for batch in train), len(test.labels))
    if counts != (facts.train, facts.test):
        raise ValueError(f"{counts[0]:,} + {counts[1]:,} labels")
    for batch in batches:
        if batch.pictures.shape != (len(batch.labels), *picture):
            raise ValueError(f"pictures of the shape {batch.pictures.shape}")
        if len(batch.labels) and batch.labels.max() >= facts.num_classes:
            raise ValueError(f"the label {batch.labels.max()} of {facts.num_classes} classes")
    parts = [np.ascontiguousarray(batch.pictures) for batch in train]
    parts += [np.concatenate([batch.labels for batch in train])]
    parts += [np.ascontiguousarray(test.pictures), test.labels]
    if published.exact:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.data)
        if digest.hexdigest() != facts.digest:
            raise ValueError(f"pictures and labels of the digest {digest.hexdigest()}")
    return parts


def members(archive: BinaryIO, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the `wanted` members (name -> bytes) of a compressed tar.

    It is read as a stream into memory, never further than its members may reach, and nothing is
    extracted. Raises `ValueError` for a member of another size, one that is missing or comes
    twice, and for any that is no plain file or folder, of an absolute name or with "..", outside
    the wanted ones' folders, or a note of more than `NOTES` bytes.
    """
    homes = {str(PurePosixPath(name).parent) for name in wanted}
    most = sum(wanted.values()) + 2**20
    missing = dict(wanted)
    with gzip.GzipFile(fileobj=archive) as plain:
        stream = io.BufferedReader(_Bounded(plain, most))
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = str(PurePosixPath(member.name))
                if member.isdir() and name in homes:
                    continue
                _refuse_strange(member, homes)
                if name not in wanted and member.size <= NOTES:
                    continue
                size = missing.pop(name, -1)
                content = tar.extractfile(member) if member.size == size else None
                if content is None:
                    raise ValueError(f"the member {member.name!a} of {member.size:,} bytes")
                yield name, content.read()
    if missing:
        raise ValueError(f"no member {', '.join(missing)}")


def _refuse_strange(member: tarfile.TarInfo, homes: set[str]) -> None:
    name = PurePosixPath(member.name)
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    inside = not name.is_absolute() and ".." not in name.parts and str(name.parent) in homes
    if not (plain and inside):
        raise ValueError(f"the member {member.name!a} of the type {member.type!a}")


class _Bounded(io.RawIOBase):
    """At most `most` bytes of a stream; more are a `ValueError`."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, most: int) -> None:
        self._stream, self._left = stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(min(len(buffer), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("more bytes than were published")
        buffer[: len(content)] = content
        return len(content)


def gunzipped(content: bytes, size: int) -> bytes:
    """The `size` bytes that `content` decompresses to; raises `ValueError` for any other number.

    Never more than one byte above is decompressed.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        plain = file.read(size + 1)
    if len(plain) != size:
        raise ValueError(f"{'more' if len(plain) > size else 'fewer'} than {size:,} bytes")
    return plain


def fetch(file: File, folder: Path, *, timeout: float = 30, most_seconds: float = 3600) -> None:
    """Download a published file into `folder`, whole and verified or not at all.

    It ends with the first byte too many, after `timeout` seconds of silence, or `most_seconds` in
    all. Raises `Unfit`.
    """
    import http.client  # with ssl and what else only a download needs
    import urllib.request

    start, left = time.monotonic(), file.size
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(file.address, timeout=timeout) as response,
            _new(folder / file.name) as target,
        ):
            while content := response.read1(min(BLOCK, left + 1)):
                left -= len(content)
                if left < 0:
                    raise ValueError(f"more than {file.size:,} bytes")
                if time.monotonic() - start > most_seconds:
                    raise TimeoutError(f"not done in {most_seconds:g} s")
                digest.update(content)
                target.write(content)
            if left:
                raise ValueError(f"{file.size - left:,} of {file.size:,} bytes")
            if digest.hexdigest() != file.sha256:
                raise ValueError(f"the SHA-256 {digest.hexdigest()}, not {file.sha256}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unfit(
            f"`data.download` must fetch {file.address} into {folder}, got {_reason(error)}"
        ) from None


# How contents are read: bytes -> batches ----------------------------------------------------------


class _Inert:
    """Stands for any object of numpy's that a pickle names: keeps what it is given."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


OPCODES = """
PROTO MARK STOP NONE NEWFALSE BININT BININT1 BININT2 BINSTRING SHORT_BINSTRING EMPTY_LIST APPENDS
EMPTY_DICT SETITEMS TUPLE TUPLE1 TUPLE2 TUPLE3 BINPUT LONG_BINPUT GLOBAL REDUCE BUILD
"""
"""Those of the published pickles."""


class _Unpickler(pickle.Unpickler):
    """Knows the three names of a pickled array, and gives something inert for each."""

    KNOWN = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise ValueError(f"the name {module}.{name} in a pickle")
        return _Inert


def python_batch(content: bytes, facts: DataSet) -> Batch:
    """A CIFAR-10 "python version" batch: a pickled dictionary with an array and a list of labels.

    Raises `ValueError` where it is anything else; nothing in it is run.
    """
    try:
        _check_opcodes(content)
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        labels = np.array(found[b"labels"])
        _, shape, _, _, values = found[b"data"].state
        pictures = np.frombuffer(values, np.uint8).reshape(shape)
    except Exception as error:  # of any kind, whatever a pickle may hold
        raise ValueError(f"no batch of pictures: {_reason(error)}") from None
    if labels.dtype != np.int64 or labels.ndim != 1 or ((labels < 0) | (labels > 255)).any():
        raise ValueError("labels that are no class numbers")
    return Batch(_channels_last(pictures, facts), labels.astype(np.uint8))


def _check_opcodes(content: bytes) -> None:
    """Raise `ValueError` for an opcode that is not known, or a place in the memo far ahead of
    those in use, for which memory would be taken.
    """
    known, puts = set(OPCODES.split()), 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in known:
            raise ValueError(f"the opcode {opcode.name} in a pickle")
        if opcode.name.endswith("PUT"):
            place, puts = argument or 0, puts + 1
            if place > puts:
                raise ValueError(f"the place {place:,} of {puts:,} in a pickle's memo")


def python_batches(contents: Sequence[bytes], facts: DataSet) -> list[Batch]:
    """The batches of CIFAR-10's "python version"."""
    return [python_batch(content, facts) for content in contents]


def binary_batches(contents: Sequence[bytes], facts: DataSet, *, labels: int = 1) -> list[Batch]:
    """The batches of CIFAR's "binary version": `labels` and pixels, record by record.

    Of several labels the last one, CIFAR-100's fine one, counts.
    """
    pixels = facts.channels * facts.image_size**2
    batches = []
    for content in contents:
        if len(content) % (labels + pixels):
            raise ValueError(f"{len(content):,} bytes are no records of {labels + pixels}")
        records = np.frombuffer(content, np.uint8).reshape(-1, labels + pixels)
        pictures = _channels_last(records[:, labels:], facts)
        batches.append(Batch(pictures, records[:, labels - 1].copy()))
    return batches


def _channels_last(rows: Bytes, facts: DataSet) -> Bytes:
    """Rows (n, channels * h * w) as pictures (n, h, w, channels)."""
    planes = rows.reshape(-1, facts.channels, facts.image_size, facts.image_size)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def idx_batches(contents: Sequence[bytes], facts: DataSet) -> list[Batch]:
    """The batches of four compressed IDX files: training pictures and labels, test's."""
    batches = []
    for pictures, labels, count in zip(
        contents[::2], contents[1::2], (facts.train, facts.test), strict=True
    ):
        shape = (count, facts.image_size, facts.image_size)
        batches.append(Batch(_idx(pictures, shape)[..., None], _idx(labels, (count,))))
    return batches


def _idx(content: bytes, shape: tuple[int, ...]) -> Bytes:
    """The uint8 array of the given shape in a compressed IDX file."""
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    plain = gunzipped(content, len(head) + math.prod(shape))
    if not plain.startswith(head):
        raise ValueError(f"no IDX file of {shape} bytes")
    return np.frombuffer(plain, np.uint8, offset=len(head)).reshape(shape)


# The sets ----------------------------------------------------------------------------------------


CIFAR = "https://www.cs.toronto.edu/~kriz/"
MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

CIFAR10_BATCHES = (
    File(
        "data_batch_1",
        31_035_704,
        "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    ),
    File(
        "data_batch_2",
        31_035_320,
        "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    ),
    File(
        "data_batch_3",
        31_035_999,
        "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    ),
    File(
        "data_batch_4",
        31_035_696,
        "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    ),
    File(
        "data_batch_5",
        31_035_623,
        "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    ),
    File(
        "test_batch",
        31_035_526,
        "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
    ),
)
"""Their MD5s are those of the published checksums that torchvision lists."""


def _cifar10() -> Published:
    """CIFAR-10: the folder of its "python version", or the archive of either version."""
    home = "cifar-10-batches-py"
    python = File(
        "cifar-10-python.tar.gz",
        170_498_071,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        f"{CIFAR}cifar-10-python.tar.gz",
    )
    binary = File(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        f"{CIFAR}cifar-10-binary.tar.gz",
    )
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return Published(
        name="cifar10",
        facts=DATA_SETS["cifar10"],
        exact=True,
        forms=(
            Form(folders=(home,), files=CIFAR10_BATCHES, decode=python_batches),
            Form(
                folders=("",),
                files=(python,),
                members={f"{home}/{file.name}": file.size for file in CIFAR10_BATCHES},
                decode=python_batches,
            ),
            Form(
                folders=("",),
                files=(binary,),
                members={f"cifar-10-batches-bin/{name}.bin": 30_730_000 for name in names},
                decode=binary_batches,
            ),
        ),
    )


def _cifar100() -> Published:
    """CIFAR-100 with its fine labels: the archive of its "binary version"."""
    name = "cifar-100-binary.tar.gz"
    facts = DATA_SETS["cifar100"]
    form = Form(
        folders=("",),
        files=(File(name, 168_513_733, facts.digest, f"{CIFAR}{name}"),),
        members={
            "cifar-100-binary/train.bin": 153_700_000,
            "cifar-100-binary/test.bin": 30_740_000,
        },
        decode=partial(binary_batches, labels=2),
    )
    return Published(name="cifar100", facts=facts, forms=(form,))


def _idx_set(name: str, folders: tuple[str, ...], files: tuple[File, ...]) -> Published:
    form = Form(folders=folders, files=files, decode=idx_batches)
    return Published(name=name, facts=DATA_SETS[name], forms=(form,))


def _idx_files(address: str, *rows: tuple[int, str]) -> tuple[File, ...]:
    """The four files of a set in IDX form: training pictures and labels, test's."""
    names = [f"{p}-{kind}-ubyte.gz" for p in ("train", "t10k") for kind in IDX_KINDS]
    return tuple(
        File(name, size, sha256, f"{address}{name}")
        for name, (size, sha256) in zip(names, rows, strict=True)
    )


IDX_KINDS = ("images-idx3", "labels-idx1")

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "cifar10": _cifar10(),
        "cifar100": _cifar100(),
        "mnist": _idx_set(
            "mnist",
            ("MNIST/raw", "mnist", ""),
            _idx_files(
                MNIST,
                (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            ),
        ),
        "fashion_mnist": _idx_set(
            "fashion_mnist",
            ("FashionMNIST/raw", "fashion_mnist"),
            _idx_files(
                FASHION,
                (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            ),
        ),
    }
)
