"""Images that cannot be decoded are found before training, once for all images of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images import encoded, waves, write

from dse.data import decodable, loaders
from dse.data.folder import read
from dse.data.loaders import Files, find_undecodable
from dse.data.store import DataError, Store
from dse.runner.events import Event, Failed, Finished, Reported, Retried
from dse.runner.runner import Workers
from dse.runner.task import Report, Reporter
from dse.space.architecture import LAYOUTS
from dse.sweep.errors import RequestError
from dse.sweep.preflight import check_data, notes
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

RULE = "`data.root` must hold images that can be decoded"
TRUNCATED = "Image is incomplete or truncated"

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """2 classes of 30 + 4 images."""
    files = {
        f"{part}/class{label}/{number:02d}.jpg": encoded(waves(24, 20, number), "JPEG")
        for part, count in (("train", 30), ("val", 4))
        for label in (0, 1)
        for number in range(count)
    }
    return write(tmp_path / "root", files)


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root=root, cache=root.with_name("cache"))


class Here:
    """The runner, without processes: each task is carried out when its events are read."""

    def __init__(self, function: str, workers: Workers) -> None:
        assert function == decodable.FUNCTION
        assert workers.count in (1, 2)
        self.tasks: list[tuple[int, Any]] = []

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, key: int, argument: Any) -> None:
        self.tasks.append((key, argument))

    def events(self) -> Iterator[Event]:
        for key, argument in self.tasks:
            sent: list[Report] = []
            find_undecodable(argument, Reporter(sent.append))
            yield from (Reported(key, report.value) for report in sent)
            yield Finished(key, None)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded, in this process."""
    names: list[str] = []
    image = Files.image

    def noted(files: Files, row: int) -> Any:
        names.append(files.listing.split(b"\n")[row].partition(b" ")[2].decode())
        return image(files, row)

    monkeypatch.setattr(Files, "image", noted)
    monkeypatch.setattr(decodable, "Runner", Here)
    monkeypatch.setattr(decodable, "FEW", 1)
    return names


def check(store: Store, said: Callable[[str], None] = lambda line: None) -> list[str]:
    """What is wrong, in lines."""
    try:
        decodable.check(read(store.root, store.cache), store, 2, said)
    except DataError as error:
        return str(error).splitlines()
    return []


