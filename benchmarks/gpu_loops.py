"""One trial's training: images per second of our steps and of two loops that others write.

    python benchmarks/gpu_loops.py plain|airbench|narrow [--device cpu]
        [--data-root DIR] [--rounds 5] [--seconds S]

All train the same network on the same images in batches of the same size, with crops and flips:

- ours: the steps of `dse.training` with the trial's recipe, in bf16 and in fp32.
- torch's norms: ours in bf16, without the kernels of `dse.training.fused`.
- plain: `DataLoader` with loader processes and torchvision's transforms, fp32 with torch's
  defaults, eager, `.item()` in every step.
- airbench style: all images on the device, augmented there an epoch at a time, bf16 weights
  (norms in fp32), channels last, compiled, fused SGD, nothing read back, no clipping.

After a warm-up, which includes compilation and the capture of graphs, they take turns of about a
second. Judging is left out. The share of the memory's bandwidth is for the traffic that
`gpu_setting.traffic` states.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from gpu_setting import (
    arguments,
    copy_bandwidth,
    images_of,
    say,
    store_of,
    synchronise,
    traffic,
    trials,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from dse.data.memory import Data
from dse.data.resident import on_device
from dse.training import cuda, fused
from dse.training.execute import STEPS, build
from dse.trial.question import Trial

WIDE, NARROW = ("base_e=128", "incr_e=128"), ("base_e=32", "incr_e=32")
ROWS = ("plain", "airbench", "narrow")
TURN = 1.0
"""Approximate seconds of a turn."""

WARM_UP = 60
"""Steps before the first turn."""

SUPPORTS = fused.supports

TF32 = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
"""torch's default."""

STARTED = time.monotonic() - 5
"""About when this process started: its imports take a while."""

Steps = Iterator[int]
"""A training that does not end: yields the number of images of each step."""


def prepare_others(fastest: bool) -> None:
    """torch's defaults, which `dse.training.cuda.prepare` changes; with the `fastest`, algorithms
    of convolutions are chosen by trying them out, as airbench does."""
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = fastest, False
    torch.backends.cudnn.conv.fp32_precision = TF32  # type: ignore[attr-defined]


