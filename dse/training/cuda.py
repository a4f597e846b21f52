"""The steps of a recipe on a GPU.

The arithmetic is that of `TrainStep`. Nothing waits for the device within a step: what happened
stays there and is read every `REPORT` steps. A step that diverges sets a flag on the device, after
which nothing changes any more, so that the model is what it was before that step. The whole step is
captured as a CUDA graph, which takes one launch instead of several hundred.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dse.training.graphs import Graphs, NotCaptured
from dse.training.halves import Halves
from dse.training.network import Norm
from dse.training.ranks import ALONE, Ranks
from dse.training.step import GUESS, NEARLY_ALL, STILL, StepReport, TrainStep, gradient
from dse.trial.recipe import Recipe

REPORT = 16
"""Steps between two reports; the last step of an epoch reports too. A run may be given up as dead
as many steps late."""

OTHERS = 2**31
"""Bytes of a GPU that are not this process's tensors: with more, other trials are on it, and one
that runs out of memory is to be run again without them."""

ALIGNED = 64
"""Buffers begin at multiples of this many numbers: libraries ask for aligned memory."""

FORMATS = {"bf16": torch.channels_last, "fp32": torch.contiguous_format}
"""How a network lies in a GPU's memory: tensor cores take channels last, and fp32 uses none."""


