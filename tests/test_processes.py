"""One trial over several processes: what it answers, what it leaves, and how it ends."""

from __future__ import annotations

import copy
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from test_train import PLAIN, easy, network, state
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from toy_runs import alive, soon
from toy_trial import children, workers

from dse.data.store import DEFAULT, DataError
from dse.results import checkpoints, drivers, files
from dse.runner.events import Event, Failed, Finished, Reported, Retried
from dse.runner.gpus import Gpu, ask_driver
from dse.runner.runner import Runner, Workers
from dse.runner.task import Reporter
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.training import processes
from dse.training.cuda import CudaStep
from dse.training.execute import execute
from dse.training.network import Dropout, Norm
from dse.training.processes import several
from dse.training.ranks import ALONE, Ranks
from dse.training.step import TrainStep
from dse.training.worker import run
from dse.trial.protocol import Protocol
from dse.trial.question import Trial
from dse.trial.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def question(norm: str = "none", dropout: float = 0.3, **values: Any) -> Trial:
    """A trial of two batches an epoch, of 48 and 41 images, that learns slowly."""
    recipe = {"epochs": 3, "warmup": 0, "batch_size": 48, "lr": 0.01, "dead_after": 0}
    layout = replace(LAYOUTS["px8"], norm=norm, dropout=dropout, head_relu=False)
    protocol = Protocol(
        image_size=8,
        train_share=0.1,
        augment="shift",
        recipe=Recipe(**{**recipe, "ladder": "none", **values}),
    )
    return Trial(
        metaparameters=Metaparameters(base_e=8, incr_e=8), layout=layout, protocol=protocol
    )


class Slowly:
    """A reporter that waits after each report, so that a test can act before the trial ends."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self.fail = reporter, reporter.fail

    def __call__(self, value: Any) -> None:
        self._reporter(value)
        time.sleep(0.3)

    @property
    def stopping(self) -> bool:
        return self._reporter.stopping


def run_slowly(argument: Any, reporter: Reporter) -> Any:
    return run(argument, cast(Reporter, Slowly(reporter)))


def shared(
    folder: Path, *trials: Trial, count: int = 2, entry: str = "dse.training.worker:run"
) -> tuple[Runner, Iterator[Event]]:
    """A runner that trains trials, one after the other, with `count` processes each."""
    workers = Workers(count=1, processes=count)
    runner = Runner(entry, workers)
    for number, trial in enumerate(trials):
        runner.submit(number, (trial, folder, DEFAULT, *workers.place))
    return runner, runner.events()


def losses(folder: Path, trial: Trial) -> list[float]:
    """The losses of a trial's curve."""
    text = (files.trial_folder(folder, trial.trial_id) / "curve.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    return [float(row[name]) for row in rows for name in ("train_loss", "val_loss")]


def alone(trial: Trial) -> list[float]:
    """The same of the trial in one process."""
    (curve,) = execute(trial).curves
    return [loss for epoch in curve for loss in (epoch.train_loss, epoch.val_loss)]


def task_of(driver: int) -> list[int]:
    """The processes of the trial that a driver's fork server runs."""
    every = workers(driver)
    return [*every, *(other for task in every for other in children(task))]


# What it answers ------------------------------------------------------------------------------


def test_two_processes_answer_as_one_and_leave_one_record(tmp_path: Path) -> None:
    """Without norm to 1e-5, dropout's masks included. A norm amplifies rounding in channels that
    hardly vary, so these are compared over fewer steps."""
    trials = {
        question(): 1e-5,
        question("batch", epochs=1): 2e-3,
        question("batch", epochs=1, iter_size=4): 2e-3,
    }
    runner, events = shared(tmp_path, *trials)
    with runner:
        rows = {event.key: event.value for event in events if isinstance(event, Finished)}
    for (trial, rel), row in zip(trials.items(), map(rows.get, range(3)), strict=True):
        assert losses(tmp_path, trial) == pytest.approx(alone(trial), rel=rel)
        assert (row["trial_id"], row["device"], row["threads"]) == (trial.trial_id, "cpu", 2)
    assert len(list(tmp_path.glob("trials/*/record.json"))) == 3
    assert not list(tmp_path.rglob("*.state"))


def run_with_gloo(argument: Any, reporter: Reporter) -> Any:
    """A trial whose processes may share one GPU, which NCCL refuses."""
    processes.BACKENDS["cuda"] = "gloo"
    return run(argument, reporter)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["gloo", "nccl"])
