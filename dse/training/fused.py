"""Batch norm with ReLU, and max-pooling, in few passes over a GPU's memory.

PyTorch computes each as kernels of its own: on an H200 they, and the copies between them, take half
of a step's time. Here a norm reads several convolutions' outputs in place, as if they were
concatenated, and ReLU is part of the norm or of the pooling. The arithmetic is PyTorch's up to
rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILE = 4096
"""Numbers that a program of a kernel takes at a time."""

FEW, COLUMNS = 16, 64
"""Channels that a program takes, of a few and of more: 32 and 128 bytes side by side."""

CHUNKS = 256
"""Programs whose sums are added up, at most."""


@cache
def available() -> bool:
    """Whether the kernels work here. Warns once per process if not: Triton, which comes with
    torch, needs a C compiler."""
    try:
        _try_all()
    except torch.OutOfMemoryError:  # of other trials on the GPU: it says nothing about the kernels
        raise
    except Exception as error:  # whatever a compiler raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        print(
            f"training with PyTorch's own norms and pooling, which is slower: {reason}",
            file=sys.stderr,
        )
        return False
    return True


@torch.enable_grad()
def _try_all(device: str = "cuda") -> None:
    """Run each kernel once, as it is compiled for most layers."""
    shape = (2, COLUMNS, 4, 4)
    x = torch.zeros(shape, dtype=torch.bfloat16, device=device, requires_grad=True)
    y = max_pool(batch_norm([_channels_last(x)], nn.BatchNorm2d(COLUMNS).to(device), relu=True))
    torch.autograd.grad(y, x, torch.zeros_like(y))


def triton_version() -> str:
    """The version of Triton where this process has used the kernels, else empty."""
    if not (available.cache_info().currsize and available()):
        return ""
    import triton

    return str(triton.__version__)


def supports(*tensors: Tensor) -> bool:
    """Whether the kernels compute these tensors, together, and work here."""
    return (
        all(x.is_cuda and x.dtype == torch.bfloat16 and x.numel() for x in tensors)
        and all(x.is_contiguous(memory_format=torch.channels_last) for x in tensors)
        and sum(x.numel() for x in tensors) < 2**31
        and available()
    )


def batch_norm(inputs: Sequence[Tensor], norm: nn.BatchNorm2d, *, relu: bool) -> Tensor:
    """Batch norm in training of `inputs` (b, channels, h, w), concatenated along channels, and ReLU
    if asked for. Updates the running statistics of `norm`, as PyTorch does."""
    result: Tensor = _BatchNorm.apply(norm, relu, norm.weight, norm.bias, *inputs)
    return result


def max_pool(x: Tensor, *, relu: bool = False) -> Tensor:
    """As `F.max_pool2d(x, 3, 2, ceil_mode=True)`, and ReLU if asked for."""
    result: Tensor = _MaxPool.apply(x, relu)
    return result


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, norm: nn.BatchNorm2d, relu: bool, weight: Tensor, bias: Tensor, *inputs: Tensor
    ) -> Tensor:
        from dse.training import kernels

        n, _, h, w = inputs[0].shape
        widths = [x.shape[1] for x in inputs]
        rows, channels = n * h * w, sum(widths)
        y = _empty(inputs[0], (n, channels, h, w))
        mean, invstd = weight.new_empty(2, channels)
        running = (norm.running_mean, norm.running_var)
        columns = [_split(t, widths) for t in (mean, invstd, weight, bias, *running)]
        outputs = torch.split(_rows(y), widths, 1)
        for x, to, width, *own in zip(inputs, outputs, widths, *columns, strict=True):
            tile, grid, each = _chunks(rows, width)
            partial = weight.new_empty(2, grid[0], width)
            kernels.moments[grid](x, *partial, rows, width, each, **tile)
            kernels.statistics[_blocks(width)](
                *partial,
                *own[:2],
                *own[4:],
                rows,
                width,
                each,
                grid[0],
                norm.momentum or 0.0,
                norm.eps,
                CHUNKS=CHUNKS,
                COLUMNS=TILE // CHUNKS,
            )
            tile, grid = _tiles(rows, width)
            kernels.normalise[grid](x, to, *own[:4], rows, width, channels, relu, **tile)
        ctx.relu, ctx.widths = relu, widths
        ctx.save_for_backward(mean, invstd, weight, bias, *inputs)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        from dse.training import kernels

        mean, invstd, weight, bias, *inputs = ctx.saved_tensors
        rows_of_grad = _rows(_channels_last(grad_output))
        rows, channels = rows_of_grad.shape
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        columns = [
            _split(t, ctx.widths) for t in (mean, invstd, weight, bias, grad_bias, grad_weight)
        ]
        grads = torch.split(rows_of_grad, ctx.widths, 1)
        results = [torch.empty_like(x) for x in inputs]
        for x, grad, result, *own in zip(inputs, grads, results, *columns, strict=True):
            sizes = rows, x.shape[1], channels
            tile, grid, each = _chunks(rows, x.shape[1])
            sums = weight.new_empty(2, grid[0], x.shape[1])
            kernels.gradient_sums[grid](x, grad, *own[:4], *sums, *sizes, each, ctx.relu, **tile)
            kernels.add_up[_blocks(x.shape[1])](
                *sums, *own[4:], x.shape[1], grid[0], CHUNKS=CHUNKS, COLUMNS=TILE // CHUNKS
            )
            tile, grid = _tiles(rows, x.shape[1])
            kernels.input_gradient[grid](x, grad, result, *own, *sizes, ctx.relu, **tile)
        return None, None, grad_weight, grad_bias, *results


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: bool) -> Tensor:
        from dse.training import kernels

        n, channels, *sides = x.shape
        ends = [max(-(-(side - 3) // 2), 0) + 1 for side in sides]
        y = _empty(x, (n, channels, *ends))
        places = torch.empty_like(y, dtype=torch.uint8)
        rows = n * ends[0] * ends[1]
        tile, grid = _tiles(rows, channels)
        kernels.pool[grid](x, y, places, rows, channels, *sides, *ends, relu, **tile)
        ctx.save_for_backward(places)
        ctx.shape = x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        from dse.training import kernels

        (places,) = ctx.saved_tensors
        grad = _channels_last(grad_output)
        result = _empty(grad, ctx.shape)
        n, channels, *sides = ctx.shape
        rows = n * sides[0] * sides[1]
        tile, grid = _tiles(rows, channels)
        kernels.pool_gradient[grid](
            grad, places, result, rows, channels, *sides, *grad.shape[2:], **tile
        )
        return result, None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(
        tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _rows(x: Tensor) -> Tensor:
    """(n, channels, h, w), channels last, as (n * h * w, channels)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _split(columns: Tensor | None, widths: list[int]) -> tuple[Tensor, ...]:
    """What a norm has for each channel, for each of its inputs."""
    if columns is None:
        raise ValueError("`norm` must have running statistics, got none")
    return torch.split(columns, widths)


def _tiles(rows: int, channels: int) -> tuple[dict[str, int], tuple[int, int]]:
    """The tile of a program, and the grid of programs that cover all rows and channels."""
    columns = COLUMNS if channels > FEW else FEW
    tile = {"ROWS": TILE // columns, "COLUMNS": columns}
    return tile, (-(-rows // tile["ROWS"]), -(-channels // columns))


def _chunks(rows: int, channels: int) -> tuple[dict[str, int], tuple[int, int], int]:
    """As `_tiles`, where each program takes a chunk of so many rows."""
    tile, (tiles, blocks) = _tiles(rows, channels)
    each = -(-tiles // max(CHUNKS // blocks, 1)) * tile["ROWS"]
    return tile, (-(-rows // each), blocks), each


def _blocks(channels: int) -> tuple[int]:
    """The grid of the programs that add up the chunks."""
    return (-(-channels // (TILE // CHUNKS)),)
