"""Checkpoints on disk: whole or skipped, the newest first, cleared at the end."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import signal
import tracemalloc
from pathlib import Path

import pytest
from failing import at_step, powerless, raising

from dse.results import atomic, checkpoints, files, records
from dse.results.checkpoints import checkpoint_folder, clear, newest, save

ONE, OTHER = "0" * 20, "1" * 20


def test_the_newest_two_are_kept_newest_first(tmp_path: Path) -> None:
    for step in (9, 10, 200):
        save(tmp_path, ONE, step, f"state {step}".encode())
    assert list(newest(tmp_path, ONE)) == [b"state 200", b"state 10"]
    assert len(list(checkpoint_folder(tmp_path, ONE).iterdir())) == checkpoints.KEPT
    assert list(newest(tmp_path, OTHER)) == []


def test_checkpoints_of_later_steps_are_removed(tmp_path: Path) -> None:
    for step in (5000, 4900, 100):
        save(tmp_path, ONE, step, f"state {step}".encode())
    assert list(newest(tmp_path, ONE)) == [b"state 100"]
    save(tmp_path, ONE, 200, b"state 200")
    assert list(newest(tmp_path, ONE)) == [b"state 200", b"state 100"]


def test_a_trial_with_checkpoints_is_not_finished(tmp_path: Path) -> None:
    save(tmp_path, ONE, 1, b"state")
    assert files.has_trials(tmp_path)
    assert files.finished(tmp_path, [ONE]) == set()


def test_many_unfinished_trials_take_little_time_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are looked up once, and one state is held at a time."""
    for number in range(8):
        save(tmp_path, f"{number:020x}", 1, bytes(4_000_000))
    looked_up: list[object] = []
    monkeypatch.setattr(checkpoints, "finished", lambda *asked: looked_up.append(asked) or set())
    tracemalloc.start()
    found = checkpoints.unfinished(tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(found), len(looked_up)) == (8, 1)
    assert most < 20_000_000


def test_cleared_checkpoints_are_gone_and_another_trials_are_not(tmp_path: Path) -> None:
    save(tmp_path, ONE, 1, b"one")
    save(tmp_path, OTHER, 1, b"other")
    clear(tmp_path, ONE)
    clear(tmp_path, ONE)
    assert not checkpoint_folder(tmp_path, ONE).exists()
    assert list(newest(tmp_path, OTHER)) == [b"other"]


def test_a_checkpoint_cut_anywhere_is_skipped_for_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, ONE, 1, b"before")
    save(tmp_path, ONE, 2, bytes(range(64)))
    last = max(checkpoint_folder(tmp_path, ONE).iterdir())
    content = last.read_bytes()
    for length in range(len(content)):
        last.write_bytes(content[:length])
        assert list(newest(tmp_path, ONE)) == [b"before"], length


def test_a_flipped_bit_anywhere_is_detected(tmp_path: Path) -> None:
    save(tmp_path, ONE, 2, random.Random(0).randbytes(40))
    (path,) = checkpoint_folder(tmp_path, ONE).iterdir()
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert list(newest(tmp_path, ONE)) == [], bit


def test_a_checkpoint_in_the_wrong_place_is_not_used(tmp_path: Path) -> None:
    save(tmp_path, ONE, 1, b"state")
    (path,) = checkpoint_folder(tmp_path, ONE).iterdir()
    checkpoint_folder(tmp_path, OTHER).mkdir()
    (checkpoint_folder(tmp_path, OTHER) / path.name).write_bytes(path.read_bytes())
    (path.parent / "000000000007").write_bytes(path.read_bytes())  # claims to be of a later step
    assert list(newest(tmp_path, OTHER)) == []
    assert list(newest(tmp_path, ONE)) == [b"state"]


def test_other_files_are_skipped(tmp_path: Path) -> None:
    save(tmp_path, ONE, 1, b"state")
    for name in (".hidden", "notes.txt", "²"):
        (checkpoint_folder(tmp_path, ONE) / name).write_bytes(b"x")
    (checkpoint_folder(tmp_path, ONE) / "000000000009").mkdir()
    assert list(newest(tmp_path, ONE)) == [b"state"]


