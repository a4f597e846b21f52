"""What the GPU measurements share: the trials, the images, and the traffic of a network."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dse.data.cache import prepare
from dse.data.memory import Data, Part, load
from dse.data.store import DataError, Store
from dse.sweep.request import read_request
from dse.training import execute
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

FREE = ("dead_after=0", "ladder=none")
"""Of a trial that can be timed on any images: it neither restarts nor ends early."""

SYNTHETIC = "DSE_BENCHMARK_IMAGES"
"""The environment variable that names the file of random images, where there is no CIFAR-10."""


def arguments(description: str, rows: tuple[str, ...]) -> argparse.Namespace:
    """The arguments of a row's command."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("row", choices=rows)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=240.0)
    return parser.parse_args()


def say(name: str, unit: str = "", values: list[float] | None = None, **more: Any) -> None:
    """Print a line of the table."""
    rounded = [float(f"{value:.5g}") for value in values or []]
    line = {"name": name, "unit": unit, **({"values": rounded} if rounded else {}), **more}
    print(json.dumps(line), flush=True)


def trials(device: str, *words: str) -> tuple[Trial, ...]:
    """Trials of CIFAR-10's page, or toys of the embedded digits on a CPU."""
    page = "protocol=cifar10" if device == "cuda" else "protocol=demo"
    return read_request(
        "sweep", "", [page, "runner.device=cpu", *FREE, *words], page="squeezenet"
    ).trials


def store_of(data_root: Path, device: str) -> Store:
    """Where the images are; where CIFAR-10 is absent, random ones are written for all processes.

    Says which images are used.
    """
    store = Store(root=data_root.absolute(), cache=Path(tempfile.gettempdir()) / "dse-benchmark")
    if device == "cpu":
        return store
    try:
        prepare("cifar10", store, {32}, lambda line: None)
    except (DataError, OSError):
        path = Path(tempfile.gettempdir()) / f"dse-images-{os.getuid()}.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (60_000, 32, 32, 3), np.uint8))
        os.environ[SYNTHETIC] = str(path)
        use_synthetic()
        say("images are random: there is no CIFAR-10 in --data-root")
    return store


def use_synthetic() -> None:
    """Have this process train on random images where that was chosen."""
    path = os.environ.get(SYNTHETIC)
    if path:
        execute.load = partial(synthetic, path)  # type: ignore[attr-defined]


def synthetic(path: str, protocol: Protocol, store: Store) -> Data:
    """Random images in the place of CIFAR-10."""
    del store
    images = np.load(path, mmap_mode="r")
    labels = np.arange(len(images), dtype=np.int64) % 10
    return Data(
        train=Part(images, labels, np.arange(protocol.train_images)),
        validation=Part(images, labels, np.arange(45_000, 50_000)),
        test=Part(images, labels, np.arange(50_000, 60_000)),
        facts=DATA_SETS["cifar10"],
        augment=protocol.augment,
    )


def images_of(trial: Trial, store: Store) -> Data:
    """The data of a trial, in this process."""
    path = os.environ.get(SYNTHETIC)
    return synthetic(path, trial.protocol, store) if path else load(trial.protocol, store)


def traffic(model: nn.Module, image: torch.Tensor) -> int:
    """Numbers that training moves for an image (1, channels, h, w), if all but convolutions and
    pooling is fused into these: each reads or writes its input and output in three passes."""
    moved = 0

    def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal moved
        moved += 3 * (inputs[0].numel() + output.numel())

    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d))]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return moved


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second that a device reads and writes while it copies a large tensor."""
    size = 2**30 if device.type == "cuda" else 2**26
    a, b = (torch.ones(size // 4, device=device) for _ in range(2))
    best = 0.0
    for _ in range(5):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(10):
            b.copy_(a)
        synchronise(device)
        best = max(best, 20 * size / (time.perf_counter() - start))
    return best


def synchronise(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
