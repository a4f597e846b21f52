"""One trial executed: the same question has the same answer, bit by bit."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sample_records import comparable

from dse.data.memory import load
from dse.data.store import DEFAULT
from dse.results import checkpoints, curves, files, records, tables
from dse.runner.task import Report, Reporter, Stopped
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.training.execute import Callbacks, Outcome, execute
from dse.training.initial import initialise
from dse.training.judge import Judgement, judge
from dse.training.loop import Epoch, Position, State
from dse.training.network import SqueezeNet
from dse.training.state import decode, encode
from dse.training.worker import Checkpointer, curve_csv, run
from dse.trial.protocol import Protocol
from dse.trial.question import SEMANTICS, Trial, trial_from
from dse.trial.recipe import Recipe
from dse.trial.schedule import learning_rate

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


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of one protocol share their data, which nothing changes."""
    monkeypatch.setattr("dse.training.execute.load", loaded)


loaded = functools.cache(load)


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
    assert again.curves == outcome.curves
    assert same_weights(again, outcome)


def test_another_seed_is_another_training(outcome: Outcome) -> None:
    other = execute(replace(TRIAL, seed=1))
    assert other.record.answer != outcome.record.answer
    assert not same_weights(other, outcome)


def test_a_seed_is_more_than_initial_weights(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """From the same weights, another seed trains in another order."""
    monkeypatch.setattr(
        "dse.training.execute.initialise",
        lambda model, init, _, *rest: initialise(model, init, 0, *rest),
    )
    other = execute(replace(TRIAL, seed=1))
    assert other.curves != outcome.curves


def test_the_record_says_what_was_found(outcome: Outcome) -> None:
    answer, circumstance = outcome.record.answer, outcome.record.circumstance
    assert answer.status in ("learned", "partly_dead")
    assert 30 < answer.top1 <= answer.top5 <= 100
    assert answer.top1 * 6 == pytest.approx(round(answer.top1 * 6))  # of 600 images
    assert answer.val_top1 * 2.99 == pytest.approx(round(answer.val_top1 * 2.99))
    assert len(outcome.curves) == 1
    assert [row.epoch for row in outcome.curves[0]] == [1, 2, 3]
    last = outcome.curves[0][-1]
    for name in ("train_loss", "train_top1", "val_loss", "val_top1"):
        assert getattr(answer, name) == getattr(last, name)
    assert answer.steps == 3 * 14  # 449 images: 14 batches of 32 and a single one left over
    assert answer.diverged_step == answer.dead_step == -1
    assert answer.restarts == 0
    assert circumstance.seconds > 0
    assert circumstance.threads == 1
    assert datetime.fromisoformat(circumstance.finished).tzinfo is not None
    assert f"torch={torch.__version__}" in circumstance.versions.split()


# In a worker ------------------------------------------------------------------------------------


def curve_lines(home: Path) -> list[dict[str, float]]:
    """The lines of a trial's `curve.csv`."""
    rows = csv.DictReader(io.StringIO((home / "curve.csv").read_text()))
    return [{name: float(value) for name, value in row.items()} for row in rows]


def test_a_worker_leaves_record_curve_and_weights(tmp_path: Path, outcome: Outcome) -> None:
    reports: list[Any] = []
    torch.set_num_threads(2)
    row = run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(reports.append))
    assert [report.value for report in reports if report] == [
        (epoch.epoch, epoch.val_top1) for epoch in outcome.curves[0]
    ]
    assert torch.get_num_threads() == 1
    home = files.trial_folder(tmp_path, TRIAL.trial_id)
    assert records.read(home / "record.json").row() == row
    assert curve_lines(home) == [{"attempt": 1.0, **asdict(row)} for row in outcome.curves[0]]
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
    row = run((trial, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None))
    home = files.trial_folder(tmp_path, trial.trial_id)
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

from dse.data.store import DEFAULT
from dse.runner.events import Failed
from dse.runner.runner import Runner, Workers
from dse.trial.question import trial_from

if __name__ == "__main__":
    trials = [trial_from(question) for question in json.load(sys.stdin)]
    for workers in (1, 2):
        with Runner("dse.training.worker:run", Workers(count=workers)) as runner:
            for trial in trials:
                runner.submit(trial.trial_id, (trial, Path(str(workers)), DEFAULT, "cpu"))
            failed = [event for event in runner.events() if isinstance(event, Failed)]
        assert not failed, failed
