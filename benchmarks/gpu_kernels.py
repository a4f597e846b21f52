"""Where the time of a training step goes: its kernels, the longest first.

    python benchmarks/gpu_kernels.py kernels [--device cpu] [--data-root DIR]

Of a network of the paper's width, with the paper's squeeze ratio and with 1, in bf16. The steps are
not captured as a CUDA graph. On a CPU the operators are shown. `--rounds` and `--seconds` are
not used.
"""

from __future__ import annotations

import itertools
import sys

import torch
from gpu_loops import NARROW, WARM_UP, WIDE, ours
from gpu_setting import arguments, images_of, say, store_of, synchronise, trials
from torch.profiler import ProfilerActivity, profile

from dse.data.memory import Data
from dse.training import cuda
from dse.trial.question import Trial

PROFILED = 10
"""Steps."""

SHOWN = 16
"""Kernels that have a line of their own."""


def kernels(trial: Trial, data: Data, device: torch.device) -> None:
    """Say how long the kernels of a step take, the longest first; the step is not captured."""
    cuda.prepare("bf16")
    patched, cuda.CudaStep.captures = cuda.CudaStep.captures, False
    steps = ours(trial, data, device)
    try:
        sum(itertools.islice(steps, WARM_UP // 3))
        synchronise(device)
        activities = [getattr(ProfilerActivity, device.type.upper())]
        with profile(activities=activities) as profiler:
            sum(itertools.islice(steps, PROFILED))
            synchronise(device)
    finally:
        cuda.CudaStep.captures = patched
    name = f"self_{'device' if device.type == 'cuda' else 'cpu'}_time_total"
    found = [(getattr(e, name), e.count, e.key) for e in profiler.key_averages()]
    found = sorted((one for one in found if one[0]), reverse=True)
    title = f"sr {trial.metaparameters.sr:g}"
    total, count = (sum(one[part] for one in found) / PROFILED for part in (0, 1))
    say(f"{title}: {count:.0f} kernels", "us a step", [total])
    for time_of, count, key in found[:SHOWN]:
        say(f"{title}: {count / PROFILED:g} x {key[:90]}", "us a step", [time_of / PROFILED])


def main() -> int:
    options = arguments(__doc__.splitlines()[0], ("kernels",))
    torch.set_num_threads(1)
    width = WIDE if options.device == "cuda" else NARROW
    store = store_of(options.data_root, options.device)
    words = (*width, "epochs=10000", "precision=bf16", "sr=0.125,1")
    for trial in trials(options.device, *words):
        kernels(trial, images_of(trial, store), torch.device(options.device))
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
