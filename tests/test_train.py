"""Training as arithmetic: on models so small that every number can be worked out by hand."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor, nn
from torch.nn import functional as F

from dse.training.judge import judge
from dse.training.loop import Epoch, Position, State, Training, train
from dse.training.step import GUESS, STILL, Mismatch, StepReport, TrainStep, lifeless
from dse.trial.protocol import chance
from dse.trial.recipe import Recipe
from dse.trial.schedule import learning_rate

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
    dead_after=0,
    ladder="none",
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
    """Images in one fixed order; those of step `poisoned` of the first epoch are NaN."""

    x: Tensor
    y: Tensor
    poisoned: int = -1

    def steps(self, batch_size: int) -> int:
        return math.ceil(len(self.y) / batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        del seed
        for number, (x, y) in enumerate(self.batches(batch_size)):
            step = (epoch - 1) * self.steps(batch_size) + number
            if number >= start:
                yield (x * math.nan if step == self.poisoned else x), y

    def batches(self, batch_size: int = 3) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(batch_size), self.y.split(batch_size), strict=True)


def toy(images: int = 12, classes: int = 3, poisoned: int = -1) -> Toy:
    random = torch.Generator().manual_seed(images)
    x = torch.randn(images, 2, 4, 4, generator=random)
    return Toy(x, torch.arange(images) % classes, poisoned)


def easy(images: int = 12, poisoned: int = -1) -> Toy:
    """Images that are learned within a few steps: their brightness shows their label."""
    data = toy(images, poisoned=poisoned)
    return replace(data, x=data.x + 3 * F.one_hot(data.y, 3)[:, :2, None, None])


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
    """Three steps of warm-up, then six of the schedule."""
    recipe = Recipe(lr=2.0, schedule=schedule, warmup=1, epochs=3)
    rates = [learning_rate(recipe, step, 3) for step in range(9)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.5])
    assert rates[3:] == pytest.approx([2 * share for share in expected])
    without = replace(recipe, warmup=0, epochs=2)
    assert [learning_rate(without, step, 3) for step in range(6)] == pytest.approx(rates[3:])


def test_warm_up_longer_than_training_only_rises() -> None:
    recipe = Recipe(lr=1.0, warmup=5, epochs=2)
    rates = [learning_rate(recipe, step, 2) for step in range(4)]
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
        weight -= learning_rate(recipe, step, 5) * change
    assert model.weight.item() == pytest.approx(weight, rel=1e-4)
    assert [e.train_loss for e in training.curve] == pytest.approx(
        [sum(losses[:5]) / 5, sum(losses[5:]) / 5], rel=1e-4
    )


@pytest.mark.parametrize("clip", [0.25, 5.0, 1e5, 0.0])
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
    assert [e.step for e in training.curve] == [3, 6, 9]


def test_training_learns() -> None:
    data = toy()
    training = trained(network(dropout=0), data, replace(PLAIN, epochs=30, momentum=0.9))
    assert training.curve[-1].train_top1 == training.validation.top1 == 100
    assert training.curve[-1].train_loss < 0.1 < training.curve[0].train_loss


def test_callbacks_follow_each_step_and_each_epoch() -> None:
    epochs: list[tuple[int, float]] = []
    steps: list[int] = []
    losses: list[float] = []

    class Losses(TrainStep):
        """Keeps the loss of each step, a sum over its images."""

        def __call__(self, x: Tensor, y: Tensor) -> StepReport:
            report = super().__call__(x, y)
            losses.append(report.loss)
            return report

    training = trained(
        network(),
        toy(10),  # batches of 4, 4 and 2
        replace(PLAIN, epochs=5, schedule="linear"),
        on_epoch=lambda epoch, accuracy: epochs.append((epoch, accuracy)),
        on_step=lambda step, now: steps.append(step),
        train_step=Losses,
    )
    assert epochs == [(e.epoch, e.val_top1) for e in training.curve]
    assert steps == list(range(1, 16))
    for number, row in enumerate(training.curve):
        assert row.train_loss == sum(losses[3 * number : 3 * number + 3]) / 10


def snapshots(model: nn.Module) -> list[dict[str, Tensor]]:
    """Filled with the model's state before each of its training steps."""
    taken: list[dict[str, Tensor]] = []
    model.register_forward_pre_hook(lambda m, _: taken.append(state(m)) if m.training else None)
    return taken


