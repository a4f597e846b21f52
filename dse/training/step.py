"""One training step: forward, backward and SGD's update, on a CPU (`cuda` has a GPU's).

This is the seam between the training loop and a device. The loop sees numbers in a `StepReport` and
never a tensor, so that another device can report less often than once a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.sgd import sgd

from dse.training.network import Dropout, Norm
from dse.training.ranks import ALONE, Ranks
from dse.training.sparse import Phases
from dse.trial.protocol import parts, random_seed
from dse.trial.recipe import Recipe
from dse.trial.schedule import learning_rate, warmup_steps

GUESS = 0.95
"""A loss of at least this share of log(classes), a blind guess's loss, is no better than
guessing."""

STILL = 1e-4
"""A gradient whose norm is at most this share of its weights' norm moves nothing: at a learning
rate of 0.1 the weights would change by their own size in a hundred thousand steps."""

NEARLY_ALL = 0.9
"""The share of a network's weight tensors that must be still: the last layer still learns which
classes a batch has most of, whatever it is given."""


class Mismatch(ValueError):
    """A state that belongs to another training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What happened in the steps since the last report.

    `loss` (nats) and `correct` are sums over their `images`. `lifeless` is how many of the steps,
    up to the last one, were lifeless in a row. After the steps one more has `diverged`: its loss
    or gradient was not finite, and it left the model as it was.
    """

    steps: int = 0
    images: int = 0
    loss: float = 0.0
    correct: int = 0
    lifeless: int = 0
    diverged: bool = False


class TrainStep:
    """Steps of a recipe on `model`, in place; reports after each one.

    Step n (from 0) draws its dropout from the stream (seed, "step", n), and part p of a step that
    has several from (seed, "step", n/p). `steps_per_epoch` fixes the learning rates.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        steps_per_epoch: int,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._model, self._recipe, self._seed, self._device = model, recipe, seed, device
        self._parameters, self._buffers = list(model.parameters()), list(model.buffers())
        self._steps_per_epoch = steps_per_epoch
        self._watched_from = warmup_steps(recipe, steps_per_epoch) if recipe.dead_after else None
        self._phases = Phases(model, recipe, steps_per_epoch)
        self._optimizer = SGD(model, recipe, self._phases.masks)
        self._next = 0
        self._dropouts = [m for m in model.modules() if isinstance(m, Dropout)]
        for norm in [module for module in model.modules() if isinstance(module, Norm)]:
            norm.shared = ranks.count > 1 and recipe.iter_size == 1

    def __call__(self, x: Tensor, y: Tensor) -> StepReport:
        """One step on the images (b, channels, h, w) of a batch that this process computes, and
        the labels of all, int64."""
        buffers = [buffer.clone() for buffer in self._buffers]  # a norm's statistics
        loss, hits, classes = self._pass(x, y)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip or math.inf)
        value = loss.item()
        if not math.isfinite(value + norm.item()):
            for buffer, before in zip(self._buffers, buffers, strict=True):
                buffer.copy_(before)
            return StepReport(diverged=True)
        self._optimizer.step(self._learning_rate())
        watched = self._watched(self._next)
        self._next += 1
        return StepReport(
            steps=1,
            images=len(y),
            loss=value * len(y),
            correct=int(hits),
            lifeless=int(watched and lifeless(self._parameters, value, classes)),
        )

    def _pass(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, int]:
        """Forward and backward, part by part: the mean loss of all images, whose gradient the
        parameters then have, their hits, and the number of classes."""
        for parameter in self._parameters:
            parameter.grad = None
        iter_size = self._recipe.iter_size
        mine = self._ranks.parts(len(y), iter_size)
        offset = mine[0][1].start if mine else 0
        running = Running(self._statistics() if iter_size > 1 else [])
        total, found = x.new_zeros(()), torch.zeros((), dtype=torch.int64, device=x.device)
        classes = 0
        for number, part in mine:
            self._draw_from(f"/{number}" if iter_size > 1 else "")
            whole = iter_size > 1 or self._ranks.count == 1
            for dropout in self._dropouts:
                dropout.of = None if whole else (part.start, len(y))
            labels = y[part]
            scores, loss = self._part(
                x[part.start - offset : part.stop - offset], labels, len(labels) / len(y)
            )
            running.next_part()
            total, found = total + loss, found + (scores.argmax(1) == labels).sum()
            classes = scores.shape[1]
        classes = classes or self._classes(x)
        if self._ranks.count > 1:
            total, found = self._add_up(total, found, running)
        running.finish(len(parts(len(y), iter_size)))
        return total, found, classes

    def _classes(self, x: Tensor) -> int:
        """The number of classes, for a process that computes nothing of a small batch."""
        self._model.eval()
        with torch.no_grad():
            classes: int = self._model(x.new_zeros(1, *x.shape[1:])).shape[1]
        self._model.train()
        return classes

    @torch.no_grad()
    def _add_up(self, loss: Tensor, hits: Tensor, running: Running) -> tuple[Tensor, Tensor]:
        """Add up over all processes what their parts gave; the loss and the hits."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        numbers = torch.stack([loss, hits.float()])
        gradients = [gradient(parameter) for parameter in self._parameters]
        self._ranks.add_up([*gradients, *running.changes, numbers])
        return numbers[0], numbers[1]

    def _part(self, x: Tensor, y: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Forward and backward of one part: class scores, and its mean loss times `weight`, whose
        gradients are added to the parameters'."""
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16"
        ):
            scores = self._scores(x)
        loss = F.cross_entropy(scores.float(), y, reduction="mean" if len(y) else "sum")
        loss = loss if weight == 1 else loss * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return scores.detach(), loss.detach()

    def _scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self._model(x)
        return scores

    def _statistics(self) -> list[Tensor]:
        """What norms change as they compute."""
        return [buffer for buffer in self._buffers if buffer.is_floating_point()]

    def _draw_from(self, part: str) -> None:
        """Have dropout draw from the stream of the next step, or of a part ("/0", ...) of it."""
        torch.default_generator.manual_seed(self._stream(part))

    def _stream(self, part: str = "") -> int:
        """The seed of the random numbers of the next step, or of a part of it."""
        return random_seed(self._seed, "step", f"{self._next}{part}")

    def _learning_rate(self) -> float:
        return learning_rate(self._recipe, self._next, self._steps_per_epoch)

    def _watched(self, step: int) -> bool:
        """Whether a step (from 0) may be lifeless: none is during warm-up."""
        return self._watched_from is not None and step >= self._watched_from

    def begin(self) -> None:
        """Called before each step: a phase of the training may begin with it."""
        self._phases.begin(self._next, self._optimizer.momentum)

    def sparse(self) -> dict[str, Tensor]:
        """The weights at the end of the sparse phase, if that has come."""
        return self._phases.kept()

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the model's ("model.NAME") and the optimizer's ("momentum.NAME") tensors, in a
        CPU's memory."""
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"momentum.{name}": t for name, t in self._optimizer.momentum.items()}
        tensors |= self._phases.tensors()
        return {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Set all tensors, in the model's own memory format, and the number of the next step.

        Raises `Mismatch`, and sets nothing, where they belong to another model or recipe.
        """
        mine, theirs = (
            {name: (tensor.dtype, tensor.shape) for name, tensor in some.items()}
            for some in (self.tensors(), tensors)
        )
        if mine != theirs:
            raise Mismatch("`tensors` must be those of this training")
        self._model.load_state_dict(
            {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        )
        for name, momentum in self._optimizer.momentum.items():
            momentum.copy_(tensors[f"momentum.{name}"])
        self._phases.restore(tensors, step)
        self._next = step


class Running:
    """The running statistics of norms over the parts of a batch: each part starts from those of the
    step, and the mean of what the parts leave is kept."""

    def __init__(self, statistics: list[Tensor]) -> None:
        self._statistics = statistics
        self._before = [tensor.clone() for tensor in statistics]
        self.changes = [torch.zeros_like(tensor) for tensor in statistics]

    @torch.no_grad()
    def next_part(self) -> None:
        """Called after each part."""
        for now, before, change in zip(self._statistics, self._before, self.changes, strict=True):
            change += now - before
            now.copy_(before)

    @torch.no_grad()
    def finish(self, count: int) -> None:
        """Called after the last one of `count` parts."""
        for now, change in zip(self._statistics, self.changes, strict=True):
            now += change / count


class SGD:
    """SGD with momentum and L2 penalty; the scales and shifts of norms are not decayed, weights
    and biases are (as in Caffe).

    `momentum` holds a tensor for each parameter, zero at first; none where the recipe has no
    momentum. After each step a parameter is multiplied by its mask, if it has one in `masks`. This
    is torch's own arithmetic without `torch.optim.SGD`, whose first use imports a
    compiler for 1.6 s.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, masks: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        norms = {
            f"{name}.{own}" if name else own
            for name, module in model.named_modules()
            if isinstance(module, nn.BatchNorm2d)
            for own, _ in module.named_parameters(recurse=False)
        }
        self._recipe, self._masks = recipe, masks
        self._parameters: dict[str, Tensor] = dict(model.named_parameters())
        self._groups = [
            (recipe.weight_decay, [n for n in self._parameters if n not in norms]),
            (0.0, [n for n in self._parameters if n in norms]),
        ]
        self.momentum: dict[str, Tensor] = (
            {name: torch.zeros_like(p.detach()) for name, p in self._parameters.items()}
            if recipe.momentum
            else {}
        )

    @torch.no_grad()
    def step(
        self, rate: float | Tensor, halted: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        """Move every parameter along its gradient, divided by `scale`, at a learning rate; where
        `halted` is 1, nothing changes. Tensors are on the device, float32, and not read here."""
        for decay, names in self._groups:
            parameters = [self._parameters[name] for name in names]
            sgd(
                parameters,
                [gradient(parameter) for parameter in parameters],
                [self.momentum.get(name) for name in names],
                has_sparse_grad=False,
                foreach=False,
                fused=True,
                weight_decay=decay,
                momentum=self._recipe.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=self._recipe.nesterov,
                maximize=False,
                found_inf=halted,
                grad_scale=scale,
            )
        if self._masks:
            masked = [self._parameters[name] for name in self._masks]
            torch._foreach_mul_(masked, list(self._masks.values()))


def gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter, which has one."""
    if parameter.grad is None:
        raise RuntimeError("a parameter has no gradient")
    return parameter.grad


@torch.no_grad()
def lifeless(parameters: Iterable[Tensor], loss: float, classes: int) -> bool:
    """Whether a step leaves nothing to learn from: its loss (nats) is a blind guess's or worse,
    and the gradients of nearly all weights are tiny compared with the weights.

    The loss alone is not enough: networks without norm can stay at a guess's loss for a hundred
    steps and learn in the end (see benchmarks/dead_runs.py).
    """
    pairs = [(p.grad, p) for p in parameters if p.dim() > 1 and p.grad is not None]
    if loss < GUESS * math.log(classes) or not pairs:
        return False
    gradients, norms = (torch._foreach_norm(list(tensors)) for tensors in zip(*pairs, strict=True))
    still = [float(g) <= STILL * float(w) for g, w in zip(gradients, norms, strict=True)]
    return sum(still) >= NEARLY_ALL * len(still)
