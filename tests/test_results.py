"""The store: records that appear whole and stay, and the tables made of them."""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import json
import math
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dse.results import atomic, drivers, files, locks, records, tables
from dse.space.architecture import V1_0, Metaparameters
from dse.trial.protocol import Protocol
from dse.trial.question import QUESTION, Trial
from dse.trial.record import ANSWER, CIRCUMSTANCE, COLUMNS, Answer, Circumstance, Record

FILES = {"curve.csv": b"epoch,lr\n1,0.1\n", "weights.safetensors": b"\x00\x01"}


def record(sr: float = 0.125, seed: int = 0, **changes: Any) -> Record:
    """A record; `changes` are to its answer."""
    answer = dict.fromkeys(ANSWER, 1) | {"status": "learned", "diverged_step": -1, **changes}
    versions = "dse=0.1.0 python=3.11.7 torch=2.15.0+cu132"
    return Record(
        trial=Trial(
            metaparameters=Metaparameters(sr=sr),
            layout=V1_0,
            protocol=Protocol(image_size=64),
            seed=seed,
        ),
        answer=Answer(**answer),
        circumstance=Circumstance(
            seconds=1.25,
            device="cpu",
            threads=1,
            machine="x86_64",
            finished="2026-01-01T00:00:00+00:00",
            versions=versions,
        ),
    )


def place(folder: Path, one: Record) -> Path:
    return files.trial_folder(folder, one.trial.trial_id)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


# Records ------------------------------------------------------------------------------------


def test_a_record_comes_back(tmp_path: Path) -> None:
    one = record(top1=97.123456789012345, loss=1e-17)
    assert records.save(tmp_path, one, FILES)
    home = place(tmp_path, one)
    assert records.read(home / "record.json").row() == one.row()
    assert {name: (home / name).read_bytes() for name in FILES} == FILES
    assert sorted(p.name for p in home.iterdir()) == sorted([*FILES, "record.json"])
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [one.trial.trial_id]
    other = record(seed=1).trial.trial_id
    assert files.finished(tmp_path, [one.trial.trial_id, other]) == {one.trial.trial_id}


def test_a_record_is_plain_json_with_null_for_nan(tmp_path: Path) -> None:
    one = record(loss=math.nan, train_loss=math.inf, status="diverged", diverged_step=0)
    records.save(tmp_path, one, {})
    text = (place(tmp_path, one) / "record.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    row = json.loads(text, parse_constant=refuse)
    assert (row["loss"], row["train_loss"]) == (None, None)
    back = records.read(place(tmp_path, one) / "record.json").row()
    assert math.isnan(back.pop("loss"))
    assert math.isnan(back.pop("train_loss"))
    assert back == {k: v for k, v in one.row().items() if k not in ("loss", "train_loss")}


def test_the_first_record_stays_whole(tmp_path: Path) -> None:
    assert records.save(tmp_path, record(top1=50), FILES)
    before = contents(tmp_path)
    assert not records.save(tmp_path, record(top1=60), {"curve.csv": b"late", "more": b""})
    assert contents(tmp_path) == before


def test_of_two_writers_at_once_one_wins_whole(tmp_path: Path) -> None:
    start = threading.Barrier(2)
    won: list[tuple[int, int]] = []

    def write(writer: int) -> None:
        for seed in range(20):
            start.wait()
            files = {"curve.csv": str(writer).encode(), "weights": bytes([writer])}
            if records.save(tmp_path, record(seed=seed, top1=writer), files):
                won.append((seed, writer))

    for seed in range(0, 20, 2):  # and there was a failure before
        records.fail(tmp_path, record(seed=seed).trial.trial_id, {"reason": "killed"})
    threads = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seed for seed, _ in won) == list(range(20))
    for seed, writer in won:
        home = place(tmp_path, record(seed=seed))
        assert records.read(home / "record.json").answer.top1 == writer
        assert (home / "curve.csv").read_bytes() == str(writer).encode()
        assert (home / "weights").read_bytes() == bytes([writer])
        assert len(list(home.iterdir())) == 3
    assert len(list((tmp_path / "trials").iterdir())) == 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_record_stopped_half_way_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | OSError
) -> None:
    for done in range(4):  # three files and their folder
        stops = iter([None] * done + [error])

        def fsync(_: int, stops: Iterator[Any] = stops) -> None:
            if stop := next(stops):
                raise stop

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises((KeyboardInterrupt, OSError)):
            records.save(tmp_path, record(), FILES)
        assert contents(tmp_path) == {}
        assert tables.load(tmp_path).empty
    monkeypatch.undo()
    assert records.save(tmp_path, record(), FILES)


