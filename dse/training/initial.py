"""The initial weights of a network: He, Caffe's Xavier, or LSUV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dse.trial.protocol import random_seed

LAST = ("conv10", "fc8")
"""How the names of networks' last layers begin."""


@torch.no_grad()
def initialise(
    model: nn.Module, init: str, seed: int, images: Tensor | None = None, attempt: int = 0
) -> None:
    """Set each layer's weights from the stream (seed, "init", the layer's name).

    `he`: normal with variance 2 / fan_in (arXiv:1502.01852). `xavier`: Caffe's default, uniform
    within sqrt(3 / fan_in), as the authors trained. `lsuv`: orthonormal, then scaled layer by
    layer so that the outputs on `images` have variance 1 (arXiv:1511.06422). Biases are 0; the
    last layer, conv10 or AlexNet's fc8, is normal with deviation 0.01 (train_val.prototxt of
    forresti/SqueezeNet and of bvlc_alexnet).
    Each `attempt` (from 0) of one trial has its own streams.

    Raises `ValueError` where `lsuv` has no `images`, float32 (batch, in_channels, h, w).
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    for name, module in layers.items():
        key = name if attempt == 0 else f"{name}/{attempt}"
        generator = torch.Generator().manual_seed(random_seed(seed, "init", key))
        weight = torch.empty(module.weight.shape)
        fan_in = weight[0].numel()
        if name.startswith(LAST):
            weight.normal_(0.0, 0.01, generator=generator)
        elif init == "he":
            weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)
        elif init == "lsuv":
            nn.init.orthogonal_(weight, generator=generator)
        else:
            bound = math.sqrt(3 / fan_in)
            weight.uniform_(-bound, bound, generator=generator)
        module.weight.copy_(weight)
        if module.bias is not None:
            module.bias.zero_()
    if init == "lsuv":
        if images is None:
            raise ValueError("`images` must be given for `init` lsuv, got None")
        scaled = [module for name, module in layers.items() if not name.startswith(LAST)]
        _unit_variance(model, scaled, images)


def _unit_variance(
    model: nn.Module, layers: Sequence[nn.Conv2d | nn.Linear], images: Tensor
) -> None:
    """Scale each layer while the images pass; the layers after it see the scaled output.

    One whose outputs are all equal, as after a dead Fire module, stays orthonormal.
    """

    def scale(module: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        del inputs
        deviation = output.std()
        if deviation < 1e-6:
            return output
        module.weight.div_(deviation)
        return output / deviation

    hooks = [module.register_forward_hook(scale) for module in layers]
    training = model.training
    model.eval()
    model(images)
    model.train(training)
    for hook in hooks:
        hook.remove()
