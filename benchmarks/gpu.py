"""Measure training on a GPU: one command for a fresh machine, without internet.

    python benchmarks/gpu.py [--data-root DIR] [--minutes 4] [--rounds 5] [--out results/gpu]
        [--only ROW ...] [--device cpu]

Writes `gpu.md` and `gpu.json` to --out, after each row. Rows, the most important first; each runs
in processes of its own, so that a failure costs that row alone, and the last ones are left out
where the time is over:

- tests: the tests marked `gpu`.
- plain: one trial's training against a plain PyTorch loop (benchmarks/gpu_loops.py).
- mixed: 30 different configurations, several at a time, without and with NVIDIA's MPS, against one
  after the other (benchmarks/gpu_sweeps.py).
- airbench: one trial's training against a loop in the style of airbench, compiled.
- packed: trials per hour with 1, 2, 4, 8 and 16 on the GPU.
- mps: the same with MPS, where `nvidia-cuda-mps-control` can be started.
- together: the networks of Figure 3 and Table 3, all at once with MPS, with our kernels and with
  torch's operations (benchmarks/gpu_together.py).
- kernels: where the time of a step goes (benchmarks/gpu_kernels.py); measured once.
- narrow: one trial's training of a network of a quarter of the width, as in `plain`.

DIR holds CIFAR-10 (cifar-10-batches-py); without it, the images are random numbers. The tests
need pytest-xdist.
`--device cpu` rehearses all of it on a CPU with toy sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ROWS = ("tests", "plain", "mixed", "airbench", "together", "packed", "mps", "kernels", "narrow")
SCRIPTS = {
    **dict.fromkeys(("mixed", "packed", "mps"), "gpu_sweeps.py"),
    "together": "gpu_together.py",
    "kernels": "gpu_kernels.py",
}
"""The script of each row; others have gpu_loops.py."""

TESTS_SHARE = 0.4
"""Maximum share of the time that the tests may take."""

Line = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    lines: list[Line] = []
    for row in options.only:
        left = deadline - time.monotonic()
        if left < 5:
            lines.append({"row": row, "name": "not measured: no time was left"})
        elif row == "tests":
            lines += tested(options, left * TESTS_SHARE)
        else:
            lines += measured(row, options, left)
        write(options.out, lines)
    return 0


def tested(options: argparse.Namespace, seconds: float) -> list[Line]:
    """Run the tests that need a GPU; how they ended."""
    files = [path for path in (ROOT / "tests").glob("test_*.py") if marked(path)]
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["-n", "8", "--tb=short", "-m", "gpu", *map(str, sorted(files))]
    if options.device == "cpu":
        command.append("--collect-only")
    log = options.out / "tests.txt"
    code = run(command, log, seconds, stderr=subprocess.STDOUT)
    last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
    return [{"row": "tests", "name": f"{last.strip('= ')} (exit code {code}; see {log.name})"}]


def marked(path: Path) -> bool:
    """Whether a file has tests that need a GPU."""
    return bool(re.search(r"^(@gpu|@pytest\.mark\.gpu|pytestmark .*gpu)", path.read_text(), re.M))


def measured(row: str, options: argparse.Namespace, seconds: float) -> list[Line]:
    """Run one row in a process of its own; its lines, also where it is cut off."""
    script = SCRIPTS.get(row, "gpu_loops.py")
    command = [sys.executable, str(HERE / script), row, "--device", options.device]
    command += ["--data-root", str(options.data_root.absolute()), "--rounds", str(options.rounds)]
    command += ["--seconds", f"{seconds:.0f}"]
    log = options.out / f"{row}.jsonl"
    start = time.monotonic()
    code = run(command, log, seconds)
    lines = []
    for text in log.read_text().splitlines():
        if text.startswith("{"):
            lines.append({"row": row, **json.loads(text)})
    if code:
        took = time.monotonic() - start
        lines.append({"row": row, "name": f"ended after {took:.0f} s with exit code {code}"})
    return lines


def run(command: list[str], log: Path, seconds: float, stderr: int | None = None) -> int:
    """Run a command for at most some seconds, its stdout in a file; 124 where it is cut off."""
    print(f"{' '.join(command[1:4])} ... ({seconds:.0f} s left)", flush=True)
    paths = [str(ROOT), str(HERE), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=stderr, env=environment, start_new_session=True, cwd=ROOT
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends what it has started
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return 124


def write(out: Path, lines: list[Line]) -> None:
    """The table so far, as JSON and as Markdown."""
    (out / "gpu.json").write_text(json.dumps(lines, indent=1) + "\n")
    text = ["| row | | median (least .. most) | unit | rounds |", "|---|---|---|---|---|"]
    for line in lines:
        values = line.get("values", [])
        shown = spread(values) if values else ""
        cells = (line["row"], line["name"], shown, line.get("unit", ""), len(values) or "")
        text.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
        if line["row"] == lines[-1]["row"]:
            print("  " + "  ".join(str(cell) for cell in cells[1:4]), flush=True)
    (out / "gpu.md").write_text("\n".join(text) + "\n")


def spread(values: list[float]) -> str:
    """Median (least .. most), in four digits."""
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    one, *ends = (f"{v:,.0f}" if v >= 1000 else f"{v:.4g}" for v in (middle, low, high))
    return one if len(values) == 1 else f"{one} ({ends[0]} .. {ends[1]})"


if __name__ == "__main__":
    sys.exit(main())
