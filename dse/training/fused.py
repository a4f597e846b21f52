"""Batch norm with ReLU, and max-pooling, in few passes over a GPU's memory.

torch computes each as a kernel of its own: on an H200 they, and the copies between them, take half
of a step's time. Here a norm takes several convolutions' outputs as its channels, which are neither
put together before nor taken apart after it, and ReLU is part of the norm or of the pooling. The
arithmetic is torch's up to rounding.
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
    """Whether the kernels work here. Says why not, once for a process: Triton, which comes with
    torch, needs a C compiler."""
    try:
        x = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16, device="cuda")
        max_pool(x, relu=False)
    except Exception as error:  # whatever a compiler raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        print(f"training with torch's own norms, which is slower: {reason}", file=sys.stderr)
        return False
    return True


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels take these activations, and work here."""
    return (
        all(x.is_cuda and x.dtype == torch.bfloat16 and 0 < x.numel() < 2**31 for x in tensors)
        and all(x.is_contiguous(memory_format=torch.channels_last) for x in tensors)
        and available()
    )


def batch_norm(parts: Sequence[Tensor], norm: nn.BatchNorm2d, *, relu: bool) -> Tensor:
    """Batch norm in training of (b, channels of all `parts`, h, w), and ReLU if asked for.

    Moves the running statistics of `norm`, as torch does.
    """
    result: Tensor = _BatchNorm.apply(norm, relu, norm.weight, norm.bias, *parts)
    return result


def max_pool(x: Tensor, *, relu: bool) -> Tensor:
    """As `F.max_pool2d(x, 3, 2, ceil_mode=True)`, and ReLU if asked for."""
    result: Tensor = _MaxPool.apply(x, relu)
    return result


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, norm: nn.BatchNorm2d, relu: bool, weight: Tensor, bias: Tensor, *parts: Tensor
    ) -> Tensor:
        from dse.training import kernels

        n, _, h, w = parts[0].shape
        rows, channels = n * h * w, sum(part.shape[1] for part in parts)
        y = _empty(parts[0], (n, channels, h, w))
        mean, scale = weight.new_empty(2, channels)
        shares = [part.shape[1] for part in parts]
        columns = [torch.split(t, shares) for t in (mean, scale, weight, bias)]
        running = [
            torch.split(t, shares) for t in (norm.running_mean, norm.running_var) if t is not None
        ]
        for part, to, *own, old_mean, old_variance in zip(
            parts, torch.split(_rows(y), shares, 1), *columns, *running, strict=True
        ):
            tile, grid, each = _chunks(rows, part.shape[1])
            partial = weight.new_empty(2, grid[0], part.shape[1])
            kernels.moments[grid](part, *partial, rows, part.shape[1], each, **tile)
            kernels.statistics[_blocks(part.shape[1])](
                *partial,
                *own[:2],
                old_mean,
                old_variance,
                rows,
                part.shape[1],
                each,
                grid[0],
                norm.momentum or 0.0,
                norm.eps,
                CHUNKS=CHUNKS,
                COLUMNS=TILE // CHUNKS,
            )
            tile, grid = _tiles(rows, part.shape[1])
            kernels.normalise[grid](part, to, *own, rows, part.shape[1], channels, relu, **tile)
        ctx.relu, ctx.shares = relu, shares
        ctx.save_for_backward(mean, scale, weight, bias, *parts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        from dse.training import kernels

        mean, scale, weight, bias, *parts = ctx.saved_tensors
        given = given.contiguous(memory_format=torch.channels_last)
        channels = given.shape[1]
        rows = given.numel() // channels
        of_bias, of_weight = torch.empty_like(bias), torch.empty_like(weight)
        columns = [
            torch.split(t, ctx.shares) for t in (mean, scale, weight, bias, of_bias, of_weight)
        ]
        results = []
        for part, gradient, *own in zip(
            parts, torch.split(_rows(given), ctx.shares, 1), *columns, strict=True
        ):
            tile, grid, each = _chunks(rows, part.shape[1])
            sums = weight.new_empty(2, grid[0], part.shape[1])
            sizes = rows, part.shape[1], channels
            kernels.gradient_sums[grid](
                part, gradient, *own[:4], *sums, *sizes, each, ctx.relu, **tile
            )
            kernels.add_up[_blocks(part.shape[1])](
                *sums, *own[4:], part.shape[1], grid[0], CHUNKS=CHUNKS, COLUMNS=TILE // CHUNKS
            )
            results.append(torch.empty_like(part))
            tile, grid = _tiles(rows, part.shape[1])
            kernels.input_gradient[grid](
                part, gradient, results[-1], *own, *sizes, ctx.relu, **tile
            )
        return None, None, of_weight, of_bias, *results


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
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        from dse.training import kernels

        (places,) = ctx.saved_tensors
        given = given.contiguous(memory_format=torch.channels_last)
        result = _empty(given, ctx.shape)
        n, channels, *sides = ctx.shape
        rows = n * sides[0] * sides[1]
        tile, grid = _tiles(rows, channels)
        kernels.pool_gradient[grid](
            given, places, result, rows, channels, *sides, *given.shape[2:], **tile
        )
        return result, None


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(
        tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _rows(x: Tensor) -> Tensor:
    """(n, channels, h, w), channels last, as (n * h * w, channels)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


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
