"""Measure trials per hour on all cores: a sweep compared with the loop that a user would write.

    python benchmarks/training_speed.py --data DIR [--base 32] [--rounds 5] [--epochs 1]
        [--loaders 0 2] [--trials N]

DIR holds CIFAR-10 (cifar-10-batches-py). Both sides train the same network (Fire modules without
norm after a 3x3 stem, `base_e` = `incr_e` = --base) with the same recipe on the same 22,500
images of 32x32, augmented by crops and flips. Both evaluate it on 5,000 held-out images
after each epoch and on the 10,000 test images at the end.

- plain: torchvision's data set, transforms and Fire modules, `DataLoader` with 0 or 2 workers,
  fp32, torch's default threads, one trial after the other.
- ours: `python -m dse.sweep`, in bf16, one thread for each trial and one trial for each core,
  all start-up included.

They take turns: a round is one plain trial for each number of loaders, and one sweep of N trials
(two per core). Prints trials per hour as median (least .. most), the ratio of each round to the
faster plain loop, and top-1.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision.models.squeezenet import Fire
from torchvision.transforms import v2

from dse.space.architecture import Layout, Metaparameters, generate
from dse.trial.datasets import DATA_SETS

HELD_OUT, TRAINED = 5000, 22_500
BATCH, LR, WARMUP, DECAY = 128, 0.04, 0.2, 5e-4


def network(base: int) -> nn.Module:
    """SqueezeNet v1.0 with a 3x3 stem, built of torchvision's parts; the squeeze ratio is 0.125."""
    specs = generate(
        Metaparameters(base_e=base, incr_e=base),
        Layout(conv1_filters=64, conv1_kernel=3, conv1_stride=1, conv1_padding=1),
        num_classes=10,
    ).fires
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    channels = 64
    for number, spec in zip(range(2, 10), specs, strict=True):
        layers.append(Fire(channels, spec.s1x1, spec.e1x1, spec.e3x3))
        channels = spec.e1x1 + spec.e3x3
        if number in (4, 8):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    head = nn.Conv2d(channels, 10, 1)
    layers += [nn.Dropout(0.2), head, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.normal_(head.weight, std=0.01)
    return model


def plain(root: Path, base: int, epochs: int, seed: int, loaders: int) -> tuple[float, float]:
    """One trial as a user would write it; returns its seconds and its top-1 in percent."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    facts = DATA_SETS["cifar10"]
    as_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    tail = [*as_tensor, v2.Normalize(facts.mean, facts.std)]
    augment = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *tail])
    augmented = torchvision.datasets.CIFAR10(root, train=True, transform=augment)
    unchanged = torchvision.datasets.CIFAR10(root, train=True, transform=v2.Compose(tail))
    test = torchvision.datasets.CIFAR10(root, train=False, transform=v2.Compose(tail))
    order = torch.randperm(50_000, generator=torch.Generator().manual_seed(0)).tolist()
    validation = Subset(unchanged, order[:HELD_OUT])
    train = DataLoader(
        Subset(augmented, order[HELD_OUT : HELD_OUT + TRAINED]),
        batch_size=BATCH,
        shuffle=True,
        num_workers=loaders,
        persistent_workers=loaders > 0,
    )
    model = network(base)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=DECAY
    )
    warm, total = round(WARMUP * len(train)), epochs * len(train)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (step + 1) / (warm + 1) if step < warm else 1 - (step - warm) / (total - warm),
    )
    for _ in range(epochs):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        accuracy(model, validation, loaders)
    return time.perf_counter() - start, accuracy(model, test, loaders)


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.utils.data.Dataset, loaders: int) -> float:
    """Top-1 in percent."""
    model.eval()
    hits = [
        (model(x).argmax(1) == y).sum().item()
        for x, y in DataLoader(images, batch_size=256, num_workers=loaders)
    ]
    return 100 * sum(hits) / len(images)  # type: ignore[arg-type]


def ours(root: Path, base: int, epochs: int, seeds: list[int]) -> tuple[float, list[float]]:
    """A sweep over `seeds`; returns its seconds and each one's top-1 in percent."""
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "protocol": "cifar10", "data.root": root, "results.root": folder, "name": "speed",
            "base_e": base, "incr_e": base, "norm": "none", "head_relu": "false", "lr": LR,
            "warmup": WARMUP, "weight_decay": DECAY, "batch_size": BATCH, "epochs": epochs,
            "precision": "bf16", "train_share": TRAINED / (50_000 - HELD_OUT),
            "dead_after": 0, "ladder": "none", "seed": ",".join(map(str, seeds)),
        }  # fmt: skip
        start = time.perf_counter()
        arguments = [f"{key}={value}" for key, value in values.items()]
        command = [sys.executable, "-m", "dse.sweep", "-cn", "squeezenet", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        with (Path(folder) / "speed" / "table.csv").open() as file:
            rows = {int(row["seed"]): float(row["top1"]) for row in csv.DictReader(file)}
    return seconds, [rows[seed] for seed in seeds]


def spread(values: list[float], unit: str = "") -> str:
    """Median (least .. most)."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.4g}{unit} ({low:.4g} .. {high:.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--loaders", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--trials", type=int, default=0)
    options = parser.parse_args()
    root, base, epochs = options.data, options.base, options.epochs
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores, torch {torch.__version__}, base_e {base}")
    count = options.trials or 2 * cores
    names = [f"plain, {loaders} loaders" for loaders in options.loaders]
    hourly: dict[str, list[float]] = {name: [] for name in (*names, "ours")}
    tops: dict[str, list[float]] = {name: [] for name in hourly}
    for number in range(options.rounds):
        for name, loaders in zip(names, options.loaders, strict=True):
            seconds, top1 = plain(root, base, epochs, number, loaders)
            hourly[name].append(3600 / seconds)
            tops[name].append(top1)
        seeds = [number * count + i for i in range(count)]
        seconds, accuracies = ours(root, base, epochs, seeds)
        hourly["ours"].append(3600 * len(seeds) / seconds)
        tops["ours"] += accuracies
        print(number, {name: round(values[-1], 1) for name, values in hourly.items()}, flush=True)
    for name, values in hourly.items():
        mean, deviation = statistics.fmean(tops[name]), statistics.stdev(tops[name])
        print(f"{name}: {spread(values)} trials per hour; top-1 {mean:.2f}% (sd {deviation:.2f})")
    best = [max(each) for each in zip(*(hourly[name] for name in names), strict=True)]
    ratios = [a / b for a, b in zip(hourly["ours"], best, strict=True)]
    print(f"ours / the faster plain loop: {spread(ratios, 'x')}")


if __name__ == "__main__":
    main()
