"""A fault, kill or power failure at any step leaves whole records and tables, or the old ones."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from failing import at_step, killed_at_each_step, powerless, raising
from sample_records import FILES, equal, place, record

from dse.results import atomic, files, records, tables
from dse.trial.record import Record


def check_record(folder: Path, new: Record) -> None:
    """The trial of `new` has no record, or its whole one."""
    assert records.ids(folder) <= {new.trial.trial_id}
    if records.ids(folder):
        home = place(folder, new)
        assert records.read(home / "record.json").row() == new.row()
        assert {p.name: p.read_bytes() for p in home.iterdir() if p.name != "record.json"} == FILES


def prepared(folder: Path, before: str) -> None:
    """Make a results folder in which the trial has failed, has a record, or has nothing."""
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
            else:  # the step that failed was not needed
                assert records.ids(folder)
        check_record(folder, new)
        if before == "done":
            assert records.ids(folder)
        if len(steps) < number:
            break
        records.save(folder, record(top1=60), FILES)
        atomic.tidy(folder)
        check_record(folder, new)
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
        check_record(folder, new)
        records.save(folder, record(top1=60), FILES)
        atomic.tidy(folder)
        check_record(folder, new)
        assert records.ids(folder)
        assert list(folder.rglob(".*")) == []
        if not killed:
            break
    assert 15 < number < 99


def grown(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes], pd.DataFrame]:
    """Give a folder one record more than its tables have.

    Returns the old tables, those that are due, and what `load` returns then.
    """
    new = folder.with_name("new")
    for home, count in ((folder, 1), (new, 2)):
        for seed in range(count):
            records.save(home, record(seed=seed), {})
        tables.write_tables(home)
    records.save(folder, record(seed=1), {})
    old, whole = (
        {name: (home / name).read_bytes() for name in ("table.csv", "table.parquet")}
        for home in (folder, new)
    )
    assert old != whole
    return old, whole, tables.load(new)


@pytest.mark.usefixtures("unsynced")
def test_at_whichever_step_it_is_killed_tables_show_the_records_or_are_old(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    old, new, expected = grown(folder)
    copies = killed_at_each_step(folder, lambda: tables.write_tables(folder))
    assert len(copies) > 8
    for left in copies:
        for name in ("table.csv", "table.parquet"):
            assert (left / name).read_bytes() in (old[name], new[name])
        equal(tables.write_tables(left), expected)
        atomic.tidy(left)
        assert {p.name for p in left.rglob(".*")} == {files.INDEX}


@pytest.mark.usefixtures("unsynced")
def test_whichever_step_fails_tables_show_the_records_or_are_old(tmp_path: Path) -> None:
    old, new, expected = grown(tmp_path / "x")
    index = (tmp_path / "x" / files.INDEX).read_bytes()
    seen = []
    for number in range(1, 100):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "x", folder)
        with pytest.MonkeyPatch.context() as patch:
            steps = at_step(patch, number, raising(errno.ENOSPC))
            with suppress(OSError):
                tables.write_tables(folder)
        left = {name: (folder / name).read_bytes() for name in old}
        assert all(content in (old[name], new[name]) for name, content in left.items())
        state = (left, (folder / files.INDEX).read_bytes() == index)
        if state not in seen:
            seen.append(state)
            equal(tables.write_tables(folder), expected)
            equal(pd.read_parquet(folder / "table.parquet"), expected)
        if len(steps) < number:
            assert len(seen) == 4  # nothing, the CSV, both tables, the index
            return
    raise AssertionError("no run was without a fault")


@pytest.mark.parametrize("before", ["nothing", "failed", "done"])
def test_a_power_failure_leaves_a_whole_record_or_none(tmp_path: Path, before: str) -> None:
    new, folder = record(top1=50 if before == "done" else 60), tmp_path / "x"
    folder.mkdir()
    prepared(folder, before)
    folder.mkdir(exist_ok=True)

    def save() -> None:
        records.save(folder, record(top1=60), FILES)

    assert powerless(folder, save, lambda left: check_record(left, new)) > 50
    after = folder.with_name("x.after")
    assert records.ids(after)  # what was saved is durable
    check_record(after, new)


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
    new, count = record(), len(FILES) + 1

    def left(number: int) -> None:
        folder = tmp_path / str(number) / "x"
        (folder / "trials").mkdir(parents=True)
        powerless(
            folder,
            lambda: records.save(folder, new, FILES),
            lambda place: check_record(place, new),
            without=number,
        )
        check_record(folder.with_name("x.after"), new)
        assert records.ids(folder.with_name("x.after"))

    left(0)
    for number in range(1, count + 3):  # each file, their folder, the trial's new name
        with pytest.raises((AssertionError, files.Damaged)):
            left(number)


@pytest.mark.parametrize("size", [100, 3000, 200_000])
def test_what_cannot_be_written_names_its_file_and_bytes(tmp_path: Path, size: int) -> None:
    """Also where it is so small that only the flush fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"too large \({size:,} bytes\): '{tmp_path}/\.file\."):
            atomic.write(tmp_path / "file", bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
