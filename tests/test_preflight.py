"""What is checked before trials run: the results folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dse.results import records
from dse.sweep.errors import RequestError
from dse.sweep.preflight import check_folder


def test_a_folder_must_be_writable_and_nothing_else(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path):
        check_folder(folder)
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    for folder in ("file", "file/below", "file/far/below"):
        with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
            check_folder(tmp_path / folder)
    with pytest.raises(RequestError, match="`name` must be a new folder or one with results"):
        check_folder(tmp_path / "thesis")
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(Path("/proc/dse/results"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(tmp_path / "locked" / "results")


def test_a_folder_of_results_may_be_used_again(tmp_path: Path) -> None:
    records.fail(tmp_path, "0" * 20, {"reason": "killed"})
    check_folder(tmp_path)
    (tmp_path / "trials" / "mine").mkdir()
    with pytest.raises(RequestError, match="`name` must be a new folder"):
        check_folder(tmp_path)
