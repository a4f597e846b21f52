"""What a results folder shows from outside, while a sweep runs and after it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import toy_trial
from reading import composed_once
from sample_compressed import compressed_record
from sample_records import record
from test_faults import busy_worker, soon, started, sweep
from toy_trial import Plan, trials

import dse
from dse import status
from dse.report import __main__ as report
from dse.results import checkpoints, commands, drivers, locks, records, studies
from dse.results.files import COMPRESSED, TRIALS, Damaged, trial_folder
from dse.search import __main__ as search
from dse.sweep import __main__ as command
from dse.sweep.request import read_request
from dse.training.loop import Position, State
from dse.training.state import encode
from dse.trial.question import Trial

__all__ = ["composed_once"]


LEFT = 3
"""The exit code where something is left and nothing runs."""


def shown(folder: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> list[str]:
    assert status.main([str(folder)]) == code
    out, errors = capsys.readouterr()
    assert errors == ""
    return out.splitlines()


def contents(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_a_running_sweep_and_a_killed_one_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a b"
    words = ("trials=3", "workers=1", "epochs=9000", "seconds=0.01")
    with started(folder, *words) as driver:
        busy_worker(driver, folder)
        lines = soon(lambda: [line for line in shown(folder, capsys) if " epoch 1" in line])
        first, second, third = shown(folder, capsys)
        assert first == f"{folder}: 0 done, 0 failed"
        assert second.startswith("a sweep is running: 0 of 3 done, 1 running, about ")
        running = trials(Plan(trials=3, epochs=9000, seconds=0.01))[0]
        assert third.startswith(f"running: seed=0 ({running.trial_id[:8]}): epoch ")
        assert lines[0].endswith(" of 9000, val_top1 50.0%")
        driver.kill()
        driver.wait()
    soon(lambda: status.main([str(folder)]) == LEFT)  # the driver's task ends after it
    capsys.readouterr()
    before = contents(folder)
    first, second, third = shown(folder, capsys, LEFT)
    assert contents(folder) == before
    assert first == f"{folder}: 0 done, 0 failed, 1 stopped half-way"
    assert third == f"stopped half-way: trial {running.trial_id[:8]}"
    assert second.startswith("a sweep was killed: 0 of 3 done; to resume: ")
    command = shlex.split(second.partition("; to resume: ")[2])
    assert command == ["cd", str(Path.cwd()), "&&", *driver.args]  # type: ignore[misc]


def test_failed_trials_are_shown_with_their_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "x"
    assert sweep(folder, "trials=3", "poison=1").returncode == 1
    poison = trials(Plan(trials=3, poison=1))[1].trial_id
    assert shown(folder, capsys, 1) == [
        f"{folder}: 2 done, 1 failed",
        f"failed: weight_decay=1 seed=1 ({poison[:8]}): "
        "the process ended with exit code 9; tried 3 times",
    ]


def state(trial: Trial, epoch: int, batches: int) -> bytes:
    """A checkpoint in the middle of a trial's epoch (from 1)."""
    position = Position(epoch=epoch, batches=batches)
    return encode([], State(tensors={}, position=position), trial.question)


def test_trials_that_were_stopped_half_way_are_shown_with_where_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three, four = trials(Plan(trials=4, epochs=20))
    names = [f"seed={trial.seed} ({trial.trial_id[:8]})" for trial in (one, two, three, four)]
    records.save(tmp_path, toy_trial.record(four), {})
    for trial, step, content in (
        (one, 60, state(one, 4, 0)), (one, 75, state(one, 4, 15)), (two, 0, state(two, 1, 1)),
        (three, 9, b"[]"), (four, 9, state(four, 1, 9)),
    ):  # fmt: skip
        checkpoints.save(tmp_path, trial.trial_id, step, content)
    here = f"name={tmp_path.name} results.root={tmp_path.parent}"
    commands.note(tmp_path, f"python -m dse.sweep seed=0,1,2 {here}")
    before = contents(tmp_path)
    with locks.claim(tmp_path, two.trial_id):  # it runs
        first, *lines = shown(tmp_path, capsys)
    assert first == f"{tmp_path}: 1 done, 0 failed, 2 stopped half-way"
    runs = f"running, by a job whose command has ended: trial {two.trial_id[:8]}"
    assert lines.pop(0) == runs
    third = f"stopped half-way: trial {three.trial_id[:8]}"
    expected = [f"stopped half-way: {names[0]}: epoch 3 of 20 and 15 steps", third]
    assert sorted(lines[:-1]) == sorted(expected)
    assert lines[-1] == f"to resume: python -m dse.sweep seed=0,1,2 {here}"
    assert f"stopped half-way: {names[1]}: epoch 0 of 20 and 1 step" in shown(
        tmp_path, capsys, LEFT
    )
    commands.note(tmp_path, "python -m dse.sweep seed=9 name=old")  # which does not resume them
    assert [line.partition(": ")[0::2] for line in shown(tmp_path, capsys, LEFT)[-2:]] == [
        ("to resume, the one that asked for it", f"python -m dse.sweep seed={seeds} {here}")
        for seeds in ("9", "0,1,2")  # newest first
    ]
    assert contents(tmp_path).keys() == before.keys()
    commands.note(tmp_path, "python -m dse.compress results/mine method=svd")  # resumes no trial
    for study, some in ("tpe", [four]), ("mine", [one, two, three]):
        studies.note_sampled(tmp_path, study, [trial.trial_id for trial in some])
        commands.note(tmp_path, f"python -m dse.search study={study}".removesuffix(" study=tpe"))
    last = shown(tmp_path, capsys, LEFT)[-2:]
    assert last[0].startswith("stopped half-way: ")
    assert last[1] == f"to resume: python -m dse.search study=mine {here}"


