"""The estimate of a sweep compared with what the sweep takes: time, disk, memory, time left.

    python benchmarks/estimate.py [--rounds 3] [--page squeezenet] key=value ...

The keys are those of `python -m dse.sweep`. Each round calibrates from scratch, then trains the
whole grid into an empty folder, and prints real / estimated:

- seconds: of the command, from its start to its end;
- disk: blocks of everything under `trials/` at the end;
- memory: the most that the command's processes had at once, what they share counted once (PSS);
- left: the time until the last record, compared with the time left that the sweep itself reported,
  in its first message after a third of its time; `without` is the same of a sweep that knows no
  calibration.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dse.results import drivers, records
from dse.sweep.estimate import estimate
from dse.sweep.request import Request, read_request


def processes(root: int) -> list[int]:
    """A process and its descendants."""
    tree = [root]
    for process in tree:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                tree += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return tree


def shared_once(process: int) -> int:
    """Bytes of a process, shared memory divided by the number of processes that share it."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def real(command: list[str], folder: Path) -> dict[str, float]:
    """What a sweep takes."""
    start, memory, reports, done, checks = time.monotonic(), 0, [], 0, 0
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = 0.0
    while driver.poll() is None:
        if not checks % 10:  # a check takes milliseconds of a core
            memory = max(memory, sum(map(shared_once, processes(driver.pid))))
        checks += 1
        now = time.monotonic() - start
        for message, _ in drivers.published(folder):
            if message.get("seconds_left") is not None:
                reports.append((now, message["seconds_left"]))
        count = len(records.ids(folder))
        if count > done:
            ended, done = now, count
        time.sleep(0.2)
    seconds = time.monotonic() - start
    if driver.returncode:
        raise RuntimeError(f"the sweep ended with exit code {driver.returncode}")
    paths = [folder / "trials", *(folder / "trials").rglob("*")]
    disk = sum(512 * path.stat().st_blocks for path in paths)
    values = {"seconds": seconds, "disk": disk, "memory": memory}
    left = [(ended - at) / left for at, left in reports if at >= ended / 3 and left]
    return {**values, "left": left[0]} if left else values


def compared(request: Request, command: list[str]) -> dict[str, float]:
    """Real / estimated of one sweep."""
    expected = estimate(request, request.trials, print)
    values = real(command, request.folder)
    estimated = {
        "seconds": expected.seconds(expected.trials),
        "disk": expected.disk,
        "memory": expected.memory,
    }
    for name, value in estimated.items():
        print(f"{name}: {values[name]:.4g}, estimated {value:.4g}")
    ratios = {name: value / estimated.get(name, 1.0) for name, value in values.items()}
    shutil.rmtree(request.folder)
    shutil.rmtree(request.store.cache / "measured")
    without = real(command, request.folder)
    return {**ratios, "without": without["left"]} if "left" in without else ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", default="squeezenet")
    options, keys = parser.parse_known_args()
    ratios: dict[str, list[float]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as place:
            keys_here = [*keys, f"data.cache={place}/cache", f"results.root={place}", "name=x"]
            request = read_request("sweep", "", keys_here, page=options.page)
            if not number:
                print(
                    f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
                    f"{len(request.trials)} trials, {request.workers.count} workers"
                )
            command = [sys.executable, "-m", "dse.sweep", "-cn", options.page, *keys_here]
            for name, ratio in compared(request, command).items():
                ratios.setdefault(name, []).append(ratio)
                print(f"round {number} {name}: real / estimated {ratio:.3f}", flush=True)
    for name, values in ratios.items():
        middle = statistics.median(values)
        print(f"{name}: real / estimated {middle:.3f} ({min(values):.3f} .. {max(values):.3f})")


if __name__ == "__main__":
    main()
