"""Training on a GPU. The tests without the mark `gpu` run its code on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from test_train import FULL, PLAIN, Blind, State, Toy, easy, equal, network, state, toy
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from dse.data import resident
from dse.data.memory import AUGMENTATIONS, Data, Part, load
from dse.data.resident import Resident, on_device
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.training import cuda
from dse.training.cuda import REPORT, CudaStep, flattened
from dse.training.execute import Callbacks, Outcome, build, execute
from dse.training.halves import Halves
from dse.training.judge import judge
from dse.training.loop import CPU, Training, train
from dse.training.network import SqueezeNet
from dse.training.step import StepReport, TrainStep
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol
from dse.trial.question import Trial
from dse.trial.recipe import Recipe

gpu = pytest.mark.gpu
CUDA = torch.device("cuda")
LONG = replace(FULL, epochs=2, batch_size=2, dead_after=0)
"""50 steps an epoch on 100 images."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# The images -----------------------------------------------------------------------------------


def images(augment: str, channels: int = 3) -> Data:
    """61 random images of 9x9 for training, 20 for validation, 30 for testing."""
    random, facts = np.random.default_rng(1), DATA_SETS["cifar10" if channels == 3 else "digits"]
    images = random.integers(0, 256, (81, 9, 9, channels), np.uint8)
    labels, rows = random.integers(0, 10, 81), random.permutation(81)
    tests = random.integers(0, 256, (30, 9, 9, channels), np.uint8)
    return Data(
        train=Part(images, labels, rows[:61]),
        validation=Part(images, labels, rows[61:]),
        test=Part(tests, labels[:30], np.arange(30)),
        facts=facts,
        augment=augment,
    )


def same_batches(ours: Iterator[tuple[Tensor, Tensor]], theirs: Iterator[tuple[Tensor, Tensor]]):
    """Whether batches are equal, number by number; returns how many there are."""
    count = 0
    for (x, y), (their_x, their_y) in zip(ours, theirs, strict=True):
        assert torch.equal(x.cpu(), their_x)
        assert torch.equal(y.cpu(), their_y)
        count += 1
    return count


