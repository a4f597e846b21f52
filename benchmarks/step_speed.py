"""Measure what each technique gives: training steps with one technique taken away at a time.

    python benchmarks/step_speed.py [--base 32] [--rounds 9]

The network is SqueezeNet v1.0 with a 3x3 stem at 32x32 and `base_e` = `incr_e` = --base, without
norm, on batches of 128 random images. The variants take turns on one thread, one step each.
Prints images per second as median (least .. most), and each variant's speed relative to all
techniques together.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dse.space.architecture import FIRES, Layout, Metaparameters, generate
from dse.training.initial import initialise
from dse.training.loop import CPU
from dse.training.network import Pointwise, SqueezeNet, max_pool
from dse.training.step import TrainStep  # the same step that training takes
from dse.training.worker import keep_memory
from dse.trial.recipe import Recipe

BATCH = 128


class ReluFirst(SqueezeNet):
    """Applies each ReLU before the max-pooling that follows it."""

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a batch of images."""
        x = max_pool(F.relu(self.conv1(x), inplace=True))
        for number in FIRES:
            x = self.get_submodule(f"fire{number}")(x)
            x = max_pool(x) if number in self.pools else x
        return self.conv10(self.dropout(x)).mean((2, 3))  # type: ignore[no-any-return]


def network(base: int, kind: type[SqueezeNet] = SqueezeNet) -> SqueezeNet:
    """The network with all techniques."""
    layout = Layout(
        conv1_filters=64, conv1_kernel=3, conv1_stride=1, conv1_padding=1, head_relu=False,
        dropout=0.2,
    )  # fmt: skip
    built = kind(generate(Metaparameters(base_e=base, incr_e=base), layout, num_classes=10))
    initialise(built, "he", 0)
    return built.to(memory_format=torch.channels_last)


def plain_convolutions(built: SqueezeNet) -> SqueezeNet:
    """The network with its 1x1 convolutions as convolutions, not as matrix products."""
    for module in built.modules():
        if isinstance(module, Pointwise):
            module.__class__ = nn.Conv2d
    return built


def ways(base: int) -> dict[str, tuple[SqueezeNet, str, bool]]:
    """Name -> network, precision, whether images are channels last."""
    torch_dropout = network(base)
    torch_dropout.dropout = nn.Dropout(0.2)
    everything = network(base)
    return {
        "all": (everything, "bf16", True),
        "fp32": (network(base), "fp32", True),
        "channels first": (network(base).to(memory_format=torch.contiguous_format), "bf16", False),
        "fp32, channels first": (
            network(base).to(memory_format=torch.contiguous_format), "fp32", False,
        ),
        "1x1 as convolutions": (plain_convolutions(network(base)), "bf16", True),
        "ReLU before pooling": (network(base, ReluFirst), "bf16", True),
        "torch's dropout": (torch_dropout, "bf16", True),
        "torch.compile": (cast("SqueezeNet", torch.compile(network(base))), "bf16", True),
    }  # fmt: skip


def stepper(built: SqueezeNet, precision: str, last: bool) -> Callable[[], object]:
    """A training step on one random batch."""
    recipe = Recipe(precision=precision, batch_size=BATCH, warmup=0, dead_after=0, ladder="none")
    step = TrainStep(built, recipe, steps_per_epoch=1000, seed=0, device=CPU)
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    return lambda: step(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_memory()
    print(f"{platform.machine()}, one thread, torch {torch.__version__}, base_e {options.base}")
    steps = {name: stepper(*way) for name, way in ways(options.base).items()}
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    first: dict[str, float] = {}
    for number in range(options.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds = time.perf_counter() - start
            first.setdefault(name, seconds)
            if number >= 2:
                speeds[name].append(BATCH / seconds)
    for name, rates in speeds.items():
        share = statistics.median(a / b for a, b in zip(rates, speeds["all"], strict=True))
        print(
            f"{name:<24} {statistics.median(rates):6.0f} ({min(rates):.0f} .. {max(rates):.0f})"
            f"  {share:.2f}x; first step {first[name]:.1f} s"
        )


if __name__ == "__main__":
    main()
