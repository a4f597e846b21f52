"""Packed trials are read like those in folders: the same table, curves, skips and refusals."""

from __future__ import annotations

import errno
import math
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sample_compressed import compressed_record
from sample_records import RECORDS, equal, place, record

import dse
from dse import pack, status
from dse.data.store import Store
from dse.results import (
    atomic,
    checkpoints,
    commands,
    compressed,
    curves,
    drivers,
    files,
    packing,
    packs,
    records,
    studies,
    tables,
)
from dse.runner.runner import Workers
from dse.sweep import launch

CURVE = (
    "attempt,epoch,step,lr,train_loss,train_top1,val_top1,val_loss\n"
    "1,1,5,0.1,2.5,10,11,2.4\n2,1,5,0.1,0.1,20,21,inf\n2,2,10,0.05,nan,30,31.5,2\n"
)
OTHER = record(sr=0.9)
ANSWERED = {"curve.csv": CURVE.encode(), "weights.safetensors": b"\x00"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve finished trials, the last one without a curve."""
    for one in RECORDS:
        records.save(tmp_path, one, {} if one is RECORDS[-1] else ANSWERED)
    return tmp_path


def seen(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    table = dse.load(folder)
    return table, *curves.load(folder, table["trial_id"])


@pytest.mark.parametrize("remove", [False, True])
def test_packed_trials_give_the_same_table_and_curves(folder: Path, remove: bool) -> None:
    before = seen(folder)
    tables.write_tables(folder)
    assert packing.pack(folder, remove)[0][:3] == ("trials", 12, 12)
    assert len(files.trial_ids(folder)) == (0 if remove else 12)
    for number in range(3):
        after = seen(folder)
        equal(before[0], after[0])
        equal(before[1], after[1])
        assert before[2] == after[2] == [RECORDS[-1].trial.trial_id]
        if number == 1:
            equal(before[0], tables.write_tables(folder))
            shutil.rmtree(folder / "trials", ignore_errors=True)  # git keeps no empty folder
    assert before[1]["epoch"].tolist() == [1, 2] * 11
    assert [math.isnan(loss) for loss in before[1]["val_loss"][:2]] == [True, False]


def test_trials_without_curves_are_packed_too(tmp_path: Path) -> None:
    records.save(tmp_path, RECORDS[0], {})
    for _ in range(2):
        assert seen(tmp_path)[2] == [RECORDS[0].trial.trial_id]
        packing.pack(tmp_path, remove=True)
        records.save(tmp_path, RECORDS[1], ANSWERED)
        packing.pack(tmp_path, remove=True)
        assert len(seen(tmp_path)[1]) == 2


def test_new_trials_are_added_to_those_packed(folder: Path) -> None:
    late = place(folder, RECORDS[0])
    late.rename(folder / "away")
    packing.pack(folder, remove=True)
    (folder / "away").rename(late)
    records.save(
        folder, OTHER, {"curve.csv": b"epoch,lr,train_loss,train_top1,val_top1,val_loss\n"}
    )
    assert len(records.unfinished(folder, [one.trial for one in [*RECORDS, record(seed=9)]])) == 1
    before = seen(folder)
    equal(before[0], tables.write_tables(folder))
    assert packing.pack(folder, remove=True)[0][:3] == ("trials", 2, 13)
    for left, right in zip(before[:2], seen(folder)[:2], strict=True):
        equal(left, right)
    state = files.signature(files.pack_of(folder))
    assert packing.pack(folder)[0][:3] == ("trials", 0, 13)
    assert files.signature(files.pack_of(folder)) == state, "nothing was new"


@pytest.mark.parametrize("noted", [True, False], ids=["", "of an earlier version"])
@pytest.mark.parametrize("cut", [None, 0, -3])
def test_a_damaged_curve_is_not_packed(
    tmp_path: Path, cut: int | None, noted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else its folder, the only copy of what is left, would be removed."""
    one = RECORDS[0]
    records.save(tmp_path, one, ANSWERED)
    home = place(tmp_path, one)
    curve = home / "curve.csv"
    content = curve.read_bytes()
    curve.write_bytes(content[:cut] if cut is not None else content.replace(b",", b";", 1))
    if not noted:
        (home / "record.json").write_bytes(files.sealed(one.row()))
    assert pack.main([str(tmp_path), "remove=true"]) == 1
    assert f"{curve} " in capsys.readouterr().err
    assert home.exists()
    assert curves.read(tmp_path, one.trial.trial_id) == {}
    assert status.main([str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "0 done, 0 failed, 1 damaged" in shown
    assert "remove its folder to train the trial again" in shown


def test_a_folder_that_cannot_be_written_is_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path, _: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(packing, "write", write)
    assert pack.main([str(folder), "remove=true"]) == 1
    line = f"`folder` must be writable, got {folder}: Read-only file system\n"
    assert capsys.readouterr().err == line
    assert len(files.trial_ids(folder)) == 12


def test_a_link_to_a_trial_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    records.save(tmp_path, RECORDS[0], ANSWERED)
    home, elsewhere = place(tmp_path, RECORDS[0]), tmp_path / "elsewhere"
    home.rename(elsewhere)
    home.symlink_to(elsewhere)
    assert packing.pack(tmp_path, remove=True)[0].removed == 1
    assert not home.is_symlink()
    assert (elsewhere / "curve.csv").exists()


def test_a_trial_in_a_folder_and_in_the_pack_is_one(folder: Path) -> None:
    packing.pack(folder)
    path = place(folder, RECORDS[0]) / "record.json"
    path.write_bytes(files.sealed({**RECORDS[0].row(), "top1": 99.0}))
    table = dse.load(folder)
    assert len(table) == 12
    assert 99.0 not in table["top1"].tolist(), "the first record stays"


def test_a_sweep_takes_packed_trials_as_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packing.pack(folder, remove=True)
    trials = [one.trial for one in RECORDS]
    assert launch.run(trials, folder, Workers(count=1), Store(cache=tmp_path / "cache")) == 0
    assert "12 trials, 12 already done, 0 to do" in capsys.readouterr().err
    assert status.main([str(folder)]) == 0
    assert "12 done, 0 failed" in capsys.readouterr().out


def test_compressed_networks_are_packed_too(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, {})
    for bits in (5, 6):
        small = compressed_record(bits=bits)
        records.save_row(tmp_path, small.compressed_id, small.row(), {}, files.COMPRESSED)
    before = dse.load_compressed(tmp_path)
    assert len(before) == 3
    assert [added.kind for added in packing.pack(tmp_path, remove=True)] == ["trials", "compressed"]
    equal(before, dse.load_compressed(tmp_path))
    assert len(compressed.load(tmp_path, dse.load(tmp_path))) == 3


def test_curves_of_retraining_are_packed(tmp_path: Path) -> None:
    """Also where an earlier pack holds the network without its curve."""
    records.save(tmp_path, record(), {})
    for bits, curve in ((5, b"epoch,val_top1\n1,9.5\n2,nan\n"), (6, b"")):
        small = compressed_record(bits=bits)
        given = {"curve.csv": curve} if curve else {}
        records.save_row(tmp_path, small.compressed_id, small.row(), given, files.COMPRESSED)
    every = files.trial_ids(tmp_path, files.COMPRESSED)
    rows = [compressed.read(tmp_path, own).row() for own in every]
    pack = files.pack_of(tmp_path, files.COMPRESSED)
    pack.write_bytes(packs.encoded(files.COMPRESSED, rows, {}))
    packing.pack(tmp_path, remove=True)
    records.save_row(tmp_path, small.compressed_id, small.row(), {}, files.COMPRESSED)
    packing.pack(tmp_path, remove=True)
    assert not files.trial_ids(tmp_path, files.COMPRESSED)
    frame = packs.curves(tmp_path, every, files.COMPRESSED)
    assert frame["compressed_id"].tolist() == [compressed_record(bits=5).compressed_id] * 2
    assert frame["epoch"].tolist() == [1, 2]
    assert frame["val_top1"][0] == 9.5
    assert math.isnan(frame["val_top1"][1])


def test_folders_are_not_removed_while_a_command_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep that waits for a trial of another one would train it again."""
    with drivers.publishing(folder) as publish:
        publish({"kind": files.TRIALS})
        assert pack.main([str(folder), "remove=true"]) == 2
        line = f"`remove` must be false while a sweep runs on {folder}, got true\n"
        assert capsys.readouterr() == ("", line)
        assert pack.main([str(folder)]) == 0
        assert len(files.trial_ids(folder)) == 12
    capsys.readouterr()
    assert pack.main([str(folder), "remove=True"]) == 0
    assert not files.trial_ids(folder)
    assert capsys.readouterr().out.endswith(
        f"{folder}/trials: 12 folders removed, with their weights\n"
    )


def test_a_packed_trial_is_not_shown_as_stopped_half_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor where its worker was killed before it removed the checkpoint, or another folder, which
    had finished it, was joined."""
    for _ in range(2):
        checkpoints.save(folder, RECORDS[0].trial.trial_id, 1, b"state")
        assert pack.main([str(folder), "remove=true"]) == 0
        assert not files.names(folder / "trials" / files.UNFINISHED)
    checkpoints.save(folder, RECORDS[0].trial.trial_id, 1, b"state")
    capsys.readouterr()
    assert status.main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 12 done, 0 failed\n"


# Kills and damage ----------------------------------------------------------------------------


@pytest.mark.usefixtures("unsynced")
def test_no_record_is_lost_wherever_packing_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after the pack is replaced, and after each folder that is removed."""
    before, killed = seen(folder), 0
    while True:
        budget, remove, write = [killed], shutil.rmtree, atomic.write

        def step(function: Any, budget: list[int] = budget) -> Any:
            def call(*arguments: Any) -> None:
                if not budget[0]:
                    raise KeyboardInterrupt
                budget[0] -= 1
                function(*arguments)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(packing.shutil, "rmtree", step(remove))
            patch.setattr(packing, "write", step(write))
            try:
                packing.pack(folder, remove=True)
                break
            except KeyboardInterrupt:
                killed += 1
        after = seen(folder)
        equal(before[0], after[0])
        equal(before[1], after[1])
    assert killed >= 5
    assert not files.trial_ids(folder)


def test_a_damaged_pack_is_refused_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut, or with any of its bytes changed; nothing is trained or packed on top of it."""
    packing.pack(folder, remove=True)
    path, table = files.pack_of(folder), dse.load(folder)
    whole, rng = path.read_bytes(), random.Random(0)
    contents = [whole[:length] for length in range(0, len(whole), len(whole) // 8)]
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        contents.append(bytes(damaged))
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            equal(dse.load(folder), table)  # a byte that no value depends on
        except files.Damaged as error:
            (line,) = str(error).splitlines()
            assert line.startswith(f"{path} is damaged (")
            refused += 1
            for call in (records.ids, packing.pack):
                with pytest.raises(files.Damaged):
                    call(folder)
    assert refused > 15
    path.write_bytes(contents[0])
    for command in (pack.main, status.main):
        assert command([str(folder)]) == 1
        assert "is damaged" in "".join(capsys.readouterr())


def test_a_pack_that_cannot_be_read_is_not_called_damaged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is told to remove a damaged file would lose a good one to an error of the disk."""
    files.pack_of(folder).mkdir()
    for command in (pack.main, status.main):
        assert command([str(folder)]) > 0
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert "irectory" in error
        assert "remove" not in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "is of a later version, which has `depth`: update dse to read it$"),
        ({"lr": None}, "is of another version of dse: `lr` is missing; it is not damaged, keep it"),
    ],
)
def test_what_another_version_wrote_is_not_called_damaged(
    folder: Path, change: dict[str, object], message: str
) -> None:
    """It has a field that decides the id, which this version cannot know, or lacks one."""
    row = {**OTHER.row(), **change, "trial_id": "f" * 20}
    row = {name: value for name, value in row.items() if value is not None}
    home = files.trial_folder(folder, "f" * 20)
    home.mkdir()
    (home / files.RECORD).write_bytes(files.sealed(row))
    for _ in range(2):
        with pytest.raises(files.Damaged, match=message):
            dse.load(folder)
        shutil.rmtree(home, ignore_errors=True)
        files.pack_of(folder).write_bytes(packs.encoded("trials", [row], {}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"top1": 101.0}, "`top1` must be in"), ({"seed": 77}, "`trial_id` must be the hash")],
)
def test_a_row_that_is_not_a_record_is_refused(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    """Even where the checksum is right."""
    files.pack_of(folder).write_bytes(packs.encoded("trials", [OTHER.row() | changes], {}))
    with pytest.raises(files.Damaged, match=reason):
        dse.load(folder)


def test_a_mistake_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials").mkdir()
    for given, words in (
        (tmp_path / "none", "there is no such folder"),
        (tmp_path, "finished trials"),
    ):
        assert pack.main([str(given)]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        pack.main([str(tmp_path), "remove=yes"])
    assert "`remove` must be true or false, got yes; see --help" in capsys.readouterr().err
    for wrong, line in (
        (["a", "b"], "`into` must be the folder that gets the trials of 2 folders"),
        (["a", "into=c", "remove=true"], "`remove` must be false with `into`, got true"),
        (["a", "to=c"], "the keys are remove=true and into=results/ALL, got to=c"),
        (["into=c"], "a results folder must be given"),
    ):
        with pytest.raises(SystemExit, match="2"):
            pack.main(wrong)
        assert line in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        pack.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "folders of packed trials; their weights are not packed and are lost" in shown
    assert os.listdir(tmp_path) == ["trials"]  # noqa: PTH208


def test_folders_are_joined_in_one(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packed or not, each trial once, with the study that chose it."""
    other, both = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("both")
    for one in (RECORDS[0], OTHER):
        records.save(other, one, ANSWERED)
        small = compressed_record(one.trial.metaparameters.sr, bits=5)
        records.save_row(other, small.compressed_id, small.row(), {}, files.COMPRESSED)
    changed = {**RECORDS[0].row(), "top1": 1.0}
    (place(other, RECORDS[0]) / "record.json").write_bytes(files.sealed(changed))
    for where, chosen in ((folder, RECORDS[3]), (other, OTHER)):  # of one name, but not one study
        commands.note(where, f"python -m dse.search name={where.name}")
        studies.note_sampled(where, "nsga2", [chosen.trial.trial_id])
    packing.pack(other)
    records.save(both, RECORDS[1], ANSWERED)
    for new, sources in ((13, [folder, other]), (0, [other, folder, both])):
        assert pack.main([*map(str, sources), f"into={both}"]) == 0
        printed = capsys.readouterr()
        assert f"trials.parquet: 13 trials, {new} new" in printed.out
        assert f"compressed.parquet: 1 compressed network, {new // 13} new" in printed.out
        own = RECORDS[0].trial.trial_id[:8]
        assert printed.err == (
            f"{own} of {other} differs by more than 0.5 points: left out, with its compressed "
            "networks\n"
        )
        with pytest.warns(UserWarning, match="accuracies differ"):
            equal(dse.load(both), dse.load(folder, other))
        assert len(dse.load_compressed(both)) == 14  # with the 13 as they were trained
        assert len(commands.noted(both)) == 2
        assert files.names(both / studies.STUDIES) == ["nsga2-2.ids", "nsga2.ids"]
        assert studies.sampled(both) == {RECORDS[3].trial.trial_id, OTHER.trial.trial_id}
    assert curves.load(both, [OTHER.trial.trial_id])[0]["epoch"].tolist() == [1, 2]
    assert len(files.trial_ids(folder)) == 12
    records.save(other, record(seed=8), ANSWERED)
    studies.note_sampled(other, "nsga2", [record(seed=8).trial.trial_id])  # it goes on
    assert pack.main([str(other), f"into={both}"]) == 0
    assert files.names(both / studies.STUDIES) == ["nsga2-2.ids", "nsga2.ids"]
    assert len(studies.sampled(both)) == 3


def test_a_folder_is_not_joined_into_another_programs(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    into, empty = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("empty")
    (into / "page.md").touch()
    assert pack.main([str(folder), f"into={into}"]) == 2
    line = f"`into` must be a results folder or a new one, got {into}: it has page.md\n"
    assert capsys.readouterr().err == line
    (empty / "trials").mkdir()
    assert pack.main([str(empty), f"into={into / 'new'}"]) == 2
    assert capsys.readouterr().err == f"`folder` must have finished trials, got {empty}\n"
    assert not (into / "new").exists()