def test_what_a_killed_worker_leaves_is_not_seen(tmp_path: Path) -> None:
    one = record()
    half = tmp_path / "trials" / f".{one.trial.trial_id}.0123456789abcdef"
    half.mkdir(parents=True)
    (half / "record.json").write_text("{")
    assert files.is_results(tmp_path)
    assert tables.load(tmp_path).empty
    assert not files.finished(tmp_path, [one.trial.trial_id])
    assert records.save(tmp_path, one, FILES)
    assert len(tables.load(tmp_path)) == 1


def test_a_folder_without_its_record_is_trained_again(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, FILES | {"old": b"old"})
    (place(tmp_path, one) / "record.json").unlink()
    assert records.save(tmp_path, one, {"curve.csv": b"new"})
    assert sorted(p.name for p in place(tmp_path, one).iterdir()) == ["curve.csv", "record.json"]


def test_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").write_bytes(b"")
    records.save(tmp_path, record(), FILES)
    atomic.write(tmp_path / "table.csv", b"")
    home = place(tmp_path, record())
    assert home.stat().st_mode == plain.stat().st_mode
    for path in (home / "record.json", home / "curve.csv", tmp_path / "table.csv"):
        assert path.stat().st_mode == (plain / "file").stat().st_mode


# Damage -------------------------------------------------------------------------------------


