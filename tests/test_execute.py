"""One trial executed: the same question has the same answer, bit by bit."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dse import results
from dse.data import load
from dse.execute import Outcome, curve_csv, execute, run
from dse.model import SqueezeNet, initialise
from dse.protocol import Protocol, Recipe
from dse.space import LAYOUTS, Metaparameters
from dse.train import Epoch, judge
from dse.trial import Trial, trial_from

RECIPE = Recipe(epochs=3, batch_size=32, warmup=1)
TRIAL = Trial(
    metaparameters=Metaparameters(base_e=8, incr_e=4, sr=0.5, bypass="complex"),
    layout=replace(LAYOUTS["px8"], norm="batch", head_relu=False, dropout=0.1),
    protocol=Protocol(image_size=8, train_share=0.5, augment="shift", recipe=RECIPE),
)


def changed(**values: Any) -> Trial:
    """`TRIAL` with some fields of its question changed."""
    return trial_from({**TRIAL.question, **values})


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return execute(TRIAL)


def same_weights(a: Outcome, b: Outcome) -> bool:
    same = (torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    return a.weights.keys() == b.weights.keys() and all(same)


def test_the_same_trial_twice_is_bit_equal(outcome: Outcome) -> None:
    torch.manual_seed(4711)
    torch.rand(17)
    again = execute(trial_from(TRIAL.question))
    assert again.record.trial.question == outcome.record.trial.question
    assert again.record.answer == outcome.record.answer
    assert again.curve == outcome.curve
    assert same_weights(again, outcome)


def test_another_seed_is_another_training(outcome: Outcome) -> None:
    other = execute(replace(TRIAL, seed=1))
    assert other.record.answer != outcome.record.answer
    assert not same_weights(other, outcome)


def test_a_seed_is_more_than_initial_weights(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """From the same weights, another seed trains in another order."""
    monkeypatch.setattr("dse.execute.initialise", lambda model, init, _: initialise(model, init, 0))
    other = execute(replace(TRIAL, seed=1))
    assert other.curve != outcome.curve


def test_the_record_says_what_was_found(outcome: Outcome) -> None:
    answer, circumstance = outcome.record.answer, outcome.record.circumstance
    assert answer.status in ("learned", "partly_dead")
    assert 30 < answer.top1 <= answer.top5 <= 100
    assert answer.top1 * 6 == pytest.approx(round(answer.top1 * 6))  # of 600 pictures
    assert answer.val_top1 * 2.99 == pytest.approx(round(answer.val_top1 * 2.99))
    assert [row.epoch for row in outcome.curve] == [1, 2, 3]
    last = outcome.curve[-1]
    for name in ("train_loss", "train_top1", "val_loss", "val_top1"):
        assert getattr(answer, name) == getattr(last, name)
    assert answer.steps == 3 * 14  # 449 pictures: 14 batches of 32 and a single one left over
    assert answer.diverged_step == -1
    assert circumstance.seconds > 0
    assert circumstance.threads == 1
    assert datetime.fromisoformat(circumstance.finished).tzinfo is not None
    assert f"torch={torch.__version__}" in circumstance.versions.split()


# In a worker ------------------------------------------------------------------------------------


def test_a_worker_leaves_record_curve_and_weights(tmp_path: Path, outcome: Outcome) -> None:
    told: list[Any] = []
    torch.set_num_threads(2)
    row = run((TRIAL, tmp_path), told.append)
    assert told == [(epoch.epoch, epoch.val_top1) for epoch in outcome.curve]
    assert torch.get_num_threads() == 1
    home = results.trial_folder(tmp_path, TRIAL.trial_id)
    assert results.read(home / "record.json").row() == row
    rows = list(csv.DictReader(io.StringIO((home / "curve.csv").read_text())))
    assert [{k: float(v) for k, v in line.items()} for line in rows] == [
        {name: float(getattr(epoch, name)) for name in Epoch.__slots__} for epoch in outcome.curve
    ]
    saved = load_file(home / "weights.safetensors")
    assert saved.keys() == outcome.weights.keys()
    assert all(torch.equal(saved[name], outcome.weights[name]) for name in saved)


@pytest.mark.parametrize(
    "values",
    [{}, {"norm": "none"}, {"precision": "bf16"}],
    ids=["batch norm", "no norm", "bf16"],
)
def test_saved_weights_are_the_network_that_was_judged(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    trial = changed(**values)
    row = run((trial, tmp_path), lambda value: None)
    home = results.trial_folder(tmp_path, trial.trial_id)
    saved = load_file(home / "weights.safetensors")
    assert sum(t.numel() * t.element_size() for t in saved.values()) == row["size_bytes"]
    assert all(tensor.dtype == torch.float32 for tensor in saved.values())
    model = SqueezeNet(trial.architecture)
    model.load_state_dict(saved)
    data = load(trial.protocol)
    judged = judge(model, lambda: data.batches(data.test, 100))
    assert (judged.top1, judged.top5) == (row["top1"], row["top5"])
    assert judged.loss == pytest.approx(row["loss"], rel=1e-5)
    assert judge(model, lambda: data.batches(data.validation)).top1 == row["val_top1"]


DRIVER = """\
import json, sys
from pathlib import Path

