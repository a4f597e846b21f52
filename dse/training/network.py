"""An `Architecture` as a torch module.

The modules carry the paper's names (conv1, fire2 .. fire9, conv10) and torchvision's inside a
Fire module (squeeze, expand1x1, expand3x3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dse.space.architecture import FIRES, Architecture, FireSpec
from dse.space.rules import split
from dse.training import fused, ranks


class Pointwise(nn.Conv2d):
    """A 1x1 convolution of stride 1, computed as one matrix product over all pixels.

    Equal to `nn.Conv2d` up to rounding. Two thirds of the network's convolutions are of this kind;
    on a CPU and small maps the product takes a quarter of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, filters, h, w)."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1)
        return F.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def _conv(
    inputs: int, filters: int, kernel: int, *, norm: bool, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    kind = Pointwise if (kernel, stride, padding) == (1, 1, 0) else nn.Conv2d
    return kind(inputs, filters, kernel, stride, padding, bias=not norm)


class Norm(nn.BatchNorm2d):
    """Batch norm that does not count its batches: nothing reads the number, and on a GPU counting
    takes a launch for each norm. Where it is `shared`, its statistics are those of all processes'
    images."""

    shared = False

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> the same shape."""
        if self.shared and self.training:
            return ranks.batch_norm(x, self)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


def _norm(channels: int, norm: bool) -> nn.Module:
    return Norm(channels) if norm else nn.Identity()


def normed(parts: list[Tensor], norm: nn.Module, *, relu: bool) -> Tensor:
    """Concatenate tensors (b, channels, h, w) along channels and apply a norm, and ReLU if asked
    for. The list is emptied, which frees their memory, and the tensors may be modified in place."""
    if isinstance(norm, Norm) and norm.training and not norm.shared and fused.supports(*parts):
        return fused.batch_norm(parts, norm, relu=relu)
    x = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    parts.clear()
    out: Tensor = norm(x)
    return F.relu(out, inplace=True) if relu else out


class Fire(nn.Module):
    """A Fire module: 1x1 squeeze, then 1x1 and 3x3 expand side by side (section 3.2).

    (batch, inputs, h, w) -> (batch, e1x1 + e3x3, h', w') with h' = ceil(h / squeeze_stride).
    A bypass wire adds the input, or a 1x1 convolution of it, after the last ReLU (section 6).
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
        """Figure 1 of the paper, with the bypass wires of Figure 2.

        With `pool` the output is max-pooled, before the ReLU where no wire adds anything after it:
        the numbers are the same, and the ReLU has a quarter of the elements.
        """
        squeezed = normed([self.squeeze(x)], self.squeeze_norm, relu=True)
        expanded = [self.expand1x1(squeezed), self.expand3x3(squeezed)]
        del squeezed
        if self.wire == "none" and pool:
            return max_pool(normed(expanded, self.expand_norm, relu=False), relu=True)
        out = normed(expanded, self.expand_norm, relu=True)
        if self.wire == "none":
            return out
        if self.wire == "plain":
            out = out + x
        else:
            out = normed([self.bypass(x)], self.bypass_norm, relu=False).add_(out)
        return max_pool(out) if pool else out


def max_pool(x: Tensor, *, relu: bool = False) -> Tensor:
    """The largest of 3x3 pixels at every second one, and ReLU if asked for."""
    if fused.supports(x):
        return fused.max_pool(x, relu=relu)
    out = F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)
    return F.relu(out, inplace=True) if relu else out


class Dropout(nn.Dropout):
    """Dropout that draws 16 random bits per element on a CPU: a tenth of torch's time.

    The share dropped is `p` rounded to 1/65,536; what is kept is divided by 1 - `p`. Where the
    batch is a part `of` a larger one, (place of its first image, number of images), it has the
    masks that it has there.
    """

    of: tuple[int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) -> the same shape; unchanged in eval mode."""
        share = round(self.p * 2**16)
        if not (self.training and share) or x.is_cuda:
            return super().forward(x)
        batch, channels, *sides = x.shape
        first, images = self.of or (0, batch)
        each = x[:1].numel() if batch else 0
        words = torch.empty(-(-images * each // 4), dtype=torch.int64).random_(-(2**63), None)
        mine = words.view(torch.int16)[first * each : first * each + x.numel()]
        kept = mine > share - 2**15 - 1
        mask = kept.to(x.dtype).mul_(1 / (1 - self.p))
        return x * mask.view(batch, *sides, channels).movedim(-1, 1)


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
        """Class scores of a batch of images."""
        pool = 1 in self.pools
        x = normed([self.conv1(x)], self.conv1_norm, relu=not pool)
        x = max_pool(x, relu=True) if pool else x
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
        """One score per class: each part of conv10 gives its share, further outputs are dropped."""
        parts, classes = len(self.conv10_parts), self.architecture.num_classes
        if parts > 1:
            share = -(-classes // parts)
            scores = torch.cat([part[:, :share] for part in scores.chunk(parts, 1)], 1)
        return scores[:, :classes]
