"""Dense-sparse-dense training: its phases, its masks, what it keeps, and how it resumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from reading import composed_once, lines, read, values
from safetensors.torch import load_file
from test_execute import TRIAL as PLAIN
from test_execute import _loaded_once, _one_thread
from torch import Tensor

from dse.analysis.axes import sweep
from dse.api import load
from dse.data.store import DEFAULT
from dse.results.files import trial_folder
from dse.runner.task import Reporter
from dse.training import trained
from dse.training.cuda import CudaStep
from dse.training.execute import STEPS, Callbacks, Outcome, execute
from dse.training.judge import Judgement
from dse.training.loop import CPU, Position, State, Training
from dse.training.sparse import largest
from dse.training.state import decode, encode
from dse.training.worker import run
from dse.trial.question import trial_from
from dse.trial.recipe import Recipe
from dse.trial.schedule import learning_rate

__all__ = ["_loaded_once", "_one_thread", "composed_once"]

PHASES = {"dsd_density": 0.4, "dsd_sparse": 1, "dsd_final": 1}
TRIAL = trial_from({**PLAIN.question, **PHASES})
Run = tuple[Outcome, dict[int, bytes]]
EPOCH = 14
"""Steps of an epoch; the trial has three, one in each phase."""


def execute_with_states(*steps: int, device: torch.device = CPU) -> Run:
    """The outcome of the trial, and its states after some steps."""
    states: dict[int, bytes] = {}

    def on_step(step: int, state: Callable[[], bytes]) -> None:
        if step in steps:
            states[step] = state()

    return execute(TRIAL, Callbacks(on_step=on_step), device=device), states


STOPS = (10, EPOCH, EPOCH + 1, 20, 2 * EPOCH, 2 * EPOCH + 1, 40)


@pytest.fixture(scope="module")
def whole() -> Run:
    return execute_with_states(*STOPS)


def weights(state: bytes) -> dict[str, Tensor]:
    tensors = decode(state)[1].tensors
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}


# Phases -------------------------------------------------------------------------------------


def test_the_learning_rate_begins_again_at_a_tenth() -> None:
    phases = {"dsd_density": 0.5, "dsd_sparse": 1, "dsd_final": 2}
    recipe = Recipe(epochs=5, lr=1.0, warmup=1, **phases)  # type: ignore[arg-type]
    rates = [learning_rate(recipe, step, steps_per_epoch=2) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0.1, 0.05, 0.1, 0.075, 0.05, 0.025])


def test_only_the_sparse_phase_has_zeros(whole: Run) -> None:
    """In every layer but the first, as many as the density says; biases and norms have none."""
    _, states = whole
    for step in STOPS:
        learned = {n: t for n, t in weights(states[step]).items() if n.endswith("weight")}
        zeros = {name: int((tensor == 0).sum()) for name, tensor in learned.items()}
        pruned = {n for n, t in learned.items() if t.dim() > 1 and n != "conv1.weight"}
        assert not any(zeros[name] for name in zeros.keys() - pruned)
        if EPOCH < step <= 2 * EPOCH:
            sizes = {name: learned[name].numel() for name in pruned}
            assert {name: sizes[name] - zeros[name] for name in pruned} == {
                name: math.floor(0.4 * size + 0.5) for name, size in sizes.items()
            }
        elif step <= EPOCH:
            assert not any(zeros.values())
        else:  # one without a gradient stays where it is
            assert sum(zeros.values()) < 0.02 * sum(learned[name].numel() for name in pruned)


def test_the_largest_weights_are_kept_and_go_on_learning(
    whole: Run,
) -> None:
    dense, first, last = (weights(whole[1][step]) for step in (EPOCH, EPOCH + 1, 2 * EPOCH))
    for name in ("fire3.squeeze.weight", "fire9.expand3x3.weight", "conv10.weight"):
        kept = largest(dense[name], 0.4) > 0
        assert dense[name][kept].abs().min() >= dense[name][~kept].abs().max()
        assert torch.equal(first[name] != 0, kept)
        assert torch.equal(last[name] != 0, kept)
        assert not torch.equal(first[name][kept], last[name][kept])


def test_at_least_one_weight_is_kept() -> None:
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert largest(weight, 0.999).min() == 1
    assert largest(weight, 1e-9).sum() == 1
    assert largest(torch.zeros(2, 2), 0.5).sum() == 2


def test_random_streams_are_those_of_plain_training(
    whole: Run,
) -> None:
    """Until the first phase ends, a training of as many dense epochs is the same."""
    plain = execute(trial_from({**PLAIN.question, "epochs": 1}))
    dense = weights(whole[1][EPOCH])
    assert all(torch.equal(dense[name], weight) for name, weight in plain.weights.items())
    assert whole[0].curves[0][0] == plain.curves[0][0]


# What is kept, and resuming -----------------------------------------------------------------


def test_the_end_of_the_sparse_phase_is_kept(whole: Run) -> None:
    outcome, states = whole
    end = weights(states[2 * EPOCH])
    assert outcome.sparse.keys() == outcome.weights.keys()
    assert all(torch.equal(tensor, end[name]) for name, tensor in outcome.sparse.items())
    assert not execute(trial_from({**PLAIN.question, "epochs": 1})).sparse


@pytest.mark.parametrize("step", STOPS)
def test_it_resumes_in_each_phase_to_the_same_end(whole: Run, step: int) -> None:
    outcome, states = whole
    again = execute(TRIAL, states=[states[step]])
    assert again.record.answer == outcome.record.answer
    assert again.curves == outcome.curves
    for name, weight in outcome.weights.items():
        assert torch.equal(again.weights[name], weight)
        assert torch.equal(again.sparse[name], outcome.sparse[name])


def test_the_steps_of_a_gpu_have_the_same_phases(
    whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, "cpu", CudaStep)
    outcome = execute(TRIAL, states=[whole[1][10]])
    for name, tensor in whole[0].sparse.items():
        assert torch.allclose(outcome.sparse[name], tensor, atol=1e-3), name
        if tensor.dim() > 1:
            assert torch.equal(outcome.sparse[name] == 0, tensor == 0), name


@pytest.mark.gpu
def test_on_a_gpu_it_resumes_in_each_phase() -> None:
    outcome, states = execute_with_states(EPOCH, 2 * EPOCH, device=torch.device("cuda"))
    sparse = outcome.sparse["conv10.weight"]
    assert int((sparse != 0).sum()) == math.floor(0.4 * sparse.numel() + 0.5)
    assert len(states) == 2
    for state in states.values():
        again = execute(TRIAL, states=[state], device=torch.device("cuda"))
        assert again.record.answer == outcome.record.answer
        for name, weight in outcome.weights.items():
            assert torch.equal(again.weights[name], weight)
            assert torch.equal(again.sparse[name], outcome.sparse[name])


def test_a_state_of_it_is_not_one_of_plain_training(
    whole: Run,
) -> None:
    plain = trial_from({**PLAIN.question, "epochs": 1})
    assert execute(plain, states=[whole[1][10]]).record.answer == execute(plain).record.answer


def test_a_worker_writes_the_sparse_weights(tmp_path: Path, whole: Run) -> None:
    run((TRIAL, tmp_path, DEFAULT, "cpu"), Reporter(lambda report: None))
    kept = load_file(trial_folder(tmp_path, TRIAL.trial_id) / "sparse.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in whole[0].sparse.items())
    sparse = trial_folder(tmp_path, TRIAL.trial_id) / "sparse.safetensors"
    sparse.write_bytes(sparse.with_name("weights.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"sparse\.safetensors is not what its record says"):
        trained.load(tmp_path, TRIAL.trial_id, sparse.name)
    (row,) = load(tmp_path).to_dict("records")
    assert (row["dsd_density"], row["top1"]) == (0.4, whole[0].record.answer.top1)


def test_a_dead_attempt_is_kept_without_its_weights() -> None:
    judged = Judgement(top1=1.0, top5=2.0, loss=3.0, predicted=4, missed=5, guess=6.0)
    dead = Training(
        curve=(), validation=judged, steps=3, dead_step=3, sparse={"conv1.weight": torch.ones(1)}
    )
    state = State(tensors={"model.x": torch.ones(1)}, position=Position())
    assert decode(encode([dead], state))[0] == [dead]


# Requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("dsd_density=0.5", "`dsd_sparse` must be at least 1 where `dsd_density` is 0.5, got 0"),
        (
            "dsd_density=0.5 dsd_sparse=2",
            "`dsd_final` must be at least 1 where `dsd_density` is 0.5, got 0",
        ),
        (
            "dsd_density=0.5 dsd_sparse=12 dsd_final=8",
            "`epochs` must be more than `dsd_sparse` and `dsd_final` together, 20, got 20",
        ),
        ("dsd_sparse=2", "`dsd_sparse` has no effect where `dsd_density` is 1"),
        ("dsd_density=0", "`dsd_density` must be in (0, 1], got 0"),
    ],
)
def test_phases_that_do_not_fit_are_refused(arguments: str, line: str) -> None:
    assert lines(*arguments.split()) == [line]


def test_the_page_compares_trainings_of_equal_epochs() -> None:
    request = read(page="dsd")
    assert len(request.trials) == 16
    assert set(values(request, "epochs")) == {40}
    phases = {(t.protocol.recipe.dsd_density, t.protocol.recipe.dsd_sparse) for t in request.trials}
    assert phases == {(1, 0), (0.33, 10)}
    assert read(page="squeezenet").trials == read("dsd_sparse=0", page="squeezenet").trials


def test_a_table_of_both_varies_in_the_density_alone() -> None:
    import pandas as pd

    table = pd.DataFrame(
        [{**t.question, "trial_id": t.trial_id, "top1": 1.0} for t in read(page="dsd").trials]
    )
    found = sweep(table)
    assert [axis.name for axis in found.axes] == ["dsd_density"]
    assert found.fixed["dsd_sparse"] == 10
    assert "dsd_sparse" not in sweep(table[table["dsd_density"] == 1]).fixed