def test_a_record_cut_anywhere_is_refused(tmp_path: Path) -> None:
    records.save(tmp_path, record(loss=math.nan), {})
    path = place(tmp_path, record()) / "record.json"
    whole = path.read_bytes()
    for length in reversed(range(len(whole) - 1)):  # at last all but a line's end
        os.truncate(path, length)
        with pytest.raises(records.Damaged, match="is damaged") as caught:
            records.read(path)
        assert str(caught.value).startswith(f"{path} is damaged (")
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_changes_nothing_or_is_refused(tmp_path: Path) -> None:
    one = record(top1=97.25, loss=0.1)
    records.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(10_000):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        with path.open("r+b") as file:
            file.write(damaged)
        try:
            assert records.read(path).row() == one.row()
        except records.Damaged as error:
            refused += str(error).startswith(f"{path} is damaged (")
    assert refused > 7_500  # the rest are spaces that became other spaces, or the last line's end


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"sha256": 1}',
        b"\xff\xfe",
        b"\x00" * 100,
        b"[" * 100_000,
        b"9" * 5000,
        b'{"sr": NaN}',
    ],
    ids=lambda content: str(content[:12]),
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(records.Damaged, match="is damaged") as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path} is damaged (")


def test_a_record_sealed_again_after_a_change_is_refused(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    for changes in ({"sr": 0.5}, {"top1": 101.0}, {"trial_id": "0" * 20}, {"status": "won"}):
        path.write_bytes(files.sealed({**one.row(), **changes}))
        with pytest.raises(records.Damaged, match="is damaged"):
            records.read(path)


def test_a_table_names_every_damaged_record(tmp_path: Path) -> None:
    for seed in range(4):
        records.save(tmp_path, record(seed=seed), {})
    torn, moved = place(tmp_path, record(seed=1)), place(tmp_path, record(seed=2))
    (torn / "record.json").write_bytes(b"{")
    (moved / "record.json").write_bytes((place(tmp_path, record()) / "record.json").read_bytes())
    with pytest.raises(records.Damaged, match="is damaged") as caught:
        tables.load(tmp_path)
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 2
    assert {str(torn), str(moved)} == {line.split("/record.json is damaged (")[0] for line in lines}
    assert all("remove its folder to train the trial again" in line for line in lines)
    assert any(f"it is the record of {record().trial.trial_id}" in line for line in lines)


# Faults at every step -----------------------------------------------------------------------

STEPS = ("mkdir", "open", "fsync", "rename", "replace", "link", "unlink", "rmdir")


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: what is tested is what would be written, and in which order."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Faulty:
    """An open file that is a step at each write, and writes only half where that one fails."""

    def __init__(self, file: Any, step: Callable[[str], None]) -> None:
        self._file, self._step = file, step

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        try:
            self._step("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise
        return int(self._file.write(content))


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, fault: Callable[[], None]) -> list[str]:
    """Let `fault` happen at the step of that number; the steps that were made."""
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)
        if len(steps) == number:
            fault()

    def counted(name: str, call: Any) -> Any:
        def made(*arguments: Any, **named: Any) -> Any:
            step(name)
            return call(*arguments, **named)

        return made

    def opened(*arguments: Any, **named: Any) -> Any:
        step("open file")
        return Faulty(whole(*arguments, **named), step)

    whole = io.open
    for name in STEPS:
        made = (lambda handle: None) if name == "fsync" else getattr(os, name)
        monkeypatch.setattr(os, name, counted(name, made))
    monkeypatch.setattr(fcntl, "lockf", counted("lockf", fcntl.lockf))
    monkeypatch.setattr(io, "open", opened)
    return steps


def raising(code: int) -> Callable[[], None]:
    def fault() -> None:
        raise OSError(code, os.strerror(code))

    return fault


def stands(folder: Path, new: Record) -> None:
    """The trial of `new` has no record, or its whole one."""
    assert records.records(folder) <= {new.trial.trial_id}
    if records.records(folder):
        home = place(folder, new)
        assert records.read(home / "record.json").row() == new.row()
        assert {p.name: p.read_bytes() for p in home.iterdir() if p.name != "record.json"} == FILES


def prepared(folder: Path, before: str) -> None:
    """A results folder in which the trial has failed, holds a record, or is not yet known."""
    shutil.rmtree(folder, ignore_errors=True)
    if before == "failed":
        records.fail(folder, record().trial.trial_id, {"reason": "killed"})
    elif before == "done":
        records.save(folder, record(top1=50), FILES)


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("before", ["nothing", "failed", "done"])
def test_whichever_step_fails_a_record_is_whole_or_absent(
    tmp_path: Path, before: str, code: int
) -> None:
    new = record(top1=50 if before == "done" else 60)
    for number in range(1, 100):
        folder = tmp_path / "x"
        prepared(folder, before)
        with pytest.MonkeyPatch.context() as patch:
            steps = at_step(patch, number, raising(code))
            try:
                records.save(folder, record(top1=60), FILES)
            except OSError:
                pass
            else:  # what failed was not needed
                assert records.records(folder)
        stands(folder, new)
        if before == "done":
            assert records.records(folder)
        if len(steps) < number:
            break
        records.save(folder, record(top1=60), FILES)
        atomic.tidy(folder)
        stands(folder, new)
        assert [p for p in folder.rglob(".*") if p.name != ".index"] == []
    assert 15 < len(steps) < number < 99
    assert {"mkdir", "write", "fsync", "rename", "lockf"} <= set(steps)


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize("before", ["nothing", "failed", "done"])
def test_at_whichever_step_it_is_killed_a_record_is_whole_or_absent(
    tmp_path: Path, before: str
) -> None:
    """A real process, ended by SIGKILL at every step; then another one finishes and tidies."""
    new = record(top1=50 if before == "done" else 60)
    folder = tmp_path / "x"
    for number in range(1, 100):
        prepared(folder, before)
        child = os.fork()
        if not child:
            at_step(pytest.MonkeyPatch(), number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            records.save(folder, record(top1=60), FILES)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        stands(folder, new)
        records.save(folder, record(top1=60), FILES)
        atomic.tidy(folder)
        stands(folder, new)
        assert records.records(folder)
        assert list(folder.rglob(".*")) == []
        if not killed:
            break
    assert 15 < number < 99


def grown(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes], pd.DataFrame]:
    """A folder that has one record more than its tables; these, what they should be, and a load."""
    new = folder.with_name("new")
    for place, count in ((folder, 1), (new, 2)):
        for seed in range(count):
            records.save(place, record(seed=seed), {})
        tables.write_tables(place)
    records.save(folder, record(seed=1), {})
    old, whole = (
        {name: (place / name).read_bytes() for name in ("table.csv", "table.parquet")}
        for place in (folder, new)
    )
    assert old != whole
    return old, whole, tables.load(new)


@pytest.mark.usefixtures("unsynced")
def test_at_whichever_step_it_is_killed_tables_show_the_records_or_are_old(tmp_path: Path) -> None:
    """A real process, ended by SIGKILL at every step; then another one writes them."""
    old, new, expected = grown(tmp_path / "x")
    for number in range(1, 100):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "x", folder)
        child = os.fork()
        if not child:
            at_step(pytest.MonkeyPatch(), number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            tables.write_tables(folder)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        for name in ("table.csv", "table.parquet"):
            assert (folder / name).read_bytes() in (old[name], new[name])
        equal(tables.write_tables(folder), expected)
        atomic.tidy(folder)
        assert {p.name for p in folder.rglob(".*")} == {files.INDEX}
        if not killed:
            break
    assert 8 < number < 99


@pytest.mark.usefixtures("unsynced")
def test_whichever_step_fails_tables_show_the_records_or_are_old(tmp_path: Path) -> None:
    old, new, expected = grown(tmp_path / "x")
    for number in range(1, 100):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "x", folder)
        with pytest.MonkeyPatch.context() as patch:
            steps = at_step(patch, number, raising(errno.ENOSPC))
            with suppress(OSError):
                tables.write_tables(folder)
        for name in ("table.csv", "table.parquet"):
            assert (folder / name).read_bytes() in (old[name], new[name])
        equal(tables.write_tables(folder), expected)
        equal(pd.read_parquet(folder / "table.parquet"), expected)
        if len(steps) < number:
            return
    raise AssertionError("no run was without a fault")