from dse.runner import Failed, Runner
from dse.trial import trial_from

if __name__ == "__main__":
    trials = [trial_from(question) for question in json.load(sys.stdin)]
    for workers in (1, 2):
        with Runner("dse.execute:run", workers) as runner:
            for trial in trials:
                runner.submit(trial.trial_id, (trial, Path(str(workers))))
            failed = [event for event in runner.events() if isinstance(event, Failed)]
        assert not failed, failed
"""


def test_one_worker_or_two_leave_equal_records(tmp_path: Path, outcome: Outcome) -> None:
    """A driver of its own, so that its workers are forked as a sweep's are."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    questions = [replace(TRIAL, seed=seed).question for seed in range(2)]
    subprocess.run(
        [sys.executable, str(driver)],
        input=json.dumps(questions),
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    one, two = (results.load(tmp_path / workers) for workers in ("1", "2"))
    assert len(one) == 2
    assert results.comparable(one).equals(results.comparable(two))
    assert one["top1"][one["seed"] == 0].item() == outcome.record.answer.top1
    for trial_id in one["trial_id"]:
        for name in ("weights.safetensors", "curve.csv"):
            files = [results.trial_folder(tmp_path / w, trial_id) / name for w in ("1", "2")]
            assert files[0].read_bytes() == files[1].read_bytes()


# How a training can end -------------------------------------------------------------------------


def test_a_network_that_never_learned_is_a_result() -> None:
    outcome = execute(changed(lr=1e-9, epochs=1))
    answer = outcome.record.answer
    assert answer.status == "never_learned"
    assert answer.top1 < 25
    assert answer.diverged_step == -1
    assert len(outcome.curve) == 1


def test_a_network_that_diverged_is_a_result() -> None:
    outcome = execute(changed(lr=1e6, norm="none", clip=0, warmup=0))
    answer = outcome.record.answer
    assert answer.status == "diverged"
    assert 0 <= answer.diverged_step == answer.steps < 42
    assert all(tensor.isfinite().all() for tensor in outcome.weights.values())
    assert 0 <= answer.top1 <= answer.top5 <= 100
    assert len(outcome.curve) <= 1


def test_a_curve_without_an_epoch_is_a_head_line() -> None:
    """As a divergence in the first step of all leaves it."""
    assert curve_csv(()) == b"epoch,lr,train_loss,train_top1,val_top1,val_loss\n"


# Paired seeds -----------------------------------------------------------------------------------


def initial(**values: Any) -> dict[str, torch.Tensor]:
    """The convolutions' weights of a training that moves nothing."""
    outcome = execute(changed(lr=1e-30, epochs=1, weight_decay=0, train_share=0.01, **values))
    return {n: w for n, w in outcome.weights.items() if w.dim() == 4}


@pytest.mark.parametrize(
    ("values", "shared"),
    [
        ({"bypass": "none"}, 26),
        ({"bypass": "simple"}, 26),
        ({"sr": 0.25}, 30 - 24),  # all but those that see another width
        ({"pct3x3": 0.25}, 30 - 16),
        ({"seed": 1}, 0),
    ],
)
def test_equal_seeds_share_the_initial_weights_of_shared_layers(
    values: dict[str, Any], shared: int
) -> None:
    ours, theirs = initial(), initial(**values)
    both = [name for name in ours if name in theirs and ours[name].shape == theirs[name].shape]
    assert len(ours) == 26 + 4  # four wires are convolutions
    assert sum(torch.equal(ours[name], theirs[name]) for name in both) == shared
    assert "seed" in values or shared == len(both)
    assert all(math.isfinite(w.sum()) and w.any() for w in ours.values())
