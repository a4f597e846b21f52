"""Which devices train: the GPUs that are visible, else the processor's cores. Without torch."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.runner import gpus
from dse.runner.cores import cores
from dse.runner.gpus import VISIBLE, Gpus
from dse.runner.runner import Workers
from dse.sweep.messages import say

REQUESTED = {"submitit": "gpus", "ray": "num_gpus"}
"""The setting of each engine of a cluster that asks for a GPU."""


def placed(workers: Workers, settings: Mapping[str, Any], given: Container[str]) -> Workers:
    """Workers with their device and number, by the settings of `runner`; `given` are those that
    were not left out. Raises `ValueError` for settings that do not fit together."""
    device, per_gpu = settings["runner.device"], settings["runner.per_gpu"]
    count = settings["runner.workers"]
    if workers.engine != "local":
        key = REQUESTED[workers.engine]
        requested = getattr(workers.settings, key)
        if device == "cuda" and not requested:
            raise ValueError(
                f"`{workers.engine}.{key}` must be above 0 where `runner.device` is cuda, got 0"
            )
        _refuse_per_gpu(given, per_gpu, f"`runner.engine` is {workers.engine}")
        on = "cuda" if requested and device != "cpu" else "cpu"
        return replace(workers, count=count or cores(), device=on)
    found = find(device)
    if not found:
        if device == "cpu":
            _refuse_per_gpu(given, per_gpu, "`runner.device` is cpu")
        return replace(workers, count=count or cores())
    most = per_gpu * len(found)
    if "runner.per_gpu" in given and count > most:
        raise ValueError(
            f"`runner.workers` must be at most {most}, `runner.per_gpu` {per_gpu} on "
            f"{counted(len(found), 'GPU')}, got {count}"
        )
    return replace(workers, count=count or most, device="cuda", settings=found)


def _refuse_per_gpu(given: Container[str], per_gpu: int, where: str) -> None:
    if "runner.per_gpu" in given:
        raise ValueError(f"`runner.per_gpu` must be left out where {where}, got {per_gpu}")


def find(device: str) -> Gpus:
    """The GPUs on which trials run where `runner.device` is `device`; none if on the cores.

    Raises `ValueError` where there is none for `cuda`, or where `CUDA_VISIBLE_DEVICES` lists one
    that does not exist. Where `auto` leaves out a GPU because it cannot be used, this is said.
    """
    if device == "cpu":
        return ()
    driver = gpus.ask_driver()
    hidden = os.environ.get(VISIBLE, "none").split(",")[0].strip() in ("", "-1")
    reason = _unusable(driver, hidden)
    if not reason:
        return gpus.visible(driver.names)
    if device == "cuda":
        raise ValueError(f"`runner.device` must be auto or cpu here, got cuda: {reason}")
    if driver.cuda and not hidden:
        say(f"trials run on the processor, not on a GPU: {reason}")
    return ()


def _unusable(driver: gpus.Driver, hidden: bool) -> str:
    """Why no GPU can be used; empty where one can."""
    needed = torch_cuda()
    if not driver.cuda:
        return "there is no NVIDIA driver (libcuda.so.1)"
    if hidden:
        return f"`{VISIBLE}` hides all GPUs"
    if not needed:
        return "the installed torch was built without CUDA"
    if driver.cuda // 1000 < int(needed.partition(".")[0]):
        has = f"{driver.cuda // 1000}.{driver.cuda % 1000 // 10}"
        return f"the driver is too old: it supports CUDA {has}, and torch needs {needed}"
    if not driver.names:
        return f"the driver finds no GPU (`{VISIBLE}` is {os.environ.get(VISIBLE, 'not set')})"
    return ""


def torch_cuda() -> str:
    """The version of CUDA that the installed torch was built with; empty without one."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b.*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found[1] if found else ""


def described(workers: Workers, noun: str = "trial") -> str:
    """Where trials run, or other tasks, and how many at a time."""
    if workers.engine != "local":
        where = f"{workers.engine} with a {'GPU' if workers.device == 'cuda' else 'core'} each"
    elif isinstance(workers.settings, tuple):
        names = dict.fromkeys(gpu.name for gpu in workers.settings)
        where = f"{counted(len(workers.settings), 'GPU')} ({', '.join(names)})"
    else:
        where = "the processor"
    return f"{where}, {counted(workers.count, noun)} at a time"