@pytest.mark.parametrize(("poisoned", "rows"), [(0, 0), (2, 1), (3, 1), (4, 2)])
def test_a_loss_that_is_not_finite_ends_training_before_its_step(poisoned: int, rows: int) -> None:
    """Three steps an epoch: the first step of all, the last of an epoch, the first, the second."""
    model, epochs_seen = network(), []
    before = snapshots(model)
    training = trained(
        model,
        toy(poisoned=poisoned),
        replace(PLAIN, epochs=5, schedule="linear"),
        on_epoch=lambda epoch, accuracy: epochs_seen.append(epoch),
    )
    assert training.diverged_step == training.steps == poisoned
    assert len(before) == poisoned + 1
    assert equal(state(model), before[-1])  # the norm's statistics too
    assert math.isfinite(training.validation.loss)
    assert len(training.curve) == rows
    assert all(math.isfinite(e.train_loss + e.val_loss) for e in training.curve)
    if rows:
        recipe = replace(PLAIN, schedule="linear", epochs=5)
        last = learning_rate(recipe, poisoned - 1, 3)
        assert training.curve[-1].lr == pytest.approx(last)
    assert epochs_seen == [1] * (poisoned >= 3)  # the epoch that it ended in was not finished


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


# Stopped and resumed ------------------------------------------------------------------------------

FULL = Recipe(
    epochs=3,
    batch_size=4,
    lr=0.1,
    warmup=1,
    momentum=0.9,
    nesterov=True,
    weight_decay=0.01,
    clip=1.0,
    dead_after=4,
    ladder="none",
)


class Stop(Exception):
    """As a trial's end by a signal."""


def stopped(model: nn.Module, data: Toy, recipe: Recipe, step: int) -> State:
    """The state of a training that an exception ends after `step` steps."""
    states: list[State] = []

    def on_step(done: int, now: Callable[[], State]) -> None:
        if done == step:
            states.append(now())
            raise Stop

    with pytest.raises(Stop):
        trained(model, data, recipe, on_step=on_step)
    return states[0]


def rewritten(state: State) -> State:
    """A state through bytes and text and back."""
    values = json.loads(json.dumps(asdict(state.position)))
    curve = tuple(Epoch(**row) for row in values["curve"])
    position = Position(**{**values, "curve": curve})
    assert position == state.position
    return State(tensors=decode(encode(dict(state.tensors))), position=position)


class Blind(nn.Module):
    """Equal scores of three classes, whatever it sees: nothing can be learned."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] @ self.weight * 0


class Faint(Blind):
    """The right answer, said so faintly that the loss is a blind guess's and nothing moves."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight * 1e-5


def shown() -> Toy:
    """Twelve images that show their label."""
    labels = torch.arange(12) % 3
    return Toy(F.one_hot(labels).float()[:, :, None, None], labels)