class Disk:
    """What may be left below a folder when the power fails: of each folder its names as they were
    when it was last synced, or as they are; of each file what was last synced, or else nothing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[int, dict[str, os.stat_result]] = {}
        self._contents: dict[int, bytes] = {}
        for path in (root, *root.rglob("*")):  # what is there is there
            self._note(path)

    def _note(self, path: Path) -> None:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            self._names[state.st_ino] = {p.name: p.lstat() for p in path.iterdir()}
        else:
            self._contents[state.st_ino] = path.read_bytes()

    def fsync(self, handle: int) -> None:
        """What the process asks for."""
        self._note(Path(f"/proc/self/fd/{handle}"))

    def left(self, target: Path, synced: Callable[[int], bool]) -> None:
        """Make `target` what is left, where those folders that are `synced` have old names."""
        now = {self._root.stat().st_ino: self._root}
        now |= {p.stat().st_ino: p for p in self._root.rglob("*") if p.is_dir()}
        shutil.rmtree(target, ignore_errors=True)
        todo = [(self._root.stat().st_ino, target)]
        while todo:
            number, place = todo.pop()
            place.mkdir()
            names = self._names.get(number, {})
            if number in now and not synced(number):
                names = {p.name: p.lstat() for p in now[number].iterdir()}
            for name, state in names.items():
                if stat.S_ISDIR(state.st_mode):
                    todo.append((state.st_ino, place / name))
                else:
                    (place / name).write_bytes(self._contents.get(state.st_ino, b""))


def powerless(
    folder: Path, act: Callable[[], object], check: Callable[[Path], None], *, without: int = 0
) -> int:
    """Let the power fail before every step of `act`; `check` each folder that may then be left.

    The sync of number `without` is left out. Returns the number of these folders. In the end, what
    was synced alone is left in `folder`.after.
    """
    disk, rng, count = Disk(folder), random.Random(0), 0
    busy: list[bool] = []
    target = folder.with_name(f"{folder.name}.after")

    def look(*_: object) -> None:
        nonlocal count
        choices: list[Callable[[int], bool]] = [lambda _: True, lambda _: False]
        for _ in range(6):
            drawn: dict[int, bool] = {}
            choices.append(lambda n, d=drawn: d.setdefault(n, rng.random() < 0.5))  # type: ignore[misc]
        for choice in choices:
            disk.left(target, choice)
            check(target)
            count += 1

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
            call = getattr(os, name)

            def made(*arguments: Any, call: Any = call, **named: Any) -> Any:
                if not busy:
                    busy.append(True)
                    look()
                    busy.clear()
                return call(*arguments, **named)

            patch.setattr(os, name, made)
        numbers = itertools.count(1)
        patch.setattr(os, "fsync", lambda h: next(numbers) == without or disk.fsync(h))
        act()
    look()
    disk.left(target, lambda _: True)
    return count


@pytest.mark.parametrize("before", ["nothing", "failed", "done"])
def test_a_power_failure_leaves_a_whole_record_or_none(tmp_path: Path, before: str) -> None:
    new, folder = record(top1=50 if before == "done" else 60), tmp_path / "x"
    folder.mkdir()
    prepared(folder, before)
    folder.mkdir(exist_ok=True)

    def save() -> None:
        records.save(folder, record(top1=60), FILES)

    assert powerless(folder, save, lambda left: stands(left, new)) > 50
    after = folder.with_name("x.after")
    assert records.records(after)  # what a save has left stays
    stands(after, new)


def test_a_power_failure_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    atomic.write(folder / "file", b"old")

    def check(left: Path) -> None:
        assert (left / "file").read_bytes() in (b"old", b"new")

    powerless(folder, lambda: atomic.write(folder / "file", b"new"), check)
    assert (tmp_path / "x.after" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("number", [1, 2])
def test_a_write_without_one_of_its_syncs_would_not_survive_a_power_failure(
    tmp_path: Path, number: int
) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    atomic.write(folder / "file", b"old")

    def check(left: Path) -> None:
        assert (left / "file").read_bytes() in (b"old", b"new")

    def write() -> None:
        powerless(folder, lambda: atomic.write(folder / "file", b"new"), check, without=number)
        assert (tmp_path / "x.after" / "file").read_bytes() == b"new"

    with pytest.raises(AssertionError):
        write()


def test_a_save_without_one_of_its_syncs_would_not_survive_a_power_failure(
    tmp_path: Path,
) -> None:
    new, files = record(), len(FILES) + 1

    def left(number: int) -> None:
        folder = tmp_path / str(number) / "x"
        (folder / "trials").mkdir(parents=True)
        powerless(
            folder,
            lambda: records.save(folder, new, FILES),
            lambda place: stands(place, new),
            without=number,
        )
        stands(folder.with_name("x.after"), new)
        assert records.records(folder.with_name("x.after"))

    left(0)
    for number in range(1, files + 3):  # each file, their folder, the trial's new name
        with pytest.raises((AssertionError, records.Damaged)):
            left(number)


@pytest.mark.parametrize("size", [100, 3000, 200_000])
def test_what_cannot_be_written_names_its_file_and_bytes(tmp_path: Path, size: int) -> None:
    """Also what is small enough to fail only when it is flushed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"too large \({size:,} bytes\): '{tmp_path}/\.file\."):
            atomic.write(tmp_path / "file", bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Claims -------------------------------------------------------------------------------------

ID = "0123456789abcdef0123"


def claiming(folder: Path) -> str:
    """How another process finds a trial to stand."""
    code = (
        "import sys; from pathlib import Path; from dse.results import locks\n"
        "with locks.claim(Path(sys.argv[1]), sys.argv[2]) as standing: print(standing)"
    )
    words = [sys.executable, "-c", code, str(folder), ID]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_claim_excludes_others_and_leaves_nothing(tmp_path: Path) -> None:
    with locks.claim(tmp_path, ID) as standing:
        assert standing == "mine"
        assert locks.held(tmp_path, ID)
        assert claiming(tmp_path) == "held"
        with locks.claim(tmp_path, ID) as again:  # a record lock would let it
            assert again == "held"
        assert claiming(tmp_path) == "held"  # nor has that one's end ended the first
        with locks.claim(tmp_path, ID[::-1]) as other:
            assert other == "mine"
        atomic.tidy(tmp_path)
        assert claiming(tmp_path) == "held"
    assert not locks.held(tmp_path, ID)
    assert claiming(tmp_path) == "mine"
    assert list((tmp_path / "trials").iterdir()) == []


def test_a_trial_with_a_record_is_done(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, {})
    with locks.claim(tmp_path, one.trial.trial_id) as standing:
        assert standing == "done"


def test_a_claim_ends_with_its_process_though_a_fork_of_it_lives(tmp_path: Path) -> None:
    """A loader process that outlives its trial keeps no claim alive, and its end ends none."""
    told, tell = os.pipe()
    owner = os.fork()
    if not owner:
        with locks.claim(tmp_path, ID):
            loader = os.fork()
            if not loader:
                time.sleep(60)
                os._exit(0)
            os.write(tell, loader.to_bytes(8, "big"))
            time.sleep(60)
        os._exit(0)
    loader = int.from_bytes(os.read(told, 8), "big")
    assert claiming(tmp_path) == "held"
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    assert Path(f"/proc/{loader}").exists()
    with locks.claim(tmp_path, ID) as standing:
        assert standing == "mine"
        os.kill(loader, signal.SIGKILL)
        assert claiming(tmp_path) == "held"


def test_a_fork_that_leaves_the_claim_does_not_end_it(tmp_path: Path) -> None:
    with locks.claim(tmp_path, ID) as standing:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert claiming(tmp_path) == "held"
    if not child:
        os._exit(0)
    assert standing == "mine"


def test_claims_of_the_dead_are_removed_and_of_the_living_are_not(tmp_path: Path) -> None:
    claims = tmp_path / "trials" / ".claims"
    claims.mkdir(parents=True)
    for name in (ID, "f" * 20, "e" * 16):
        (claims / name).write_bytes(b"4242")  # whatever an older process left
    half = tmp_path / "trials" / f".{ID}.{'e' * 16}"
    half.mkdir()
    (half / "record.json").write_bytes(b"{")
    (tmp_path / f".table.csv.{'d' * 16}").write_bytes(b"half")
    with locks.claim(tmp_path, ID) as standing:
        assert standing == "mine"
        atomic.tidy(tmp_path)
        assert [p.name for p in claims.iterdir()] == [ID]
        assert [p.name for p in tmp_path.iterdir()] == ["trials"]
        assert [p.name for p in (tmp_path / "trials").iterdir()] == [".claims"]


def test_work_in_progress_is_not_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync

    def fsync(handle: int) -> None:
        code = "import sys; from pathlib import Path; from dse.results import atomic\n"
        code += "atomic.tidy(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        whole(handle)

    (tmp_path / "trials").mkdir()
    monkeypatch.setattr(os, "fsync", fsync)
    assert records.save(tmp_path, record(), FILES)
    atomic.write(tmp_path / "table.csv", b"new")
    assert (tmp_path / "table.csv").read_bytes() == b"new"
    assert records.read(place(tmp_path, record()) / "record.json").row() == record().row()


def test_many_claimants_of_one_trial_are_served_one_at_a_time(tmp_path: Path) -> None:
    """Claims whose file goes with each holder: never two at once."""
    code = """
import os, sys, time
from pathlib import Path
from dse.results import locks
folder, mine = Path(sys.argv[1]), 0
while mine < 40:
    with locks.claim(folder, sys.argv[2]) as standing:
        if standing == "mine":
            mine += 1
            os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            os.unlink(folder / "alone")
"""
    words = [sys.executable, "-c", code, str(tmp_path), ID]
    claimants = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait(60) for process in claimants] == [0] * 4


