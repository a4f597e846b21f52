"""What a search costs apart from training: seconds per trial from one result to the next proposal.

    python benchmarks/search_overhead.py [n_trials] [sampler ...]

Accuracies are made up. The study is on disk, with two objectives, in the space of the page
`search`, without a limit and with one that four of ten networks meet. CPU time is what the
search computes; the rest of the wall time is mostly the disk, which confirms every entry.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from dse.search.keys import SAMPLERS
from dse.search.ledger import Ledger
from dse.search.request import read_request
from dse.search.storage import opened
from dse.search.study import Study

FRONT = "objective=size_bytes,val_top1"


def measure(folder: Path, *arguments: str) -> str:
    """A line with the milliseconds a trial of one study."""
    request = read_request([FRONT, f"results.root={folder}", *arguments])
    with opened(folder / "study", "") as storage:
        ledger = Ledger(storage, "study", request.question, request.n_trials, "")
        study = Study(ledger, request.question, request.n_trials)
        wall, cpu, longest = time.perf_counter(), time.process_time(), 0.0
        while True:
            start = time.perf_counter()
            if not (proposal := study.propose()):
                break
            noise = random.Random(proposal.number).uniform(0, 10)
            accuracy = min(proposal.costs["size_bytes"] ** 0.35 + noise, 100)
            study.complete(proposal, {"val_top1": accuracy})
            longest = max(longest, time.perf_counter() - start)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    each = 1000 / study.count
    refused = sum(study.refused.values())
    return (
        f"{cpu * each:7.1f} ms of CPU time and {wall * each:7.1f} ms in all per trial, "
        f"{1000 * longest:7.0f} ms at most; {study.count} trials, {refused} other proposals"
    )


def main() -> None:
    """Print a line for each sampler."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("n_trials", type=int, nargs="?", default=200)
    parser.add_argument("names", nargs="*", help="samplers; by default all but gp")
    options = parser.parse_args()
    n_trials = options.n_trials
    for name in options.names or [name for name in SAMPLERS if name != "gp"]:
        for limit in ([], ["max.size_bytes=100kB"]):
            with tempfile.TemporaryDirectory() as folder:
                line = measure(Path(folder), f"sampler={name}", f"n_trials={n_trials}", *limit)
            print(f"{name:10}{' '.join(limit) or 'no limit':24}{line}", flush=True)


if __name__ == "__main__":
    main()
