"""Training as arithmetic: on models so small that every number can be worked out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dse.protocol import Recipe
from dse.train import Training, judge, learning_rate, train

PLAIN = Recipe(
    epochs=1,
    batch_size=4,
    lr=0.1,
    schedule="constant",
    warmup=0,
    momentum=0,
    nesterov=False,
    weight_decay=0,
    clip=0,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Nothing here is worth a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Toy:
    """Pictures in one fixed order; those of step `poisoned` of the first epoch are NaN."""

    x: Tensor
    y: Tensor
    poisoned: int = -1

    def steps(self, batch_size: int) -> int:
        return math.ceil(len(self.y) / batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        del seed
        for number, (x, y) in enumerate(self.batches(batch_size)):
            step = (epoch - 1) * self.steps(batch_size) + number
            yield (x * math.nan if step == self.poisoned else x), y

    def batches(self, batch_size: int = 3) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(batch_size), self.y.split(batch_size), strict=True)


def toy(pictures: int = 12, classes: int = 3, poisoned: int = -1) -> Toy:
    random = torch.Generator().manual_seed(pictures)
    x = torch.randn(pictures, 2, 4, 4, generator=random)
    return Toy(x, torch.arange(pictures) % classes, poisoned)


def network(dropout: float = 0.5) -> nn.Sequential:
    """A convolution, a norm, dropout and class scores: three classes."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5, generator=random)
    return model


def trained(model: nn.Module, data: Toy, recipe: Recipe, seed: int = 0, **more: Any) -> Training:
    return train(model, data, data.batches, recipe, seed=seed, **more)


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The learning rate ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [1, (2 + 3**0.5) / 4, 3 / 4, 1 / 2, 1 / 4, (2 - 3**0.5) / 4]),
        ("step", [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("constant", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_schedules_start_after_warm_up(schedule: str, expected: list[float]) -> None:
    """Two steps an epoch: 1.5 epochs of warm-up are three steps, then six steps of schedule."""
    recipe = Recipe(lr=2.0, schedule=schedule, warmup=1.5)
    rates = [learning_rate(recipe, step, 2, 9) for step in range(9)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.5])
    assert rates[3:] == pytest.approx([2 * share for share in expected])
    without = replace(recipe, warmup=0)
    assert [learning_rate(without, step, 2, 6) for step in range(6)] == pytest.approx(rates[3:])


def test_warm_up_longer_than_training_only_rises() -> None:
    recipe = Recipe(lr=1.0, warmup=5)
    rates = [learning_rate(recipe, step, 2, 4) for step in range(4)]
    assert rates == pytest.approx([1 / 11, 2 / 11, 3 / 11, 4 / 11])


# One step, by hand ----------------------------------------------------------------------------


class Slope(nn.Module):
    """Two class scores, `weight * x` and 0: its loss and gradient fit on a line."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.weight * x.flatten(1)
        return torch.cat([scores, torch.zeros_like(scores)], 1)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "weight_decay", "clip"),
    [(0, False, 0, 0), (0.9, False, 0, 0), (0.9, True, 0, 0), (0.8, True, 0.3, 0.2)],
)
def test_steps_are_those_of_the_formulas(
    momentum: float, nesterov: bool, weight_decay: float, clip: float
) -> None:
    """Clipping bounds the gradient, then come decay, momentum, and Nesterov's look ahead."""
    xs = [1.5, -0.5, 2.0, 0.3, -1.0]
    twice = torch.tensor(xs).repeat_interleave(2).view(10, 1, 1, 1)  # two equal ones a step
    data = Toy(twice, torch.zeros(10, dtype=torch.int64))
    recipe = replace(
        PLAIN,
        epochs=2,
        batch_size=2,
        lr=0.7,
        schedule="linear",
        warmup=0.4,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        clip=clip,
    )
    model = Slope(0.25)
    training = trained(model, data, recipe)

    weight, velocity, losses = 0.25, 0.0, []
    for step, x in enumerate(xs * 2):
        losses.append(math.log(1 + math.exp(-weight * x)))
        gradient = -x / (1 + math.exp(weight * x))
        if clip:
            gradient = math.copysign(min(abs(gradient), clip), gradient)
        gradient += weight_decay * weight
        velocity = momentum * velocity + gradient
        change = gradient + momentum * velocity if nesterov else velocity
        weight -= learning_rate(recipe, step, 5, 10) * change
    assert model.weight.item() == pytest.approx(weight, rel=1e-4)
    assert [e.train_loss for e in training.curve] == pytest.approx(
        [sum(losses[:5]) / 5, sum(losses[5:]) / 5], rel=1e-4
    )


@pytest.mark.parametrize("clip", [0.25, 1e5, 0.0])
def test_clipping_bounds_the_norm_of_the_whole_gradient(clip: float) -> None:
    data = toy()
    before, model = network(dropout=0), network(dropout=0)
    with torch.no_grad():
        for linear in (before[5], model[5]):
            linear.weight.mul_(100)
    loss = nn.functional.cross_entropy(before(data.x), data.y)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in before.parameters() if p.grad is not None])
    assert gradient.norm() > 10
    trained(model, data, replace(PLAIN, batch_size=12, clip=clip, lr=0.01))
    moved = nn.utils.parameters_to_vector(before.parameters()) - nn.utils.parameters_to_vector(
        model.parameters()
    )
    norm = min(gradient.norm().item(), clip or math.inf)
    assert moved.norm().item() == pytest.approx(0.01 * norm, rel=1e-3)
    assert torch.nn.functional.cosine_similarity(moved, gradient, 0) > 0.999


