"""Which folders a sweep may use, and files that are replaced as a whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from sample_records import contents, record

from dse.results import atomic, commands, files, records, tables


def test_which_folders_a_sweep_may_use(tmp_path: Path) -> None:
    assert files.foreign(tmp_path / "new") is None
    assert files.foreign(tmp_path) is None
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert files.foreign(tmp_path) is None
    records.save(tmp_path, record(), {})
    tables.write_tables(tmp_path)
    assert files.foreign(tmp_path) is None
    assert files.has_trials(tmp_path)

    (tmp_path / "file").write_bytes(b"")
    assert not files.has_trials(tmp_path / "file")
    assert not files.has_trials(tmp_path / "file" / "below")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_bytes(b"")
    assert files.foreign(other) == "thesis.tex"
    (other / "trials").write_bytes(b"")
    assert not files.has_trials(other)


def test_a_folder_of_trials_without_one_of_ours_is_another_s(tmp_path: Path) -> None:
    (tmp_path / "trials" / "mine").mkdir(parents=True)
    assert files.foreign(tmp_path) == "mine"
    assert not files.has_trials(tmp_path)
    commands.note(tmp_path, "python -m dse.sweep")  # a sweep began there: nothing is finished yet
    assert files.foreign(tmp_path) is None
    assert files.has_trials(tmp_path)


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


def test_a_folder_of_results_folders_names_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        records.save(tmp_path / name, record(), {})
    (tmp_path / "0").touch()
    line = f"got {tmp_path}: it has no trials; results folders in it: {tmp_path}/a, {tmp_path}/b"
    with pytest.raises(ValueError, match=re.escape(line) + "$"):
        files.require_trials(tmp_path)
    for number in range(11):
        records.save(tmp_path / f"c{number:02}", record(), {})
    with pytest.raises(ValueError, match=r"/c09 and 1 more$"):
        files.require_trials(tmp_path)


def test_a_folder_that_has_its_table_only_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "table.csv").touch()
    with pytest.raises(ValueError, match=r"it has no trials, only a table\.csv$"):
        files.require_trials(tmp_path)