"""


@pytest.mark.slow
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
        timeout=300,
    )
    first, second = (tables.load(tmp_path / workers) for workers in ("1", "2"))
    assert len(first) == 2
    assert comparable(first).equals(comparable(second))
    assert first["top1"][first["seed"] == 0].item() == outcome.record.answer.top1
    for trial_id in first["trial_id"]:
        for name in ("weights.safetensors", "curve.csv"):
            one, two = (files.trial_folder(tmp_path / w, trial_id) / name for w in ("1", "2"))
            assert one.read_bytes() == two.read_bytes()


# How a training can end -------------------------------------------------------------------------


def test_a_network_that_never_learned_is_a_result() -> None:
    outcome = execute(changed(lr=1e-9, epochs=1))
    answer = outcome.record.answer
    assert answer.status == "never_learned"
    assert answer.top1 < 25
    assert answer.diverged_step == -1
    assert len(outcome.curves[0]) == 1


def test_a_network_that_diverged_is_a_result() -> None:
    outcome = execute(changed(lr=1e6, norm="none", clip=0, warmup=0))
    answer = outcome.record.answer
    assert answer.status == "diverged"
    assert 0 <= answer.diverged_step == answer.steps < 42
    assert all(tensor.isfinite().all() for tensor in outcome.weights.values())
    assert 0 <= answer.top1 <= answer.top5 <= 100
    assert len(outcome.curves[0]) <= 1


def test_a_last_step_into_nothing_is_divergence() -> None:
    """Its own loss and gradient were finite: what it left is not."""
    outcome = execute(changed(lr=1e6, norm="none", clip=0, warmup=0, epochs=1, batch_size=2000))
    answer = outcome.record.answer
    assert (answer.steps, len(outcome.curves[0])) == (1, 1)
    assert math.isnan(answer.val_loss)
    assert (answer.status, answer.diverged_step) == ("diverged", 1)


def test_a_curve_without_an_epoch_is_a_head_line() -> None:
    """As a divergence in the first step of all leaves it."""
    head = b"attempt,epoch,step,lr,train_loss,train_top1,val_top1,val_loss\n"
    assert curve_csv([()]) == head
    assert curve_csv([(), (), ()]) == head


def test_a_curve_names_its_attempt() -> None:
    row = Epoch(
        epoch=1, step=7, lr=0.1, train_loss=1.5, train_top1=50.0, val_top1=1 / 3, val_loss=math.nan
    )
    lines = curve_csv([(row,), (), (row, replace(row, epoch=2))]).decode().splitlines()[1:]
    rest = "7,0.1,1.5,50.0,0.3333333333333333,nan"
    assert lines == [f"1,1,{rest}", f"3,1,{rest}", f"3,2,{rest}"]


def test_a_trial_of_an_earlier_version_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dse.training.execute.load", lambda *_: pytest.fail("it has read its data"))
    with pytest.raises(ValueError, match="semantics") as caught:
        execute(replace(TRIAL, semantics=1))
    assert str(caught.value) == f"`semantics` must be {SEMANTICS} to train, got 1"


# Dead runs --------------------------------------------------------------------------------------


TWICE_DEAD = changed(lr=0.6, init="xavier", dead_after=8, ladder="rate-he-rate")
"""14 steps an epoch, of which the first is warm-up: an attempt is dead after 14 + 8 steps."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The first two attempts start with weights of zero, which learn nothing. Filled with the
    initialisation and number of each attempt.
    """
    seen: list[tuple[str, int]] = []

    def zero_twice(
        model: SqueezeNet, init: str, seed: int, images: torch.Tensor | None, attempt: int
    ) -> None:
        seen.append((init, attempt))
        initialise(model, init, seed, images, attempt)
        if attempt < 2:
            with torch.no_grad():
                for module in model.modules():
                    if isinstance(module, torch.nn.Conv2d):
                        module.weight.zero_()

    monkeypatch.setattr("dse.training.execute.initialise", zero_twice)
    return seen


def test_a_ladder_is_climbed_until_a_run_lives(drawn: list[tuple[str, int]]) -> None:
    trial = TWICE_DEAD
    outcome = execute(trial)
    answer = outcome.record.answer
    assert answer.status in ("learned", "partly_dead")
    assert (answer.restarts, answer.dead_step, answer.steps) == (2, -1, 3 * 14)
    assert drawn == [("xavier", 0), ("xavier", 1), ("he", 2)]
    assert [len(curve) for curve in outcome.curves] == [2, 2, 3]
    assert [curve[-1].step for curve in outcome.curves] == [22, 22, 42]  # where each one died
    for attempt, (curve, rate) in enumerate(zip(outcome.curves, (0.6, 0.15, 0.15), strict=True)):
        assert curve[0].lr == pytest.approx(rate * 14 / 15)
        steps = 3 * 14 if attempt == 2 else 14 + 8
        recipe = replace(trial.protocol.recipe, lr=rate)
        assert curve[-1].lr == pytest.approx(learning_rate(recipe, steps - 1, 14))
    assert answer.val_top1 == outcome.curves[-1][-1].val_top1 > 30

    without = execute(trial_from({**trial.question, "ladder": "none"}))
    answer = without.record.answer
    assert (answer.status, answer.restarts, answer.dead_step) == ("never_learned", 0, 22)
    assert answer.steps == 22
    assert without.curves == outcome.curves[:1]


def test_a_ladder_that_ends_leaves_a_result(tmp_path: Path) -> None:
    """At such a rate every ReLU is dead at once, and nothing is left to learn."""
    trial = changed(
        **{"norm": "none", "bypass": "none", "lr": 8, "warmup": 0, "epochs": 4},
        **{"dead_after": 8, "ladder": "rate-rate-lsuv"},
    )
    row = run((trial, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None))
    assert (row["status"], row["restarts"]) == ("never_learned", 3)
    assert 8 <= row["dead_step"] == row["steps"] < 4 * 14
    home = files.trial_folder(tmp_path, trial.trial_id)
    assert records.read(home / "record.json").row() == row
    lines = curve_lines(home)
    assert {line["attempt"] for line in lines} == {1, 2, 3, 4}
    for attempt in range(1, 5):
        epochs = [line["epoch"] for line in lines if line["attempt"] == attempt]
        assert epochs == list(range(1, len(epochs) + 1))
    assert len({line["train_loss"] for line in lines}) == len(lines)  # each starts elsewhere
    assert (lines[-1]["val_top1"], lines[-1]["val_loss"]) == (row["val_top1"], row["val_loss"])


# Stopped and resumed ------------------------------------------------------------------------------


def test_a_stopped_trial_resumes_in_the_attempt_that_lives(drawn: list[tuple[str, int]]) -> None:
    """A state that is cut is passed over."""
    states: list[bytes] = []

    def on_step(step: int, state: Callable[[], bytes]) -> None:
        if step == 22 + 22 + 20:
            states.append(state())

    whole = execute(TWICE_DEAD, Callbacks(on_step=on_step))
    (state,) = states
    drawn.clear()
    began = time.perf_counter()
    again = execute(TWICE_DEAD, states=[state[: len(state) // 2], state])
    spent = time.perf_counter() - began
    before = json.loads(state.partition(b"\n")[0])["seconds"]
    assert before < again.record.circumstance.seconds < before + spent
    assert [number for _, number in drawn] == [2]
    assert again.record.answer == whole.record.answer
    assert again.curves == whole.curves
    assert same_weights(again, whole)


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


# Stopped and resumed ------------------------------------------------------------------------------


class AfterSteps(Reporter):
    """A reporter that is asked to stop after it has been read this many times."""

    def __init__(self, reads: int) -> None:
        super().__init__(lambda sign: self.said.append(sign.value) if sign else None)
        self.reads, self.said = reads, list[Any]()

    @property
    def stopping(self) -> bool:
        self.reads -= 1
        if self.reads < 0:
            self.stop()
        return super().stopping


LADDER = {
    **{"norm": "none", "bypass": "none", "lr": 8, "warmup": 0, "epochs": 4},
    **{"dead_after": 8, "ladder": "rate-rate-lsuv"},
}


def test_a_trial_that_is_stopped_again_and_again_ends_as_if_it_never_was(tmp_path: Path) -> None:
    row = run((TRIAL, tmp_path / "once", DEFAULT, "cpu"), Reporter(lambda report: None))
    assert row
    total = row["steps"]
    stops = 0
    again = None
    while again is None:
        reporter = AfterSteps(total // 3)
        try:
            again = run((TRIAL, tmp_path / "often", DEFAULT, "cpu"), reporter)
        except Stopped:
            stops += 1
            assert len(list(checkpoints.newest(tmp_path / "often", TRIAL.trial_id))) in (1, 2)
    assert stops >= 2
    epochs, accuracies, *_ = zip(*reporter.said, strict=False)
    table, _ = curves.load(tmp_path / "once", [TRIAL.trial_id])
    before = reporter.said[0][2:]
    assert [*before, *accuracies] == table["val_top1"].tolist()  # the last run reports all
    assert len(before) == epochs[0] - 1 > 0
    seconds = ("seconds", "finished")
    assert {**again, **dict.fromkeys(seconds)} == {**row, **dict.fromkeys(seconds)}
    once, often = (files.trial_folder(tmp_path / n, TRIAL.trial_id) for n in ("once", "often"))
    for name in ("weights.safetensors", "curve.csv"):
        assert (once / name).read_bytes() == (often / name).read_bytes()
    assert not checkpoints.checkpoint_folder(tmp_path / "often", TRIAL.trial_id).exists()


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "never_learned"),
        (LADDER, "partly_dead"),
        ({**LADDER, "dead_after": 4, "ladder": "none"}, "never_learned"),
        ({"lr": 1e6, "norm": "none", "clip": 0, "warmup": 0.5}, "diverged"),
        ({"lr": 1e6, "norm": "none", "clip": 0, "warmup": 0, "epochs": 1}, "diverged"),
    ],
    ids=["ends", "restarts", "dies", "diverges", "diverges at last"],
)
@pytest.mark.parametrize("stops", [4, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_trial_may_be_stopped_at_any_moment(
    tmp_path: Path, values: dict[str, Any], status: str, stops: int
) -> None:
    """After each step and each batch that is judged, with the state of that moment."""
    trial = changed(**{"epochs": 2, **values, "train_share": 0.15, "batch_size": 32})
    counted = AfterSteps(10**6)
    row = run((trial, tmp_path / "once", DEFAULT, "cpu"), counted)
    assert row
    reads = 10**6 - counted.reads
    assert reads > row["steps"]
    assert row["status"] == status
    assert (row["restarts"] > 0) == (values is LADDER)
    assert (row["dead_step"] > 0) == (values.get("ladder") == "none")
    seconds = ("seconds", "finished")
    for stop in {reads * number // stops for number in range(stops)} | {reads - 1}:
        folder = tmp_path / str(stop)
        with pytest.raises(Stopped):
            run((trial, folder, DEFAULT, "cpu"), AfterSteps(stop))
        assert len(list(checkpoints.newest(folder, trial.trial_id))) == 1
        again = run((trial, folder, DEFAULT, "cpu"), Reporter(lambda report: None))
        assert again
        assert {**again, **dict.fromkeys(seconds)} == {**row, **dict.fromkeys(seconds)}
        once, often = (files.trial_folder(f, trial.trial_id) for f in (tmp_path / "once", folder))
        for name in ("weights.safetensors", "curve.csv"):
            assert (once / name).read_bytes() == (often / name).read_bytes()


def test_a_trial_that_is_stopped_while_it_reports_keeps_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names every place where it was trained, in order."""
    reports: list[int] = []
    place = "dse.training.circumstance"
    monkeypatch.setattr(f"{place}.platform.machine", lambda: "x")

    def send(sign: Any) -> None:
        if isinstance(sign, Report):
            reports.append(sign.value[0])
            reporter.stop()

    where = [("A", "1.0"), ("B", "1.1"), ("A", "1.1")]
    for epochs, (cpu, version) in enumerate(where, 1):
        monkeypatch.setattr(f"{place}.cpu_model", lambda cpu=cpu: cpu)
        monkeypatch.setattr(f"{place}.__version__", version)
        reporter = Reporter(send)
        with pytest.raises(Stopped):  # after the last one it is about to judge the test set
            run((TRIAL, tmp_path, DEFAULT, "cpu"), reporter)
        assert reports == list(range(1, epochs + 1))
    row = run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(lambda sign: None))
    assert row
    assert (row["device"], row["machine"]) == ("cpu", "A (x) then B (x) then A (x)")
    assert row["versions"].startswith("dse=1.0,1.1 python=")
    assert capsys.readouterr().err.splitlines() == [
        f"{TRIAL.trial_id}: resumes with machine B (x) after A (x), dse 1.1 after 1.0",
        f"{TRIAL.trial_id}: resumes with machine A (x) after B (x)",
    ]