def test_weights_and_biases_decay_and_norms_do_not() -> None:
    class Mute(nn.Module):
        """No gradient reaches the network: only decay moves it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x) * 0

    model = Mute()
    before = state(model)
    trained(model, toy(), replace(PLAIN, batch_size=12, weight_decay=0.5, lr=0.1))
    for name, parameter in model.named_parameters():
        kept = 1.0 if name.startswith("network.1.") else 1 - 0.1 * 0.5
        assert before[name].abs().sum() > 0
        torch.testing.assert_close(parameter.detach(), before[name] * kept)


def test_bf16_is_near_fp32_and_leaves_fp32_weights() -> None:
    results = {}
    for precision in ("fp32", "bf16"):
        model = network(dropout=0)
        recipe = replace(PLAIN, epochs=4, precision=precision)
        results[precision] = (trained(model, toy(), recipe).curve, state(model))
    (single, weights), (half, half_weights) = results["fp32"], results["bf16"]
    assert [e.train_loss for e in half] == pytest.approx([e.train_loss for e in single], rel=0.03)
    assert [e.train_loss for e in half] != [e.train_loss for e in single]
    for name, tensor in half_weights.items():
        assert tensor.dtype == weights[name].dtype
        torch.testing.assert_close(tensor, weights[name], rtol=0.1, atol=0.03)


# The whole training ---------------------------------------------------------------------------


def test_the_curve_has_a_row_an_epoch_with_its_numbers() -> None:
    """With a learning rate of almost nothing the model stays what it was."""
    data, model = toy(10), network(dropout=0)
    model[1] = nn.Identity()  # no norm: training and judging see the same network
    recipe = replace(PLAIN, epochs=3, lr=1e-9, schedule="linear")
    validation = toy(7)
    training = train(model, data, validation.batches, recipe, seed=0)
    on_training, on_validation = judge(model, data.batches), judge(model, validation.batches)
    assert [e.epoch for e in training.curve] == [1, 2, 3]
    assert [e.lr for e in training.curve] == pytest.approx([7e-9 / 9, 4e-9 / 9, 1e-9 / 9])
    for row in training.curve:
        assert row.train_loss == pytest.approx(on_training.loss, abs=1e-5)  # batches of 4, 4, 2
        assert row.train_top1 == pytest.approx(on_training.top1)
        assert row.val_loss == pytest.approx(on_validation.loss, abs=1e-5)
        assert row.val_top1 == pytest.approx(on_validation.top1)
    assert training.steps == 9
    assert training.diverged_step == -1
    assert training.validation.pictures == 7


def test_training_learns() -> None:
    data = toy()
    training = trained(network(dropout=0), data, replace(PLAIN, epochs=30, momentum=0.9))
    assert training.curve[-1].train_top1 == training.validation.top1 == 100
    assert training.curve[-1].train_loss < 0.1 < training.curve[0].train_loss


def test_on_epoch_ends_training_after_its_epoch_and_not_its_schedule() -> None:
    told = []

    def on_epoch(epoch: int, accuracy: float) -> bool:
        told.append((epoch, accuracy))
        return epoch < 2

    recipe = replace(PLAIN, epochs=5, schedule="linear")
    cut, whole = network(), network()
    short = trained(cut, toy(), recipe, on_epoch=on_epoch)
    long = trained(whole, toy(), recipe)
    assert told == [(e.epoch, e.val_top1) for e in short.curve]
    assert short.curve == long.curve[:2]
    assert short.steps == 6
    assert len(long.curve) == 5


def snapshots(model: nn.Module) -> list[dict[str, Tensor]]:
    """Filled with the model's state before each of its training steps."""
    taken: list[dict[str, Tensor]] = []
    model.register_forward_pre_hook(lambda m, _: taken.append(state(m)) if m.training else None)
    return taken


