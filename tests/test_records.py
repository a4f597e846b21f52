"""Records appear whole and stay, damage is detected, and failures are noted."""

from __future__ import annotations

import json
import math
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_records import FILES, ID, RECORDS, contents, place, record

from dse.results import atomic, files, records, tables


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

    for seed in range(0, 20, 2):  # half of them have failed before
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
def test_a_save_stopped_half_way_leaves_no_record(
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
    assert files.has_trials(tmp_path)
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


def test_a_record_cut_anywhere_is_refused(tmp_path: Path) -> None:
    records.save(tmp_path, record(loss=math.nan), {})
    path = place(tmp_path, record()) / "record.json"
    whole = path.read_bytes()
    for length in reversed(
        range(len(whole) - 1)
    ):  # without the end of the last line it is still whole
        os.truncate(path, length)
        with pytest.raises(files.Damaged, match="is damaged") as caught:
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
        except files.Damaged as error:
            refused += str(error).startswith(f"{path} is damaged (")
    assert refused > 7_500  # the rest turned spaces into others, or changed the last line's end


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
def test_a_file_without_a_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(files.Damaged, match="is damaged") as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path} is damaged (")


def test_a_record_sealed_again_after_a_change_is_refused(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    for changes in ({"sr": 0.5}, {"top1": 101.0}, {"trial_id": "0" * 20}, {"status": "won"}):
        path.write_bytes(files.sealed({**one.row(), **changes}))
        with pytest.raises(files.Damaged, match="is damaged"):
            records.read(path)


def test_a_table_names_every_damaged_record(tmp_path: Path) -> None:
    for seed in range(4):
        records.save(tmp_path, record(seed=seed), {})
    torn, moved = place(tmp_path, record(seed=1)), place(tmp_path, record(seed=2))
    (torn / "record.json").write_bytes(b"{")
    (moved / "record.json").write_bytes((place(tmp_path, record()) / "record.json").read_bytes())
    with pytest.raises(files.Damaged, match="is damaged") as caught:
        tables.load(tmp_path)
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 2
    assert {str(torn), str(moved)} == {line.split("/record.json is damaged (")[0] for line in lines}
    assert all("remove its folder to train the trial again" in line for line in lines)
    assert any(f"it is the record of {record().trial.trial_id}" in line for line in lines)


def test_a_failure_is_not_a_record_and_is_removed_by_one(tmp_path: Path) -> None:
    one = record()
    home = place(tmp_path, one)
    for reason in ("the process was killed by SIGKILL", "ValueError: x"):
        records.fail(tmp_path, one.trial.trial_id, {"reason": reason, "details": "é\n"})
        assert json.loads((home / "failure.json").read_text())["reason"] == reason
    assert files.has_trials(tmp_path)
    assert files.finished(tmp_path, [one.trial.trial_id]) == set()
    assert tables.load(tmp_path).empty
    assert records.save(tmp_path, one, FILES)
    assert not (home / "failure.json").exists()

    before = contents(tmp_path)
    records.fail(tmp_path, one.trial.trial_id, {"reason": "late"})
    assert contents(tmp_path) == before


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
def test_text_that_a_spreadsheet_would_run_is_refused(tmp_path: Path, text: Any) -> None:
    one = record()
    records.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    for column in ("device", "machine", "finished", "versions", "status", "bypass"):
        path.write_bytes(files.sealed({**one.row(), column: text}))
        with pytest.raises(files.Damaged, match="is damaged"):
            tables.load(tmp_path)
