"""Processes that decode and crop images, and hand the crops over in shared memory."""

from __future__ import annotations

import errno
import math
import mmap
import multiprocessing
import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dse.data.crops import CROPS
from dse.data.decode import decoded
from dse.data.store import DECODABLE, DataError, reason
from dse.runner.task import Died, Reporter
from dse.space.rules import printable
from dse.trial.protocol import Protocol

CHUNK = 16
"""Images that a loader decodes at a time; a batch is made of several loaders' chunks."""

MOST_IN_FLIGHT = 64
"""Chunks of one loader: more tasks may not fit into a pipe, and both ends would wait forever."""


AT_ONCE = 50
"""Images that are decoded between two reports."""

PASSING, PAUSE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT), 1.0
"""Errors of a network's file system that may pass, and seconds before a file is read again."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a manifest; `ends`, int64 (n), says where each line of `listing` ends."""

    root: bytes
    listing: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, root: Path, listing: bytes) -> Files:
        """The files in `root` that `listing` lists, "SIZE PATH" in each line."""
        ends = np.flatnonzero(np.frombuffer(listing, np.uint8) == ord("\n"))
        return cls(os.fsencode(root), listing, ends)

    def image(self, row: int) -> Tensor:
        """The image in line `row`: uint8 (3, h, w). Raises `DataError` if it cannot be read."""
        start = self.ends[row - 1] + 1 if row else 0
        size, _, name = self.listing[start : self.ends[row]].partition(b" ")
        path = os.path.join(self.root, name)  # noqa: PTH118
        try:
            content = _content(path)
            if len(content) != int(size):
                raise ValueError(f"it has {len(content):,} bytes, the manifest says {int(size):,}")
            return decoded(content)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise many kinds
            shown = printable(os.fsdecode(path))
            raise DataError(f"{DECODABLE}, got {shown}: {reason(error)}") from None


def _content(path: bytes) -> bytes:
    """A file's contents; after an error that may pass it is read a second time."""
    try:
        return _read(path)
    except OSError as error:
        if error.errno not in PASSING:
            raise
        time.sleep(PAUSE)
        return _read(path)


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 (a `Path` takes no bytes)
        return file.read()


def find_undecodable(argument: tuple[Path, bytes], report: Reporter) -> None:
    """Decode the files of `root` and `listing`: what a process of `dse.data.decodable` does.

    Reports after some of them how many these were, and what is wrong with the ones that cannot be
    decoded.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of images that are decoded all the same
    files = Files.of(*argument)
    every = range(len(files.ends))
    for start in every[::AT_ONCE]:
        rows, problems = every[start : start + AT_ONCE], []
        for row in rows:
            try:
                files.image(row)
            except DataError as error:
                problems.append(str(error).partition(", got ")[2])
        report((len(rows), problems))


class Task(NamedTuple):
    """Images to decode, by their lines, and the slot of the shared memory for their crops."""

    slot: int
    rows: list[int]


class Cropper:
    """What a loader does: images -> crops in `slots`, uint8 (slots, CHUNK, side, side, 3).

    Crops for training draw from the random stream `key`; with None they are for evaluation.

    The slots are anonymous shared memory, which processes forked later inherit: it needs no room in
    /dev/shm and ends with its users.
    """

    def __init__(self, files: Files, protocol: Protocol, key: int | None, slots: int) -> None:
        self.files, self.side, self.key = files, protocol.image_size, key
        crops = CROPS[protocol.augment]
        self.crop = crops.evaluate if key is None else crops.train
        shape = (slots, CHUNK, self.side, self.side, 3)
        memory = mmap.mmap(-1, math.prod(shape))
        self.slots = torch.frombuffer(memory, dtype=torch.uint8).view(shape)

    def carry_out(self, task: Task) -> str:
        """Carry out a task; returns "", or the message about a broken image."""
        try:
            for place, row in enumerate(task.rows):
                crop = self.crop(self.files.image(row), self.side, _uniform(self.key, row))
                self.slots[task.slot, place] = crop.permute(1, 2, 0)
        except DataError as error:
            return str(error)
        return ""


def _uniform(key: int | None, row: int) -> NDArray[np.float64]:
    """The random numbers of one image in [0, 1): (24), a function of `key` and `row` alone."""
    if key is None:
        return np.empty(0)
    return np.random.Generator(np.random.Philox(key=key, counter=row << 64)).random(24)


def slots_for(loaders: int, ahead: int) -> int:
    """Slots so that about `ahead` chunks are in flight; one where there are no loaders."""
    return loaders * min(math.ceil(ahead / max(loaders, 1)), MOST_IN_FLIGHT) or 1


def cropped(work: Cropper, chunks: Iterator[list[int]], loaders: int) -> Iterator[Tensor]:
    """The crops of each chunk, uint8 (CHUNK, side, side, 3), valid until the next is asked for.

    Slots go round: there is one for each chunk in flight or in use. Raises `DataError`, and `Died`
    where a loader is killed.
    """
    slots = len(work.slots)
    tasks = (Task(number % slots, rows) for number, rows in enumerate(chunks))
    here = (work.carry_out(task) for task in tasks)
    with closing(_spread(work, tasks, loaders) if loaders else here) as answers:
        for number, problem in enumerate(answers):
            if problem:
                raise DataError(problem)
            yield work.slots[number % slots]


def _spread(work: Cropper, tasks: Iterator[Task], loaders: int) -> Generator[str, None, None]:
    """The answers to `tasks`, in order, of `loaders` processes; each slot has a task in flight.

    The processes are forked for each pass over a part, which takes milliseconds. They end when the
    other end of their pipe is closed. If the trial's process is killed, the last one ends, which
    holds the pipes of the others, then the one before it, and so on.
    """
    fork = multiprocessing.get_context("fork")
    crew: list[tuple[Connection, ForkProcess]] = []
    in_flight: deque[tuple[Connection, ForkProcess]] = deque()
    try:
        for _ in range(loaders):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=_load, args=(work, ours, theirs), daemon=True)
            with theirs:
                process.start()
            crew.append((ours, process))
        for task, loader in zip(tasks, cycle(crew), strict=False):
            with suppress(OSError):  # it has ended, as its answer will show
                loader[0].send(task)
            in_flight.append(loader)
            if len(in_flight) == len(work.slots):
                yield _answer(*in_flight.popleft())
        while in_flight:
            yield _answer(*in_flight.popleft())
    finally:
        for pipe, process in crew:
            process.kill()
            process.join()
            pipe.close()


def _answer(pipe: Connection, process: ForkProcess) -> str:
    """What a loader answers; raises `Died` where it was killed."""
    try:
        return str(pipe.recv())
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        if code < 0:
            raise Died(f"a loader was killed by {signal.Signals(-code).name}") from None
        raise RuntimeError(f"a loader ended with exit code {code}") from None


def _load(work: Cropper, other: Connection, pipe: Connection) -> None:
    """In a loader: carry out tasks until the other end of the pipe is closed."""
    other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(work.carry_out(pipe.recv()))