def prepare(precision: str = "fp32") -> None:
    """Set how this process computes on a GPU.

    With the recipe's `precision` fp32 all arithmetic is IEEE fp32; networks that are trained in
    bf16 are evaluated in TF32. Matrix products in bf16 accumulate in fp32. Convolutions use
    deterministic algorithms, chosen without trying them out: a trial resumes to the same end, and
    short ones start fast.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    fp32 = "tf32" if precision == "bf16" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = fp32
    torch.backends.cudnn.conv.fp32_precision = fp32  # type: ignore[attr-defined]


class CudaStep(TrainStep):
    """As `TrainStep`; it reports after every `REPORT`th step of an epoch, and at its end.

    Between reports the model may be ahead of what was reported. On a CPU, for tests, nothing
    is captured.
    """

    captures = True

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
        super().__init__(
            model, recipe, steps_per_epoch=steps_per_epoch, seed=seed, device=device, ranks=ranks
        )
        self._weights: list[Tensor] = [p for p in self._parameters if p.dim() > 1]
        self._ordered = [*self._weights, *(p for p in self._parameters if p.dim() <= 1)]
        self._flat = flattened(model)
        self._halves = Halves(model) if recipe.precision == "bf16" else None
        self._halted = torch.zeros((), device=device)  # 1 after a step that diverged
        self._rate = torch.zeros((), device=device)
        self._log = torch.zeros(REPORT, 4, device=device)
        self._pieces = 1  # of what is computed at a time, where memory is short
        self._sizes: list[int] = []  # of the batches since the last report
        self._format = _format(self._parameters)
        self._generator = _generator(device)
        self._own = f"/process {ranks.rank}" if ranks.count > 1 else ""  # dropout's stream
        captures = self.captures and device.type == "cuda" and ranks.count == 1
        self._graphs = Graphs() if captures else None

    def __call__(self, x: Tensor, y: Tensor) -> StepReport:
        """One step on images (b, channels, h, w) and their labels, int64 (b), on the device."""
        self._generator.manual_seed(self._stream(self._own))
        self._rate.fill_(self._learning_rate())
        self._log[len(self._sizes)].copy_(self._run(x, y))
        self._sizes.append(len(y))
        self._next += 1
        batch = self._next % self._steps_per_epoch
        return StepReport() if batch % REPORT else self._report()

    def _run(self, x: Tensor, y: Tensor) -> Tensor:
        """The step, in more parts where it runs out of memory."""
        while True:
            try:
                return self._captured(x, y)
            except torch.OutOfMemoryError:
                if self._flat or self._pieces >= len(y) or not _alone(self._device):
                    raise
            self._pieces *= 2  # outside of `except`, which holds on to the step's tensors
            print(
                "out of memory: accumulating gradients over "
                f"{self._pieces * self._recipe.iter_size} parts of each batch of {len(y)} images "
                "(dropout masks change)",
                file=sys.stderr,
            )
            if self._graphs is not None:
                self._graphs = Graphs()
                torch.cuda.empty_cache()
            self._generator.manual_seed(self._stream(self._own))

    def _captured(self, x: Tensor, y: Tensor) -> Tensor:
        """The step, as a graph where one can be captured."""
        if self._graphs is not None:
            try:
                return self._graphs(self._step, x, y, self._format)
            except NotCaptured as error:
                print(f"training without CUDA graphs, which is slower: {error}", file=sys.stderr)
                self._graphs = None
                # A new state of the same stream: the old one still waits for the capture's end.
                self._generator.graphsafe_set_state(self._generator.clone_state())
        return self._step(torch.empty_like(x, memory_format=self._format).copy_(x), y)

    def _statistics(self) -> list[Tensor]:
        return [flat for flat in self._flat if flat.is_floating_point()]

    def _draw_from(self, part: str) -> None:
        """All parts draw from the step's stream, which is set before it: a graph cannot set one."""

    def _part(self, x: Tensor, y: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """As `TrainStep`'s, in pieces where memory is short."""
        size = max(math.ceil(len(y) / self._pieces), 1)
        scores: list[Tensor] = []
        losses: list[Tensor] = []
        for piece in zip(torch.split(x, size), torch.split(y, size), strict=True):
            found, loss = super()._part(*piece, weight * len(piece[1]) / max(len(y), 1))
            if self._halves:
                self._halves.backward()
            scores.append(found)
            losses.append(loss)
        if len(losses) == 1:
            return scores[0], losses[0]
        return torch.cat(scores), torch.stack(losses).sum()

    def _scores(self, x: Tensor) -> Tensor:
        return self._halves(x) if self._halves else super()._scores(x)

    @torch.no_grad()
    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        """The whole step on the device: its loss, its hits, whether training has halted, and
        whether the step was lifeless, float32 (4). It has few launches that are not a layer's."""
        before = [buffer.clone() for buffer in self._flat]
        with torch.enable_grad():
            loss, hits, classes = self._pass(x, y)
        norms = torch.stack(torch._foreach_norm([gradient(p) for p in self._ordered]))
        norm = torch.linalg.vector_norm(norms)
        self._halted.masked_fill_(~(torch.maximum(loss, norm) < math.inf), 1.0)
        clip = self._recipe.clip
        scale = ((norm + 1e-6) / clip).clamp_(min=1) if clip else None
        self._optimizer.step(self._rate, self._halted, scale)
        halted = self._halted > 0
        for buffer, old in zip(self._flat, before, strict=True):
            torch.where(halted, old, buffer, out=buffer)
        lifeless = self._lifeless(loss, classes, norms, scale)
        return torch.stack([loss, hits.float(), self._halted, lifeless.float()])

    def _lifeless(
        self, loss: Tensor, classes: int, gradients: Tensor, scale: Tensor | None
    ) -> Tensor:
        """As `dse.training.step.lifeless`, with the norms of gradients before they are scaled."""
        if not (self._recipe.dead_after and self._weights):
            return torch.zeros_like(loss)
        least = STILL * torch.stack(torch._foreach_norm(self._weights))
        still = gradients[: len(self._weights)] <= (least if scale is None else least * scale)
        dead = still.sum() >= NEARLY_ALL * len(self._weights)
        return dead & (loss >= GUESS * math.log(classes))

    def _report(self) -> StepReport:
        """What the steps since the last report did: the one place that waits for the device."""
        rows = self._log[: len(self._sizes)].tolist()
        finite = [row for row in rows if not row[2]]
        sizes, self._sizes = self._sizes[: len(finite)], []
        lifeless, first = 0, self._next - len(rows)
        for step, row in enumerate(finite, first):
            lifeless = lifeless + 1 if row[3] and self._watched(step) else 0
        return StepReport(
            steps=len(finite),
            images=sum(sizes),
            loss=sum(row[0] * size for row, size in zip(finite, sizes, strict=True)),
            correct=round(sum(row[1] for row in finite)),
            lifeless=lifeless,
            diverged=len(finite) < len(rows),
        )


def flattened(model: nn.Module) -> list[Tensor]:
    """Move the buffers that change into one tensor for each type of number, and return these.

    The buffers become parts of them, so that all can be copied at once.
    """
    places = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point() or not isinstance(module, Norm)  # whose count stays 0
    ]
    whole = []
    for dtype in sorted({buffer.dtype for *_, buffer in places}, key=str):
        chosen = [place for place in places if place[2].dtype == dtype]
        sizes = [-(-b.numel() // ALIGNED) * ALIGNED for *_, b in chosen]
        flat = torch.zeros(sum(sizes), dtype=dtype, device=chosen[0][2].device)
        for (module, name, buffer), part in zip(chosen, torch.split(flat, sizes), strict=True):
            view = part[: buffer.numel()].view(buffer.shape)
            setattr(module, name, view.copy_(buffer))
        whole.append(flat)
    return whole


def _format(parameters: Iterable[Tensor]) -> torch.memory_format:
    """The memory format of a network's convolutions, in which it takes its images."""
    weights = [parameter for parameter in parameters if parameter.dim() == 4]
    last = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    return torch.channels_last if weights and last else torch.contiguous_format


def _alone(device: torch.device) -> bool:
    """Whether nearly all memory that is used of a device is this process's."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device) < OTHERS


def _generator(device: torch.device) -> torch.Generator:
    """The generator that dropout on this device draws from."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]