def test_a_checkpoint_of_an_earlier_version_names_no_places() -> None:
    state = State(tensors={}, position=Position(epoch=1, batches=1))
    content = encode([], state, places={"device": ["cpu"]})
    assert decode(content)[3] == {"device": ["cpu"]}
    earlier = content.replace(b', "places": {"device": ["cpu"]}', b"")
    assert earlier != content
    assert decode(earlier) == ([], state, 0.0, {})


@pytest.fixture(scope="module")
def short() -> Outcome:
    return execute(changed(epochs=1))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b"[]\n", b'{"attempts": [], "position": {"later": 1}}\n', b"\xff\nx"],
)
def test_a_state_that_cannot_be_read_gives_way_to_the_start(
    tmp_path: Path, short: Outcome, content: bytes
) -> None:
    trial = short.record.trial
    for step in (7000, 7001):  # after the end of the trial
        checkpoints.save(tmp_path, trial.trial_id, step, content)
    with pytest.raises(Stopped):
        run((trial, tmp_path, DEFAULT, "cpu"), AfterSteps(5))
    assert next(checkpoints.newest(tmp_path, trial.trial_id)) != content
    reads = AfterSteps(10**6)
    row = run((trial, tmp_path, DEFAULT, "cpu"), reads)
    assert row
    assert (row["steps"], row["top1"]) == (14, short.record.answer.top1)
    assert reads.reads > 10**6 - row["steps"] - 10  # it resumed from its own checkpoint