@pytest.mark.parametrize(("poisoned", "rows"), [(0, 0), (2, 1), (3, 1), (4, 2)])
def test_a_loss_that_is_not_finite_ends_training_before_its_step(poisoned: int, rows: int) -> None:
    """Three steps an epoch: the first step of all, the last of an epoch, the first, the second."""
    model, told = network(), []
    before = snapshots(model)
    training = trained(
        model,
        toy(poisoned=poisoned),
        replace(PLAIN, epochs=5, schedule="linear"),
        on_epoch=lambda epoch, accuracy: not told.append(epoch),
    )
    assert training.diverged_step == training.steps == poisoned
    assert len(before) == poisoned + 1
    assert equal(state(model), before[-1])  # the norm's statistics too
    assert math.isfinite(training.validation.loss)
    assert len(training.curve) == rows
    assert all(math.isfinite(e.train_loss + e.val_loss) for e in training.curve)
    if rows:
        last = learning_rate(replace(PLAIN, schedule="linear"), poisoned - 1, 3, 15)
        assert training.curve[-1].lr == pytest.approx(last)
    assert told == [1] * (poisoned >= 3)  # the epoch that it ended in was not finished


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_ends_training_before_its_step(clip: float) -> None:
    model, calls = network(), []

    def overflow(gradient: Tensor) -> Tensor:
        calls.append(1)
        return gradient * math.inf if len(calls) == 3 else gradient

    model[0].bias.register_hook(overflow)
    before = snapshots(model)
    training = trained(model, toy(), replace(PLAIN, epochs=5, clip=clip))
    assert training.diverged_step == training.steps == 2
    assert equal(state(model), before[-1])
    assert math.isfinite(training.validation.loss)


# Random numbers -------------------------------------------------------------------------------


class Masks(nn.Module):
    """Keeps the dropout mask of each training step; draws none while it is judged."""

    def __init__(self, drawn_before: int) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 3)
        self.dropout = nn.Dropout(0.5)
        self.seen: list[tuple[bool, ...]] = []
        torch.rand(drawn_before)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.dropout(torch.ones(x.shape[0], 32))
        if self.training:
            self.seen.append(tuple((mask > 0).flatten().tolist()))
        return self.linear(x.flatten(1) * mask)


def test_dropout_masks_are_functions_of_seed_and_step() -> None:
    def masks(pictures: int, seed: int, drawn_before: int) -> list[tuple[bool, ...]]:
        model = Masks(drawn_before)
        trained(
            model,
            toy(pictures),
            replace(PLAIN, epochs=24 // pictures, batch_size=4),
            seed=seed,
            on_epoch=lambda epoch, accuracy: bool(torch.rand(epoch).sum() >= 0),
        )
        return model.seen

    once = masks(12, seed=0, drawn_before=0)
    assert len(set(once)) == 6  # two epochs of three steps, no mask twice
    assert masks(8, seed=0, drawn_before=100) == once  # three epochs of two steps
    assert not set(masks(12, seed=1, drawn_before=0)) & set(once)


def test_training_neither_reads_nor_moves_the_global_stream() -> None:
    recipe = replace(PLAIN, epochs=3, momentum=0.9)
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        model = network()
        stream = torch.get_rng_state()
        training = trained(model, toy(), recipe)
        assert torch.equal(torch.get_rng_state(), stream)
        results.append((training, state(model)))
    (first, weights), (second, others) = results
    assert first == second
    assert equal(weights, others)
    other_seed = trained(network(), toy(), recipe, seed=1)
    assert other_seed.curve != first.curve


# Judging --------------------------------------------------------------------------------------

SCORES = torch.tensor(
    [
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # label 0: first
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # label 6: second
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # label 3: fifth
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # label 2: sixth
        [0.0, 0.0, 0.0, 8.0, 1.0, 1.0, 1.0],  # label 3: first
    ]
)
LABELS = torch.tensor([0, 6, 3, 2, 3])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_judging_counts_exactly(batch_size: int) -> None:
    data = Toy(SCORES, LABELS)
    judged = judge(nn.Identity(), lambda: data.batches(batch_size))
    assert judged.top1 == 40.0
    assert judged.top5 == 80.0
    assert judged.classes_predicted == 2  # 0 and 3
    assert judged.pictures == 5
    sums = [math.log(sum(math.exp(s) for s in row)) for row in SCORES.tolist()]
    losses = [total - SCORES[i, LABELS[i]].item() for i, total in enumerate(sums)]
    assert judged.loss == pytest.approx(sum(losses) / 5)


def test_top5_of_fewer_than_five_classes_is_everything() -> None:
    judged = judge(nn.Identity(), Toy(SCORES[:, 3:6], LABELS % 3).batches)
    assert judged.top5 == 100.0
    assert judged.top1 == pytest.approx(40.0)  # predicted: 2 2 2 2 0; labels: 0 0 0 2 0
    assert judged.classes_predicted == 2


def test_judging_changes_nothing_and_drops_nothing() -> None:
    model = network()
    before, data = state(model), toy()
    once, again = judge(model, data.batches), judge(model, lambda: data.batches(12))
    assert equal(state(model), before)
    assert (once.top1, once.top5) == (again.top1, again.top5)
    assert once.loss == pytest.approx(again.loss)
    assert all(p.grad is None for p in model.parameters())