def channels_last() -> nn.Sequential:
    return network().to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("build", "data", "recipe", "end"),
    [
        (network, easy(), FULL, "finished"),
        (channels_last, easy(10), FULL, "finished"),
        (
            network,
            easy(),
            replace(FULL, precision="bf16", nesterov=False),
            "finished",
        ),
        (network, easy(10), replace(PLAIN, epochs=3, schedule="cosine"), "finished"),
        (network, easy(poisoned=7), FULL, "diverged"),
        (Blind, toy(), FULL, "dead"),
        (Blind, toy(), replace(FULL, ladder="warmup-rate", dead_after=2).restarted(2), "dead"),
        (Faint, shown(), replace(FULL, warmup=0.3, lr=1e-9, dead_after=3), "finished"),
    ],
    ids=[
        "all of it",
        "memory format and a small last batch",
        "bf16",
        "no momentum",
        "diverges",
        "dead",
        "dead again",
        "found alive",
    ],
)
def test_a_training_stopped_anywhere_resumes_to_the_same_end(
    build: Callable[[], nn.Module], data: Toy, recipe: Recipe, end: str
) -> None:
    """Weights, statistics, curve and judgement are bit-equal to those of one that never stopped."""
    whole = build()
    epochs_seen: list[int] = []
    once = trained(whole, data, recipe, on_epoch=lambda epoch, accuracy: epochs_seen.append(epoch))
    epochs = [*epochs_seen]
    steps = {"finished": 9, "diverged": once.diverged_step, "dead": once.dead_step}[end]
    assert once.steps == steps >= 7
    for step in range(1, steps + 1):
        then = rewritten(stopped(build(), data, recipe, step))
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)  # nothing of the new model is left
        epochs_seen.clear()
        again = trained(
            model,
            data,
            recipe,
            state=then,
            on_epoch=lambda epoch, accuracy: epochs_seen.append(epoch),
        )
        assert again == once
        assert equal(state(model), state(whole))
        assert epochs_seen == [epoch for epoch in epochs if 3 * epoch >= step]


def test_momentum_is_restored() -> None:
    still = stopped(network(), easy(), FULL, 4)
    assert {name for name in still.tensors if name.startswith("momentum.")} == {
        f"momentum.{name}" for name, _ in network().named_parameters()
    }
    without = {n: t * (not n.startswith("momentum.")) for n, t in still.tensors.items()}
    ends = []
    for tensors in (still.tensors, without):
        model = network()
        trained(model, easy(), FULL, state=State(tensors=tensors, position=still.position))
        ends.append(state(model))
    assert not equal(*ends)