def test_without_locks_every_claim_is_granted_and_the_first_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locks.has_claims(tmp_path)
    half = tmp_path / f".table.csv.{'d' * 16}"
    half.write_bytes(b"perhaps at work")
    monkeypatch.setattr(fcntl, "lockf", lambda *_: raising(errno.ENOLCK)())
    assert not locks.has_claims(tmp_path)
    one = record()
    with locks.claim(tmp_path, one.trial.trial_id) as standing:
        assert standing == "mine"
        assert records.save(tmp_path, one, FILES)
        assert not records.save(tmp_path, record(top1=60), {})
    atomic.tidy(tmp_path)
    assert half.exists()
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [one.trial.trial_id]


def test_a_claim_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "trials").write_bytes(b"")
    with pytest.raises(OSError, match="trials"), locks.claim(tmp_path, ID):
        raise AssertionError("claimed")


# Failures -----------------------------------------------------------------------------------


def test_a_failure_is_no_record_and_goes_with_a_success(tmp_path: Path) -> None:
    one = record()
    home = place(tmp_path, one)
    for reason in ("the process was killed by SIGKILL", "ValueError: x"):
        records.fail(tmp_path, one.trial.trial_id, {"reason": reason, "details": "é\n"})
        assert json.loads((home / "failure.json").read_text())["reason"] == reason
    assert files.is_results(tmp_path)
    assert files.finished(tmp_path, [one.trial.trial_id]) == set()
    assert tables.load(tmp_path).empty
    assert records.save(tmp_path, one, FILES)
    assert not (home / "failure.json").exists()

    before = contents(tmp_path)
    records.fail(tmp_path, one.trial.trial_id, {"reason": "late"})
    assert contents(tmp_path) == before


