"""A search with real processes: what is stored is not trained, hopeless trials are stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from reading import composed_once
from toy_search import RESUMED, search
from toy_trial import epochs, record

import dse
from dse.results import records, studies
from dse.results.studies import JOURNAL
from dse.search.active import read_curve
from dse.search.request import read_request
from dse.search.study import Proposal, Study
from dse.search.warm_start import known_points
from dse.sweep.messages import full
from dse.sweep.progress import Progress

__all__ = ["composed_once"]

SMALL = (
    "base_e=8,16",
    "incr_e=8",
    "sr=0.125,0.5",
    "pct3x3=0.25,0.5",
    "bypass=none",
    "pool_after=1-4-8",
)


def entries(folder: Path, study: int) -> list[FrozenTrial]:
    """All entries of a study of the folder."""
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL))).get_all_trials(study)


def records_of(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("trials/*/record.json")}


def test_hopeless_trials_are_stopped_and_leave_no_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    arguments = (*SMALL, "sampler=random", "n_trials=6", "epochs=8", "stopping=halving")
    assert search(folder, *arguments, execute="toy_search:train") == 0
    found = [e for e in entries(folder, 0) if "repeat" not in e.user_attrs]
    stopped = [e for e in found if e.state.name == "PRUNED"]
    done = [e for e in found if e.state.name == "COMPLETE"]
    assert len(stopped) + len(done) == 6
    assert len(stopped) >= 2
    assert len(records_of(folder)) == len(done)
    assert all(2 <= len(e.user_attrs["curve"]) < 8 for e in stopped)
    assert all(e.user_attrs["curve"][-1] < max(d.value for d in done) for e in stopped)
    assert len(epochs(folder)) < 6 * 8
    assert "stopped early" in capfd.readouterr().err
    before = len(epochs(folder))
    assert search(folder, *arguments, execute="toy_search:train") == 0
    assert len(epochs(folder)) == before
    # another study compares with what is stored, so that it stops the same trials
    assert search(folder, *arguments, "study=again", execute="toy_search:train") == 0
    assert len(records_of(folder)) == len(done)


def test_no_trial_starts_after_the_timeout_and_the_same_command_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor after an interruption; the study is a table before its end, also while no trial ends, and
    where it could not be written at first."""
    folder = tmp_path / "s"
    arguments = (*SMALL, "sampler=random", "n_trials=5", "runner.workers=1")
    for trained in (1, 2):  # the first trial of a command starts in any case
        assert search(folder, *arguments, "timeout=0.001s") == 0
        out, err = capfd.readouterr()
        said = f"{trained} of 5 trials done: `timeout` reached; the same command continues"
        assert said in out
        assert f"[1/{6 - trained}] " in err  # those that another command will do are counted
        assert len(records_of(folder)) == trained
        assert len(studies.load(folder)) == trained - 1
        monkeypatch.setattr("dse.search.drive.SAVED", 0.0)
    assert [*dse.load_study(folder)["state"]] == ["trained"] * 2
    complete = Study.complete

    def interrupt(*of: Any) -> None:
        complete(*of)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("dse.search.drive.SAVED", 60.0)
        patch.setattr(Study, "complete", interrupt)
        assert search(folder, *arguments, "timeout=1h") == 130
    assert [*dse.load_study(folder)["state"]] == ["trained"] * 3

    def turn(_: Progress) -> None:
        monkeypatch.setattr("dse.search.drive.SAVED", 0.0)

    def end(*of: Any) -> None:
        complete(*of)
        monkeypatch.setattr("dse.search.drive.SAVED", 60.0)

    def written(*of: Any) -> None:
        if not tries:
            tries.append(1)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        studies.save(*of)

    tries = list[int]()
    monkeypatch.setattr("dse.search.drive.save", written)
    monkeypatch.setattr(Progress, "turn", turn)
    monkeypatch.setattr(Study, "complete", end)
    assert search(folder, *arguments, "timeout=1h") == 0
    assert [*dse.load_study(folder)["state"]] == [*["trained"] * 4, "running"]
    assert tries
    assert "timeout" not in capfd.readouterr().out
    assert len(records_of(folder)) == 5


