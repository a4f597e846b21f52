"""How fast the cost of networks is computed, compared with counters that need a built network.

    python benchmarks/cost_speed.py

One row per way of counting SqueezeNet v1.0 (arXiv:1602.07360) at 224 pixels, or a million random
networks around it: seconds per network as median (least .. most) of `ROUNDS` rounds on one core,
networks per second, and what was counted. The ways take turns within a round, so that a busy
machine slows them all equally. fvcore, torchinfo and ptflops are included where installed.
"""

from __future__ import annotations

import importlib.util
import logging
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import squeezenet1_0

from dse.space.architecture import V1_0, Metaparameters, generate
from dse.space.cost import Cost, cost
from dse.space.grid import cost_grid

ROUNDS = 7
ROUND_SECONDS = 0.05
"""A way is called repeatedly for about this long in each round."""

IMAGE_SIZE = 224
POINTS = 1_000_000


class Way(NamedTuple):
    """A way of counting: `count` computes the cost of `networks` of them and returns a summary."""

    name: str
    count: Callable[[], str]
    networks: int = 1


# The ways -----------------------------------------------------------------------------------


def random_points(n: int, seed: int) -> dict[str, Any]:
    """`n` random metaparameters around v1.0's: ratios in thousandths, each bypass equally often."""
    rng = np.random.default_rng(seed)
    return {
        "base_e": rng.integers(16, 257, n),
        "incr_e": rng.integers(0, 257, n),
        "freq": rng.integers(1, 9, n),
        "pct3x3": rng.integers(1, 1000, n) / 1000,
        "sr": rng.integers(1, 1001, n) / 1000,
        "bypass": rng.choice(["none", "simple", "complex"], n),
    }


def by_grid(points: dict[str, Any]) -> str:
    cost_grid(V1_0, IMAGE_SIZE, **points)
    return "all five costs"


def shown(computed: Cost) -> str:
    return f"all five costs ({computed.macs:,} MACs)"


def on_meta() -> nn.Module:
    """torchvision's network without memory for its weights."""
    with torch.device("meta"):
        return squeezenet1_0().eval()


def by_numel(model: nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()):,} params"


def by_flop_counter(model: nn.Module) -> str:
    image = torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return f"{counter.get_total_flops() // 2:,} MACs"


def by_fvcore(model: nn.Module) -> str:
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    counter = FlopCountAnalysis(model, torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    return f"{counter.total():,} MACs"


def by_torchinfo(model: nn.Module) -> str:
    from torchinfo import summary

    counts = summary(model, input_size=(1, 3, IMAGE_SIZE, IMAGE_SIZE), verbose=0, device="cpu")
    return f"{counts.total_mult_adds:,} MACs, {counts.total_params:,} params"


def by_ptflops(model: nn.Module) -> str:
    from ptflops import get_model_complexity_info

    size = (3, IMAGE_SIZE, IMAGE_SIZE)
    macs, params = get_model_complexity_info(
        model, size, as_strings=False, print_per_layer_stat=False, verbose=False
    )
    return f"{macs:,} MACs, {params:,} params"


OPTIONAL = {"fvcore": by_fvcore, "torchinfo": by_torchinfo, "ptflops": by_ptflops}


def ways() -> list[Way]:
    """Every way that is installed."""
    points = random_points(POINTS, seed=0)
    plain = points | {"bypass": "none"}
    v1_0, meta, real = generate(Metaparameters()), on_meta(), squeezenet1_0().eval()
    return [
        Way("cost_grid, every bypass", lambda: by_grid(points), POINTS),
        Way("cost_grid, no bypass", lambda: by_grid(plain), POINTS),
        Way("cost", lambda: shown(cost(v1_0, IMAGE_SIZE))),
        Way("generate, cost", lambda: shown(cost(generate(Metaparameters()), IMAGE_SIZE))),
        Way("numel, real network", lambda: by_numel(real)),
        Way("build it, numel", lambda: by_numel(squeezenet1_0())),
        Way("flop_counter, meta network", lambda: by_flop_counter(meta)),
        Way("build it, flop_counter", lambda: by_flop_counter(on_meta())),
    ] + [
        Way(f"{name}, real network", lambda count=count: count(real))
        for name, count in OPTIONAL.items()
        if importlib.util.find_spec(name)
    ]


# The clock ----------------------------------------------------------------------------------


def seconds(way: Way, calls: int) -> float:
    """Seconds per network over `calls` calls."""
    start = time.perf_counter()
    for _ in range(calls):
        way.count()
    return (time.perf_counter() - start) / calls / way.networks


def measure(candidates: list[Way]) -> list[list[float]]:
    """Seconds per network of each way in each round, after a round to warm up."""
    first = [seconds(way, 1) * way.networks for way in candidates]
    calls = [max(1, round(ROUND_SECONDS / taken)) for taken in first]
    rounds = [
        [seconds(way, n) for way, n in zip(candidates, calls, strict=True)] for _ in range(ROUNDS)
    ]
    return [list(column) for column in zip(*rounds, strict=True)]


def duration(value: float) -> str:
    """Seconds with three digits and the unit that fits.

    >>> duration(4.567e-7), duration(0.0123), duration(1.5)
    ('457 ns', '12.3 ms', '1.50 s')
    """
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        scaled = value / scale
        if scaled < 1000 or unit == "s":
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{digits}f} {unit}"
    raise AssertionError


def cpu() -> str:
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    torch.set_num_threads(1)
    candidates = ways()
    print(f"{cpu()}, one core; Python {platform.python_version()}, ", end="")
    print(f"numpy {np.__version__}, torch {torch.__version__}")
    print(f"median (least .. most) of {ROUNDS} rounds; {POINTS:,} points a grid\n")
    print(f"{'way':28}{'time per network':>32}{'networks/s':>14}  counts")
    for way, taken in zip(candidates, measure(candidates), strict=True):
        middle = statistics.median(taken)
        spread = f"{duration(middle)} ({duration(min(taken))} .. {duration(max(taken))})"
        print(f"{way.name:28}{spread:>32}{1 / middle:>14,.0f}  {way.count()}")


if __name__ == "__main__":
    main()