def test_two_processes_on_gpus_answer_as_one_on_the_cpu(
    tmp_path: Path, backend: str, precision: str
) -> None:
    """gloo's two processes have one GPU, NCCL's have two."""
    if backend == "nccl" and len(ask_driver().names) < 2:
        pytest.skip("there is one GPU")
    own = {"dropout": 0.0, "epochs": 1, "precision": precision}
    trials = [question(norm, iter_size=n, **own) for norm in ("none", "batch") for n in (1, 4)]
    gpus = (Gpu("0,0" if backend == "gloo" else "0,1", "a GPU"),)
    workers = Workers(count=1, processes=2, device="cuda", settings=gpus)
    entry = f"{__name__}:run_with_gloo" if backend == "gloo" else "dse.training.worker:run"
    with Runner(entry, workers) as runner:
        for number, trial in enumerate(trials):
            runner.submit(number, (trial, tmp_path, DEFAULT, *workers.place))
        ends = [event for event in runner.events() if isinstance(event, (Finished, Failed))]
    assert [end for end in ends if isinstance(end, Failed)] == []
    for trial in trials:
        rel = 1e-2 if precision == "fp32" else 5e-2
        assert losses(tmp_path, trial) == pytest.approx(alone(trial), rel=rel)


def together(count: int, work: Callable[[Ranks], Any]) -> Any:
    """What `work` returns in the first of several processes."""
    with several(count, "cpu", work) as ranks:
        return work(ranks)


def test_statistics_over_processes_are_those_of_the_whole_batch() -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(7, 3, 2, 2, generator=random) * 3 + 100
    weights = torch.randn(7, 3, 2, 2, generator=random)

    def work(ranks: Ranks) -> list[Tensor]:
        norm, mine = Norm(3), ranks.share(7)
        norm.shared = ranks.count > 1
        given = x[mine].clone().requires_grad_()
        output = norm(given)
        (output * weights[mine]).sum().backward()
        gradient, whole = torch.zeros_like(x), torch.zeros_like(x)
        gradient[mine], whole[mine] = given.grad, output.detach()  # type: ignore[assignment]
        summed = [gradient, whole, norm.weight.grad, norm.bias.grad]
        ranks.add_up(summed)  # type: ignore[arg-type]
        return [*summed, norm.running_mean, norm.running_var]  # type: ignore[list-item]

    for ours, theirs in zip(together(2, work), work(ALONE), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("iter_size", [1, 2])
def test_steps_with_norms_are_those_computed_by_hand(iter_size: int) -> None:
    """In one process with torch's own norm, on the whole batch or on each process's half."""
    data = easy(24)
    recipe = replace(PLAIN, batch_size=24, iter_size=iter_size, lr=0.5)
    model, losses = network(dropout=0), []
    for _ in range(40):
        copies = [copy.deepcopy(model) for _ in range(iter_size)]
        pairs = zip(data.x.chunk(iter_size), data.y.chunk(iter_size), strict=True)
        of_parts = [F.cross_entropy(own(x), y) for own, (x, y) in zip(copies, pairs, strict=True)]
        losses.append(sum(of_parts) / iter_size)
        losses[-1].backward()
        with torch.no_grad():
            for ours, *theirs in zip(*(m.parameters() for m in (model, *copies)), strict=True):
                ours -= 0.5 * sum(one.grad for one in theirs)
            for ours, *theirs in zip(*(m.buffers() for m in (model, *copies)), strict=True):
                ours.copy_(sum(theirs) / iter_size)

    def work(ranks: Ranks) -> tuple[list[float], dict[str, Tensor]]:
        layers = list(network(dropout=0))
        layers[1].__class__ = Norm
        model = nn.Sequential(*layers)
        step = TrainStep(model, recipe, steps_per_epoch=40, seed=0, device=CPU, ranks=ranks)
        mine = ranks.of_batch(24, iter_size)
        return [step(data.x[mine], data.y).loss / 24 for _ in range(40)], state(model)

    found, weights = together(2, work)
    assert found == pytest.approx([loss.item() for loss in losses], rel=1e-5)
    assert found[-1] < found[0] / 10
    for name, tensor in state(model).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", [TrainStep, CudaStep])
@pytest.mark.parametrize("iter_size", [1, 3])
def test_a_process_may_have_nothing_to_compute(
    iter_size: int, kind: type[TrainStep], precision: str
) -> None:
    """Of the two images of a last batch, three processes have none, one and one. On a GPU each
    process has dropout of its own, so that only losses without it are the same."""
    data = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(2)
    recipe = Recipe(batch_size=6, iter_size=iter_size, warmup=0, precision=precision)
    rel = 1e-5 if precision == "fp32" else 2e-2

    def work(ranks: Ranks) -> tuple[Any, dict[str, Tensor]]:
        layers = list(network())
        layers[1], layers[3] = Norm(4), Dropout(0.5 if kind is TrainStep else 0.0)
        model = nn.Sequential(*layers)
        step = kind(model, recipe, steps_per_epoch=1, seed=0, device=CPU, ranks=ranks)
        report = step(data[0][ranks.of_batch(2, iter_size)], data[1])
        return report, state(model)

    (report, ours), (expected, theirs) = together(3, work), work(ALONE)
    assert (report.steps, report.correct, report.images) == (1, expected.correct, 2)
    assert report.loss == pytest.approx(expected.loss, rel=rel)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=10 * rel, atol=rel)


