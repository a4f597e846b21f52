"""Streams of images compared with torch's `DataLoader` and torchvision's transforms.

    python benchmarks/streams.py [FOLDER] [--loaders 2] [--rounds 5] [--images 4000]
        [--device meta cpu]

FOLDER holds train/ and val/ like ImageNet; without it, JPEGs of 500x375 pixels are made. One epoch
of so many training images (few ones are repeated: starting the loaders takes a tenth of a
second), without a network, under both protocols for ImageNet, in four ways:

- dse: the batches that a trial gets.
- DataLoader: decoding, crop, flip and normalisation per image in the loaders, as tutorials do.
- DataLoader, bytes: as above, but bytes are handed over, and a batch is normalised at once.
- DataLoader, our crops: hands over the images of `dse`, bit for bit.

All have the same decoder, resize, order, batches and number of loader processes. On the device
`cpu` batches are normalised there. On `meta`, which computes nothing, what is measured is the
CPU's part of feeding a GPU: bytes are handed over, and normalised on the device where the
loaders have not done it. On `cuda`, theirs use pinned memory too.

The ways take turns. Prints the median (least .. most) of the rounds: images per second, how many
times as fast `dse` is, and the milliseconds of CPU time for each image, of all processes
and of the trial's own. Other load on the machine changes rates more than CPU time. Then the
CPU time of the parts of a loader's work.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from dse.data import folder
from dse.data.crops import CROPS
from dse.data.decode import decoded
from dse.data.loaders import _uniform
from dse.data.resident import on_device
from dse.data.store import Store
from dse.data.stream import Part, Stream, load, normalised, scale_of
from dse.training import worker
from dse.trial.protocol import Protocol, random_seed

BATCH_SIZE = 128
DEVICES = [torch.device("meta"), torch.device("cpu")]
HEAD = "| device | protocol | loaders | way | images/s | ratio | ms, all processes | ms, own |"
PROTOCOLS = {
    "imagenet": ("crop", "caffe", 227),
    "imagenet_torchvision": ("resized_crop_flip", "dataset", 224),
}
CROP = {
    "imagenet": v2.Compose([v2.Resize([256, 256], antialias=True), v2.RandomCrop(227)]),
    "imagenet_torchvision": v2.Compose(
        [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
    ),
}
NORMALISE = {
    "imagenet": v2.Compose(
        [v2.ToDtype(torch.float32), v2.Normalize([123.0, 117.0, 104.0], [1.0, 1.0, 1.0])]
    ),
    "imagenet_torchvision": v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    ),
}

Batches = Iterator[tuple[Tensor, Tensor]]


def made(root: Path, count: int) -> Path:
    """A folder of `count` training images of two classes, about as detailed as photographs."""
    random = np.random.default_rng(0)
    for number in range(count + 20):
        low = Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8))
        noise = random.normal(0, 8, (375, 500, 3))
        pixels = np.asarray(low.resize((500, 375), Image.Resampling.BICUBIC)) + noise
        path = root / ("val" if number >= count else "train") / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return root


def repeated(part: Part, count: int) -> Part:
    """`count` images of a part, the same ones again where it has fewer."""
    chosen = torch.arange(count) % len(part)
    return Part(part.rows[chosen], part.labels[chosen])


# The ways -----------------------------------------------------------------------------------------


class Images(Dataset[tuple[Tensor, int]]):
    """A stream's training images as `DataLoader` asks for them: decoded, then `transform`ed."""

    def __init__(self, stream: Stream, transform: Callable[[Tensor], Tensor]) -> None:
        self._files, self._transform = stream.files, transform
        self._rows, self._labels = stream.train.rows.tolist(), stream.train.labels.tolist()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._transform(self._files.image(self._rows[number])), self._labels[number]


class Crops(Images):
    """The stream's own crops of an epoch, (side, side, 3)."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, lambda image: image)
        self._side, self._key = stream.protocol.image_size, random_seed(0, "augment", 1)
        self._crop = CROPS[stream.protocol.augment].train

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(number)
        random = _uniform(self._key, self._rows[number])
        return self._crop(image, self._side, random).permute(1, 2, 0).contiguous(), label


class Order(Sampler[int]):
    """The order of an epoch of a stream."""

    def __init__(self, stream: Stream) -> None:
        seed = random_seed(0, "order", 1)
        order = torch.randperm(len(stream.train), generator=torch.Generator().manual_seed(seed))
        self._order = order[: stream.steps(BATCH_SIZE) * BATCH_SIZE].tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def by_loader(
    images: Images,
    stream: Stream,
    device: torch.device,
    then: Callable[[Tensor], Tensor] = lambda x: x,
) -> Callable[[], Batches]:
    """A `DataLoader` whose processes stay between epochs; `then` is done with each batch."""
    loader = DataLoader(
        images,
        BATCH_SIZE,
        sampler=Order(stream),
        num_workers=stream.loaders,
        persistent_workers=stream.loaders > 0,
        multiprocessing_context="fork" if stream.loaders else None,
        pin_memory=device.type == "cuda",
    )

    def batches() -> Batches:
        for x, y in loader:
            yield then(x.to(device, non_blocking=True)), y.to(device, non_blocking=True)

    return batches


def all_ways(name: str, stream: Stream, device: torch.device) -> dict[str, Callable[[], Batches]]:
    """Each way's name, and a function that gives the batches of an epoch."""
    placed, crop, normalise = on_device(stream, device), CROP[name], NORMALISE[name]
    scale = scale_of(stream.protocol, device)

    def our_normalise(x: Tensor) -> Tensor:
        return normalised(x, *scale)

    def whole(image: Tensor) -> Tensor:
        return normalise(crop(image))

    return {
        "dse": partial(placed.train_batches, BATCH_SIZE, 0, 1),
        "DataLoader": by_loader(Images(stream, whole), stream, device),
        "DataLoader, bytes": by_loader(Images(stream, crop), stream, device, normalise),
        "DataLoader, our crops": by_loader(Crops(stream), stream, device, our_normalise),
    }


