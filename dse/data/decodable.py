"""Images of a folder are decoded once before training, so that broken ones are found there.

All of val/ are decoded, and `SAMPLE` of train/, evenly spread; the others of train/ are decoded
in a trial's first epoch. The cache remembers that all could be decoded, by a digest of their paths,
sizes and times of modification: after a change all are decoded again.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import suppress

from dse.data.folder import Manifest, cached
from dse.data.store import DECODABLE, DataError, Report, Store, listed
from dse.results.atomic import write
from dse.runner.events import Failed, Reported, Retried
from dse.runner.runner import Runner, Workers
from dse.trial.names import duration

FUNCTION = "dse.data.loaders:find_undecodable"

KIND = "decoded-2"
"""The file of the cache that remembers, and the version of what can be decoded."""

SAMPLE = 10_000
"""Maximum number of images of train/ that are checked."""

FEW, EVERY = 500, 10.0
"""Images that one process decodes in the time that it takes to start another; seconds between
two lines of progress."""


def unchecked(manifest: Manifest, store: Store) -> int:
    """How many images `check` would decode."""
    return len(_todo(manifest, store)[0])


def check(manifest: Manifest, store: Store, processes: int, report: Report) -> None:
    """Decode the images, unless that was done; raises `DataError` with all that are broken.

    `report` is called with progress.
    """
    todo, digest = _todo(manifest, store)
    if not todo:
        return
    report(f"checking images of {store.root}: {len(todo):,} to decode")
    count, problems = min(processes, math.ceil(len(todo) / FEW)), set[str]()
    tasks, done = [todo[number::count] for number in range(count)], [0] * count
    start = shown = time.monotonic()
    with Runner(FUNCTION, Workers(count=count, retries=0)) as runner:
        for number, lines in enumerate(tasks):
            runner.submit(number, (store.root.absolute(), b"\n".join([*lines, b""])))
        for event in runner.events():
            number = int(str(event.key))
            if isinstance(event, Reported):
                decoded, broken = event.value
                done[number] += decoded
                problems.update(broken)
            elif isinstance(event, Retried):
                done[number] = 0
            elif isinstance(event, Failed):
                left = len(tasks[number]) - done[number]
                report(f"{left:,} images could not be checked: {event.reason}")
            now, so_far = time.monotonic(), sum(done)
            if now - shown >= EVERY and 0 < so_far < len(todo):
                rest = duration((now - start) / so_far * (len(todo) - so_far))
                report(f"{so_far:,} of {len(todo):,} images checked, about {rest} left")
                shown = now
    if problems:
        raise DataError(listed(DECODABLE, sorted(problems)))
    if sum(done) == len(todo):
        with suppress(OSError):  # without a cache they are decoded again
            path = cached(store.root, store.cache, KIND)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, digest)


def _todo(manifest: Manifest, store: Store) -> tuple[list[bytes], bytes]:
    """The lines of the manifest to check, none where that was done; and what is remembered then, a
    digest of them and of when their files were last modified."""
    lines, train = manifest.listing.split(b"\n")[:-1], sum(manifest.train)
    chosen = lines[: train : math.ceil(train / SAMPLE)] + lines[train:]
    digest, root = hashlib.sha256(), os.fsencode(store.root)
    for line in chosen:
        with suppress(OSError):
            modified = os.stat(os.path.join(root, line.partition(b" ")[2])).st_mtime_ns  # noqa: PTH116, PTH118
            digest.update(b"%d %s\n" % (modified, line))
    with suppress(OSError):
        if cached(store.root, store.cache, KIND).read_bytes() == digest.digest():
            return [], digest.digest()
    return chosen, digest.digest()
