"""Tables are made of the records, and equal to them."""

from __future__ import annotations

import errno
import io
import math
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from failing import raising
from sample_records import RECORDS, contents, equal, place, record

import dse
from dse.results import atomic, files, records, studies, tables
from dse.trial.record import COLUMNS


def test_the_table_does_not_depend_on_which_trial_finished_first(tmp_path: Path) -> None:
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
    plain = pd.read_csv(io.BytesIO(text))  # without knowing the types
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
    """After each new record; unchanged records are not read again."""
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


def test_trials_of_a_search_have_their_study(tmp_path: Path) -> None:
    """That which trained the trial, else one that found it; also where no record is new."""
    folder, copy, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for one in RECORDS[:4]:
        records.save(folder, one, {})
    own = tables.write_tables(folder)["trial_id"].tolist()
    assert [*dse.load(folder)] == [*COLUMNS]
    for name, points in (
        ("one", [("stored", own[2:3]), ("stored", own[1:2]), ("failed", own[3:])]),
        ("two", [("stopped", ["gone"]), ("trained", own[1:2]), ("trained", own[3:])]),
    ):
        found = [{"state": state, "trials": ids} for state, ids in points]
        studies.save(folder, name, dict.fromkeys(studies.KEYS, "") | {"points": found})
    table = dse.load(folder)
    assert [*table] == [*COLUMNS, "study", "study_trial"]
    assert table["study"].fillna("").tolist() == ["", "two", "one", "two"]
    assert table["study_trial"].fillna(0).tolist() == [0, 2, 1, 3]
    assert [*tables.write_tables(folder)] == [*COLUMNS]
    before = files.signature(folder / "table.csv")
    tables.write_tables(folder)
    assert files.signature(folder / "table.csv") == before
    copy.mkdir()
    shutil.copy(folder / "table.csv", copy)
    for name in ("study", "study_trial"):
        assert dse.load(copy)[name].dtype == table[name].dtype
        assert dse.load(copy)[name].isna().tolist() == [True, False, False, False]
    records.save(other, RECORDS[5], {})
    assert dse.load(other, folder)["study_trial"].sum() == 6
    path = copy / "table.csv"
    path.write_text(path.read_text().replace(",two,3", ",two,1.5"))
    with pytest.raises(ValueError, match="must be a table of trials"):
        dse.load(copy)


def test_tables_of_the_same_records_are_left_alone(tmp_path: Path) -> None:
    for one in RECORDS[:3]:
        records.save(tmp_path, one, {})
    time.sleep(0.02)
    tables.write_tables(tmp_path)
    names = ("table.csv", "table.parquet", ".index")
    before = [files.signature(tmp_path / name) for name in names]
    tables.write_tables(tmp_path)
    assert [files.signature(tmp_path / name) for name in names] == before
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
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # it seems as old as before
    assert path.stat().st_size == state.st_size
    for call in (tables.load, tables.write_tables):
        with pytest.raises(files.Damaged, match="is damaged"):
            call(tmp_path)
    path.write_bytes(content)
    equal(tables.load(tmp_path), table)
    homes = [place(tmp_path, one) for one in RECORDS[:2]]
    homes[0].rename(tmp_path / "swap")
    homes[1].rename(homes[0])
    (tmp_path / "swap").rename(homes[1])
    with pytest.raises(files.Damaged, match="it is the record of"):
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


def test_an_index_of_other_rules_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(tmp_path, record(), {})
    time.sleep(0.02)
    table = tables.write_tables(tmp_path)
    monkeypatch.setattr(tables, "_rules", lambda: "other")
    monkeypatch.setattr(tables, "decoded", lambda _: raising(errno.EIO)())
    equal(tables.load(tmp_path), table)


def test_of_two_writers_of_tables_the_newer_records_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweep saves a record and writes its tables while this one writes its own."""
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


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    table = tables.write_tables(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0
    assert tuple(pd.read_csv(tmp_path / "table.csv").columns) == COLUMNS
    assert tuple(pd.read_parquet(tmp_path / "table.parquet").columns) == COLUMNS