def test_a_state_is_a_snapshot() -> None:
    """Nothing that training does later reaches into it, and going on does not either."""
    model = network()
    states: list[tuple[State, dict[str, Tensor]]] = []
    trained(
        model,
        easy(),
        FULL,
        on_step=lambda step, now: states.append((now(), state(model))),
    )
    for number, (taken, then) in enumerate(states, 1):
        position = taken.position
        assert (position.step, position.epoch) == (number, (number - 1) // 3 + 1)
        assert position.batches == position.seen // 4 == (number - 1) % 3 + 1
        assert len(position.curve) == position.epoch - 1
        assert all(torch.equal(taken.tensors[f"model.{n}"], t) for n, t in then.items())
    first = states[0][0]
    before = copy.deepcopy(first)
    trained(network(), easy(), FULL, state=first)
    assert first.position == before.position
    assert equal(dict(first.tensors), dict(before.tensors))


def test_an_exception_leaves_the_global_stream_where_it_was() -> None:
    model, stream = network(), torch.get_rng_state()
    stopped(model, easy(), FULL, 2)
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_state_of_another_training_is_refused() -> None:
    good = stopped(network(), easy(), FULL, 4)
    other = stopped(Blind(), easy(), replace(FULL, dead_after=0), 4)
    less = {name: tensor for name, tensor in good.tensors.items() if name != "momentum.0.bias"}
    for tensors, recipe in (
        (less, FULL),
        ({**good.tensors, "model.6": torch.ones(1)}, FULL),
        (good.tensors, replace(FULL, momentum=0, nesterov=False)),
        ({**good.tensors, "model.5.bias": torch.ones(4)}, FULL),
        ({**good.tensors, "model.5.bias": torch.ones(3, dtype=torch.float64)}, FULL),
        (other.tensors, FULL),
    ):
        model = network()
        before = state(model)
        with pytest.raises(Mismatch, match=r"^`tensors` must be those of this training$"):
            trained(model, easy(), recipe, state=replace(good, tensors=tensors))
        assert equal(state(model), before)
    trained(network(), easy(), FULL, state=good)


def test_the_state_of_a_training_that_has_ended_does_not_train_on() -> None:
    last: list[Callable[[], State]] = []
    model, again = network(), network()
    once = trained(model, easy(), FULL, on_step=lambda step, now: last.append(now))
    assert (last[-1]().position.epoch, last[-1]().position.step) == (4, 9)
    forbidden = {"on_step": lambda *_: pytest.fail("a step"), "on_epoch": lambda *_: 1 / 0}
    assert trained(again, easy(), FULL, state=last[-1](), **forbidden) == once
    assert equal(state(again), state(model))


# Dead runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("warmup", "dead_after", "steps"),
    [(0, 1, 1), (0.5, 1, 3), (0.5, 4, 6), (2, 3, 9), (2, 5, 11), (3, 3, 12)],
)
def test_a_run_that_cannot_learn_is_dead_at_once_after_warm_up(
    warmup: float, dead_after: int, steps: int
) -> None:
    """Three steps an epoch: 0.5 epochs of warm-up are two steps. Twelve steps are the whole."""
    model, epochs, seen = Blind(), [], []
    recipe = replace(PLAIN, epochs=4, warmup=warmup, dead_after=dead_after)
    training = trained(
        model,
        toy(),
        recipe,
        on_epoch=lambda epoch, accuracy: epochs.append(epoch),
        on_step=lambda step, now: seen.append(now().position.lifeless),
    )
    assert training.dead_step == training.steps == steps
    assert training.diverged_step == -1
    assert epochs == list(range(1, (steps - 1) // 3 + 1))  # the one it died in was not finished
    assert [row.epoch for row in training.curve] == [*epochs, len(epochs) + 1]
    assert training.curve[-1].lr == learning_rate(recipe, steps - 1, 3)
    assert training.curve[-1].train_loss == pytest.approx(math.log(3))
    assert training.validation == judge(model, toy().batches)
    warm = steps - dead_after
    assert seen == [max(step - warm, 0) for step in range(1, steps + 1)]


@pytest.mark.parametrize(("warmup", "dead_after"), [(0, 0), (0, 13), (3, 4), (5, 1), (1000, 1)])
def test_a_run_too_short_to_be_dead_is_not(warmup: float, dead_after: int) -> None:
    recipe = replace(PLAIN, epochs=4, warmup=warmup, dead_after=dead_after)
    training = trained(Blind(), toy(), recipe)
    assert (training.dead_step, training.steps, len(training.curve)) == (-1, 12, 4)


def test_a_run_that_learns_is_not_dead() -> None:
    recipe = replace(PLAIN, epochs=30, momentum=0.9, dead_after=6)
    watched, free = network(dropout=0), network(dropout=0)
    training = trained(watched, easy(), recipe)
    assert training.dead_step == -1
    assert training == trained(free, easy(), replace(recipe, dead_after=0))
    assert equal(state(watched), state(free))


def test_validation_above_chance_keeps_a_run_alive() -> None:
    """It is asked each time that the losses say dead, and changes nothing but their count."""
    judged, counts = [], []

    def validation() -> Iterator[tuple[Tensor, Tensor]]:
        judged.append(1)
        return shown().batches()

    recipe = replace(FULL, lr=1e-9, warmup=1, dead_after=2)
    model = nn.Sequential(Faint(), nn.Dropout(0.0))
    training = train(
        model,
        shown(),
        validation,
        recipe,
        seed=0,
        on_step=lambda step, now: counts.append((now().position.lifeless, model.training)),
    )
    assert training.dead_step == -1
    assert training.steps == 9
    assert training.curve[-1].train_loss >= GUESS * math.log(3)
    assert training.validation.top1 == 100
    assert counts == [(n, True) for n in (0, 0, 0, 1, 2, 1, 2, 1, 2)]
    assert len(judged) == 3 + 3  # at the end of each epoch, and at steps 5, 7 and 9


def test_a_run_is_dead_only_without_a_step_that_lives() -> None:
    """The steps are counted from zero after one that moves something."""

    heard: list[int] = []
    counts: list[int] = []

    class Once(Blind):
        """Hears its images in the fourth step alone."""

        def forward(self, x: Tensor) -> Tensor:
            heard.extend([1] * self.training)
            return x.flatten(1)[:, :3] @ self.weight * (self.training and len(heard) == 4)

    training = trained(
        Once(),
        toy(),
        replace(PLAIN, epochs=4, dead_after=5),
        on_step=lambda step, now: counts.append(now().position.lifeless),
    )
    assert counts == [1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert training.dead_step == 9


def mixed(ratios: list[float]) -> nn.ParameterList:
    """Weights whose gradients are these shares of their norms; and parameters that do not count."""
    model = nn.ParameterList(nn.Parameter(torch.full((2, 2), 3.0)) for _ in ratios)
    for weight, ratio in zip(model, ratios, strict=True):
        weight.grad = torch.full((2, 2), 3.0 * ratio)
    model.append(nn.Parameter(torch.ones(2)))  # a bias, or a norm's scale
    model[-1].grad = torch.ones(2)
    model.append(nn.Parameter(torch.ones(2, 2)))  # not used
    return model


@pytest.mark.parametrize(
    ("ratios", "dead"),
    [
        ([0.0] * 10, True),
        ([0.0] * 9 + [1.0], True),  # the last layer still hears which classes there are
        ([0.0] * 8 + [1.0] * 2, False),
        ([0.99 * STILL] * 4, True),
        ([1.01 * STILL] * 4, False),
        ([], False),  # nothing to decide by
    ],
)
def test_a_step_is_lifeless_where_nearly_all_weights_are_still(
    ratios: list[float], dead: bool
) -> None:
    guess = math.log(10)
    assert lifeless(mixed(ratios), guess, 10) is dead
    assert lifeless(mixed(ratios), 1e30, 10) is dead  # far worse than a guess is no learning
    assert lifeless(mixed(ratios), GUESS * guess, 10) is dead
    assert not lifeless(mixed(ratios), math.nextafter(GUESS * guess, 0), 10)


def test_steps_of_two_images() -> None:
    """The smallest that batch norm takes."""
    recipe = replace(FULL, batch_size=2, dead_after=100)
    training = trained(network(), toy(6), recipe)
    assert training.steps == 9
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
    def masks(images: int, seed: int, drawn_before: int) -> list[tuple[bool, ...]]:
        model = Masks(drawn_before)
        trained(
            model,
            toy(images),
            replace(PLAIN, epochs=24 // images, batch_size=4),
            seed=seed,
            on_epoch=lambda epoch, accuracy: torch.rand(epoch).sum().item(),
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
    assert judged.predicted == 2  # 0 and 3
    assert judged.missed == 2  # 2 and 6
    assert judged.guess == pytest.approx(chance(5, 7))
    sums = [math.log(sum(math.exp(s) for s in row)) for row in SCORES.tolist()]
    losses = [total - SCORES[i, LABELS[i]].item() for i, total in enumerate(sums)]
    assert judged.loss == pytest.approx(sum(losses) / 5)


def test_top5_of_fewer_than_five_classes_is_everything() -> None:
    judged = judge(nn.Identity(), Toy(SCORES[:, 3:6], LABELS % 3).batches)
    assert judged.top5 == 100.0
    assert judged.top1 == pytest.approx(40.0)  # predicted: 2 2 2 2 0; labels: 0 0 0 2 0
    assert judged.predicted == 2


def test_predicting_the_most_frequent_class_is_guessing() -> None:
    labels = torch.arange(100)
    for y, guess in (((labels < 90).long(), 90.0), ((labels < 45).long(), 55.0), (labels % 2, 50)):
        data = Toy(torch.zeros(100, 3), y)
        judged = judge(nn.Identity(), data.batches)
        guess = max(guess, chance(100, 3))
        assert judged.guess == pytest.approx(guess)
        assert judged.missed == 1


def test_judging_changes_nothing_and_drops_nothing() -> None:
    model = network()
    before, data = state(model), toy()
    once, again = judge(model, data.batches), judge(model, lambda: data.batches(12))
    assert equal(state(model), before)
    assert (once.top1, once.top5) == (again.top1, again.top5)
    assert once.loss == pytest.approx(again.loss)
    assert all(p.grad is None for p in model.parameters())
