"""The speed of turning a folder of pictures into batches, without training.

    python benchmarks/stream_speed.py FOLDER

FOLDER holds train/ and val/ like ImageNet. One row per way: decoding JPEG, alone and with
resizing to 256x256, as streams do it and with other libraries; then whole batches of 128 pictures
under the two protocols for ImageNet, for each number of loaders. Prints pictures per second as the
median (minimum .. maximum) of `ROUNDS` rounds, one thread per process. The ways alternate within a
round, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from dse.data import folder
from dse.data.decode import decoded
from dse.data.store import Store
from dse.data.stream import Stream, load
from dse.training import worker
from dse.trial.protocol import Protocol

ROUNDS = 5
PICTURES = 1024
LOADERS = (0, 1, 2)
BATCH_SIZE = 128
SQUARE = [256, 256]


def as_streamed_stretched(content: bytes) -> Tensor:
    return TF.resize(decoded(content), SQUARE, antialias=True)


def by_pillow(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def by_pillow_alone(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as image:
        square = image.convert("RGB").resize(SQUARE, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square))


def by_pillow_stretched(content: bytes) -> Tensor:
    return TF.resize(by_pillow(content), SQUARE, antialias=True)


DECODERS = {
    "decode: as streamed": decoded,
    "decode: Pillow": by_pillow,
    "to 256x256: as streamed": as_streamed_stretched,
    "to 256x256: Pillow, torchvision": by_pillow_stretched,
    "to 256x256: Pillow alone": by_pillow_alone,
}


def decoding(decode: Callable[[bytes], Tensor], files: list[bytes]) -> int:
    for content in files:
        decode(content)
    return len(files)


def streaming(stream: Stream) -> int:
    return sum(len(y) for _, y in stream.train_batches(BATCH_SIZE, 0, 1))


def all_ways(root: Path, cache: Path) -> dict[str, Callable[[], int]]:
    """Each way's name and a call that handles some pictures and says how many."""
    manifest = folder.read(root, cache)
    paths = [line.split(b" ", 1)[1].decode() for line in manifest.listing.splitlines()]
    step = max(sum(manifest.train) // (PICTURES // 4), 1)
    files = [(root / path).read_bytes() for path in paths[: sum(manifest.train) : step]]
    ways: dict[str, Callable[[], int]] = {
        name: partial(decoding, decode, files) for name, decode in DECODERS.items()
    }
    share = min(PICTURES / sum(manifest.train) / 0.98, 1.0)
    for augment, normalise, side in (
        ("crop", "caffe", 227),
        ("resized_crop_flip", "dataset", 224),
    ):
        protocol = Protocol(
            data="image_folder",
            manifest=manifest.text,
            image_size=side,
            augment=augment,
            normalise=normalise,
            validation_share=0.02,
            train_share=share,
        )
        for loaders in LOADERS:
            stream = load(protocol, Store(root=root, cache=cache, loaders=loaders))
            ways[f"{augment}, {loaders} loaders"] = partial(streaming, stream)
    return ways


def rate(way: Callable[[], int]) -> float:
    """Pictures per second of one call."""
    start = time.perf_counter()
    return way() / (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    worker.keep_memory()  # as a trial does
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="torchvision")
    with tempfile.TemporaryDirectory() as cache:
        candidates = all_ways(Path(sys.argv[1]), Path(cache))
        for way in candidates.values():
            way()
        rounds = [[rate(way) for way in candidates.values()] for _ in range(ROUNDS)]
    print(
        f"torch {torch.__version__}; pictures/s, median (minimum .. maximum) of {ROUNDS} rounds\n"
    )
    for name, rates in zip(candidates, zip(*rounds, strict=True), strict=True):
        print(
            f"{name:32}{statistics.median(rates):>8,.0f} ({min(rates):,.0f} .. {max(rates):,.0f})"
        )


if __name__ == "__main__":
    main()