def overwrite(path: Path, content: bytes) -> None:
    """Write into a file that exists: its directory keeps its time."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 1, before + 1))


def test_all_broken_images_are_listed_at_once(root: Path, store: Store, decoded: list[str]) -> None:
    whole = (root / "val/class0/01.jpg").read_bytes()
    overwrite(root / "val/class0/01.jpg", whole[:500])
    assert check(store) == [f"{RULE}, got {root}/val/class0/01.jpg: {TRUNCATED}"]
    assert len(decoded) == 68
    for label in (0, 1):
        for number in range(8):
            overwrite(root / f"train/class{label}/{number:02d}.jpg", b"%!PS")
    rule, *listed, last = check(store)
    assert rule == f"{RULE}, got 17 problems:"
    assert listed[0] == f"  {root}/train/class0/00.jpg: it is none of JPEG PNG WEBP BMP PPM TIFF"
    assert len(listed) == 10
    assert last == "  and 7 more"


def test_images_are_decoded_once_until_one_has_changed(
    root: Path, store: Store, decoded: list[str]
) -> None:
    lines: list[str] = []
    broken = root / "val/class1/02.jpg"
    whole = broken.read_bytes()
    overwrite(broken, b"x" * len(whole))
    assert len(check(store, lines.append)) == 1
    assert lines == [f"checking images of {root}: 68 to decode"]
    overwrite(broken, whole)
    assert check(store) == []
    assert len(decoded) == 2 * 68
    assert check(store, lines.append) == []
    assert (len(decoded), len(lines)) == (2 * 68, 1)  # nothing is done or said

    overwrite(broken, b"x" * len(whole))  # of equal size, and later
    assert len(check(store)) == 1
    write(root, {"val/class1/02.jpg": whole, "val/class0/9.jpg": whole})
    assert check(store) == []
    assert len(decoded) == 3 * 68 + 69


def test_an_image_that_vanishes_meanwhile_is_listed(
    root: Path, store: Store, decoded: list[str]
) -> None:
    manifest = read(root, store.cache)
    (root / "val/class1/02.jpg").unlink()
    with pytest.raises(DataError, match=r"/val/class1/02\.jpg: No such file or directory$"):
        decodable.check(manifest, store, 2, print)
    assert len(decoded) == 68


def test_of_many_training_images_a_sample_is_decoded(
    store: Store, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decodable, "SAMPLE", 7)
    assert check(store) == []
    names = [name.split("/") for name in decoded]
    assert sum(part == "val" for part, _, _ in names) == 8
    assert 6 <= sum(part == "train" for part, _, _ in names) <= 7
    assert len({(part, label) for part, label, _ in names}) == 4


@pytest.mark.usefixtures("decoded")
def test_a_check_that_fails_is_reported_and_stops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Failed(0, "the process was killed by SIGKILL", "")
    monkeypatch.setattr(Here, "events", lambda here: iter([killed]))
    lines: list[str] = []
    assert check(store, lines.append) == []
    assert lines[1:] == ["34 images could not be checked: the process was killed by SIGKILL"]
    assert decodable.unchecked(read(store.root, store.cache), store) == 68


@pytest.mark.usefixtures("decoded")
def test_a_check_that_starts_again_finds_the_same(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a lack of memory, when some images were decoded."""

    def again(here: Here) -> Iterator[Event]:
        first, *others = events(here)
        yield from (first, Retried(first.key, "MemoryError", 1), first, *others)

    events = Here.events
    monkeypatch.setattr(Here, "events", again)
    monkeypatch.setattr(loaders, "AT_ONCE", 5)
    overwrite(root / "train/class0/00.jpg", b"%!PS")
    (line,) = check(store)
    assert "train/class0/00.jpg" in line
    overwrite(root / "train/class0/00.jpg", (root / "train/class0/01.jpg").read_bytes())
    assert check(store) == []
    assert decodable.unchecked(read(store.root, store.cache), store) == 0


def test_an_unwritable_cache_is_done_without(root: Path, decoded: list[str]) -> None:
    for _ in range(2):
        assert check(Store(root=root, cache=Path("/proc/dse"))) == []
    assert len(decoded) == 2 * 68


def test_an_error_that_passes_is_not_one(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems have them; they must not end a sweep."""
    tries: list[int] = []

    def read_(path: bytes) -> bytes:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(5, "Input/output error")
        return Path(os.fsdecode(path)).read_bytes()

    monkeypatch.setattr(loaders, "_read", read_)
    monkeypatch.setattr(loaders, "PAUSE", 0.0)
    files = Files.of(root, read(root, store.cache).listing)
    assert files.image(0).shape == (3, 20, 24)
    assert len(tries) == 2


def trial(store: Store) -> Trial:
    protocol = Protocol(
        data="image_folder", manifest=read(store.root, store.cache).text, image_size=32
    )
    return Trial(layout=LAYOUTS["px32"], protocol=protocol)


@pytest.mark.usefixtures("decoded")
def test_a_command_checks_images_and_its_plan_says_so(root: Path, store: Store) -> None:
    write(root, {f"{part}/class1/Thumbs.db": b"" for part in ("train", "val")})
    overwrite(root / "val/class0/01.jpg", (root / "val/class0/01.jpg").read_bytes()[:500])
    ignored = f"2 files of {root} ignored, not images: 2 .db"
    size = f"{root}: 2 classes; 60 images in train/: 15 held out, 22 of 45 trained on"
    size += " (train_share=0.5); 8 in val/"
    planned = f"images of {root} are checked before training"
    assert notes([trial(store)], store) == [size, ignored, f"{planned}: 68 to decode"]
    lines: list[str] = []
    check_data([trial(store)], store, lines.append, decode=False)
    assert lines == [ignored]
    with pytest.raises(RequestError) as caught:
        check_data([trial(store)], store, lines.append)
    assert caught.value.lines == (f"{RULE}, got {root}/val/class0/01.jpg: {TRUNCATED}",)
    assert notes([trial(store)], store) == [size, ignored, f"{planned}: 68 to decode"]