# How it ends ----------------------------------------------------------------------------------


def test_what_another_process_raises_is_raised() -> None:
    def work(ranks: Ranks) -> None:
        if ranks.rank == 2:
            raise DataError("an image has gone")
        distributed.all_reduce(torch.zeros(1))

    with pytest.raises(DataError, match="an image has gone"):
        together(3, work)


def waits_in_vain(argument: object, reporter: Reporter) -> None:
    """A task whose first process does not notice that the second one fails, as on a GPU."""
    del argument

    def work(ranks: Ranks) -> None:
        raise DataError(f"process {ranks.rank + 1} finds a broken image")

    processes.GRACE = 0.1
    with several(2, "cpu", work, reporter.fail):
        time.sleep(60)


def test_what_another_process_raises_is_said_where_the_first_one_waits_in_vain() -> None:
    with Runner(f"{__name__}:waits_in_vain", Workers(count=1, retries=0)) as runner:
        runner.submit(0, None)
        *_, failed = runner.events()
    assert isinstance(failed, Failed)
    assert failed.reason.endswith("DataError: process 2 finds a broken image")


def test_a_trial_that_is_stopped_or_loses_a_process_goes_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    """First with two processes, of which the second is killed; at last with one."""
    trial = question(epochs=24)
    slowly = f"{__name__}:run_slowly"
    runner, events = shared(tmp_path, trial, entry=slowly)
    with runner:
        reports = (event.value[0] for event in events if isinstance(event, Reported))
        assert next(reports) == 1
        tasks = task_of(os.getpid())
        runner.stop(60)
        list(events)
    assert len(tasks) == 2
    assert soon(lambda: not any(map(alive, tasks)))
    assert list(checkpoints.newest(tmp_path, trial.trial_id))

    runner, events = shared(tmp_path, trial, entry=slowly)
    with runner:
        resumed = next(event.value[0] for event in events if isinstance(event, Reported))
        first, other = task_of(os.getpid())
        os.kill(other, signal.SIGKILL)
        retried = next(event for event in events if isinstance(event, Retried))
        again = next(event.value[0] for event in events if isinstance(event, Reported))
        runner.stop(60)
        list(events)
    assert retried.reason == "process 2 of 2 of the trial was killed by SIGKILL"
    assert again == resumed > 1
    assert not alive(first)

    runner, events = shared(tmp_path, trial, count=1)
    with runner:
        seen = [event.value[0] for event in events if isinstance(event, Reported)]
    assert seen == list(range(seen[0], 25))
    assert seen[0] > again
    ours, expected = losses(tmp_path, trial), alone(trial)
    assert ours[:10] == pytest.approx(expected[:10], rel=1e-5)
    assert ours == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_ended_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    words = ["runner.processes_per_trial=2", "epochs=2000", "runner.device=cpu"]
    places = [f"results.root={tmp_path}", "name=ended", "dead_after=0", "ladder=none"]
    driver = subprocess.Popen(
        [sys.executable, "-m", "dse.sweep", *words, *places], stderr=subprocess.PIPE
    )

    def trains() -> bool:
        found = [status["running"].values() for status, _ in drivers.published(tmp_path / "ended")]
        return any(not text.startswith("epoch 0 ") for texts in found for text in texts)

    assert soon(trains, 200)
    tasks = task_of(driver.pid)
    assert len(tasks) == 2
    driver.send_signal(number)
    code = driver.wait(200)
    assert code == (-number if number == signal.SIGKILL else 130)
    assert soon(lambda: not any(map(alive, tasks)))
