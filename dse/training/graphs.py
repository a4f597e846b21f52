"""A function of a batch as CUDA graphs: captured once for each size of a batch, then replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EAGER = 3
"""Calls with batches of one size before it is captured: libraries set themselves up in these."""

_BROKEN: list[torch.cuda.CUDAGraph] = []  # torch's allocator refers to what was not captured

Work = Callable[[Tensor, Tensor], Tensor]


class NotCaptured(Exception):
    """The function does something that cannot be captured; it was not run."""


class Graphs:
    """Runs a function of a batch, `EAGER` times for each size of a batch as it is, then as a graph.

    All of them run in one order, so that they share memory. What a call returns is valid until the
    next one.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._inputs: dict[int, tuple[Tensor, Tensor]] = {}
        self._calls: dict[int, int] = {}
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, work: Work, x: Tensor, y: Tensor, layout: torch.memory_format) -> Tensor:
        """`work` on a batch, with `x` in a memory format. Raises `NotCaptured`."""
        size = len(y)
        if size not in self._inputs:
            self._inputs[size] = torch.empty_like(x, memory_format=layout), torch.empty_like(y)
            self._calls[size] = 0
        for static, given in zip(self._inputs[size], (x, y), strict=True):
            static.copy_(given)
        if self._calls[size] < EAGER:
            self._calls[size] += 1
            return self._eager(work, size)
        if size not in self._captured:
            self._captured[size] = self._capture(work, size)
        graph, result = self._captured[size]
        graph.replay()
        return result

    def _eager(self, work: Work, size: int) -> Tensor:
        """On the stream of the captures, as these need it."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work(*self._inputs[size])
        current.wait_stream(self._stream)
        return result

    def _capture(self, work: Work, size: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(
                graph, self._pool, self._stream, capture_error_mode="thread_local"
            ):
                result = work(*self._inputs[size])
        except RuntimeError as error:
            torch.cuda.set_stream(current)
            _BROKEN.append(graph)
            raise NotCaptured(str(error).partition("\n")[0]) from error
        return graph, result
