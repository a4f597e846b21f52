"""Fine-tune fixed-point weights so that a network's outputs stay: no labels, only its outputs.

The network before rounding is the teacher: the target is its distribution over the classes. A
rounded weight costs what its code costs (entropy-constrained quantisation), and gradients pass the
rounding unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from distillation.feedback import round_filters
from distillation.fisher import Fisher
from distillation.rescale import optimal_step, optimise
from dse.coding.tensors import CompressedModel, FixedPoint
from dse.compress.networks import compressed, floats
from dse.training.network import SqueezeNet

BIT_IN_STEPS = math.log(2) / 6
"""What a bit may cost in squared steps, where steps are optimal: an error of rounding is
step**2 / 12 on average, and a step half as large costs one bit more."""

DAMPING = 0.4
"""The share by which each weight's own information is raised when weights are rounded together:
what filters share is estimated from pictures, and each filter differs from it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How to fine-tune.

    `price` is what a bit may cost, in nats of KL divergence: the higher, the smaller the file. `lr`
    is the first learning rate, in steps of rounding for each update; it falls to 0 as a cosine.
    `bfloat16` computes activations in it (faster on a processor).
    """

    price: float
    updates: int = 1000
    batch: int = 50
    lr: float = 0.03
    bfloat16: bool = False


class Student:
    """A network's parameters in steps of fixed point, and the network of their rounded values.

    Weights start rounded, each making up for the errors of others (`distillation.feedback`). Those
    that are 0 in the network stay 0.
    """

    def __init__(self, network: SqueezeNet, fisher: Fisher, fit: Fit) -> None:
        self.network, self.fit = network, fit
        own = {name: p.detach() for name, p in network.named_parameters()}
        weights = {n.removesuffix(".weight"): floats(p) for n, p in own.items() if "weight" in n}
        known = {name: floats(fisher.diagonal[f"{name}.weight"]) for name in weights}
        scales = optimise(weights, known, network.architecture, fit.price)
        self.log2_steps: dict[str, int] = {}
        self.factors: dict[str, Tensor] = {}
        self.latent: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.bits: dict[str, Tensor] = {}
        for name, parameter in own.items():
            layer, kind = name.rsplit(".", 1)
            if kind == "weight":
                factor, step = scales.weight_factors[layer], scales.log2_steps[layer]
            else:
                factor = scales.bias_factors[layer]
                step = optimal_step(
                    float((floats(fisher.diagonal[name]) / factor**2).mean()), fit.price
                )
            largest = float(np.abs(floats(parameter) * factor).max())
            step = max(step, math.ceil(math.log2(largest + 1e-30)) - 14)  # fits into 16 bits
            self.log2_steps[name] = step
            self.factors[name] = torch.from_numpy(factor * 2.0**-step).to(parameter)
            self.latent[name] = parameter * self.factors[name]
            self.kept[name] = parameter != 0
        self.count_bits()
        for name in weights:
            self._round(f"{name}.weight", fisher)
        for latent in self.latent.values():
            latent.requires_grad_()
        self.count_bits()

    @torch.no_grad()
    def _round(self, name: str, fisher: Fisher) -> None:
        """Round a layer's weights. All filters alike, so that those that matter to absent classes
        keep as much as the others; what they read matters as in the mean over filters."""
        latent, kept = self.latent[name].flatten(1), self.kept[name].flatten(1)
        inputs = self.factors[name].expand_as(self.latent[name]).flatten(1)[0]
        curvature = fisher.inputs[name] / torch.outer(inputs, inputs)
        curvature = curvature / (kept.sum(0).to(curvature) @ curvature.diagonal() / kept.sum())
        curvature.diagonal().mul_(1 + DAMPING).add_(1e-6)
        cheapest = partial(cheapest_number, prices=BIT_IN_STEPS * self.bits[name])
        codes = round_filters(latent, kept, curvature, cheapest)
        self.latent[name] = codes.view_as(self.latent[name])

    @torch.no_grad()
    def count_bits(self) -> None:
        """Set what each code costs (bits, by its magnitude) from how often it occurs now."""
        for name, latent in self.latent.items():
            if name.endswith("weight"):
                sizes = self.codes(name).abs().long().ravel()
                counts = torch.bincount(sizes, minlength=int(latent.abs().max()) + 3).float()
                counts[1:] /= 2  # either sign
                self.bits[name] = math.log2(latent.numel()) - counts.clamp(min=1).log2()

    @torch.no_grad()
    def codes(self, name: str) -> Tensor:
        """The whole numbers that stand for a tensor: of the two around each value, the one whose
        squared error and code together cost less; biases are rounded to the nearest."""
        latent = self.latent[name]
        if name not in self.bits:
            return latent.round()
        size, bits = latent.abs(), self.bits[name]
        low = size.floor().clamp(max=len(bits) - 2)
        more_bits = bits[low.long() + 1] - bits[low.long()]
        up = (low + 1 - size) ** 2 + BIT_IN_STEPS * more_bits < (size - low) ** 2
        return (low + up) * latent.sign() * self.kept[name]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Class scores of the rounded network, (n, classes)."""
        values = {
            name: (latent + (self.codes(name) - latent).detach()) * 2.0 ** self.log2_steps[name]
            for name, latent in self.latent.items()
        }
        scores: Tensor = functional_call(self.network, values, (pictures,))
        return scores

    def compressed(self) -> CompressedModel:
        """The rounded network: every tensor in fixed point."""
        steps = self.log2_steps.items()
        return compressed(self.network, {name: fixed(self.codes(name), s) for name, s in steps})


