"""How much each weight of a network matters for its outputs: its Fisher information."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True, slots=True)
class Fisher:
    """The Fisher information of a network's parameters, by name: half of `x @ information @ x` is
    the KL divergence, nats, of the outputs when the parameters change by a small `x`.

    `diagonal` has it for each parameter alone. `inputs` has, for each weight, how what a filter
    reads matters together, summed over its filters: (n, n) for filters of n weights.
    """

    diagonal: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]


def measure(network: nn.Module, images: Iterable[Tensor]) -> Fisher:
    """The mean over images of the squared gradient of a class's log probability, the class drawn
    from the network's own distribution.

    `images` are batches of one, (1, channels, h, w).
    """
    generator = torch.Generator().manual_seed(0)
    names, parameters = zip(*network.named_parameters(), strict=True)
    diagonal = {name: torch.zeros_like(p) for name, p in zip(names, parameters, strict=True)}
    inputs = {
        name: p.new_zeros(p[0].numel(), p[0].numel())
        for name, p in zip(names, parameters, strict=True)
        if name.endswith("weight")
    }
    count = 0
    for image in images:
        count += 1
        logs = F.log_softmax(network(image)[0], 0)
        drawn = int(torch.multinomial(logs.detach().exp().cpu(), 1, generator=generator))
        gradients = torch.autograd.grad(logs[drawn], parameters)
        for name, gradient in zip(names, gradients, strict=True):
            diagonal[name] += gradient**2
            if name in inputs:
                filters = gradient.flatten(1)
                inputs[name].addmm_(filters.T, filters)
    for total in [*diagonal.values(), *inputs.values()]:
        total /= count
    return Fisher(diagonal=diagonal, inputs=inputs)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """The KL divergence of the student's distribution from the teacher's for each image, nats.

    Both are class scores, (n, classes).
    """
    wanted, own = (F.log_softmax(scores.float(), 1) for scores in (teacher, student))
    return F.kl_div(own, wanted, reduction="none", log_target=True).sum(1)