def check_batches(data: Data, placed: Data) -> None:
    for epoch, start in ((1, 0), (2, 0), (2, 3), (1, 7)):
        pair = (d.train_batches(8, 5, epoch, start) for d in (placed, data))
        assert same_batches(*pair) == 8 - start  # 61 images: the last batch has five
    for name in ("train", "validation", "test"):
        pair = (d.batches(getattr(d, name), 7) for d in (placed, data))
        assert same_batches(*pair) == math.ceil(len(getattr(data, name)) / 7)
        assert len(getattr(placed, name)) == len(getattr(data, name))


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("together", [1, 3 * 8 * 81, 2**21])
def test_images_cut_out_on_a_device_are_the_same(
    augment: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is cut out at a time, and from any batch on."""
    monkeypatch.setattr(resident, "PIXELS", together)
    for channels in (1, 3):
        data = images(augment, channels)
        check_batches(data, Resident(data, CPU))  # type: ignore[arg-type]


def test_a_single_last_image_is_left_out_on_a_device_too() -> None:
    data = images("crop_flip")
    pair = (d.train_batches(12, 0, 1) for d in (Resident(data, CPU), data))  # 61 = 5 * 12 + 1
    assert same_batches(*pair) == 5


@gpu
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_images_on_a_gpu_are_the_same(augment: str) -> None:
    data = images(augment)
    check_batches(data, on_device(data, CUDA))


# The steps, on the CPU --------------------------------------------------------------------


def trained(
    train_step: type[TrainStep],
    data: Toy,
    recipe: Recipe,
    build: Callable[[], nn.Module] = network,
    **more: Any,
) -> tuple[Training, nn.Module]:
    model = build()
    training = train(model, data, data.batches, recipe, seed=0, train_step=train_step, **more)
    return training, model


def close(a: nn.Module, b: nn.Module) -> None:
    theirs = state(b)
    for name, tensor in state(a).items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "recipe"),
    [
        (easy(100), LONG),
        (easy(101), replace(LONG, batch_size=4)),  # 25 batches, and an image left over
        (easy(10), replace(FULL, nesterov=False, clip=0)),  # the last batch has two
        (toy(), PLAIN),
        (easy(), replace(FULL, precision="bf16")),
    ],
    ids=["nesterov", "odd", "no nesterov", "plain", "bf16"],
)
def test_steps_are_those_of_the_cpu_up_to_rounding(data: Toy, recipe: Recipe) -> None:
    (ours, model), (theirs, other) = (trained(s, data, recipe) for s in (CudaStep, TrainStep))
    close(model, other)
    assert len(ours.curve) == len(theirs.curve)
    for row, their_row in zip(ours.curve, theirs.curve, strict=True):
        assert astuple(row) == pytest.approx(astuple(their_row), rel=1e-4)
    assert (ours.steps, ours.diverged_step) == (theirs.steps, -1)


def test_reports_come_every_few_steps_and_at_the_end_of_an_epoch() -> None:
    reported: list[int] = []
    reports: list[StepReport] = []

    class Kept(CudaStep):
        def __call__(self, x: Tensor, y: Tensor) -> StepReport:
            reports.append(super().__call__(x, y))
            return reports[-1]

    trained(Kept, easy(100), LONG, on_step=lambda step, now: reported.append(step))
    ends = [*range(REPORT, 50, REPORT), 50]
    assert reported == [*ends, *(50 + end for end in ends)]
    assert len(reports) == 100
    assert sum(report.images for report in reports) == 200
    assert all(report == StepReport() for report in reports if not report.steps)


@pytest.mark.parametrize("poisoned", [0, 5, REPORT - 1, REPORT, 49, 50, 77])
def test_a_step_that_diverges_is_recorded_and_undone(poisoned: int) -> None:
    """Although the steps after it are begun before it is noticed."""
    data = easy(100, poisoned=poisoned)
    (ours, model), (theirs, other) = (trained(s, data, LONG) for s in (CudaStep, TrainStep))
    assert ours.diverged_step == theirs.diverged_step == ours.steps == poisoned
    assert [row.step for row in ours.curve] == [row.step for row in theirs.curve]
    close(model, other)


@pytest.mark.parametrize(("warmup", "dead_after"), [(0, 1), (0.5, 10), (0.5, 40)])
def test_a_dead_run_is_given_up_at_the_next_report(warmup: float, dead_after: int) -> None:
    recipe = replace(LONG, warmup=warmup, dead_after=dead_after)
    (ours, _), (theirs, _) = (trained(s, toy(100), recipe, Blind) for s in (CudaStep, TrainStep))
    assert ours.dead_step == ours.steps
    assert theirs.dead_step <= ours.dead_step < theirs.dead_step + REPORT


def test_a_run_that_learns_is_not_dead() -> None:
    recipe = replace(LONG, dead_after=5)
    assert trained(CudaStep, easy(100), recipe)[0].dead_step == -1


@pytest.mark.parametrize("poisoned", [-1, 70])
def test_training_resumes_to_the_same_end(poisoned: int) -> None:
    check_resume(easy(100, poisoned=poisoned), LONG, network)


def check_resume(data: Any, recipe: Recipe, build: Callable[[], nn.Module], **more: Any) -> None:
    """From each state that was reported."""
    states: list[State] = []
    once, whole = trained(
        CudaStep, data, recipe, build, on_step=lambda step, now: states.append(now()), **more
    )
    assert len(states) >= 3
    for then in (states[0], states[2], states[-1]):
        again, model = trained(CudaStep, data, recipe, build, state=then, **more)
        assert again == once
        assert equal(state(model), state(whole))


class Hungry(nn.Sequential):
    """Has memory for three training images."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scores: Tensor = super().forward(x)
        return scores


def hungry(norm: bool = False) -> nn.Module:
    layers = network(dropout=0)
    return Hungry(*(layers if norm else (m for m in layers if not isinstance(m, nn.BatchNorm2d))))


def frugal() -> nn.Module:
    return nn.Sequential(*hungry())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_out_of_memory_batches_are_computed_in_parts(
    precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts of 3 and of 2 (the first half has no memory); the mean is that of the whole batch."""
    check_parts(CPU, precision, capsys)


def check_parts(device: torch.device, precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = easy(23)
    placed = replace(data, x=data.x.to(device), y=data.y.to(device))
    recipe = replace(FULL, batch_size=11, precision=precision, dead_after=0)  # 11 and 11 and 1
    ours, model = trained(CudaStep, placed, recipe, lambda: hungry().to(device), device=device)
    assert capsys.readouterr().err.splitlines() == [
        f"out of memory: accumulating gradients over {parts} parts of each batch of 11 images "
        "(dropout masks change)"
        for parts in (2, 4)
    ]
    theirs, other = trained(TrainStep, data, recipe, frugal)
    rel = {"fp32": 1e-3, "bf16": 0.05}[precision]
    for row, their_row in zip(ours.curve, theirs.curve, strict=True):
        assert row.train_loss == pytest.approx(their_row.train_loss, rel=rel)
    weights, their_weights = state(model), state(other)
    for name, weight in weights.items():
        torch.testing.assert_close(weight.cpu(), their_weights[name], rtol=rel, atol=rel / 10)


def test_what_cannot_be_computed_in_parts_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm's statistics are those of a whole batch; and other trials may have the memory."""
    recipe = replace(FULL, batch_size=11)
    with pytest.raises(torch.OutOfMemoryError):
        trained(CudaStep, easy(22), recipe, lambda: hungry(norm=True))
    monkeypatch.setattr(cuda, "_alone", lambda device: False)
    with pytest.raises(torch.OutOfMemoryError):
        trained(CudaStep, easy(22), recipe, hungry)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_weights_in_bf16_give_the_numbers_of_autocast(norm: str) -> None:
    layout = replace(LAYOUTS["px8"], norm=norm, dropout=0.0)
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    found = []
    for halves in (False, True):
        torch.manual_seed(5)
        model = SqueezeNet(generate(Metaparameters(base_e=8), layout, in_channels=1))
        ours = Halves(model)
        with torch.autocast("cpu", torch.bfloat16):
            scores = ours(x) if halves else model(x)
        scores.float().square().sum().backward()
        if halves:
            ours.backward()
        found.append([scores, *(parameter.grad for parameter in model.parameters())])
    assert found[0][0].abs().sum() > 0
    for plain, half in zip(*found, strict=True):
        assert (plain.dtype, plain.stride()) == (half.dtype, half.stride())
        assert torch.equal(plain, half)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("names", [("weight",), ("weight", "bias")])
def test_constrained_weights_are_trained_in_bf16(names: tuple[str, ...]) -> None:
    """As those of compressed networks are: the layers themselves then have no parameters."""
    recipe = replace(FULL, precision="bf16", epochs=1)

    def built() -> nn.Module:
        model = network()
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                for name in names:
                    register_parametrization(layer, name, Doubled())
        return model

    for step in (TrainStep, CudaStep):
        training, model = trained(step, easy(22), recipe, built)
        before = dict(built().named_parameters())
        assert training.steps > 0
        assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_buffers_in_one_piece_are_the_same() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(70), nn.Flatten()))
    for number, buffer in enumerate(model.buffers()):
        buffer.add_(number)
    before = state(model)
    whole = flattened(model)
    assert equal(state(model), before)
    assert {flat.dtype for flat in whole} == {torch.float32, torch.int64}
    for flat in whole:
        flat.zero_()
    assert all(not buffer.any() for buffer in model.buffers())
    assert flattened(nn.Flatten()) == []


