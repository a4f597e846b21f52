"""The bill of a sweep beside what the sweep really takes: time, disk, memory, and the time left.

    python benchmarks/bill.py [--rounds 3] key=value ...

The keys are those of `python -m dse.sweep`. Each round measures anew (the first part, which the
bill is made of), then trains the whole grid into an empty folder, and prints real / expected:

- seconds: of the command, from its start to its end;
- disk: blocks of all that is under `trials/` in the end;
- memory: the most that the command's processes had at once, what they share counted once (PSS);
- left: the time that the sweep itself said to be left, at the first word after a third of its
  time, beside the time that then was left until its last record.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dse.results import drivers, records
from dse.sweep import estimate as bill
from dse.sweep.request import read_request


def processes(root: int) -> list[int]:
    """A process and all that come from it."""
    found = [root]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def shared_once(process: int) -> int:
    """Bytes of a process, what it shares divided by the number of those who share it."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def real(command: list[str], folder: Path) -> tuple[dict[str, float], list[tuple[float, float]]]:
    """What a sweep took, and (seconds since its start, seconds it said to be left) as it went."""
    start, memory, said, last, looks = time.monotonic(), 0, [], 0, 0
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = 0.0
    while driver.poll() is None:
        if not looks % 10:  # to look takes milliseconds of a core
            memory = max(memory, sum(map(shared_once, processes(driver.pid))))
        looks += 1
        now = time.monotonic() - start
        for word, _ in drivers.published(folder):
            if word.get("seconds_left") is not None:
                said.append((now, word["seconds_left"]))
        count = len(records.records(folder))
        if count > last:
            ended, last = now, count
        time.sleep(0.2)
    seconds = time.monotonic() - start
    if driver.returncode:
        raise RuntimeError(f"the sweep ended with exit code {driver.returncode}")
    paths = [folder / "trials", *(folder / "trials").rglob("*")]
    disk = sum(512 * path.stat().st_blocks for path in paths)
    left = [(at, told, ended - at) for at, told in said if at >= ended / 3]
    found = {"seconds": seconds, "disk": disk, "memory": memory}
    if left and left[0][1]:
        found["left"] = left[0][2] / left[0][1]
    return found, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", default="squeezenet")
    options, words = parser.parse_known_args()
    ratios: dict[str, list[float]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as place:
            words_here = [*words, f"data.cache={place}/cache", f"results.root={place}", "name=x"]
            request = read_request("sweep", "", words_here, page=options.page)
            if not number:
                print(
                    f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
                    f"{len(request.trials)} trials, {request.workers.count} workers"
                )
            made = bill.bill(request, request.trials, print)
            command = [sys.executable, "-m", "dse.sweep", "-cn", options.page, *words_here]
            found, _ = real(command, request.folder)
        expected = {
            "seconds": made.seconds(made.prices),
            "disk": made.disk,
            "memory": made.memory,
        }
        for name, value in found.items():
            ratio = value / expected[name] if name in expected else value
            ratios.setdefault(name, []).append(ratio)
            shown = f"{value:.4g} of {expected[name]:.4g}: " if name in expected else ""
            print(f"{number} {name}: {shown}{ratio:.3f}", flush=True)
    for name, values in ratios.items():
        middle = statistics.median(values)
        print(f"{name}: real / expected {middle:.3f} ({min(values):.3f} .. {max(values):.3f})")


if __name__ == "__main__":
    main()