# Tables -------------------------------------------------------------------------------------


RECORDS = [
    record(sr=sr, seed=seed, top1=sr * 90 + seed / 7, loss=math.nan if seed else 0.1)
    for sr in (0.125, 0.3, 0.75)
    for seed in (0, 1, 2, 10)
]


def test_the_table_does_not_know_who_finished_first(tmp_path: Path) -> None:
    written = []
    for number in range(3):
        folder, shuffled = tmp_path / str(number), RECORDS[:]
        random.Random(number).shuffle(shuffled)
        for one in shuffled:
            records.save(folder, one, {})
        written.append(tables.write_tables(folder))
    first = contents(tmp_path / "0")
    for number in (1, 2):
        equal(written[0], written[number])
        other = contents(tmp_path / str(number))
        assert [other[f"table.{kind}"] for kind in ("csv", "parquet")] == [
            first[f"table.{kind}"] for kind in ("csv", "parquet")
        ]
    assert written[0]["sr"].is_monotonic_increasing
    assert written[0]["seed"].tolist() == [0, 1, 2, 10] * 3


def test_a_table_comes_back_from_its_files(tmp_path: Path) -> None:
    for one in RECORDS:
        records.save(tmp_path, one, {})
    table = tables.write_tables(tmp_path)
    assert tuple(table.columns) == COLUMNS
    equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    text = (tmp_path / "table.csv").read_bytes()
    equal(pd.read_csv(io.BytesIO(text), dtype=table.dtypes.to_dict()), table)
    plain = pd.read_csv(io.BytesIO(text))  # as a reader who knows nothing would
    equal(plain, table)
    assert plain["bypass"].unique().tolist() == ["none"]
    assert plain["head_relu"].dtype == bool
    rows = {one.trial.trial_id: one.row() for one in RECORDS}
    for row in table.to_dict("records"):
        expected = rows[row["trial_id"]]
        assert {k: v for k, v in row.items() if k != "loss"} == {
            k: v for k, v in expected.items() if k != "loss"
        }
        assert math.isnan(row["loss"]) == math.isnan(expected["loss"])


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    for one in RECORDS:
        records.save(tmp_path, one, {})
    tables.write_tables(tmp_path)
    for line in (tmp_path / "table.csv").read_text().splitlines():
        for cell in line.split(","):
            assert cell == "-1" or not cell.startswith(("=", "+", "-", "@", "\t"))


