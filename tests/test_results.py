"""The store: records that appear whole and stay, and the tables made of them."""

from __future__ import annotations

import io
import json
import math
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dse import results
from dse.protocol import Protocol
from dse.space import V1_0, Metaparameters
from dse.trial import ANSWER, CIRCUMSTANCE, COLUMNS, QUESTION, Answer, Circumstance, Record, Trial

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
    return results.trial_folder(folder, one.trial.trial_id)


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
    assert results.save(tmp_path, one, FILES)
    home = place(tmp_path, one)
    assert results.read(home / "record.json").row() == one.row()
    assert {name: (home / name).read_bytes() for name in FILES} == FILES
    assert sorted(p.name for p in home.iterdir()) == sorted([*FILES, "record.json"])
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [one.trial.trial_id]
    other = record(seed=1).trial.trial_id
    assert results.finished(tmp_path, [one.trial.trial_id, other]) == {one.trial.trial_id}


def test_a_record_is_plain_json_with_null_for_nan(tmp_path: Path) -> None:
    one = record(loss=math.nan, train_loss=math.inf, status="diverged", diverged_step=0)
    results.save(tmp_path, one, {})
    text = (place(tmp_path, one) / "record.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    row = json.loads(text, parse_constant=refuse)
    assert (row["loss"], row["train_loss"]) == (None, None)
    back = results.read(place(tmp_path, one) / "record.json").row()
    assert math.isnan(back.pop("loss"))
    assert math.isnan(back.pop("train_loss"))
    assert back == {k: v for k, v in one.row().items() if k not in ("loss", "train_loss")}


def test_the_first_record_stays_whole(tmp_path: Path) -> None:
    assert results.save(tmp_path, record(top1=50), FILES)
    before = contents(tmp_path)
    assert not results.save(tmp_path, record(top1=60), {"curve.csv": b"late", "more": b""})
    assert contents(tmp_path) == before


def test_of_two_writers_at_once_one_wins_whole(tmp_path: Path) -> None:
    start = threading.Barrier(2)
    won: list[tuple[int, int]] = []

    def write(writer: int) -> None:
        for seed in range(20):
            start.wait()
            files = {"curve.csv": str(writer).encode(), "weights": bytes([writer])}
            if results.save(tmp_path, record(seed=seed, top1=writer), files):
                won.append((seed, writer))

    for seed in range(0, 20, 2):  # and there was a failure before
        results.fail(tmp_path, record(seed=seed).trial.trial_id, {"reason": "killed"})
    threads = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seed for seed, _ in won) == list(range(20))
    for seed, writer in won:
        home = place(tmp_path, record(seed=seed))
        assert results.read(home / "record.json").answer.top1 == writer
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
            results.save(tmp_path, record(), FILES)
        assert contents(tmp_path) == {}
        assert results.load(tmp_path).empty
    monkeypatch.undo()
    assert results.save(tmp_path, record(), FILES)


def test_what_a_killed_worker_leaves_is_not_seen(tmp_path: Path) -> None:
    one = record()
    half = tmp_path / "trials" / f".{one.trial.trial_id}.0123456789abcdef"
    half.mkdir(parents=True)
    (half / "record.json").write_text("{")
    assert results.is_results(tmp_path)
    assert results.load(tmp_path).empty
    assert not results.finished(tmp_path, [one.trial.trial_id])
    assert results.save(tmp_path, one, FILES)
    assert len(results.load(tmp_path)) == 1


def test_a_folder_without_its_record_is_trained_again(tmp_path: Path) -> None:
    one = record()
    results.save(tmp_path, one, FILES | {"old": b"old"})
    (place(tmp_path, one) / "record.json").unlink()
    assert results.save(tmp_path, one, {"curve.csv": b"new"})
    assert sorted(p.name for p in place(tmp_path, one).iterdir()) == ["curve.csv", "record.json"]


def test_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").write_bytes(b"")
    results.save(tmp_path, record(), FILES)
    results.write(tmp_path / "table.csv", b"")
    home = place(tmp_path, record())
    assert home.stat().st_mode == plain.stat().st_mode
    for path in (home / "record.json", home / "curve.csv", tmp_path / "table.csv"):
        assert path.stat().st_mode == (plain / "file").stat().st_mode


# Damage -------------------------------------------------------------------------------------


def test_a_record_cut_anywhere_is_refused(tmp_path: Path) -> None:
    results.save(tmp_path, record(loss=math.nan), {})
    path = place(tmp_path, record()) / "record.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 3):
        path.write_bytes(whole[:length])
        with pytest.raises(results.Damaged, match="is damaged") as caught:
            results.read(path)
        assert str(caught.value).startswith(f"{path} is damaged (")
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_changes_nothing_or_is_refused(tmp_path: Path) -> None:
    one = record(top1=97.25, loss=0.1)
    results.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert results.read(path).row() == one.row()
        except results.Damaged as error:
            refused += str(error).startswith(f"{path} is damaged (")
    assert refused > 450  # the rest are spaces that became other spaces, or the last line's end


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
    with pytest.raises(results.Damaged, match="is damaged") as caught:
        results.read(path)
    assert str(caught.value).startswith(f"{path} is damaged (")


