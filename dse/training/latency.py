"""How long networks take for a batch of images, on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dse.space.rules import integer

if TYPE_CHECKING:
    import pandas as pd

COUNT = integer(1, 1_000_000)

SLICE = 0.005
"""Seconds that a network runs at a time; once where a batch takes longer."""


def latency(
    networks: nn.Module | Iterable[nn.Module],
    inputs: Tensor,
    *,
    threads: int = 1,
    rounds: int = 30,
) -> pd.DataFrame:
    """Milliseconds that one or several networks take for the batch `inputs`, (batch, channels,
    side, side).

    The networks take turns, for some milliseconds each in every round, so that other work on the
    machine slows all of them alike; `threads` is torch's number of threads on a CPU. A row for each
    network, in their order: `latency_ms`, the median over the rounds, and `latency_low_ms` and
    `latency_high_ms`, the quartiles. Networks run as they are, without a compiler, in eval mode;
    on a GPU where they and `inputs` are there. Raises `ValueError` where `threads` or
    `rounds` is no whole number from 1 to a million, and `TypeError` for other networks or inputs.
    """
    several = isinstance(networks, Iterable) and not isinstance(networks, nn.Module)
    given: Any = networks
    networks = [*given] if several else [given]
    for one in networks:
        if not isinstance(one, nn.Module):
            rule = "must be a network, as dse.network returns, or a list of them"
            raise TypeError(f"`networks` {rule}, got {type(one).__name__}")
    if not isinstance(inputs, Tensor):
        rule = "must be a torch.Tensor, as network.preprocess returns"
        raise TypeError(f"`inputs` {rule}, got {type(inputs).__name__}")
    threads, rounds = COUNT.accept("threads", threads), COUNT.accept("rounds", rounds)
    import pandas as pd

    with _evaluating(networks, threads):
        for network in networks:  # first calls prepare what later ones use
            _seconds(network, inputs, 2 * SLICE)
        times = [[_seconds(one, inputs, SLICE) for one in networks] for _ in range(rounds)]
    milliseconds = 1000 * np.array(times).reshape(rounds, len(networks))
    low, middle, high = np.percentile(milliseconds, (25, 50, 75), axis=0)
    return pd.DataFrame({"latency_ms": middle, "latency_low_ms": low, "latency_high_ms": high})


@contextmanager
def _evaluating(networks: Sequence[nn.Module], threads: int) -> Iterator[None]:
    """Networks in eval mode, without gradients, with some threads; all is restored at the end."""
    before = torch.get_num_threads()
    modes = [(part, part.training) for network in networks for part in network.modules()]
    torch.set_num_threads(threads)
    try:
        for network in networks:
            network.eval()
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
        for part, mode in modes:
            part.training = mode


def _seconds(network: nn.Module, inputs: Tensor, least: float) -> float:
    """Mean seconds of a call, over as many calls as take at least `least` seconds."""
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < least:
        network(inputs)
        if inputs.is_cuda:
            torch.cuda.synchronize(inputs.device)
        calls, elapsed = calls + 1, time.perf_counter() - start
    return elapsed / calls
