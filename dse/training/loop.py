"""A model, data and a `Recipe` -> a trained model, its curve and its accuracy.

Nothing here knows what the model is: anything from pictures to class scores will do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.sgd import sgd

from dse.trial.protocol import chance, random_seed
from dse.trial.recipe import Recipe


class Pictures(Protocol):
    """What training asks of its data: see `dse.data.Data`."""

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        ...

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch (from 1), from batch `start` (from 0): pictures, labels."""
        ...


Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Batches of a whole part, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A model judged on a whole part: percent, and nats per picture.

    `predicted` is how many classes were ever predicted, `missed` how many of those that the part
    holds never were. `guess` is the top-1 that one may reach who knows nothing but the classes:
    `chance`, or the share of the most frequent class, where that is more.
    """

    top1: float
    top5: float
    loss: float
    predicted: int
    missed: int
    guess: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One row of a curve: `epoch` counts from 1, `step` is how many steps were done at its end, and
    `lr` the rate of the last one."""

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float
    val_loss: float


@dataclass(kw_only=True, slots=True)
class Position:
    """How far a training has come: all of its state but for its tensors.

    `losses`, `correct` and `seen` are sums over the first `batches` batches of the present
    `epoch` (from 1); `lifeless` counts the last steps, behind warm-up, that were so in a row.
    """

    epoch: int = 1
    batches: int = 0
    step: int = 0
    losses: float = 0.0
    correct: int = 0
    seen: int = 0
    lifeless: int = 0
    curve: tuple[Epoch, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A training between two steps: enough to go on to the same end, bit for bit.

    `tensors` are the model's ("model.NAME") and the optimizer's ("momentum.NAME").
    """

    tensors: Mapping[str, Tensor]
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A finished training: its curve, the last judgement, and how many steps it took.

    `diverged_step` is the first step (from 0) whose loss or gradient was not finite, or -1; it is
    `steps` where the last step left a model whose loss on the validation part is not finite.
    `dead_step` is the number of steps after which the run was given up as dead, or -1.
    """

    curve: tuple[Epoch, ...]
    validation: Judgement
    steps: int
    diverged_step: int = -1
    dead_step: int = -1


OnEpoch = Callable[[int, float], None]
"""Told each epoch's number (from 1) and `val_top1` in percent."""

OnStep = Callable[[int, float, Callable[[], State]], None]
"""Told how many steps are done, the last one's loss, and how to get the state. It may raise."""

OnJudged = Callable[[int, Callable[[], State]], None]
"""Told after each batch that is judged how many steps are done, and how to get the state. It may
raise."""


class Foreign(ValueError):
    """A state that is none of this training."""


GUESS = 0.95
"""A loss of at least this share of a blind guess's, log(classes), is no better than guessing."""

STILL = 1e-4
"""A gradient whose norm is at most this share of its weights' norm moves nothing: at a learning
rate of 0.1 they would change by their own size in a hundred thousand steps."""

NEARLY_ALL = 0.9
"""The share of a network's weight tensors that must stand still: the last layer still hears which
classes a batch has most of, whatever it is given."""


@torch.random.fork_rng(devices=[])
def train(
    model: nn.Module,
    data: Pictures,
    validation: Batches,
    recipe: Recipe,
    *,
    seed: int,
    state: State | None = None,
    on_epoch: OnEpoch = lambda epoch, accuracy: None,
    on_step: OnStep = lambda step, loss, state: None,
    on_judged: OnJudged = lambda step, state: None,
) -> Training:
    """Train `model` in place as the recipe says; judge it on `validation` after each epoch.

    Goes on from `state` if there is one, to the same end as if it had never stopped; raises
    `Foreign` where it is not one of this training. Each step's dropout comes from the stream
    (seed, "step", step).

    Ends at once where a loss or its gradient is not finite (the model then is what it was before
    that step), and where the run is dead: `recipe.dead_after` steps in a row behind warm-up were
    `lifeless`, and `validation` is at chance too.
    """
    optimizer = Descent(model, recipe)
    at = Position()
    if state is not None:
        at = replace(state.position)
        _check(at, recipe, data)
        _restore(model, optimizer, state.tensors)

    def now() -> State:
        return State(tensors=_tensors(model, optimizer), position=replace(at))

    def look() -> Judgement:
        return judge(model, lambda: told(validation(), lambda: on_judged(at.step, now)))

    ended = ""
    while not ended:
        behind = at.epoch > recipe.epochs  # it was stopped when nothing was left but judging
        if not behind:
            ended = _epoch(model, optimizer, data, look, recipe, seed, at, on_step, now)
        judged = look()
        curve = at.curve
        if at.seen:
            epoch = Epoch(
                epoch=at.epoch,
                step=at.step,
                lr=_rate(recipe, data, at.step - 1),
                train_loss=at.losses / at.seen,
                train_top1=100 * at.correct / at.seen,
                val_top1=judged.top1,
                val_loss=judged.loss,
            )
            curve = (*at.curve, epoch)
        if not ended and not behind:
            on_epoch(at.epoch, judged.top1)
            at.epoch, at.batches, at.curve = at.epoch + 1, 0, curve
            at.losses, at.correct, at.seen = 0.0, 0, 0
        if not ended and at.epoch > recipe.epochs:
            ended = "finished" if math.isfinite(judged.loss) else "diverged"
    return Training(
        curve=curve,
        validation=judged,
        steps=at.step,
        diverged_step=at.step if ended == "diverged" else -1,
        dead_step=at.step if ended == "dead" else -1,
    )


def _epoch(
    model: nn.Module,
    optimizer: Descent,
    data: Pictures,
    look: Callable[[], Judgement],
    recipe: Recipe,
    seed: int,
    at: Position,
    on_step: OnStep,
    now: Callable[[], State],
) -> str:
    """The rest of the present epoch; says "diverged" or "dead" where it is the last one."""
    warm = _warm(recipe, data)
    if 0 < recipe.dead_after <= at.lifeless and _is_dead(look, at):  # it was stopped as it looked
        return "dead"
    model.train()
    for x, y in data.train_batches(recipe.batch_size, seed, at.epoch, at.batches):
        torch.default_generator.manual_seed(random_seed(seed, "step", at.step))
        loss, scores = _step(model, optimizer, recipe, x, y, _rate(recipe, data, at.step))
        if math.isnan(loss):
            return "diverged"
        at.step, at.batches, at.seen = at.step + 1, at.batches + 1, at.seen + len(y)
        at.losses, at.correct = at.losses + loss * len(y), at.correct + _hits(scores, y)
        if recipe.dead_after and at.step > warm:
            at.lifeless = at.lifeless + 1 if lifeless(model, loss, scores.shape[1]) else 0
            if at.lifeless == recipe.dead_after:
                if _is_dead(look, at):
                    return "dead"
                model.train()
        on_step(at.step, loss, now)
    return ""


def _is_dead(look: Callable[[], Judgement], at: Position) -> bool:
    """Whether the validation part says it of a lifeless run too; else its steps count anew."""
    judged = look()
    if judged.top1 <= judged.guess:
        return True
    at.lifeless = 0
    return False


def told(
    batches: Iterator[tuple[Tensor, Tensor]], tell: Callable[[], None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches; `tell` is called behind each one."""
    for batch in batches:
        yield batch
        tell()


@torch.no_grad()
def lifeless(model: nn.Module, loss: float, classes: int) -> bool:
    """Whether a step has left nothing to learn from: its loss (nats) is a blind guess's or worse,
    and the gradients of nearly all weights are nothing beside the weights.

    The loss alone does not tell: networks without norm can stay at a guess's for a hundred steps
    and learn in the end (see benchmarks/dead_runs.py).
    """
    pairs = [(p.grad, p) for p in model.parameters() if p.dim() > 1 and p.grad is not None]
    if loss < GUESS * math.log(classes) or not pairs:
        return False
    gradients, norms = (torch._foreach_norm(list(tensors)) for tensors in zip(*pairs, strict=True))
    still = [float(g) <= STILL * float(w) for g, w in zip(gradients, norms, strict=True)]
    return sum(still) >= NEARLY_ALL * len(still)


def _tensors(model: nn.Module, optimizer: Descent) -> dict[str, Tensor]:
    """Copies of a training's tensors, by name, each in the order of its dimensions."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if optimizer.momentum:
        for name, parameter in model.named_parameters():
            momentum = optimizer.buffer(parameter)
            rest = torch.zeros_like(parameter)
            tensors[f"momentum.{name}"] = rest if momentum is None else momentum
    return {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}


def _check(at: Position, recipe: Recipe, data: Pictures) -> None:
    """Raise `Foreign` where a training of `recipe` never comes to this position."""
    steps = data.steps(recipe.batch_size)
    inside = 1 <= at.epoch <= recipe.epochs and 0 <= at.batches <= steps
    inside = inside or (at.epoch == recipe.epochs + 1 and not at.batches)
    if not inside or at.step != (at.epoch - 1) * steps + at.batches:
        raise Foreign(
            f"`position` must be in {recipe.epochs} epochs of {steps} batches, "
            f"got epoch {at.epoch}, {at.batches} batches, step {at.step}"
        )


def _restore(model: nn.Module, optimizer: Descent, tensors: Mapping[str, Tensor]) -> None:
    """Set a training's tensors, in the model's own memory format.

    Raises `Foreign`, and sets none, where they are those of another model or recipe.
    """
    own = _tensors(model, optimizer)
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors:
            state = "missing" if name in own else "left over"
            raise Foreign(f"`tensors` must be those of this training: {name} is {state}")
        mine, theirs = ((t[name].dtype, tuple(t[name].shape)) for t in (own, tensors))
        if mine != theirs:
            raise Foreign(f"`tensors` must have {name} of {mine}, got {theirs}")
    parts = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    model.load_state_dict(parts)
    for name, parameter in model.named_parameters():
        if f"momentum.{name}" in own:
            copy = torch.empty_like(parameter.detach()).copy_(tensors[f"momentum.{name}"])
            optimizer.set_buffer(parameter, copy)


def _step(
    model: nn.Module,
    optimizer: Descent,
    recipe: Recipe,
    x: Tensor,
    y: Tensor,
    rate: float,
) -> tuple[float, Tensor]:
    """One step; returns its loss and its class scores (batch, classes), both before the step.

    The loss is NaN, and the model as it was, where the loss or its gradient is not finite.
    """
    before = [buffer.clone() for buffer in model.buffers()]  # a pass changes a norm's statistics
    with _arithmetic(recipe.precision):
        scores = model(x)
    loss = F.cross_entropy(scores.float(), y)
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip or math.inf)
    value = loss.item()
    if not math.isfinite(value + norm.item()):
        for buffer, old in zip(model.buffers(), before, strict=True):
            buffer.copy_(old)
        return math.nan, scores
    optimizer.step(rate)
    return value, scores


def _hits(scores: Tensor, y: Tensor) -> int:
    return int((scores.argmax(1) == y).sum())


def _arithmetic(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


class Descent:
    """SGD as a recipe says. Scales and shifts of norms are not decayed; weights and biases are (as
    in Caffe).

    torch's own arithmetic without `torch.optim.SGD`, whose first use imports a compiler for 1.6 s.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        norms = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, nn.BatchNorm2d)
            for parameter in module.parameters(recurse=False)
        }
        parameters: list[Tensor] = list(model.parameters())
        self._groups = [
            ([p for p in parameters if (id(p) in norms) == apart], decay)
            for apart, decay in ((False, recipe.weight_decay), (True, 0.0))
        ]
        self._buffers: list[list[Tensor | None]] = [[None] * len(g) for g, _ in self._groups]
        self._places = {
            id(p): (buffers, place)
            for (group, _), buffers in zip(self._groups, self._buffers, strict=True)
            for place, p in enumerate(group)
        }
        self.momentum, self._nesterov = recipe.momentum, recipe.nesterov

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter along its gradient, at a learning rate."""
        for (group, decay), buffers in zip(self._groups, self._buffers, strict=True):
            sgd(
                group,
                [_gradient(parameter) for parameter in group],
                buffers,
                has_sparse_grad=False,
                foreach=False,
                fused=True,
                weight_decay=decay,
                momentum=self.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=self._nesterov,
                maximize=False,
            )

    def buffer(self, parameter: Tensor) -> Tensor | None:
        """A parameter's momentum; None before the first step."""
        buffers, place = self._places[id(parameter)]
        return buffers[place]

    def set_buffer(self, parameter: Tensor, momentum: Tensor) -> None:
        """Set a parameter's momentum."""
        buffers, place = self._places[id(parameter)]
        buffers[place] = momentum


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("a parameter has no gradient")
    return parameter.grad


def _warm(recipe: Recipe, data: Pictures) -> int:
    """Steps of warm-up."""
    return round(recipe.warmup * data.steps(recipe.batch_size))


def _rate(recipe: Recipe, data: Pictures, step: int) -> float:
    steps = data.steps(recipe.batch_size)
    return learning_rate(recipe, step, steps, recipe.epochs * steps)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, total: int) -> float:
    """The learning rate of `step` (from 0) of `total` steps.

    >>> recipe = Recipe(lr=1.0, warmup=0.0, schedule="linear")
    >>> [learning_rate(recipe, step, 2, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    warm = round(recipe.warmup * steps_per_epoch)
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(total - warm, 1)
    return recipe.lr * SCHEDULES[recipe.schedule](share)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "step": lambda share: 0.1 ** int(3 * share),
    "constant": lambda share: 1.0,
}
"""Share of the steps behind warm-up (0 to 1) -> share of the peak learning rate."""


@torch.no_grad()
def judge(model: nn.Module, batches: Batches) -> Judgement:
    """Judge a model on a whole part (any number of pictures, the last batch smaller)."""
    model.eval()
    first = five = 0
    loss = 0.0
    predicted: set[int] = set()
    counts: Counter[int] = Counter()
    for x, y in batches():
        scores = model(x).float()
        best = scores.topk(min(5, scores.shape[1]), 1).indices
        first += int((best[:, 0] == y).sum())
        five += int((best == y[:, None]).sum())
        loss += F.cross_entropy(scores, y, reduction="sum").item()
        counts.update(y.tolist())
        predicted.update(best[:, 0].tolist())
    pictures = counts.total()
    return Judgement(
        top1=100 * first / pictures,
        top5=100 * five / pictures,
        loss=loss / pictures,
        predicted=len(predicted),
        missed=len(counts.keys() - predicted),
        guess=max(chance(pictures, scores.shape[1]), 100 * max(counts.values()) / pictures),
    )