def ours(trial: Trial, data: Data, device: torch.device) -> Steps:
    """Our steps, as `dse.training.execute` sets them up."""
    recipe = trial.protocol.recipe
    model = build(trial, recipe, data, 0)
    if device.type == "cuda":
        model.to(device, memory_format=cuda.FORMATS[recipe.precision])
    placed = on_device(data, device)
    steps = placed.steps(recipe.batch_size)
    step = STEPS[device.type](model, recipe, steps_per_epoch=steps, seed=0, device=device)
    model.train()
    for epoch in range(1, recipe.epochs + 1):
        for x, y in placed.train_batches(recipe.batch_size, 0, epoch):
            step(x, y)
            yield len(y)


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images of a part, each transformed when it is asked for."""

    def __init__(self, data: Data) -> None:
        side = data.train.images.shape[1]
        rows = data.train.rows
        self._images = torch.from_numpy(data.train.images[rows]).permute(0, 3, 1, 2)
        self._labels = data.train.labels[rows].tolist()
        self._transform = v2.Compose(
            [
                v2.RandomCrop(side, padding=side // 8),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(data.facts.mean, data.facts.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._transform(self._images[number]), self._labels[number]


def plain(trial: Trial, data: Data, device: torch.device) -> Steps:
    """The loop that a tutorial shows."""
    recipe = trial.protocol.recipe
    cores = len(os.sched_getaffinity(0))
    loaders = min(8, cores) if device.type == "cuda" else 0
    loader = DataLoader(
        Augmented(data),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=loaders,
        persistent_workers=loaders > 0,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    model = build(trial, recipe, data, 0).to(device, memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    model.train()
    losses = hits = 0.0
    while True:
        for x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            scores = model(x)
            loss = F.cross_entropy(scores, y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses += loss.item()
            hits += (scores.argmax(1) == y).sum().item()
            yield len(y)


def airbench(trial: Trial, data: Data, device: torch.device, mode: str | None) -> Steps:
    """A loop in airbench's style, compiled in a `mode` of `torch.compile`; None: not compiled."""
    recipe = trial.protocol.recipe
    model = build(trial, recipe, data, 0).to(device, torch.bfloat16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    model.to(memory_format=torch.channels_last).train()
    network = torch.compile(model, mode=mode) if mode else model
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    rows = data.train.rows
    mean, std = (torch.tensor(v, device=device) * 255 for v in (data.facts.mean, data.facts.std))
    images = torch.from_numpy(data.train.images[rows]).to(device)
    images = ((images.float() - mean) / std).to(torch.bfloat16)
    labels = torch.from_numpy(data.train.labels[rows]).to(device)
    while True:
        changed, order = augmented(images), torch.randperm(len(labels), device=device)
        for batch in order.split(recipe.batch_size)[: len(labels) // recipe.batch_size]:
            x = changed[batch].permute(0, 3, 1, 2)
            loss = F.cross_entropy(network(x).float(), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield len(batch)


def augmented(images: Tensor) -> Tensor:
    """All images (n, h, w, channels) after random crops and flips."""
    count, side, margin = len(images), images.shape[1], images.shape[1] // 8
    padded = F.pad(images, (0, 0, margin, margin, margin, margin))
    y, x = torch.randint(0, 2 * margin + 1, (2, count, 1), device=images.device)
    across = torch.arange(side, device=images.device)
    flip = torch.rand(count, 1, device=images.device) < 0.5
    rows, columns = y + across, x + torch.where(flip, across.flip(0), across)
    whole = torch.empty_like(images)
    for part in torch.arange(count, device=images.device).split(4096):
        whole[part] = padded[part[:, None, None], rows[part][:, :, None], columns[part][:, None]]
    return whole


def prepare_ours(kernels: bool = True) -> None:
    """Our settings, with the kernels of `dse.training.fused` or without."""
    cuda.prepare("bf16")
    fused.supports = SUPPORTS if kernels else lambda *_: False  # type: ignore[assignment]


# Taking turns -----------------------------------------------------------------------------------


Loop = tuple[Callable[[], Steps], Callable[[], None]]
"""What starts a training, and what sets how this process computes, before each turn."""


class Contender:
    """A loop that is timed in turns of a fixed number of steps."""

    def __init__(self, name: str, loop: Loop, device: torch.device) -> None:
        self.name, self.rates = name, list[float]()
        make, self._prepare = loop
        self._device = device
        self._prepare()
        self._steps = make()
        start = time.perf_counter()
        self._run(WARM_UP // 3)
        self.start_up = time.perf_counter() - start
        _, seconds = self._run(WARM_UP - WARM_UP // 3)
        self._turn = max(round(TURN / seconds * (WARM_UP - WARM_UP // 3)), 10)

    def turn(self) -> None:
        """Train for a turn; note the images per second."""
        images, seconds = self._run(self._turn)
        self.rates.append(images / seconds)

    def _run(self, steps: int) -> tuple[int, float]:
        self._prepare()
        synchronise(self._device)
        start = time.perf_counter()
        images = sum(itertools.islice(self._steps, steps))
        synchronise(self._device)
        return images, time.perf_counter() - start


def compare(options: argparse.Namespace, network: str, loops: dict[str, Loop], moved: int) -> None:
    """Let loops take turns; say images per second, ratios of the first, and bandwidth."""
    device = torch.device(options.device)
    end = STARTED + 0.8 * options.seconds
    contenders: list[Contender] = []
    for name, loop in loops.items():
        try:
            contenders.append(Contender(name, loop, device))
            say(f"{network}: {name}: first {WARM_UP // 3} steps", "s", [contenders[-1].start_up])
        except Exception as error:  # a compiler is missing, or the memory is too small
            say(f"{name}: failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    for number in range(options.rounds):
        if number == 0 or time.monotonic() < end:
            for contender in contenders:
                contender.turn()
    bandwidth = copy_bandwidth(device)
    say("copy bandwidth", "GB/s", [bandwidth / 1e9])
    for contender in contenders:
        size = 4 if "fp32" in contender.name else 2
        shares = [100 * rate * moved * size / bandwidth for rate in contender.rates]
        say(f"{network}: {contender.name}", "images/s", contender.rates)
        say(f"{network}: {contender.name}: of the copy bandwidth", "%", shares)
    for first, second in itertools.combinations(contenders, 2):
        ratios = [a / b for a, b in zip(first.rates, second.rates, strict=True)]
        say(f"{network}: {first.name} / {second.name}", "x", ratios)


def main() -> int:
    options = arguments(__doc__.splitlines()[0], ROWS)
    device = torch.device(options.device)
    torch.set_num_threads(1)
    width = NARROW if options.row == "narrow" or options.device == "cpu" else WIDE
    words = (*width, "epochs=10000")
    (bf16,) = trials(options.device, *words, "precision=bf16")
    (fp32,) = trials(options.device, *words, "precision=fp32")
    data = images_of(bf16, store_of(options.data_root, options.device))
    if options.device == "cuda":
        say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    model = build(bf16, bf16.protocol.recipe, data, 0)
    moved = traffic(model.eval(), torch.zeros(1, *model_input(data)))
    network = f"base_e {bf16.metaparameters.base_e}, batch {bf16.protocol.recipe.batch_size}"
    loops: dict[str, Loop] = {"ours, bf16": (lambda: ours(bf16, data, device), prepare_ours)}
    if options.row == "airbench":
        others = partial(prepare_others, True)
        if device.type == "cuda":
            mode = "reduce-overhead"
            loops["airbench style, bf16"] = (lambda: airbench(bf16, data, device, mode), others)
        name = "airbench style, bf16, not compiled"
        loops[name] = (lambda: airbench(bf16, data, device, None), others)
    else:
        others = partial(prepare_others, False)
        own = partial(prepare_ours, False)
        loops["torch's norms, bf16"] = (lambda: ours(bf16, data, device), own)
        loops["ours, fp32"] = (lambda: ours(fp32, data, device), cuda.prepare)
        loops["plain, fp32"] = (lambda: plain(fp32, data, device), others)
    compare(options, network, loops, moved)
    return 0


def model_input(data: Data) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    _, height, width, channels = data.train.images.shape
    return channels, height, width


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