def cheapest_number(aim: Tensor, weight: Tensor, *, prices: Tensor) -> Tensor:
    """Of the two whole numbers around each `aim` and 0, the one whose squared error times `weight`
    and price together are least."""
    size = aim.abs()
    low = size.floor().clamp(max=len(prices) - 2)
    choices = torch.stack([torch.zeros_like(low), low, low + 1])
    costs = weight * (choices - size) ** 2 + prices[choices.long()]
    return choices.gather(0, costs.argmin(0, keepdim=True))[0] * aim.sign()


def fixed(codes: Tensor, log2_step: int) -> FixedPoint:
    """Whole numbers in steps of 2**`log2_step`, as wide as they need."""
    numbers = np.ascontiguousarray(codes.cpu().numpy()).astype(np.int16)
    largest = max(int(numbers.max(initial=0)), -int(numbers.min(initial=0)) - 1)
    return FixedPoint(numbers=numbers, width=largest.bit_length() + 1, fraction_length=-log2_step)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """The KL divergence of the student's distribution from the teacher's for each picture, nats.

    Both are class scores, (n, classes).
    """
    target = F.log_softmax(teacher.float(), 1)
    return (target.exp() * (target - F.log_softmax(student.float(), 1))).sum(1)


def moved(pictures: Tensor, zoom: float, generator: torch.Generator) -> Tensor:
    """Pictures (n, channels, h, w), half of them mirrored, each cropped by up to `zoom` of its
    side at a random place and resized to what it was."""
    n = len(pictures)
    side = 1 - zoom * torch.rand(n, generator=generator)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = side * (2.0 * (torch.rand(n, generator=generator) < 0.5) - 1)
    theta[:, 1, 1] = side
    theta[:, :, 2] = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
    grid = F.affine_grid(theta.to(pictures.device), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def distil(
    student: Student,
    examples: Callable[[Tensor], tuple[Tensor, Tensor]],
    count: int,
) -> None:
    """Fine-tune a student to give its network's outputs on `count` pictures.

    `examples` gives the pictures of some indices, (n, channels, h, w), and the network's class
    scores for them, (n, classes). An update of a parameter is its mean gradient over the root of
    its own mean square and its tensor's: what these pictures do not depend on stays where it is.
    """
    fit, latents = student.fit, list(student.latent.values())
    generator = torch.Generator().manual_seed(0)
    means, squares = ([torch.zeros_like(p) for p in latents] for _ in range(2))
    for update in range(fit.updates):
        drawn = torch.randint(count, (fit.batch,), generator=generator)
        pictures, target = examples(drawn)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=fit.bfloat16):
            loss = divergence(target, student(pictures)).mean()
        gradients = torch.autograd.grad(loss, latents)
        lr = fit.lr * 0.5 * (1 + math.cos(math.pi * update / fit.updates))
        warm = 1 - 0.99 ** (update + 1)
        with torch.no_grad():
            for p, gradient, mean, square in zip(latents, gradients, means, squares, strict=True):
                mean.lerp_(gradient, 0.1)
                square.lerp_(gradient**2, 0.01)
                p -= lr * mean / ((square + square.mean()) / warm + 1e-30).sqrt()
        if update % 10 == 9:
            student.count_bits()