def test_a_folder_that_was_moved_is_resumed_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, one, two = "python -m dse", Path("results/one"), Path("results/a b")
    root = tmp_path / "results"
    for line, folder, expected in (
        (f"{run}.sweep sr=0.5 name=one", one, None),
        (f"{run}.sweep name=one sr=0.5", two, f"{run}.sweep sr=0.5 'name=a b'"),
        (f"{run}.sweep sr=0.5", Path("results/figure3a"), None),
        (f"{run}.sweep sr=0.5", one, f"{run}.sweep sr=0.5 name=one"),
        (f"{run}.sweep -cd . -cn page", one, f"{run}.sweep -cd . -cn page name=one"),
        (f"{run}.search", Path("results/search"), None),
        (f"{run}.reproduce table3", Path("results/reproduce"), None),
        (f"{run}.reproduce", one, f"{run}.reproduce name=one"),
        (f"{run}.sweep name=one", Path("x/one"), f"{run}.sweep name=one results.root={tmp_path}/x"),
        (f"{run}.sweep name=one results.root=x", Path("x/one"), None),
        (f"{run}.sweep results.root=x name=one", one, f"{run}.sweep name=one results.root={root}"),
        ("python mine.py one", two, None),
        ("python -m dse.sweep 'name=one", two, None),
    ):  # fmt: skip
        assert commands.moved(line, folder) == (expected or line)
    line = f"{run}.sweep name=one results.root=x"
    assert commands.moved(line, tmp_path / "y/x/one", str(tmp_path / "y")) == line