def test_what_the_folder_has_is_not_trained_by_another_study(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    seeds = ("seed=0,1", "runner.workers=2")
    assert search(folder, *SMALL, *seeds, "sampler=grid", "n_trials=4") == 0
    assert len(records_of(folder)) == 2 * 4
    trained, of_grid = len(epochs(folder)), records_of(folder)
    capfd.readouterr()
    assert search(folder, *SMALL, *seeds, "sampler=random", "n_trials=100") == 0
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("[")]
    assert len(said) == 8
    assert {line.partition("]")[0].partition("/")[2] for line in said} == {"16"}
    assert len(records_of(folder)) == 2 * 8, "the space has eight points"
    assert len(epochs(folder)) == 2 * trained
    chosen = records_of(folder) - of_grid
    assert studies.sampled(folder) == chosen
    (folder / studies.STUDIES / "._random.ids").write_bytes(b"\xff\xfe")
    (folder / studies.STUDIES / "other.ids").mkdir()
    with (folder / studies.STUDIES / "random.ids").open("a") as file:
        file.write("cut off")
    studies.note_sampled(folder, "random", ["next"])
    assert {*chosen, "next"} < studies.sampled(folder)
    stored = [e for e in entries(folder, 1) if e.user_attrs.get("stored")]
    assert len(stored) == 4
    means = {str(e.user_attrs["point"]): e.value for e in entries(folder, 0)}
    assert {str(e.user_attrs["point"]): e.value for e in stored} == means