def test_a_failed_save_is_reported_and_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, ONE, 1, b"state")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, ONE, 2, b"next")
    assert list(newest(tmp_path, ONE)) == [b"state"]


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize(
    ("before", "code"), [(0, errno.ENOSPC), (1, errno.EIO), (2, errno.EDQUOT), (2, errno.ENOSPC)]
)
def test_a_fault_at_any_step_leaves_the_checkpoint_before_or_the_new_one(
    tmp_path: Path, before: int, code: int
) -> None:
    """At the k-th write, fsync, rename, open, lock or unlink, for every k."""
    states = [f"state {step}".encode() for step in range(before + 1)]
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        for step in range(before):
            save(folder, ONE, step, states[step])
        with pytest.MonkeyPatch.context() as patch:
            steps = at_step(patch, number, raising(code))
            with contextlib.suppress(OSError):
                save(folder, ONE, before, states[before])
        if len(steps) < number:
            break
        kept = next(newest(folder, ONE), None)
        assert kept in ((states[before - 1] if before else None), states[before])
        save(folder, ONE, before, states[before])  # again, without the fault
        assert next(newest(folder, ONE)) == states[before]
        atomic.tidy(folder)
        assert len(list(checkpoint_folder(folder, ONE).iterdir())) == min(
            before + 1, checkpoints.KEPT
        )
    assert number > 12


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize("before", [0, 2])
def test_a_kill_at_any_step_leaves_the_checkpoint_before_or_the_new_one(
    tmp_path: Path, before: int
) -> None:
    """A real process, killed at every step; then another one saves it and tidies."""
    states = [f"state {step}".encode() for step in range(before + 1)]
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        for step in range(before):
            save(folder, ONE, step, states[step])
        child = os.fork()
        if not child:
            at_step(pytest.MonkeyPatch(), number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            save(folder, ONE, before, states[before])
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        kept = next(newest(folder, ONE), None)
        assert kept in ((states[before - 1] if before else None), states[before])
        save(folder, ONE, before, states[before])
        assert next(newest(folder, ONE)) == states[before]
        atomic.tidy(folder)
        assert len(list(checkpoint_folder(folder, ONE).iterdir())) == min(
            before + 1, checkpoints.KEPT
        )
        if not killed:
            break
    assert number > 12


def test_tidying_removes_what_a_kill_left_and_finished_trials_have(
    tmp_path: Path,
) -> None:
    save(tmp_path, ONE, 1, b"state")
    (checkpoint_folder(tmp_path, ONE) / ".000000000002.0123456789abcdef").write_bytes(b"half a sta")
    (checkpoint_folder(tmp_path, ONE) / files.CLAIMS).mkdir()
    (checkpoint_folder(tmp_path, ONE) / files.CLAIMS / "0123456789abcdef").touch()
    save(tmp_path, OTHER, 1, b"state")
    (tmp_path / "trials" / OTHER).mkdir()
    (tmp_path / "trials" / OTHER / files.RECORD).touch()
    atomic.tidy(tmp_path)
    assert [path.name for path in checkpoint_folder(tmp_path, ONE).iterdir()] == ["000000000001"]
    assert not checkpoint_folder(tmp_path, OTHER).exists()


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_power_failure_leaves_the_checkpoint_before_or_the_new_one(
    tmp_path: Path, before: int
) -> None:
    folder = tmp_path / "x"
    (folder / "trials").mkdir(parents=True)
    states = [f"state {step}".encode() for step in range(before + 1)]
    for step in range(before):
        save(folder, ONE, step, states[step])

    def check(left: Path) -> None:
        kept = next(iter(newest(left, ONE)), None)
        assert kept in ((states[before - 1] if before else None), states[before])

    powerless(folder, lambda: save(folder, ONE, before, states[before]), check)
    assert next(newest(tmp_path / "x.after", ONE)) == states[before]