@pytest.mark.slow
def test_a_sweep_that_was_stopped_says_what_it_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real command, and the real trainings."""
    words = ["sr=0.125,0.25", "epochs=5000", "runner.workers=2", f"results.root={tmp_path}"]
    driver = subprocess.Popen([sys.executable, "-m", "dse.sweep", *words, "name=x"])
    folder = tmp_path / "x"
    soon(lambda: (folder / "trials").exists())

    def epochs() -> list[int]:
        found = (re.search(r" epoch ([1-9]\d*) of 5000", line) for line in shown(folder, capsys))
        return [int(one[1]) for one in found if one]

    before = soon(lambda: epochs() if len(epochs()) == 2 else None)
    driver.send_signal(signal.SIGINT)
    assert driver.wait() == 130
    first, one, two, resume = shown(folder, capsys, LEFT)
    assert first == f"{folder}: 0 done, 0 failed, 2 stopped half-way"
    for line, sr in zip(sorted((one, two)), ("0.125", "0.25"), strict=True):
        said = re.fullmatch(
            rf"stopped half-way: sr={sr} \(\w{{8}}\): epoch (\d+) of 5000( and \d+ steps?)?", line
        )
        assert said
        assert min(before) <= int(said[1]) < 5000
    assert resume.startswith("to resume: ")


def test_damaged_compressed_networks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records.save(tmp_path, toy_trial.record(trials(Plan())[0]), {})
    digest = hashlib.sha256(b"1").hexdigest()
    ones = [compressed_record(bits=bits, file_sha256=digest) for bits in (4, 5, 6, 7, 8)]
    homes = [tmp_path / COMPRESSED / one.compressed_id for one in ones]
    for one in ones:
        row, files = one.row(), {"network.bin": b"1"}
        records.save_row(tmp_path, one.compressed_id, row, files, COMPRESSED)
    (homes[0] / "record.json").write_bytes((homes[0] / "record.json").read_bytes()[:-9])
    (homes[1] / "network.bin").unlink()
    (homes[2] / "network.bin").write_bytes(b"")
    (homes[3] / "network.bin").write_bytes(b"0")
    first, second, *lines = shown(tmp_path, capsys, code=1)
    assert first == f"{tmp_path}: 1 done, 0 failed"
    assert second == f"{tmp_path}: 1 compressed, 0 failed, 4 damaged"
    again = "remove its folder to compress the network again"
    assert any(line.startswith(f"{homes[0] / 'record.json'} is damaged (") for line in lines)
    assert f"{homes[1] / 'network.bin'} is damaged (it is missing): {again}" in lines
    assert (
        f"{homes[2] / 'network.bin'} is damaged (it has 0 bytes, its record says 1): {again}"
        in lines
    )
    changed = "it is not the file of its record"
    assert f"{homes[3] / 'network.bin'} is damaged ({changed}): {again}" in lines
    assert len(lines) == 4


def test_damaged_records_of_trials_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in trials(Plan(trials=2)):
        records.save(tmp_path, toy_trial.record(one), {})
    path = next((tmp_path / "trials").glob("*/record.json"))
    path.write_text("{")
    first, second = shown(tmp_path, capsys, code=1)
    assert first == f"{tmp_path}: 1 done, 0 failed, 1 damaged"
    assert second.startswith(f"{path} is damaged (it is cut off or not JSON): ")


def test_lost_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As after a copy that stopped half-way; a trial that never had any lacks none."""
    whole = safetensors.numpy.save({"conv1.bias": np.zeros(3, np.float32)})
    for seed, content in enumerate([whole, whole, whole[:-1]]):
        records.save(tmp_path, record(seed=seed), {"weights.safetensors": content})
    records.save(tmp_path, record(seed=3), {})
    lost = [record(seed=seed).trial.trial_id for seed in (1, 2)]
    (trial_folder(tmp_path, lost[0]) / "weights.safetensors").unlink()
    assert status.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 4 done, 0 failed",
        f"2 trials without whole weights ({', '.join(sorted(lost))}): remove their folders to "
        "train them again",
    ]


def test_a_sweep_and_its_plan_refuse_what_status_calls_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seed=range(0,4)", "sr=0.5", f"results.root={tmp_path}", "name=x"]
    request = read_request("sweep", "", words, page="figure3a")
    one, other, cut, _ = request.trials
    for trial in request.trials:
        records.save(request.folder, toy_trial.record(trial), {})
    home = trial_folder(request.folder, other.trial_id)
    shutil.rmtree(home)
    shutil.copytree(trial_folder(request.folder, one.trial_id), home)
    path = trial_folder(request.folder, cut.trial_id) / "record.json"
    path.write_bytes(path.read_bytes()[:-9])
    _, *lines = shown(request.folder, capsys, code=1)
    again = "remove its folder to train the trial again"
    assert sorted(lines) == sorted(
        [
            f"{home / 'record.json'} is damaged (it is the record of {one.trial_id}): {again}",
            f"{path} is damaged (it is cut off or not JSON): {again}",
        ]
    )
    with pytest.raises(Damaged) as caught:
        dse.load(request.folder)
    assert str(caught.value).splitlines() == lines
    asked = [command.main, "plan=true"], [command.main, "budget=1h"], [command.main, "plan=false"]
    for main, *more in (*asked, [search.main, "plan=true"], [search.main, "n_trials=1"]):
        assert main([*words, *more]) == 1
        count = f"{request.folder}: 4 trials, 2 damaged; nothing was started"
        assert capsys.readouterr().err.splitlines() == [count, *lines]


def test_what_a_search_stopped_early_is_not_to_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, half = trials(Plan(trials=2))
    for one in (early, half):
        checkpoints.save(tmp_path, one.trial_id, 5, b"1")
    point = {"state": "stopped", "trials": [early.trial_id]}
    study = dict.fromkeys(studies.KEYS, "") | {"points": [point, {"state": "stopped"}]}
    studies.save(tmp_path, "random", study)
    first, second, *_ = shown(tmp_path, capsys, LEFT)
    assert first == f"{tmp_path}: 0 done, 0 failed, 1 stopped early by a search, 1 stopped half-way"
    assert half.trial_id[:8] in second
    checkpoints.clear(tmp_path, half.trial_id)
    assert shown(tmp_path, capsys) == [f"{tmp_path}: 0 done, 0 failed, 1 stopped early by a search"]