def test_a_warm_start_begins_with_what_the_folder_has(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    seeds = ("seed=0,1", "runner.workers=2")
    assert search(folder, *SMALL, *seeds, "sampler=grid", "n_trials=5") == 0
    capfd.readouterr()
    had = [e.user_attrs["point"] for e in entries(folder, 0)]
    question = read_request([*SMALL, *seeds, "epochs=2", "lr=0.002"]).question
    shutil.rmtree(folder / "trials" / question.trials(had[0])[1].trial_id)
    known = [point for point in had[1:] if point["sr"] == 0.125]
    assert 0 < len(known) < 4
    warm = [word.replace("sr=0.125,0.5", "sr=0.125,0.25") for word in SMALL]
    warm += [*seeds, "study=warm", "warm_start=true", "sampler=tpe"]
    assert search(folder, *warm, f"n_trials={len(known) + 2}") == 0
    said = f"warm_start: {len(known)} networks of {folder} are in the space\n"
    assert said in capfd.readouterr().err
    found = entries(folder, 1)
    stored = [entry.number for entry in found if entry.user_attrs.get("stored")]
    assert [found[number].user_attrs["point"] for number in stored] == known
    assert stored == [*range(len(known))]
    assert [entry.number for entry in found if "known" in entry.user_attrs] == stored
    state = [(entry.params, entry.values) for entry in found]
    assert search(folder, *warm, f"n_trials={len(known) + 2}") == 0
    assert [(entry.params, entry.values) for entry in entries(folder, 1)] == state
    limited = ("study=small", "max.params=4000", "sampler=random", "n_trials=2")
    words = [word for word in warm if not word.startswith(("study=", "sampler="))]
    assert search(folder, *words, *limited) == 0
    sizes = [e.user_attrs["point"]["base_e"] for e in entries(folder, 2) if e.values]
    assert set(sizes) == {8}
    where = (f"results.root={tmp_path}", "name=s", "epochs=2", "lr=0.002")
    request = read_request([*words, *limited, *where])
    assert [point["base_e"] for point in known_points(request)] == [8, 8]


def test_a_warm_start_knows_networks_that_do_not_read_a_key_of_the_space(tmp_path: Path) -> None:
    words = ["sr=0.25,0.5", "network=alexnet,squeezenet", "bypass=none", "pool_after=1-4-8"]
    words += ["base_e=8", "incr_e=8", "pct3x3=0.5", f"results.root={tmp_path}", "name=s"]
    request = read_request([*words, "warm_start=true"])
    for point in request.question.space.points():
        records.save(tmp_path / "s", record(request.question.trial(point)), {})
    known = [request.question.trial(point) for point in known_points(request)]
    assert [trial.network for trial in known] == ["alexnet", "squeezenet", "squeezenet"]


def test_trials_that_were_resumed_are_stopped_as_if_they_had_not_been(tmp_path: Path) -> None:
    """Also where the first of two seeds had finished before."""
    arguments = (*SMALL, "sampler=grid", "epochs=8", "stopping=halving", "seed=0,1", "n_trials=5")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert search(whole, *arguments, execute="toy_search:train") == 0
    resumed.mkdir()
    (resumed / RESUMED).touch()
    for path in whole.glob("trials/*/record.json"):
        if json.loads(path.read_bytes())["seed"] == 0:
            shutil.copytree(path.parent, resumed / "trials" / path.parent.name)
    assert search(resumed, *arguments, execute="toy_search:train") == 0
    states = [[e.state.name for e in entries(folder, 0)] for folder in (whole, resumed)]
    assert states[1] == states[0]
    assert "PRUNED" in states[0]


def test_a_curve_ends_with_the_shortest_of_its_seeds(tmp_path: Path) -> None:
    """A seed that diverged has no accuracy later; the others alone are not the mean."""
    question = read_request([*SMALL, "seed=0,1"]).question
    point = next(question.space.points())
    proposal = Proposal(number=0, point=point, trials=tuple(question.trials(point)), costs={})
    for trial, count in zip(proposal.trials, (4, 2), strict=True):
        rows = [f"1,{epoch},0.1,1,50,{10 * epoch + trial.seed},1" for epoch in range(1, count + 1)]
        text = "\n".join(["attempt,epoch,lr,train_loss,train_top1,val_top1,val_loss", *rows])
        records.save(tmp_path, record(trial), {"curve.csv": text.encode()})
    assert read_curve(tmp_path, proposal) == [10.5, 20.5]


def test_a_study_that_data_end_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "s"
    assert search(folder, *SMALL, "sampler=grid", "n_trials=4", "weight_decay=0.25") == 0
    assert capfd.readouterr().out == "stopped, since data could not be read\n"
    words = ("sampler=grid", "n_trials=4", "weight_decay=0.25", "study=late", "timeout=0.001s")
    assert search(folder, *SMALL, *words) == 0
    assert capfd.readouterr().out == "stopped, since data could not be read\n"


def test_a_study_that_a_full_disk_stops_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, arguments = tmp_path / "s", (*SMALL, "sampler=grid", "n_trials=4")
    assert search(folder, *arguments, "weight_decay=0.125") == 1
    out, err = capfd.readouterr()
    *_, failed, stopped = err.splitlines()
    assert failed.startswith("[1/4] ")
    line = f"stopped: {full(folder)}; 0 of 4 trials are done; once this is fixed, resume with: "
    assert stopped.startswith(line)
    assert not out
    assert [entry.state.name for entry in entries(folder, 0)] == ["RUNNING"]

    def fail(_: Study) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Study, "propose", fail)  # which writes to the study's journal
    assert search(tmp_path / "t", *arguments) == 1
    assert capfd.readouterr().err == stopped.replace(f"{folder}", f"{tmp_path / 't'}") + "\n"


@pytest.mark.parametrize("stopping", ["none", "halving"])
def test_a_record_that_was_removed_is_made_again(
    tmp_path: Path, stopping: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a message on a damaged one advises; the study stays as it was."""
    folder = tmp_path / "s"
    arguments = (*SMALL, "sampler=random", "n_trials=4", "epochs=8", f"stopping={stopping}")
    assert search(folder, *arguments, execute="toy_search:train") == 0
    before, done = entries(folder, 0), records_of(folder)
    for trial_id in done:
        shutil.rmtree(folder / "trials" / trial_id)
    capfd.readouterr()
    assert search(folder, *arguments, execute="toy_search:train") == 0
    assert records_of(folder) == done
    some = f"{len(done)} of {len(done)} points no longer have a record in {folder}"
    assert f"{some}; they are trained again" in capfd.readouterr().err
    shutil.rmtree(folder / "trials" / done.pop())
    assert search(folder, *arguments, execute="toy_search:train") == 0
    some = f"1 of {len(done) + 1} points no longer has a record in {folder}"
    assert f"{some}; it is trained again" in capfd.readouterr().err
    assert [(e.state, e.values) for e in entries(folder, 0)] == [
        (e.state, e.values) for e in before
    ]
