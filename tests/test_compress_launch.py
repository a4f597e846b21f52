"""Compressions are made once: failures, kills, and two commands at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sample_records import FILES, record
from test_faults import soon
from toy_compress import BROKEN, HOLD, noted

from dse import status
from dse.compress import __main__
from dse.results import packing, records
from dse.results.compressed import FILE, lost
from dse.results.files import COMPRESSED, trial_folder
from dse.results.records import ids

SEEDS = range(3)
WORDS = ("method=prune,svd", "density=0.3,0.5", "runner.workers=2")
COUNT = len(SEEDS) * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in SEEDS:
        records.save(tmp_path / "x", record(seed=seed), FILES)
    return tmp_path / "x"


def started(folder: Path) -> subprocess.Popen[str]:
    """The command with the toy in place of the real work, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "toy_compress", str(folder), *WORDS],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(folder: Path) -> tuple[int, str]:
    """Run the command to its end; its exit code and what it says."""
    with started(folder) as driver:
        _, errors = driver.communicate(timeout=200)
    return driver.returncode, errors


def test_a_failure_is_tried_again_and_a_network_that_lost_its_file_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / BROKEN).touch()
    code, errors = finished(folder)
    assert code == 1
    assert f"{COUNT} compressed networks, 0 already done, {COUNT} to do" in errors
    assert "3 of 9 compressed networks failed: seed=1 method=prune density=0.3, " in errors
    assert status.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{folder}: 3 done, 0 failed", f"{folder}: 6 compressed, 3 failed"]
    assert sorted(line.rpartition(": ")[2] for line in lines[2:]) == ["it is broken"] * 3
    (folder / BROKEN).unlink()
    code, errors = finished(folder)
    assert code == 0
    assert f"{COUNT} compressed networks, 6 already done, 3 to do" in errors
    assert not records.failures(folder, COMPRESSED)
    assert sorted(noted(folder, "saved")) == sorted(ids(folder, COMPRESSED))
    gone, empty, packed = sorted(ids(folder, COMPRESSED))[:3]
    (trial_folder(folder, gone, COMPRESSED) / FILE).unlink()
    (trial_folder(folder, empty, COMPRESSED) / FILE).write_bytes(b"")
    assert __main__.main([str(folder), *WORDS, "plan=true"]) == 0
    assert f"{COUNT} compressed networks, 7 done, 2 to do" in capsys.readouterr().out
    code, errors = finished(folder)
    assert code == 0
    assert f"{COUNT} compressed networks, 7 already done, 2 to do" in errors
    assert f"{FILE} is missing or cut off for 2 of {COUNT} compressed networks" in errors
    assert not lost(folder, ids(folder, COMPRESSED))
    packing.pack(folder)
    (trial_folder(folder, packed, COMPRESSED) / FILE).unlink()
    assert not lost(folder, [packed])  # a pack has no files


def test_an_interruption_and_a_kill_lose_nothing_that_is_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / HOLD).write_text("1")
    with started(folder) as driver:
        soon(lambda: noted(folder, "saved"))
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 130
    assert "interrupted; resume with: " in errors
    before = len(noted(folder, "saved"))
    (folder / HOLD).write_text(str(before + 1))
    with started(folder) as driver:
        soon(lambda: len(noted(folder, "saved")) > before)
        driver.kill()
        driver.communicate(timeout=200)
    status.main([str(folder)])
    assert "a compression was killed: " in capsys.readouterr().out
    (folder / HOLD).unlink()
    assert finished(folder)[0] == 0
    saved = noted(folder, "saved")  # but for one whose process was killed before it noted that
    assert set(saved) <= ids(folder, COMPRESSED)
    assert len(saved) == len(set(saved))
    assert len(ids(folder, COMPRESSED)) == COUNT
    assert not noted(folder, "late")
    assert not [path for path in (folder / COMPRESSED).iterdir() if path.name.startswith(".")]


def test_two_commands_at_once_make_each_network_once(folder: Path) -> None:
    with started(folder) as one, started(folder) as two:
        for driver in (one, two):
            driver.communicate(timeout=200)
    assert (one.returncode, two.returncode) == (0, 0)
    assert sorted(noted(folder, "began")) == sorted(ids(folder, COMPRESSED))
    assert len(ids(folder, COMPRESSED)) == COUNT