# On a GPU ---------------------------------------------------------------------------------------

TRIAL = Trial(
    metaparameters=Metaparameters(base_e=16, incr_e=8, sr=0.5, bypass="complex"),
    layout=replace(LAYOUTS["px8"], norm="batch", head_relu=False, dropout=0.1),
    protocol=Protocol(
        image_size=8,
        train_share=1.0,
        augment="shift",
        recipe=Recipe(epochs=4, batch_size=32, warmup=1),
    ),
)


class Eager(CudaStep):
    """Steps without graphs."""

    captures = False


def asked(**recipe: Any) -> Trial:
    """`TRIAL` with another recipe."""
    protocol = TRIAL.protocol
    return replace(TRIAL, protocol=replace(protocol, recipe=replace(protocol.recipe, **recipe)))


def same(a: Outcome, b: Outcome) -> bool:
    return (a.curves, a.record.answer) == (b.curves, b.record.answer) and equal(
        a.weights, b.weights
    )


def stepping(monkeypatch: pytest.MonkeyPatch, step: type[TrainStep]) -> None:
    monkeypatch.setitem(execute.__globals__["STEPS"], "cuda", step)


@gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_on_a_gpu_learns_as_on_the_cpu(precision: str) -> None:
    """Without dropout, whose masks differ. The first epoch's loss is equal to 1% (fp32) or 3%."""
    trial = asked(precision=precision)
    trial = replace(trial, layout=replace(trial.layout, dropout=0.0))
    ours, theirs = (execute(trial, device=device) for device in (CUDA, CPU))
    rel = {"fp32": 0.01, "bf16": 0.03}[precision]
    first, their_first = ours.curves[0][0], theirs.curves[0][0]
    assert first.train_loss == pytest.approx(their_first.train_loss, rel=rel)
    assert ours.record.answer.top1 == pytest.approx(theirs.record.answer.top1, abs=8)
    assert ours.record.answer.steps == theirs.record.answer.steps
    assert ours.record.answer.status in ("learned", "partly_dead")
    circumstance = ours.record.circumstance
    assert circumstance.device == torch.cuda.get_device_name()
    assert f"cuda={torch.version.cuda}" in circumstance.versions.split()
    assert all(tensor.device == CPU for tensor in ours.weights.values())


@gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_change_nothing(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, with dropout and a small last batch; and a second time."""
    graphs, again = (execute(asked(precision=precision), device=CUDA) for _ in range(2))
    assert same(graphs, again)
    assert capsys.readouterr().err == ""
    stepping(monkeypatch, Eager)
    assert same(graphs, execute(asked(precision=precision), device=CUDA))


@gpu
def test_a_trial_resumes_to_the_same_end_on_a_gpu() -> None:
    states: list[bytes] = []
    once = execute(asked(), Callbacks(on_step=lambda step, now: states.append(now())), device=CUDA)
    assert len(states) == 8  # 29 steps an epoch
    for then in (states[0], states[3], states[6]):
        assert same(execute(asked(), states=[then], device=CUDA), once)


@gpu
def test_a_state_of_a_cpu_is_resumed_on_a_gpu() -> None:
    states: list[bytes] = []
    execute(asked(), Callbacks(on_step=lambda step, now: states.append(now())))
    outcome = execute(asked(), states=[states[40]], device=CUDA)
    assert outcome.record.answer.steps == len(states)
    assert outcome.record.answer.status in ("learned", "partly_dead")


@gpu
def test_a_trial_diverges_on_a_gpu() -> None:
    outcome = execute(asked(lr=1e5, clip=0, warmup=0, dead_after=0, ladder="none"), device=CUDA)
    answer = outcome.record.answer
    assert (answer.status, answer.steps) == ("diverged", answer.diverged_step)
    assert 0 < answer.steps < 29 * 4


@gpu
@pytest.mark.parametrize("poisoned", [0, 20, 60])
def test_the_step_that_diverges_is_recorded_on_a_gpu(poisoned: int) -> None:
    data = easy(100, poisoned=poisoned)
    there = replace(data, x=data.x.to(CUDA), y=data.y.to(CUDA))

    def built() -> nn.Module:
        return network().to(CUDA)

    training, model = trained(CudaStep, there, LONG, built, device=CUDA)
    assert training.diverged_step == training.steps == poisoned
    assert all(tensor.isfinite().all() for tensor in state(model).values())


@gpu
def test_nothing_waits_for_the_gpu_within_a_step() -> None:
    """Neither do its batches, eager steps, captured ones, and what is judged."""
    cuda.prepare()
    data = load(TRIAL.protocol)
    placed = on_device(data, CUDA)
    waits: list[int] = []

    class Strict(CudaStep):
        def __call__(self, x: Tensor, y: Tensor) -> StepReport:
            reports = (self._next + 1) % self._steps_per_epoch % REPORT == 0
            if not reports and self._next != 3:  # the fourth step is captured
                torch.cuda.set_sync_debug_mode("error")
                waits.append(self._next)
            try:
                return super().__call__(x, y)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    model = build(TRIAL, TRIAL.protocol.recipe, data, 0).to(CUDA)
    train(
        model,
        placed,
        lambda: placed.batches(placed.validation),
        TRIAL.protocol.recipe,
        seed=0,
        device=CUDA,
        train_step=Strict,
    )
    assert len(waits) == 4 * (29 - 2) - 1  # two reports an epoch
    torch.cuda.set_sync_debug_mode("error")
    try:
        for x, y in placed.train_batches(32, 0, 1):
            del x, y
        batches = list(placed.batches(placed.validation))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert judge(model, lambda: iter(batches)).top1 > 20


@gpu
def test_out_of_memory_batches_are_computed_in_parts_on_a_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda.prepare()
    monkeypatch.setattr(cuda, "OTHERS", math.inf)
    check_parts(CUDA, "fp32", capsys)


@gpu
def test_what_cannot_be_captured_is_trained_without_graphs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And says so once."""

    class Reads(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = super().forward(x)
            assert scores.sum().item() is not None
            return scores

    def built() -> nn.Module:
        return Reads(*network()).to(CUDA)

    data = easy(100)
    there = replace(data, x=data.x.to(CUDA), y=data.y.to(CUDA))
    training, model = trained(CudaStep, there, LONG, built, device=CUDA)
    error = capsys.readouterr().err
    assert error.count("training without CUDA graphs") == 1, error
    eager, other = trained(Eager, there, LONG, lambda: network().to(CUDA), device=CUDA)
    assert training == eager
    assert equal(state(model), state(other))