def test_a_record_sealed_again_after_a_change_is_refused(tmp_path: Path) -> None:
    one = record()
    results.save(tmp_path, one, {})
    path = place(tmp_path, one) / "record.json"
    for changes in ({"sr": 0.5}, {"top1": 101.0}, {"trial_id": "0" * 20}, {"status": "won"}):
        path.write_bytes(results._sealed({**one.row(), **changes}))
        with pytest.raises(results.Damaged, match="is damaged"):
            results.read(path)


def test_a_table_names_every_damaged_record(tmp_path: Path) -> None:
    for seed in range(4):
        results.save(tmp_path, record(seed=seed), {})
    torn, moved = place(tmp_path, record(seed=1)), place(tmp_path, record(seed=2))
    (torn / "record.json").write_bytes(b"{")
    (moved / "record.json").write_bytes((place(tmp_path, record()) / "record.json").read_bytes())
    with pytest.raises(results.Damaged, match="is damaged") as caught:
        results.load(tmp_path)
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 2
    assert {str(torn), str(moved)} == {line.split("/record.json is damaged (")[0] for line in lines}
    assert all("remove its folder to train the trial again" in line for line in lines)
    assert any(f"it is the record of {record().trial.trial_id}" in line for line in lines)


# Failures -----------------------------------------------------------------------------------


def test_a_failure_is_no_record_and_goes_with_a_success(tmp_path: Path) -> None:
    one = record()
    home = place(tmp_path, one)
    for reason in ("the process was killed by SIGKILL", "ValueError: x"):
        results.fail(tmp_path, one.trial.trial_id, {"reason": reason, "details": "é\n"})
        assert json.loads((home / "failure.json").read_text())["reason"] == reason
    assert results.is_results(tmp_path)
    assert results.finished(tmp_path, [one.trial.trial_id]) == set()
    assert results.load(tmp_path).empty
    assert results.save(tmp_path, one, FILES)
    assert not (home / "failure.json").exists()

    before = contents(tmp_path)
    results.fail(tmp_path, one.trial.trial_id, {"reason": "late"})
    assert contents(tmp_path) == before


# Tables -------------------------------------------------------------------------------------


RECORDS = [
    record(sr=sr, seed=seed, top1=sr * 90 + seed / 7, loss=math.nan if seed else 0.1)
    for sr in (0.125, 0.3, 0.75)
    for seed in (0, 1, 2, 10)
]


def test_the_table_does_not_know_who_finished_first(tmp_path: Path) -> None:
    tables = []
    for number in range(3):
        folder, shuffled = tmp_path / str(number), RECORDS[:]
        random.Random(number).shuffle(shuffled)
        for one in shuffled:
            results.save(folder, one, {})
        tables.append(results.write_tables(folder))
    first = contents(tmp_path / "0")
    for number in (1, 2):
        equal(tables[0], tables[number])
        other = contents(tmp_path / str(number))
        assert [other[f"table.{kind}"] for kind in ("csv", "parquet")] == [
            first[f"table.{kind}"] for kind in ("csv", "parquet")
        ]
    assert tables[0]["sr"].is_monotonic_increasing
    assert tables[0]["seed"].tolist() == [0, 1, 2, 10] * 3


def test_a_table_comes_back_from_its_files(tmp_path: Path) -> None:
    for one in RECORDS:
        results.save(tmp_path, one, {})
    table = results.write_tables(tmp_path)
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
        results.save(tmp_path, one, {})
    results.write_tables(tmp_path)
    for line in (tmp_path / "table.csv").read_text().splitlines():
        for cell in line.split(","):
            assert cell == "-1" or not cell.startswith(("=", "+", "-", "@", "\t"))


def test_a_table_of_nothing_has_its_columns(tmp_path: Path) -> None:
    table = results.write_tables(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0
    assert tuple(pd.read_csv(tmp_path / "table.csv").columns) == COLUMNS
    assert tuple(pd.read_parquet(tmp_path / "table.parquet").columns) == COLUMNS


def test_what_is_comparable_leaves_circumstance_out() -> None:
    table = pd.DataFrame([one.row() for one in RECORDS])
    assert tuple(results.comparable(table).columns) == ("trial_id", *QUESTION, *ANSWER)
    assert not set(CIRCUMSTANCE) & set(results.comparable(table).columns)


# Folders ------------------------------------------------------------------------------------


def test_which_folders_a_sweep_may_use(tmp_path: Path) -> None:
    assert results.is_results(tmp_path / "new")
    assert results.is_results(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert results.is_results(tmp_path)
    results.save(tmp_path, record(), {})
    results.write_tables(tmp_path)
    assert results.is_results(tmp_path)

    (tmp_path / "trials" / "mine").mkdir()
    assert not results.is_results(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    assert not results.is_results(tmp_path / "file")
    assert not results.is_results(tmp_path / "file" / "below")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_bytes(b"")
    assert not results.is_results(other)
    (other / "trials").write_bytes(b"")
    assert not results.is_results(other)


def test_a_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    results.write(path, b"old")
    results.write(path, b"new")
    assert contents(tmp_path) == {"table.csv": b"new"}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write(path, b"newer")
    assert contents(tmp_path) == {"table.csv": b"new"}
