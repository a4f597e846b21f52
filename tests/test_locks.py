"""Claims: one process trains a trial, and its claim ends with it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from failing import raising
from sample_records import FILES, ID, place, record

from dse.results import atomic, locks, records


def claiming(folder: Path) -> str:
    """The state of a claim as another process gets it."""
    code = (
        "import sys; from pathlib import Path; from dse.results import locks\n"
        "with locks.claim(Path(sys.argv[1]), sys.argv[2]) as state: print(state)"
    )
    words = [sys.executable, "-c", code, str(folder), ID]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_claim_excludes_others_and_leaves_nothing(tmp_path: Path) -> None:
    with locks.claim(tmp_path, ID) as state:
        assert state == "mine"
        assert locks.held(tmp_path, ID)
        assert claiming(tmp_path) == "held"
        with locks.claim(tmp_path, ID) as again:  # the lock alone would not exclude it
            assert again == "held"
        assert claiming(tmp_path) == "held"  # the second one's end does not end the first
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
    with locks.claim(tmp_path, one.trial.trial_id) as state:
        assert state == "done"


def test_a_claim_ends_with_its_process_even_if_a_fork_of_it_lives(tmp_path: Path) -> None:
    """A loader process that outlives its trial does not keep its claim, nor end another's."""
    reading, writing = os.pipe()
    owner = os.fork()
    if not owner:
        with locks.claim(tmp_path, ID):
            loader = os.fork()
            if not loader:
                time.sleep(60)
                os._exit(0)
            os.write(writing, loader.to_bytes(8, "big"))
            time.sleep(60)
        os._exit(0)
    loader = int.from_bytes(os.read(reading, 8), "big")
    assert claiming(tmp_path) == "held"
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    assert Path(f"/proc/{loader}").exists()
    with locks.claim(tmp_path, ID) as state:
        assert state == "mine"
        os.kill(loader, signal.SIGKILL)
        assert claiming(tmp_path) == "held"


def test_a_fork_that_leaves_the_claim_does_not_end_it(tmp_path: Path) -> None:
    with locks.claim(tmp_path, ID) as state:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert claiming(tmp_path) == "held"
    if not child:
        os._exit(0)
    assert state == "mine"


def test_claims_of_ended_processes_are_removed_and_others_are_not(tmp_path: Path) -> None:
    claims = tmp_path / "trials" / ".claims"
    claims.mkdir(parents=True)
    for name in (ID, "f" * 20, "e" * 16):
        (claims / name).write_bytes(b"4242")  # left by an ended process
    half = tmp_path / "trials" / f".{ID}.{'e' * 16}"
    half.mkdir()
    (half / "record.json").write_bytes(b"{")
    (tmp_path / f".table.csv.{'d' * 16}").write_bytes(b"half")
    with locks.claim(tmp_path, ID) as state:
        assert state == "mine"
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
    """Each holder removes the file of the claim; still there are never two at once."""
    code = """
import os, sys, time
from pathlib import Path
from dse.results import locks
folder, mine = Path(sys.argv[1]), 0
while mine < 40:
    with locks.claim(folder, sys.argv[2]) as state:
        if state == "mine":
            mine += 1
            os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            os.unlink(folder / "alone")
"""
    words = [sys.executable, "-c", code, str(tmp_path), ID]
    claimants = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait(200) for process in claimants] == [0] * 4


def test_without_locks_every_claim_is_granted_and_the_first_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locks.has_claims(tmp_path)
    half = tmp_path / f".table.csv.{'d' * 16}"
    half.write_bytes(b"perhaps at work")
    monkeypatch.setattr(fcntl, "lockf", lambda *_: raising(errno.ENOLCK)())
    assert not locks.has_claims(tmp_path)
    one = record()
    with locks.claim(tmp_path, one.trial.trial_id) as state:
        assert state == "mine"
        assert records.save(tmp_path, one, FILES)
        assert not records.save(tmp_path, record(top1=60), {})
    atomic.tidy(tmp_path)
    assert half.exists()
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [one.trial.trial_id]


def test_a_claim_in_a_folder_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "trials").write_bytes(b"")
    with pytest.raises(OSError, match="trials"), locks.claim(tmp_path, ID):
        raise AssertionError("claimed")


@pytest.mark.parametrize("levels", [0, 1])
def test_a_folder_that_another_process_removes_is_made_again(
    levels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two sweeps tidy one folder: at any moment between its making and the lock."""
    home = tmp_path / "one" / "two"
    whole, removed = locks.make, []

    def make(folder: Path) -> None:
        whole(folder)
        if not removed:
            removed.append(folder)
            victim = [home, home.parent][levels]
            shutil.rmtree(victim)

    monkeypatch.setattr(locks, "make", make)
    with locks.locked(home / ".claims" / "it") as lock:
        assert lock == "mine"
    assert removed == [home]
