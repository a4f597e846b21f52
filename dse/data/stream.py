"""A folder of pictures, too large for memory, as batches that are decoded while training runs.

`Stream` has the interface of `dse.data.Data`. Loaders, processes of their own, decode and crop;
the crops come back as bytes through memory that they share with the trial's process, which
normalises them. What comes out does not depend on how many loaders there are: order and
augmentation are functions of (seed, epoch) and of a picture's place in the manifest.
"""

from __future__ import annotations

import io
import math
import mmap
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import io as torchvision_io
from torchvision.transforms.v2 import functional as TF

from dse.data import folder as image_folder
from dse.data.published import Store, Unfit
from dse.trial.datasets import DataSet
from dse.trial.protocol import Protocol, epoch_steps, random_seed

CHUNK = 16
"""Pictures that a loader decodes at a time; a batch is made of several loaders' chunks."""

MOST_UNDER_WAY = 64
"""Chunks of one loader: more words than that may not fit into a pipe, and both ends would wait."""

DECODE_JPEG: Callable[..., Tensor] | None = getattr(torchvision_io, "decode_jpeg", None)
"""torchvision's, half as fast again as Pillow's with the same pixels, where it still has it: it is
deprecated since 0.29."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
"""What Pillow may read, whatever a file's name says: some of its readers start other programs."""

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""R, G, B of 255: the authors' mean (forresti/SqueezeNet, train_val.prototxt; there B, G, R)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures by their line in the manifest, int64 (n), and their labels, int64 (n)."""

    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """The three parts of a folder of pictures under one protocol, and its facts.

    Iterating raises `Unfit` with one line for a picture that is broken or has changed.
    """

    train: Part
    validation: Part
    test: Part
    facts: DataSet
    protocol: Protocol
    files: Files
    loaders: int

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch, as `dse.data.Data` counts them."""
        return epoch_steps(len(self.train), batch_size)

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalised batches of one epoch, from batch number `start` (from 0) on.

        float32 (b, 3, image_size, image_size) in channels_last, int64 (b).
        """
        order = _permutation(len(self.train), random_seed(seed, "order", epoch))
        chosen = order[start * batch_size : self.steps(batch_size) * batch_size]
        part = Part(self.train.rows[chosen], self.train.labels[chosen])
        return self._batches(part, batch_size, random_seed(seed, "augment", epoch))

    def batches(self, part: Part, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised batches of the whole of `part`, in order, cropped as judging is done."""
        return self._batches(part, batch_size, None)

    def _batches(
        self, part: Part, batch_size: int, key: int | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        side = self.protocol.image_size
        batches = range(0, len(part), batch_size)
        chunks = (
            part.rows[start : min(start + CHUNK, batch + batch_size)].tolist()
            for batch in batches
            for start in range(batch, min(batch + batch_size, len(part)), CHUNK)
        )
        work = Cropping(self.files, self.protocol, key)
        crops = _cropped(work, chunks, self.loaders, ahead=math.ceil(batch_size / CHUNK) + 1)
        for batch in batches:
            y = part.labels[batch : batch + batch_size]
            x = torch.empty(len(y), 3, side, side, memory_format=torch.channels_last)
            for into in torch.split(x, CHUNK):
                normalise(next(crops)[: len(into)], into, self.protocol)
            yield x, y


def normalise(pictures: Tensor, into: Tensor, protocol: Protocol) -> None:
    """Normalise uint8 (n, h, w, 3) as the protocol says, into float32 (n, 3, h, w), channels last.

    `dataset` has about mean 0 and deviation 1; `caffe` stays on the scale of 0 to 255 and in
    the order R, G, B, where the authors' networks take B, G, R.
    """
    caffe, facts = protocol.normalise == "caffe", protocol.facts
    mean = torch.tensor(CAFFE_MEAN if caffe else [m * 255 for m in facts.mean])
    # Line by line: several times as fast as three numbers for each pixel.
    lines = into.permute(0, 2, 3, 1).view(-1, 3 * into.shape[3])
    torch.sub(pictures.view(lines.shape), mean.repeat(into.shape[3]), out=lines)
    if not caffe:
        lines.div_((torch.tensor(facts.std) * 255).repeat(into.shape[3]))


def load(protocol: Protocol, store: Store) -> Stream:
    """The folder `store.root` as the protocol says, split like any other data set.

    Raises `Unfit` where it is not the folder that the protocol's manifest names.
    """
    manifest = image_folder.prepare(protocol, store)
    classes = torch.arange(len(manifest.classes)).repeat(2)
    labels = classes.repeat_interleave(torch.tensor(manifest.train + manifest.test))
    order = _permutation(protocol.facts.train, random_seed(0, "split", protocol.data))
    held_out, kept = protocol.validation_pictures, protocol.train_pictures

    def part(rows: Tensor) -> Part:
        return Part(rows, labels[rows])

    lines = np.frombuffer(manifest.listing, np.uint8)
    return Stream(
        train=part(order[held_out : held_out + kept]),
        validation=part(order[:held_out]),
        test=part(torch.arange(protocol.facts.train, len(labels))),
        facts=protocol.facts,
        protocol=protocol,
        files=Files(os.fsencode(store.root), manifest.listing, np.flatnonzero(lines == ord("\n"))),
        loaders=store.loaders,
    )


def _permutation(number: int, seed: int) -> Tensor:
    return torch.randperm(number, generator=torch.Generator().manual_seed(seed))


# In a loader: files -> pictures -> crops -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a manifest: `ends` (n) says where each line of `listing` ends."""

    root: bytes
    listing: bytes
    ends: NDArray[np.int64]

    def picture(self, row: int) -> Tensor:
        """The picture in line `row`: uint8 (3, h, w). Raises `Unfit` where it is broken."""
        start = self.ends[row - 1] + 1 if row else 0
        size, _, name = self.listing[start : self.ends[row]].partition(b" ")
        path = os.path.join(self.root, name)  # noqa: PTH118 (a `Path` takes no bytes)
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
            if len(content) != int(size):
                raise ValueError(f"it has {len(content):,} bytes, the manifest says {int(size):,}")
            return decoded(content)
        except MemoryError:
            raise
        except Exception as error:  # of many kinds, whatever a file may hold
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Unfit(
                f"`data.root` must hold pictures that decode, got {ascii(os.fsdecode(path))[1:-1]}"
                f": {reason}"
            ) from None


def decoded(content: bytes) -> Tensor:
    """A picture file's contents as uint8 (3, h, w): RGB, whatever it was.

    A palette is looked up, gray is repeated, 16 bits become 8, alpha and EXIF's orientation are
    left out; of several frames the first one counts. Raises what the decoders raise.
    """
    if DECODE_JPEG and content.startswith(b"\xff\xd8\xff"):
        try:
            rgb: Tensor = DECODE_JPEG(
                torch.frombuffer(bytearray(content), dtype=torch.uint8), "RGB"
            )
        except RuntimeError as error:  # "decode_jpeg, its file and line, what is wrong"
            raise ValueError(str(error).splitlines()[0].rpartition(", ")[2]) from None
        return rgb
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = bytearray(to_rgb(image).tobytes())  # faster than an array of it
            picture = torch.frombuffer(pixels, dtype=torch.uint8).view(image.height, image.width, 3)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {' '.join(FORMATS)}") from None
    return picture.permute(2, 0, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as RGB of 8 bits: see `decoded`."""
    if image.mode == "F":
        raise ValueError("its pixels are no whole numbers")
    if image.mode.startswith("I"):  # Pillow alone would make all above 255 white
        deep = np.array(image)
        if deep.min() < 0 or deep.max() >= 2**16:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


class Task(NamedTuple):
    """Pictures to decode, by their lines, and the slot of the shared memory for the crops."""

    slot: int
    rows: list[int]


class Cropping:
    """What a loader does: pictures -> crops, by the random stream of `key` or, where it is None,
    as judging is done."""

    def __init__(self, files: Files, protocol: Protocol, key: int | None) -> None:
        self.files, self.side, self.key = files, protocol.image_size, key
        change = CHANGES[protocol.augment]
        self.crop = change.trained if key is not None else change.judged
        self.slots = torch.empty(0)

    def share(self, slots: int) -> None:
        """Make memory for `slots` chunks of crops, which processes forked from here share.

        It has no name and no descriptor: it needs no room in /dev/shm and ends with its users.
        """
        shape = (slots, CHUNK, self.side, self.side, 3)
        self.slots = torch.frombuffer(mmap.mmap(-1, math.prod(shape)), dtype=torch.uint8)
        self.slots = self.slots.view(shape)

    def carry_out(self, task: Task) -> str:
        """Carry out a task; returns "", or the line that says which picture is broken."""
        try:
            for place, row in enumerate(task.rows):
                crop = self.crop(self.files.picture(row), self.side, _uniform(self.key, row))
                self.slots[task.slot, place] = crop.permute(1, 2, 0)
        except Unfit as error:
            return str(error)
        return ""


def _uniform(key: int | None, row: int) -> NDArray[np.float64]:
    """The random numbers of one picture in [0, 1): (24), a function of `key` and `row` alone."""
    if key is None:
        return np.empty(0)
    return np.random.Generator(np.random.Philox(key=key, counter=row << 64)).random(24)


def _cropped(
    work: Cropping, chunks: Iterator[list[int]], loaders: int, ahead: int
) -> Iterator[Tensor]:
    """The crops of each chunk, uint8 (CHUNK, side, side, 3), valid until the next is asked for.

    With loaders, about `ahead` chunks are under way. Slots go round: there is one for each chunk
    that is under way or looked at.
    """
    slots = loaders * min(math.ceil(ahead / max(loaders, 1)), MOST_UNDER_WAY) or 1
    work.share(slots)
    tasks = (Task(number % slots, rows) for number, rows in enumerate(chunks))
    alone = (work.carry_out(task) for task in tasks)
    with closing(_spread(work, tasks, loaders, slots) if loaders else alone) as answers:
        for number, broken in enumerate(answers):
            if broken:
                raise Unfit(broken)
            yield work.slots[number % slots]


def _spread(
    work: Cropping, tasks: Iterator[Task], loaders: int, most: int
) -> Generator[str, None, None]:
    """The answers to `tasks`, in order, of `loaders` processes; `most` are under way at a time.

    They are forked for each pass over a part, which takes milliseconds, and end when nobody has
    the other end of their pipe: a kill of the trial's process ends the last one, which has those
    of the others, and so on.
    """
    fork = multiprocessing.get_context("fork")
    crew: list[tuple[Connection, ForkProcess]] = []
    under_way: deque[tuple[Connection, ForkProcess]] = deque()
    try:
        for _ in range(loaders):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=_load, args=(work, ours, theirs), daemon=True)
            with theirs:
                process.start()
            crew.append((ours, process))
        for task, one in zip(tasks, cycle(crew), strict=False):
            one[0].send(task)
            under_way.append(one)
            if len(under_way) == most:
                yield _answer(*under_way.popleft())
        while under_way:
            yield _answer(*under_way.popleft())
    finally:
        for pipe, process in crew:
            process.kill()
            process.join()
            pipe.close()


def _answer(pipe: Connection, process: ForkProcess) -> str:
    try:
        return str(pipe.recv())
    except (EOFError, OSError):
        process.join()
        raise RuntimeError(f"a loader ended with exit code {process.exitcode}") from None


def _load(work: Cropping, other: Connection, pipe: Connection) -> None:
    """In a loader: carry out tasks until there is nobody who could send more."""
    other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(work.carry_out(pipe.recv()))


# Crops: a picture, the side wanted, random numbers in [0, 1) -> (3, side, side) -----------------

Crop = Callable[[Tensor, int, NDArray[np.float64]], Tensor]


def _centre(picture: Tensor, side: int, random: NDArray[np.float64]) -> Tensor:
    """The authors' judging: stretched to a square, its middle."""
    del random
    return _middle(_stretched(picture, side), side)


def _crop(picture: Tensor, side: int, random: NDArray[np.float64]) -> Tensor:
    """The authors' training: stretched to a square, somewhere in it."""
    square = _stretched(picture, side)
    top, left = (int(share * (square.shape[1] - side + 1)) for share in random[:2])
    return square[:, top : top + side, left : left + side]


def _crop_flip(picture: Tensor, side: int, random: NDArray[np.float64]) -> Tensor:
    return _flipped(_crop(picture, side, random), random[2])


def _resized_crop_flip(picture: Tensor, side: int, random: NDArray[np.float64]) -> Tensor:
    """torchvision's RandomResizedCrop: 8 % to all of the area, 3/4 to 4/3 in shape; mirrored."""
    top, left, height, width = _part_of(picture.shape[1], picture.shape[2], random)
    area = picture[:, top : top + height, left : left + width]
    return _flipped(TF.resize(area, [side, side], antialias=True), random[22])


def _part_of(height: int, width: int, random: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of a picture: the first of ten tries that fits in it,
    else its middle in the nearest shape that is allowed."""
    low, high = 3 / 4, 4 / 3
    for area_share, shape_share in random[:20].reshape(10, 2):
        area = height * width * (0.08 + 0.92 * area_share)
        shape = low * (high / low) ** shape_share
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(random[20] * (height - h + 1)), int(random[21] * (width - w + 1)), h, w
    w, h = min(width, round(height * high)), min(height, round(width / low))
    return (height - h) // 2, (width - w) // 2, h, w


def _shorter(picture: Tensor, side: int, random: NDArray[np.float64]) -> Tensor:
    """torchvision's judging: the shorter side resized (to 256 for 224), the middle."""
    del random
    return _middle(TF.resize(picture, [round(side * 256 / 224)], antialias=True), side)


def _stretched(picture: Tensor, side: int) -> Tensor:
    """Resized to a square (256 for 227) without regard to its shape, as in the authors' LMDB."""
    whole = round(side * 256 / 227)
    square: Tensor = TF.resize(picture, [whole, whole], antialias=True)
    return square


def _middle(picture: Tensor, side: int) -> Tensor:
    top, left = (round((length - side) / 2) for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def _flipped(picture: Tensor, share: float) -> Tensor:
    return picture.flip(2) if share < 0.5 else picture


class Change(NamedTuple):
    """How an augmentation crops pictures that are trained on, and those that are judged on."""

    trained: Crop
    judged: Crop


CHANGES = {
    "none": Change(_centre, _centre),
    "crop": Change(_crop, _centre),
    "crop_flip": Change(_crop_flip, _centre),
    "resized_crop_flip": Change(_resized_crop_flip, _shorter),
}
