"""Searches for the front of compressed bytes and accuracy."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from matplotlib.text import Text
from optuna.trial import TrialState, create_trial
from reading import composed_once
from test_search_drive import SMALL, entries
from toy_search import BROKEN, KILL, KILLED_AT, TOY, search
from toy_trial import notes

from dse import pack
from dse.compress import after_training
from dse.data.store import Store
from dse.figures.study import study_figure
from dse.report import build
from dse.report.study import networks_of
from dse.results import compressed, records, studies, tables
from dse.results.files import COMPRESSED
from dse.runner.task import Reporter
from dse.search.answers import Answers
from dse.search.closing import _missing, summarised
from dse.search.keys import COMPRESS, OWN
from dse.search.ledger import described
from dse.search.request import read_request
from dse.trial.compression import Settings, compressed_id

__all__ = ["composed_once"]

SOUGHT = (*SMALL, "objective=compressed_bytes,val_top1", "sampler=annealing", "seed=0,1")
CHEAP = Settings(density=1, bits=6, retrain_epochs=0)


def said(folder: Path) -> list[Any]:
    """What all entries of a folder's first study say."""
    return [(e.state.name, e.params, e.values, e.user_attrs) for e in entries(folder, 0)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that was not disturbed."""
    folder = tmp_path_factory.mktemp("searches") / "whole"
    assert search(folder, *SOUGHT, "n_trials=3") == 0
    return folder


def test_the_objectives_are_those_of_the_compressed_files(whole: Path) -> None:
    question = read_request([*SOUGHT, *TOY]).question
    said_of_files = {key for key in described(question) if key.startswith(COMPRESS)}
    assert said_of_files <= {*OWN, "compress.phase"}  # as in studies before there were more
    done = [e for e in entries(whole, 0) if e.state.name == "COMPLETE"]
    assert len(done) >= 3
    for entry in done:
        trials = question.trials(entry.user_attrs["point"])
        ids = [compressed_id(trial.trial_id, CHEAP) for trial in trials]
        measured = [compressed.read(whole, own).measured for own in ids]
        assert entry.values == [
            fmean(one.file_bytes for one in measured),
            fmean(one.val_top1 for one in measured),
        ]
    assert len(records.ids(whole, COMPRESSED)) == 6


def test_a_kill_before_a_compression_changes_nothing(tmp_path: Path, whole: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / KILL).touch()
    driver = subprocess.run(
        [sys.executable, "-m", "toy_search", str(killed), *SOUGHT, "n_trials=3"],
        cwd=Path(__file__).parent,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    assert driver.returncode == -signal.SIGKILL
    assert len(records.ids(killed)) == KILLED_AT
    assert studies.sampled(killed) == records.ids(killed), "they are no grid"
    assert len(records.ids(killed, COMPRESSED)) == KILLED_AT - 1
    assert search(killed, *SOUGHT, "n_trials=3") == 0
    assert said(killed) == said(whole)

    # What is packed is an answer too.
    assert pack.main([str(killed), "remove=true"]) == 0
    assert search(killed, *SOUGHT, "n_trials=3", "study=again") == 0
    assert [e.values for e in entries(killed, 1)] == [e.values for e in entries(killed, 0)]
    for what in ("trained", "compressed"):
        assert Counter(notes(killed, what)) == Counter(notes(whole, what))


def test_a_compression_that_fails_is_noted_and_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / BROKEN).touch()
    assert search(folder, *SOUGHT, "n_trials=1") == 0
    assert capfd.readouterr().out == "0 of 1 trial done\n"
    noted = records.failures(folder, COMPRESSED)
    assert len(noted) == 2
    assert all("it is broken" in failure.reason for failure in noted.values())
    assert records.failures(folder) == {}
    page = build.write(folder, tables.load(folder), {}, "command").read_text()
    assert "Failed compressed networks" in page
    assert "it is broken" in page
    failed = [e for e in entries(folder, 0) if e.state.name == "FAIL"]
    assert any(line.startswith("retry with: ") for line in _missing(failed, 1))
    (folder / BROKEN).unlink()
    assert search(folder, *SOUGHT, "n_trials=1") == 0
    assert [e.state.name for e in entries(folder, 0)] == ["FAIL", "COMPLETE"]
    assert len(notes(folder, "trained")) == 2


def test_a_real_network_is_trained_once_and_compressed_as_the_command_does(tmp_path: Path) -> None:
    question = read_request([*SOUGHT, "epochs=1"]).question
    trial = question.trial({"base_e": 8, "sr": 0.125, "pct3x3": 0.25})
    said: list[Any] = []
    reporter = Reporter(lambda report: said.append(report.value) if report else None)
    argument = (trial, tmp_path, Store(), "cpu", question.compression)
    row = after_training.run(argument, reporter)
    assert row is not None
    own = compressed.read(tmp_path, compressed_id(trial.trial_id, CHEAP))
    file = tmp_path / COMPRESSED / own.compressed_id / compressed.FILE
    assert own.measured.file_bytes == row["file_bytes"] == file.stat().st_size
    assert [epoch for epoch, _ in said] == [1, 2]
    assert said[1][1] == own.measured.val_top1
    assert after_training.run(argument, reporter) is None
    assert Answers(tmp_path, question.compression).of([trial]) == {
        "val_top1": own.measured.val_top1,
        "compressed_bytes": own.measured.file_bytes,
    }

    (tmp_path / "trials" / trial.trial_id / "weights.safetensors").unlink()
    other = replace(CHEAP, bits=4)
    with pytest.raises(ValueError, match=r"record, but no weights.safetensors") as refused:
        after_training.run((trial, tmp_path, Store(), "cpu", other), reporter)
    failed = create_trial(state=TrialState.FAIL, user_attrs={"failed": f"{refused.value}"})
    failed.user_attrs["point"] = {"sr": 0.125}
    assert [*_missing([failed], 1)] == [
        "1 of 1 point has no record: sr=0.125",
        "their trials have no weights to compress: search under another `name`",
    ]


def test_a_trial_that_diverged_is_compressed_and_says_so(tmp_path: Path) -> None:
    wild = ("lr=1e6", "warmup=0.5", "norm=none", "clip=0", "epochs=2")
    question = read_request([*SOUGHT, *wild]).question
    trial = question.trial({"base_e": 8, "sr": 0.125, "pct3x3": 0.25})
    argument = (trial, tmp_path, Store(), "cpu", question.compression)
    row = after_training.run(argument, Reporter(lambda report: None))
    assert row is not None
    assert row["status"] == "diverged"
    assert compressed.read(tmp_path, row["compressed_id"]).measured.status == "never_learned"


def test_the_summary_is_of_the_networks_decoded_from_their_files(whole: Path) -> None:
    request = read_request([*SOUGHT, *TOY, f"results.root={whole.parent}", f"name={whole.name}"])
    done = [e for e in entries(whole, 0) if e.state.name == "COMPLETE"]
    best = max(done, key=lambda entry: entry.values[1])
    text = summarised(request, tables.load(whole), 6)
    assert ", of the networks decoded from their files (method=deep_comp" in text.splitlines()[0]
    (line,) = [line for line in text.splitlines() if line.startswith("best by validation")]
    trials = request.question.trials(best.user_attrs["point"])
    ids = [compressed_id(trial.trial_id, CHEAP)[:8] for trial in trials]
    assert f" {best.values[0]:,.0f} bytes compressed; compressed networks {', '.join(ids)}" in line
    assert all(f"{axis.name}=" in line for axis in request.question.space.axes)
    networks = networks_of(whole, {"s": {"compression": "method=..."}}).loc[
        [compressed_id(trial.trial_id, CHEAP) for trial in trials]
    ]
    files = [compressed.read(whole, own) for own in networks.index]
    assert networks["top1"].tolist() == [one.measured.top1 for one in files]
    assert networks["size_bytes"].tolist() == [one.measured.fp32_bytes for one in files]
    assert networks["params"].notna().all()
    rows = text.splitlines()[2 : 2 + len(done)]
    assert any(f" {best.values[1]:.1f} " in row for row in rows)
    lost = tables.load(whole).assign(status="diverged")
    assert "6 trials: 6 with a non-finite loss" in summarised(request, lost, 6)
    assert summarised(request, tables.load(whole)[:0], 6).startswith("0 of 6 trials done")


def test_the_figure_says_what_was_measured() -> None:
    points = [{"state": "trained", "values": [9000.0 - n, 50.0 + n], "epochs": 2} for n in range(3)]
    study = {
        "sampler": "random",
        "objectives": ["compressed_bytes", "val_top1"],
        "compression": "method=deep_compression bits=6",
        "points": points,
    }
    figure = study_figure(study)
    assert figure.axes[0].get_xlabel() == "length of the compressed file (bytes)"
    (text,) = [text.get_text() for text in figure.findobj(Text) if "decoded" in text.get_text()]
    assert "method=deep_compression bits=6" in " ".join(text.split())
