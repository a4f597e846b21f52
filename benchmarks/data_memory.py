"""The memory that concurrent trials on one machine use for one data set.

    python benchmarks/data_memory.py ROOT [data] [processes]

`processes` (2) processes load `data` (cifar10) from the published files in ROOT and iterate over
all batches of an epoch and of the other parts. While all of them are running, each reads its
/proc/self/smaps_rollup; PSS counts a page shared by n processes as 1/n in each. Prints, in MiB per
process and in total: the size of the set, PSS before loading and after all batches, and the mapped
files' share of both.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from dse.data import cache
from dse.data.memory import load
from dse.data.store import Store
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol

MIB = 2**20


def pss(kind: str = "Pss") -> float:
    """This process's proportional set size, or its part of one kind, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def measured(protocol: Protocol, store: Store, barrier: Barrier) -> tuple[float, ...]:
    """PSS before and after all batches, and the files' part of each, in MiB."""
    torch.set_num_threads(1)
    barrier.wait()
    before, files_before = pss(), pss("Pss_File")
    barrier.wait()
    data = load(protocol, store)
    seen = sum(len(y) for _, y in data.train_batches(128, seed=0, epoch=1))
    seen += sum(len(y) for part in (data.validation, data.test) for _, y in data.batches(part))
    assert seen == protocol.facts.train + protocol.facts.test
    barrier.wait()
    after, files_after = pss(), pss("Pss_File")
    barrier.wait()
    return before, after, files_before, files_after


def worker(
    protocol: Protocol,
    store: Store,
    barrier: Barrier,
    answers: Queue[tuple[float, ...]],
) -> None:
    answers.put(measured(protocol, store, barrier))


def main() -> None:
    root = Path(sys.argv[1])
    name = sys.argv[2] if len(sys.argv) > 2 else "cifar10"
    processes = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    facts, store = DATA_SETS[name], Store(root=root)
    protocol = Protocol(
        data=name, image_size=facts.image_size, augment="crop_flip", train_share=1.0
    )
    cache.prepare(name, store)
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes), context.Queue()
    running = [
        context.Process(target=worker, args=(protocol, store, barrier, answers))
        for _ in range(processes)
    ]
    for process in running:
        process.start()
    rows = [answers.get() for _ in running]
    for process in running:
        process.join()
    images = (facts.train + facts.test) * (facts.image_size**2 * facts.channels + 1)
    print(f"{name}: {images / MIB:.1f} MiB; {processes} processes, MiB each and in all")
    titles = ("PSS before", "PSS after", "of it files before", "of it files after")
    for title, values in zip(titles, zip(*rows, strict=True), strict=True):
        each = "  ".join(f"{value:8.1f}" for value in values)
        print(f"{title:<20} {each}  {sum(values):8.1f}")


if __name__ == "__main__":
    main()
