"""Launching: which trials are trained, what is reported, and which mistakes stop a sweep."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
import toy_trial
from reading import composed_once
from toy_trial import Plan, sweep, trials

from dse.data.store import Store
from dse.results import checkpoints, locks, records
from dse.runner.events import Failed
from dse.runner.local import Attempt, Local
from dse.runner.runner import Workers
from dse.space.architecture import V1_0
from dse.sweep import __main__, launch
from dse.sweep.errors import RequestError
from dse.sweep.launch import Tasks, carry_out, lacks_space, run
from dse.sweep.messages import full
from dse.sweep.timing import length_of
from dse.trial.names import trial_names
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

__all__ = ["composed_once"]

TOY = "toy_trial:run"


def test_what_is_done_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = trials(Plan(trials=3))
    for name, expected in (("first", 3), ("second", 2)):
        records.save(tmp_path / "second", toy_trial.record(every[0]), {})
        assert run(every, tmp_path / name, Workers(), Store(), TOY) == 0
        assert len(toy_trial.notes(tmp_path / name, "trained")) == expected
    assert run(every, tmp_path / "first", Workers(), Store(), TOY) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if " to do" in line] == [
        "3 trials, 0 already done, 3 to do",
        "3 trials, 1 already done, 2 to do",
        "3 trials, 3 already done, 0 to do",
    ]


def test_what_resumes_from_a_checkpoint_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = trials(Plan(trials=3))
    checkpoints.save(tmp_path, every[1].trial_id, 5, b"1")
    assert run(every, tmp_path, Workers(), Store(), TOY) == 0
    assert run(every, tmp_path, Workers(), Store(), TOY) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " to do" in line]
    assert lines == [
        "3 trials, 0 already done, 3 to do, 1 of them half-way",
        "3 trials, 3 already done, 0 to do",
    ]


def test_rates_of_a_calibration_are_already_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Tasks] = []
    monkeypatch.setattr(launch, "known_rates", lambda *_: "measured")
    monkeypatch.setattr(launch, "carry_out", lambda tasks, *_: found.append(tasks))
    run(trials(Plan(trials=1)), tmp_path, Workers(processes=4), Store(), TOY)
    assert found[0].rates == "measured"


def test_a_failed_trial_is_named_by_what_varies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "x", Plan(trials=3, poison=1)) == 1
    *_, failed, details, retry = capsys.readouterr().err.splitlines()
    assert failed == "1 of 3 trials failed: weight_decay=1 seed=1"
    assert "exit code 9" in Path(details.rpartition(" such as ")[2]).read_text()
    assert retry.startswith("retry with: ")
    (failure,) = records.failures(tmp_path / "x").values()
    assert failure.name == "weight_decay=1 seed=1"


def test_after_an_error_in_the_data_the_other_trials_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would run into it too; it is said once, and nothing is lost."""
    plan = Plan(trials=9, workers=2, epochs=400, seconds=0.05, broken=1)
    assert sweep(tmp_path / "x", plan) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum("an image has gone" in line for line in lines) == 1
    *_, failed, left_out, _, retry = lines
    assert failed == "1 of 9 trials failed: weight_decay=0.25 seed=1"
    state = "stopped or did not start, since data could not be read"
    assert left_out.startswith(f"8 of 9 trials {state}: weight_decay=0 seed=0, ")
    assert retry.startswith("retry with: ")
    assert len(records.failures(tmp_path / "x")) == 1
    (running,) = (tmp_path / "x/trials/.unfinished").iterdir()  # it stopped with a checkpoint
    assert running.name == trials(plan)[0].trial_id