def test_what_another_process_trains_is_asked_for_later_and_a_record_is_left_alone(
    tmp_path: Path, outcome: Outcome
) -> None:
    records.save(tmp_path, outcome.record, {})
    checkpoints.save(tmp_path, TRIAL.trial_id, 7, b"of a trial that another one finished")
    assert run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None)) is None
    assert not checkpoints.checkpoint_folder(tmp_path, TRIAL.trial_id).exists()


def test_a_record_that_comes_too_late_is_discarded_with_a_note(
    tmp_path: Path,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a file system has no locks, two may train one trial: the first one's record stays."""

    def first(*_: object) -> Iterator[str]:
        records.save(tmp_path, outcome.record, {"mine": b"1"})
        yield "mine"

    monkeypatch.setattr("dse.training.worker.claim", contextmanager(first))
    assert run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None)) is None
    note = f"{TRIAL.trial_id}: another process saved its record first; this one is discarded\n"
    assert capsys.readouterr().err == note
    home = files.trial_folder(tmp_path, TRIAL.trial_id)
    assert sorted(path.name for path in home.iterdir()) == ["mine", "record.json"]


def test_checkpoints_are_written_by_the_clock_and_a_full_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr("dse.training.worker.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("dse.training.worker.CHECKPOINT_COST", 0)
    monkeypatch.setattr(
        checkpoints, "save", lambda folder, trial_id, step, state: kept.append(step)
    )
    row = run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None))
    assert row
    assert kept == list(range(1, row["steps"] + 1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run((TRIAL, tmp_path / "full", DEFAULT, "cpu"), Reporter(lambda report: None))


def test_checkpoints_take_a_hundredth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that only saving moves fast: 3 s a checkpoint, 1 s a step."""
    now, saved = [0.0], []

    def save(*arguments: Any) -> None:
        saved.append(arguments[2])
        now[0] += 3

    monkeypatch.setattr(checkpoints, "save", save)
    monkeypatch.setattr("dse.training.worker.time.monotonic", lambda: now[0])
    checkpointer = Checkpointer(tmp_path, TRIAL.trial_id, Reporter(lambda report: None))
    for step in range(1, 1001):
        now[0] += 1
        checkpointer.on_step(step, bytes)
        checkpointer.tick()
    assert saved == [10, 310, 610, 910]


@pytest.mark.parametrize(
    ("values", "status"), [({"lr": 1e-9, "epochs": 1}, "never_learned"), ({}, "learned")]
)
def test_the_status_does_not_depend_on_the_test_part(
    values: dict[str, Any], status: str, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = changed(**values)
    before = execute(trial) if values else outcome
    assert before.record.answer.status == status

    def opposite(model: SqueezeNet, batches: Any, *_: Any) -> Judgement:
        top1 = 0.0 if status == "learned" else 100.0
        missed = 5 if status == "learned" else 0
        return replace(judge(model, batches), top1=top1, missed=missed, loss=math.nan)

    monkeypatch.setattr("dse.training.execute.judge", opposite)
    answer = execute(trial).record.answer
    assert answer.top1 in (0.0, 100.0)
    assert answer.status == status
