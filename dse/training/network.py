"""An `Architecture` as a torch module, its initial weights, and torchvision's names for it.

The modules carry the paper's names (conv1, fire2 .. fire9, conv10) and torchvision's inside a
Fire module (squeeze, expand1x1, expand3x3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dse.space.architecture import FIRES, Architecture, FireSpec, Layout
from dse.space.rules import split
from dse.trial.protocol import random_seed


class Pointwise(nn.Conv2d):
    """A 1x1 convolution of stride 1: on a processor, one matrix product over all pixels.

    Equal to `nn.Conv2d` up to rounding. Two thirds of the network's convolutions are such; with
    small maps the product takes a quarter of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, filters, h, w)."""
        if x.is_cuda or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1)
        return F.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def _conv(
    inputs: int, filters: int, kernel: int, *, norm: bool, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    kind = Pointwise if (kernel, stride, padding) == (1, 1, 0) else nn.Conv2d
    return kind(inputs, filters, kernel, stride, padding, bias=not norm)


def _norm(channels: int, norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm else nn.Identity()


class Fire(nn.Module):
    """A Fire module: 1x1 squeeze, then 1x1 and 3x3 expand side by side (section 3.2).

    (batch, inputs, h, w) -> (batch, e1x1 + e3x3, h', w') with h' = ceil(h / squeeze_stride).
    A wire adds the input, or a 1x1 convolution of it, behind the last ReLU (section 6).
    """

    def __init__(self, inputs: int, spec: FireSpec, *, norm: bool) -> None:
        super().__init__()
        k, stride = spec.squeeze_kernel, spec.squeeze_stride
        self.wire = spec.wire
        self.squeeze = _conv(inputs, spec.s1x1, k, norm=norm, stride=stride, padding=k // 2)
        self.squeeze_norm = _norm(spec.s1x1, norm)
        self.expand1x1 = _conv(spec.s1x1, spec.e1x1, 1, norm=norm)
        self.expand3x3 = _conv(spec.s1x1, spec.e3x3, 3, norm=norm, padding=1)
        self.expand_norm = _norm(spec.filters, norm)
        if spec.wire == "conv":
            self.bypass = _conv(inputs, spec.filters, 1, norm=norm, stride=stride)
            self.bypass_norm = _norm(spec.filters, norm)

    def forward(self, x: Tensor, pool: bool = False) -> Tensor:
        """The module's output; the picture of the paper's Figure 1, with Figure 2's wires.

        With `pool` it is max-pooled, before the ReLU where nothing is added behind that: the
        numbers are the same, and the ReLU has a quarter of the elements.
        """
        squeezed = F.relu(self.squeeze_norm(self.squeeze(x)), inplace=True)
        out = torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)
        del squeezed
        out = self.expand_norm(out)
        if self.wire == "none":
            return F.relu(_pool(out) if pool else out, inplace=True)
        out = F.relu(out, inplace=True)
        if self.wire == "plain":
            out = out + x
        else:
            wire: Tensor = self.bypass_norm(self.bypass(x))
            out = wire.add_(out)
        return _pool(out) if pool else out


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)


class Dropout(nn.Dropout):
    """Dropout; on a processor from 16 random bits per element, in a tenth of the time.

    The share that is dropped is `p` rounded to 1/65,536; what is kept is divided by 1 - `p`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> the same shape; unchanged where the module judges."""
        share = round(self.p * 2**16)
        if not (self.training and share) or x.is_cuda:
            return super().forward(x)
        batch, channels, height, width = x.shape
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[: x.numel()] > share - 2**15 - 1
        mask = kept.to(x.dtype).mul_(1 / (1 - self.p))
        return x * mask.view(batch, height, width, channels).permute(0, 3, 1, 2)


class SqueezeNet(nn.Module):
    """The network of an `Architecture` (Table 1, Figure 2).

    (batch, in_channels, h, w) -> (batch, num_classes): class scores without softmax.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        layout, norm = architecture.layout, architecture.layout.norm == "batch"
        self.architecture = architecture
        self.conv1 = _conv(
            architecture.in_channels,
            layout.conv1_filters,
            layout.conv1_kernel,
            norm=norm,
            stride=layout.conv1_stride,
            padding=layout.conv1_padding,
        )
        self.conv1_norm = _norm(layout.conv1_filters, norm)
        channels = layout.conv1_filters
        for number, spec in zip(FIRES, architecture.fires, strict=True):
            self.add_module(f"fire{number}", Fire(channels, spec, norm=norm))
            channels = spec.filters
        self.dropout = Dropout(layout.dropout)
        filters = architecture.conv10_filters
        self.conv10_parts = (
            ["conv10"]
            if len(filters) == 1
            else [f"conv10_split{part}" for part in range(1, len(filters) + 1)]
        )
        for name, count in zip(self.conv10_parts, filters, strict=True):
            self.add_module(
                name, _conv(channels, count, 1, norm=False, padding=layout.conv10_padding)
            )
        self.pools = frozenset(split(layout.pool_after))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a batch of pictures."""
        x = self.conv1_norm(self.conv1(x))
        x = F.relu(_pool(x) if 1 in self.pools else x, inplace=True)
        for number in FIRES:
            x = self.get_submodule(f"fire{number}")(x, number in self.pools)
        x = self.dropout(x)
        scores = [self.get_submodule(name)(x) for name in self.conv10_parts]
        x = scores[0] if len(scores) == 1 else torch.cat(scores, 1)
        del scores
        if self.architecture.layout.head_relu:
            x = F.relu(x, inplace=True)
        return self._classes(x.mean((2, 3)))

    def _classes(self, scores: Tensor) -> Tensor:
        """One score per class: each part of conv10 has its share of them, the rest is dropped."""
        parts, classes = len(self.conv10_parts), self.architecture.num_classes
        if parts > 1:
            share = -(-classes // parts)
            scores = torch.cat([part[:, :share] for part in scores.chunk(parts, 1)], 1)
        return scores[:, :classes]


# Initial weights ----------------------------------------------------------------------------


@torch.no_grad()
def initialise(
    model: nn.Module, init: str, seed: int, pictures: Tensor | None = None, attempt: int = 0
) -> None:
    """Set every convolution's weights from the stream (seed, "init", the layer's name).

    `he`: normal with variance 2 / fan_in (arXiv:1502.01852). `xavier`: Caffe's default, uniform
    within sqrt(3 / fan_in), as the authors trained. `lsuv`: orthonormal, then scaled layer by
    layer so that the outputs on `pictures` have variance 1 (arXiv:1511.06422). Biases are 0; the
    last layer, conv10, is normal with deviation 0.01 (forresti/SqueezeNet, train_val.prototxt).
    Each `attempt` (from 0) of one trial has streams of its own.

    Raises `ValueError` where `lsuv` has no `pictures`, (batch, in_channels, h, w).
    """
    convolutions = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    for name, module in convolutions.items():
        key = name if attempt == 0 else f"{name}/{attempt}"
        generator = torch.Generator().manual_seed(random_seed(seed, "init", key))
        weight = torch.empty(module.weight.shape)
        fan_in = weight[0].numel()
        if name.startswith("conv10"):
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
        if pictures is None:
            raise ValueError("`pictures` must be given for `init` lsuv, got None")
        scaled = [m for name, m in convolutions.items() if not name.startswith("conv10")]
        _unit_variance(model, scaled, pictures)


def _unit_variance(model: nn.Module, convolutions: Sequence[nn.Conv2d], pictures: Tensor) -> None:
    """Scale each convolution as the pictures pass it; the layers behind see the scaled output.

    One whose outputs are all equal, as behind a Fire module that is dead, stays orthonormal.
    """

    def scale(module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        del inputs
        deviation = output.std()
        if deviation < 1e-6:
            return output
        module.weight.div_(deviation)
        return output / deviation

    hooks = [module.register_forward_hook(scale) for module in convolutions]
    training = model.training
    model.eval()
    model(pictures)
    model.train(training)
    for hook in hooks:
        hook.remove()


# torchvision's names ------------------------------------------------------------------------


def torchvision_names(layout: Layout) -> dict[str, str]:
    """Our module name -> torchvision's, for its squeezenet1_0 and squeezenet1_1.

    torchvision numbers conv1, its ReLU, each pooling and each Fire module in one row.
    """
    pools = split(layout.pool_after)
    names, place = {"conv1": "features.0"}, 2
    for number in (1, *FIRES):
        if number > 1:
            for part in ("squeeze", "expand1x1", "expand3x3"):
                names[f"fire{number}.{part}"] = f"features.{place}.{part}"
            place += 1
        place += number in pools
    return {**names, "conv10": "classifier.1"}


def from_torchvision(layout: Layout, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state as ours; raises `ValueError` where a tensor is missing or left over."""
    return _renamed(weights, {b: a for a, b in torchvision_names(layout).items()})


def to_torchvision(layout: Layout, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state as torchvision's; raises `ValueError` where a tensor is missing or left over."""
    return _renamed(weights, torchvision_names(layout))


def _renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    wanted = {f"{a}.{kind}": f"{b}.{kind}" for a, b in names.items() for kind in ("weight", "bias")}
    odd = sorted(set(wanted) ^ set(weights))
    if odd:
        state = "missing" if odd[0] in wanted else "left over"
        raise ValueError(f"`weights` must have torchvision's tensors: {odd[0]} is {state}")
    return {wanted[name]: tensor for name, tensor in weights.items()}


def alexnet(num_classes: int = 1000) -> nn.Module:
    """AlexNet, the baseline of Table 2, as torchvision builds it (61,100,840 parameters)."""
    import torchvision

    module: nn.Module = torchvision.models.alexnet(weights=None, num_classes=num_classes)
    return module