def test_after_a_full_disk_no_trial_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others would be trained and then lost; one that runs stops with a checkpoint."""
    folder = tmp_path / "it's full"
    plan = Plan(trials=9, workers=2, epochs=400, seconds=0.05, full=2)
    records.save(folder, toy_trial.record(trials(plan)[0]), {})
    assert sweep(folder, plan) == 1
    first, failed, stopped = capsys.readouterr().err.splitlines()
    assert first == "9 trials, 1 already done, 8 to do"
    assert failed.startswith("[1/8] weight_decay=0.125 seed=2 (")
    line = f"stopped: {full(folder)}; 1 of 9 trials are done; once this is fixed, resume with: "
    assert stopped.startswith(line)
    assert not records.failures(folder)
    (running,) = (folder / "trials/.unfinished").iterdir()
    assert running.name == trials(plan)[1].trial_id
    elsewhere = Failed("x", "OSError: [Errno 28] No space left on device: '/tmp/a'", "")
    assert not lacks_space(elsewhere, folder)


def test_a_disk_that_is_full_from_the_start_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to a file that is open names none."""
    lack = OSError(errno.EDQUOT, "Disk quota exceeded")
    monkeypatch.setattr(launch, "begin", Mock(side_effect=lack))
    line = f"{full(tmp_path)}; 0 of 2 trials are done"
    with pytest.raises(OSError, match=f"^{re.escape(line)}$"):
        run(trials(Plan(trials=2)), tmp_path, Workers(), Store(), TOY)


def test_where_the_tasks_module_cannot_be_imported_no_trial_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match=r"^no task can run: absent could not be imported: Module"):
        run(trials(Plan(trials=3)), tmp_path, Workers(count=2), Store(), "absent:run")
    first, *more = capsys.readouterr().err.splitlines()
    assert first == "3 trials, 0 already done, 3 to do"
    reason = "no more tasks can be started now: absent could not be imported: Module"
    assert [line.startswith(reason) for line in more] in ([], [True])  # none if the other has ended
    assert not records.failures(tmp_path)


def test_an_error_in_one_data_set_leaves_the_trials_of_others_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = trials(Plan(trials=5, broken=1))
    tasks = Tasks(
        function=TOY,
        arguments={one.trial_id: (one, tmp_path / "x", Store(), "cpu") for one in every},
        names=trial_names(every),
        lengths={one.trial_id: length_of(one) for one in every},
        data={one.trial_id: ("even", "odd")[one.seed % 2] for one in every},
    )
    assert carry_out(tasks, tmp_path / "x", Workers()) == 2
    assert records.ids(tmp_path / "x") == {one.trial_id for one in every[::2]}
    (left_out,) = (line for line in capsys.readouterr().err.splitlines() if " stopped or " in line)
    assert left_out.startswith("1 of 5 trials stopped or did not start, since data could not be")
    assert left_out.endswith("seed=3")


def test_what_is_waited_for_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = (
        "QOSMaxSubmitJobPerUserLimit",
        "no (job 7 on n3)",
        "no (job 8 on n3)",
        "no (job 9 on n4)",
    )
    refused = [OSError(f"sbatch: error: {reason}") for reason in reasons * 2]
    start = Local.start

    def submit(engine: Local, content: bytes) -> Attempt:
        if refused:
            raise refused.pop()
        return start(engine, content)

    monkeypatch.setattr(Local, "start", submit)
    monkeypatch.setattr(Local, "pauses", (0.1, 0.1))
    assert run(trials(Plan(trials=3)), tmp_path / "x", Workers(), Store(), TOY) == 0
    said = capsys.readouterr().err
    counts = [said.count(f"can be started now: OSError: sbatch: error: {one};") for one in reasons]
    assert counts == [1, 0, 1, 1]  # the first is taken last


def test_a_folder_without_locks_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "has_claims", lambda folder: False)
    assert sweep(tmp_path / "x", Plan(trials=1)) == 0
    line = f"{tmp_path / 'x'} does not support file locks: other commands may do the same work"
    assert line in capsys.readouterr().err.splitlines()


def test_missing_data_stop_a_sweep_before_it_writes(tmp_path: Path) -> None:
    trial = Trial(layout=V1_0, protocol=Protocol(data="cifar10", image_size=64))
    store = Store(root=tmp_path / "data", cache=tmp_path / "cache")
    with pytest.raises(RequestError, match="cifar"):
        run([trial], tmp_path / "x", Workers(), store, TOY)
    assert not (tmp_path / "x").exists()


def test_an_engine_that_is_not_available_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    Path("jobs").write_bytes(b"")
    engine = ("runner.engine=submitit", "submitit.cluster=local", "submitit.folder=jobs")
    assert __main__.main(["sr=0.125", *engine]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith(
        "`submitit.folder` must be a writable folder of your own, got jobs: "
    )