def test_a_table_is_read_from_its_index_and_equals_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every step of a growing folder; and records that did not change are not read again."""
    read: list[Path] = []
    whole = records.read
    monkeypatch.setattr(tables, "read", lambda path: read.append(path) or whole(path))
    for number, one in enumerate(RECORDS[:6]):
        records.save(tmp_path, one, {})
        time.sleep(0.01)  # a record as young as the index is read again
        read.clear()
        table = tables.write_tables(tmp_path)
        assert len(read) <= 2
        read.clear()
        equal(tables.load(tmp_path), table)
        assert len(read) <= 1
        (tmp_path / ".index").rename(tmp_path / "away")
        equal(tables.load(tmp_path), table)
        assert len(read) >= number + 1
        (tmp_path / "away").rename(tmp_path / ".index")
    shutil.rmtree(place(tmp_path, RECORDS[3]))
    assert len(tables.load(tmp_path)) == 5
    equal(tables.load(tmp_path), tables.write_tables(tmp_path))


def test_tables_of_the_same_records_are_left_alone(tmp_path: Path) -> None:
    for one in RECORDS[:3]:
        records.save(tmp_path, one, {})
    time.sleep(0.02)
    tables.write_tables(tmp_path)
    names = ("table.csv", "table.parquet", ".index")
    before = [(tmp_path / name).stat() for name in names]
    tables.write_tables(tmp_path)
    assert [(tmp_path / name).stat() for name in names] == before
    for name in names:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"sr,top1\n0.5,100\n")
        tables.write_tables(tmp_path)
        if name != ".index":
            assert (tmp_path / name).read_bytes() == content


def test_a_record_as_young_as_the_index_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that ticks rarely: a record that changes in the same tick keeps its signature."""
    whole = os.stat

    def rarely(*arguments: Any, **named: Any) -> os.stat_result:
        state = whole(*arguments, **named)
        tick = 10**15  # nanoseconds: eleven days
        times = {f"st_{t}time_ns": getattr(state, f"st_{t}time_ns") // tick * tick for t in "amc"}
        return os.stat_result(tuple(state), times)

    monkeypatch.setattr(os, "stat", rarely)
    for seed in (0, 1):
        records.save(tmp_path, record(top1=50, seed=seed), {})
    assert tables.write_tables(tmp_path)["top1"].tolist() == [50, 50]
    path = place(tmp_path, record()) / "record.json"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(files.sealed(record(top1=60).row()))
    assert path.stat().st_size == size
    assert tables.load(tmp_path)["top1"].tolist() == [60, 50]
    assert tables.write_tables(tmp_path)["top1"].tolist() == [60, 50]


def test_a_damaged_record_is_not_hidden_by_an_index(tmp_path: Path) -> None:
    for one in RECORDS[:3]:
        records.save(tmp_path, one, {})
    time.sleep(0.02)
    table = tables.write_tables(tmp_path)
    path = place(tmp_path, RECORDS[1]) / "record.json"
    content, state = path.read_bytes(), path.stat()
    path.write_bytes(content.replace(b'"status"', b'"statut"'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # and it looks as old as before
    assert path.stat().st_size == state.st_size
    for call in (tables.load, tables.write_tables):
        with pytest.raises(records.Damaged, match="is damaged"):
            call(tmp_path)
    path.write_bytes(content)
    equal(tables.load(tmp_path), table)
    homes = [place(tmp_path, one) for one in RECORDS[:2]]
    homes[0].rename(tmp_path / "swap")
    homes[1].rename(homes[0])
    (tmp_path / "swap").rename(homes[1])
    with pytest.raises(records.Damaged, match="it is the record of"):
        tables.load(tmp_path)


@pytest.mark.usefixtures("unsynced")
def test_a_damaged_index_or_table_changes_no_number(tmp_path: Path) -> None:
    for one in RECORDS[:3]:
        records.save(tmp_path, one, {})
    time.sleep(0.02)
    table = tables.write_tables(tmp_path)
    rng = random.Random(0)
    for name in (".index", "table.parquet"):
        whole = (tmp_path / name).read_bytes()
        cuts = [whole[:length] for length in range(0, len(whole), len(whole) // 10)]
        flips = []
        for _ in range(10):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            flips.append(bytes(damaged))
        for content in (*cuts, *flips, whole + b"x" * 8, b"null\n", b"{}"):
            (tmp_path / name).write_bytes(content)
            equal(tables.load(tmp_path), table)
        (tmp_path / name).write_bytes(whole)


def test_an_index_of_other_rules_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(tmp_path, record(), {})
    time.sleep(0.02)
    table = tables.write_tables(tmp_path)
    monkeypatch.setattr(tables, "_rules", lambda: "other")
    monkeypatch.setattr(pd, "read_parquet", lambda _: raising(errno.EIO)())
    equal(tables.load(tmp_path), table)


def test_of_two_writers_of_tables_the_newer_records_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweep leaves a record and writes its tables while this one writes its own."""
    records.save(tmp_path, record(), {})
    whole, others = atomic.write, [record(seed=1)]

    def write(path: Path, content: bytes) -> None:
        if others:
            records.save(tmp_path, others.pop(), {})
            tables.write_tables(tmp_path)
        whole(path, content)

    monkeypatch.setattr(tables, "write", write)
    assert len(tables.write_tables(tmp_path)) == 2
    assert len(pd.read_parquet(tmp_path / "table.parquet")) == 2
    assert len(pd.read_csv(tmp_path / "table.csv")) == 2


def test_a_table_of_nothing_has_its_columns(tmp_path: Path) -> None:
    table = tables.write_tables(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0
    assert tuple(pd.read_csv(tmp_path / "table.csv").columns) == COLUMNS
    assert tuple(pd.read_parquet(tmp_path / "table.parquet").columns) == COLUMNS


def test_what_is_comparable_leaves_circumstance_out() -> None:
    table = pd.DataFrame([one.row() for one in RECORDS])
    assert tuple(tables.comparable(table).columns) == ("trial_id", *QUESTION, *ANSWER)
    assert not set(CIRCUMSTANCE) & set(tables.comparable(table).columns)


# Folders ------------------------------------------------------------------------------------


def test_which_folders_a_sweep_may_use(tmp_path: Path) -> None:
    assert files.is_results(tmp_path / "new")
    assert files.is_results(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert files.is_results(tmp_path)
    records.save(tmp_path, record(), {})
    tables.write_tables(tmp_path)
    assert files.is_results(tmp_path)

    (tmp_path / "trials" / "mine").mkdir()
    assert not files.is_results(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    assert not files.is_results(tmp_path / "file")
    assert not files.is_results(tmp_path / "file" / "below")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_bytes(b"")
    assert not files.is_results(other)
    (other / "trials").write_bytes(b"")
    assert not files.is_results(other)


def test_a_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    atomic.write(path, b"old")
    atomic.write(path, b"new")
    assert contents(tmp_path) == {"table.csv": b"new"}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(path, b"newer")
    assert contents(tmp_path) == {"table.csv": b"new"}


def test_what_a_driver_tells_is_seen_while_it_lives(tmp_path: Path) -> None:
    with drivers.publishing(tmp_path) as tell:
        assert drivers.published(tmp_path) == []
        for number in (1, 2):
            tell({"done": number})
            assert drivers.published(tmp_path) == [({"done": number}, True)]
        atomic.tidy(tmp_path)
        assert drivers.published(tmp_path) == [({"done": 2}, True)]
    assert drivers.published(tmp_path) == []
    (tmp_path / "trials" / f".running.{'a' * 16}").write_text('{"done": 3}')
    assert drivers.published(tmp_path) == [({"done": 3}, False)]
    for content in (b"", b"[]", b"\xff", b"[" * 100_000):
        (tmp_path / "trials" / f".running.{'b' * 16}").write_bytes(content)
        assert drivers.published(tmp_path) == [({"done": 3}, False)]
    atomic.tidy(tmp_path)
    assert drivers.published(tmp_path) == []


def test_reasons_of_failures_are_one_line_each(tmp_path: Path) -> None:
    records.fail(tmp_path, ID, {"name": "sr=1", "reason": "a\nb", "details": ""})
    records.fail(tmp_path, ID[::-1], {"reason": "c"})
    (files.trial_folder(tmp_path, ID[::-1]) / "failure.json").write_bytes(b"[]")
    records.save(tmp_path, record(), {})
    (place(tmp_path, record()) / "failure.json").write_text('{"reason": "late"}')
    assert records.failures(tmp_path) == {
        ID: ("sr=1", "a b"),
        ID[::-1]: (f"trial {ID[:-9:-1]}", "its failure.json cannot be read"),
    }


def test_names_stay_inside_the_folder() -> None:
    """A trial's name is a hash, so nothing that a user writes names a path below a folder."""
    names = {one.trial.trial_id for one in RECORDS}
    assert all(len(name) == 20 and set(name) <= set("0123456789abcdef") for name in names)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "", "a\nb", 7])
def test_text_that_a_spreadsheet_would_run_is_no_record(tmp_path: Path, text: Any) -> None:
    one = record()
    records.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    for column in ("device", "machine", "finished", "versions", "status", "bypass"):
        path.write_bytes(files.sealed({**one.row(), column: text}))
        with pytest.raises(records.Damaged, match="is damaged"):
            tables.load(tmp_path)