def test_a_damaged_journal_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials").mkdir()
    path = tmp_path / studies.JOURNAL
    for content, line in (
        ('{"op_code": 0}\n{"op_c', ""),  # a search repairs it
        ('{"op_code": 0}\n{}\n{"op_code": 1}\n', f"{path} is damaged in line 2"),
        ('{"op_code": 0}\n5\n{"op_code": 1}\n', f"{path} is damaged in line 2"),
    ):
        path.write_text(content)
        lines = shown(tmp_path, capsys, code=int(bool(line)))
        assert lines[1:] == ([f"{line}: a search refuses it"] if line else [])
        records.save(tmp_path, toy_trial.record(trials(Plan(trials=1))[0]), {})
        report.main([str(tmp_path)])
        assert (f"{line}: a search refuses it" in capsys.readouterr().err) == bool(line)


def test_what_a_killed_search_has_done_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial that ran has ended after the last status was published; what is in a cluster's queue,
    perhaps again, has no claim; a copy of the folder of a running command is not called killed."""
    one, two, three, again = trials(Plan(trials=4))
    records.save(tmp_path, toy_trial.record(one), {})
    known = {"kind": TRIALS, "summary": "1 of 6 done, 3 running, about 3 s left", "done": 1}
    known |= {"failed": 1, "count": 6, "folder": "/x", "command": "python -m dse.search"}
    ids = {one.trial_id: "epoch 1 of 9", two.trial_id: "epoch 0 of 9"}
    ids[again.trial_id] = "epoch 5 of 9"
    names = {one.trial_id: "a", two.trial_id: "b", again.trial_id: "c"}
    with drivers.publishing(tmp_path, "search") as publish:
        publish({**known, "running": ids, "names": names})
        (path,) = (tmp_path / "trials").glob(".running.*")
        content = path.read_bytes()
        with locks.claim(tmp_path, three.trial_id):  # it began after the last status
            assert shown(tmp_path, capsys)[1:] == [
                "a search is running: 1 of 6 done, 1 running, 2 starting or queued, about 3 s left",
                f"ending: a ({one.trial_id[:8]}): epoch 1 of 9",
                f"starting or queued: b ({two.trial_id[:8]}): epoch 0 of 9",
                f"starting or queued: c ({again.trial_id[:8]}): epoch 5 of 9",
                f"running: trial {three.trial_id[:8]}",
            ]
    path.write_bytes(content)
    here = f"name={tmp_path.name} results.root={tmp_path.parent}"
    resume = f"to resume: cd /x && python -m dse.search {here}"
    assert shown(tmp_path, capsys, LEFT)[1:] == [
        f"a search was killed: 2 of 6 done, 1 failed; {resume}"
    ]
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    assert shown(copy, capsys, LEFT)[1].startswith(
        "a search was killed, or runs on the folder that this was copied or moved from: "
        "2 of 6 done, 1 failed; to resume: "
    )
    assert status.main([str(tmp_path), str(copy)]) == LEFT
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert status.main([str(tmp_path), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out == ""
    earlier = {key: value for key, value in json.loads(content).items() if key != "count"}
    path.write_text(json.dumps(earlier))
    assert shown(tmp_path, capsys, LEFT)[1:] == [
        f"a search was killed: {known['summary']}; {resume}"
    ]


def test_control_characters_are_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = trials(Plan())[0]
    records.fail(tmp_path, one.trial_id, {"reason": "\x1b[2Jgone\n"})
    for name, text in (("a", '{"summary": 1}'), ("b", "[]"), ("c", "{"), ("d", "")):
        (tmp_path / "trials" / f".running.{name * 16}").write_text(text)
    assert shown(tmp_path, capsys, 1) == [
        f"{tmp_path}: 0 done, 1 failed",
        f"failed: trial {one.trial_id[:8]}: \\x1b[2Jgone",
        "a command whose status cannot be read",
    ]


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "other", "newline"])
def test_a_folder_without_results_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    folder = tmp_path / ("a\nb" if kind == "newline" else kind)
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_bytes(b"")
    elif kind == "other":
        (folder / "trials" / "mine").mkdir(parents=True)
    before = contents(tmp_path)
    assert status.main([str(folder)]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    (line,) = errors.splitlines()
    assert line.startswith("`folder` must be a results folder, got ")
    assert contents(tmp_path) == before


def test_the_command_imports_little_and_needs_a_folder(tmp_path: Path) -> None:
    records.save(tmp_path, toy_trial.record(trials(Plan())[0]), {})
    code = "import sys; from dse import status; code = status.main(sys.argv[1:]); "
    code += "print(*{'torch', 'pandas', 'numpy', 'hydra'} & set(sys.modules)); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path}: 1 done, 0 failed\n\n"
    bare = subprocess.run(
        [sys.executable, "-m", "dse.status"], capture_output=True, text=True, env=os.environ
    )
    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr == "the following arguments are required: results/NAME; see --help\n"
