"""Images of a folder are decoded once before training, so that broken ones are found there.

All of val/ are decoded, and `SAMPLE` of train/, evenly spread; the others of train/ are decoded
in a trial's first epoch. The cache remembers what could be decoded by its path, size and time of
modification, so that the next command decodes only what is new or has changed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dse.data.folder import Manifest, cached
from dse.data.store import DECODABLE, DataError, Report, Store, listed
from dse.results.atomic import write
from dse.runner.events import Failed, Reported, Retried
from dse.runner.runner import Runner, Workers
from dse.trial.names import duration

FUNCTION = "dse.data.loaders:find_undecodable"

KIND = "decoded-1"
"""The file of the cache that remembers, and the version of what can be decoded."""

SAMPLE = 10_000
"""Maximum number of images of train/ that are checked."""

FEW, EVERY = 500, 10.0
"""Images that one process decodes in the time that it takes to start another; seconds between
two lines of progress."""


def unchecked(manifest: Manifest, store: Store) -> int:
    """How many images `check` would decode."""
    return len(_sorted_out(manifest, store)[1])


def check(manifest: Manifest, store: Store, processes: int, report: Report) -> None:
    """Decode the images that are not remembered; raises `DataError` with all that are broken.

    `report` is called with progress. What was decoded before an interruption is remembered.
    """
    good, todo = _sorted_out(manifest, store)
    if not todo:
        return
    report(f"checking images of {store.root}: {len(todo):,} to decode")
    problems: set[str] = set()
    done, start = 0, time.monotonic()
    shown = start
    try:
        for lines, broken in _decoded(todo, store.root, processes, report):
            good.update(line for row, line in enumerate(lines) if row not in broken)
            problems.update(broken.values())
            done, now = done + len(lines), time.monotonic()
            if now - shown >= EVERY and done < len(todo):
                left = duration((now - start) / done * (len(todo) - done))
                report(f"{done:,} of {len(todo):,} images checked, about {left} left")
                shown = now
    finally:
        _remember(cached(store.root, store.cache, KIND), good)
    if problems:
        raise DataError(listed(DECODABLE, sorted(problems)))


def _sorted_out(manifest: Manifest, store: Store) -> tuple[set[bytes], list[bytes]]:
    """The images to check: those known to be decodable, and the others.

    Each is a line "TIME SIZE PATH", where TIME is when the file was last modified (ns).
    """
    lines = manifest.listing.split(b"\n")[:-1]
    train = sum(manifest.train)
    chosen = lines[: train : math.ceil(train / SAMPLE)] + lines[train:]
    every = [b"%d %s" % (_modified(store.root, line), line) for line in chosen]
    known = _remembered(cached(store.root, store.cache, KIND)).intersection(every)
    return known, [line for line in every if line not in known]


def _modified(root: Path, line: bytes) -> int:
    """When an image was modified (ns); -1 where it is gone."""
    try:
        return os.stat(os.path.join(os.fsencode(root), line.partition(b" ")[2])).st_mtime_ns  # noqa: PTH116, PTH118
    except OSError:
        return -1


def _decoded(
    todo: Sequence[bytes], root: Path, processes: int, report: Report
) -> Iterator[tuple[Sequence[bytes], Mapping[int, str]]]:
    """Some of the lines at a time, and what is wrong with those that are not decodable, by their
    place among them."""
    count = min(processes, math.ceil(len(todo) / FEW))
    tasks = [todo[number::count] for number in range(count)]
    done = [0] * count
    with Runner(FUNCTION, Workers(count=count, retries=0)) as runner:
        for number, lines in enumerate(tasks):
            listing = b"".join(line.partition(b" ")[2] + b"\n" for line in lines)
            runner.submit(number, (root.absolute(), listing))
        for event in runner.events():
            number = int(str(event.key))
            if isinstance(event, Reported):
                decoded, problems = event.value
                yield tasks[number][done[number] : done[number] + decoded], problems
                done[number] += decoded
            elif isinstance(event, Retried):
                done[number] = 0
            elif isinstance(event, Failed):
                left = len(tasks[number]) - done[number]
                report(f"{left:,} images could not be checked: {event.reason}")


def _remembered(path: Path) -> set[bytes]:
    try:
        return set(path.read_bytes().split(b"\n"))
    except OSError:
        return set()


def _remember(path: Path, lines: set[bytes]) -> None:
    with suppress(OSError):  # without a cache they are decoded again
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, b"\n".join(sorted(lines)))