# The measurement ----------------------------------------------------------------------------------


class Turn(NamedTuple):
    """One epoch: images per second; milliseconds of CPU time for each, of all processes and
    of the own one."""

    rate: float
    every: float
    own: float


def turn(batches: Callable[[], Batches], device: torch.device) -> Turn:
    start, every, own, count = time.perf_counter(), used(), time.process_time(), 0
    for _, y in batches():
        count += len(y)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds, own = time.perf_counter() - start, time.process_time() - own
    return Turn(count / seconds, 1000 * (used() - every) / count, 1000 * own / count)


def used() -> float:
    """Seconds of CPU time of this process and of its children, those that ended included."""
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def compared(name: str, stream: Stream, device: torch.device, rounds: int) -> None:
    """Print a line for each way."""
    ways = all_ways(name, stream, device)
    pairs = zip(ways["dse"](), ways["DataLoader, our crops"](), strict=True)
    for (x, _), (z, _) in pairs:
        assert device.type == "meta" or torch.equal(x, z), "the images differ"
    for batches in ways.values():
        turn(batches, device)  # which starts the loaders
    turns = {way: list[Turn]() for way in ways}
    for number in range(rounds):
        order = list(ways.items())
        for way, batches in order[number % len(order) :] + order[: number % len(order)]:
            turns[way].append(turn(batches, device))
    for way, its in turns.items():
        ratios = [a.rate / b.rate for a, b in zip(turns["dse"], its, strict=True)]
        cells = (
            *(device, name, stream.loaders, way, spread([t.rate for t in its], "{:,.0f}")),
            *(spread(ratios, "{:.2f}"), spread([t.every for t in its], "{:.2f}")),
            spread([t.own for t in its], "{:.2f}"),
        )
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def spread(values: list[float], form: str) -> str:
    """Median (least .. most)."""
    middle, low, high = (form.format(f(values)) for f in (statistics.median, min, max))
    return f"{middle} ({low} .. {high})"


def by_pillow(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def parts(stream: Stream, rounds: int) -> None:
    """Print what the parts of a loader's work take."""
    names = [line.partition(b" ")[2] for line in stream.files.listing.splitlines()]
    paths = [os.path.join(stream.files.root, names[row]) for row in stream.train.rows[:200]]  # noqa: PTH118
    contents = [Path(os.fsdecode(path)).read_bytes() for path in paths]
    images = [decoded(content) for content in contents]
    squares = [v2.functional.resize(p, [256, 256], antialias=True) for p in images]
    slot = torch.empty(227, 227, 3, dtype=torch.uint8)
    work: dict[str, tuple[Callable[..., object], list[object]]] = {
        "decode": (decoded, contents),
        "decode with Pillow": (by_pillow, contents),
        "resize to 256x256": (
            lambda image: v2.functional.resize(image, [256, 256], antialias=True),
            images,
        ),
        "crop 227x227, copy": (lambda p: slot.copy_(p[:, 7:234, 7:234].permute(1, 2, 0)), squares),
        "crop, flip, copy": (
            lambda p: slot.copy_(p[:, 7:234, 7:234].flip(2).permute(1, 2, 0)),
            squares,
        ),
    }
    times = {name: list[float]() for name in work}
    for _ in range(rounds):
        for name, (do, inputs) in work.items():
            start = time.process_time()
            for one in inputs:
                do(one)
            times[name].append(1000 * (time.process_time() - start) / len(inputs))
    for name, its in times.items():
        print(f"| {name} | {spread(its, '{:.3f}')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--loaders", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--device", type=torch.device, nargs="+", default=DEVICES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    worker.keep_memory()  # as a trial does
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="torchvision")
    print(f"torch {torch.__version__}, {options.rounds} rounds\n\n{HEAD}")
    print("|" + "---|" * HEAD.count("| "))
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary) / "cache"
        root = options.folder or made(Path(temporary) / "folder", 500)
        manifest = folder.read(root, cache)
        for name, (augment, normalise, side) in PROTOCOLS.items():
            protocol = Protocol(
                data="image_folder",
                manifest=manifest.text,
                image_size=side,
                augment=augment,
                normalise=normalise,
                validation_share=0.02,
                train_share=1.0,
            )
            for loaders, device in product(options.loaders, options.device):
                stream = load(protocol, Store(root=root, cache=cache, loaders=loaders))
                stream = replace(stream, train=repeated(stream.train, options.images))
                compared(name, stream, device, options.rounds)
        print("\n| part of a loader's work, one thread | ms per image |\n|---|---|")
        parts(stream, options.rounds)


if __name__ == "__main__":
    main()
