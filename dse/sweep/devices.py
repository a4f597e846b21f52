"""Which devices train: the GPUs that are visible, else the CPU's cores. Without torch."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.runner import gpus, mps
from dse.runner.cores import cores
from dse.runner.gpus import VISIBLE, Gpus
from dse.runner.runner import Workers
from dse.sweep.messages import say
from dse.trial.question import Trial

PROCESSES, MPS = "runner.processes_per_trial", "runner.mps"

REQUESTED = {"submitit": "gpus", "ray": "num_gpus"}
"""The setting of each engine of a cluster that asks for a GPU."""

SMALL = 64
"""Side in pixels of images whose networks leave most of a GPU idle."""

OLDEST = {13: (7, 5)}
"""The least compute capability of a GPU for each CUDA; other versions may build for older GPUs."""


def placed(workers: Workers, settings: Mapping[str, Any], given: Container[str]) -> Workers:
    """Workers with their device and number, by the settings of `runner`; `given` are those that
    were not left out. Raises `ValueError` for settings that do not fit together."""
    device, per_gpu = settings["runner.device"], settings["runner.per_gpu"]
    count, processes = settings["runner.workers"], settings.get(PROCESSES, 1)
    workers = replace(workers, processes=processes)
    if workers.engine != "local":
        if processes > 1:
            raise ValueError(
                f"`{PROCESSES}` must be 1 where `runner.engine` is {workers.engine}, "
                f"got {processes}"
            )
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
        _refuse_more(processes, cores(), "cores")
        return replace(workers, count=count or cores() // processes)
    if processes > 1:
        _refuse_more(processes, len(found), "visible GPUs")
        if per_gpu > 1:
            raise ValueError(
                f"`runner.per_gpu` must be 1 where `{PROCESSES}` is {processes}, got {per_gpu}"
            )
        found = together(found, processes)
        if count > len(found):
            raise ValueError(
                f"`runner.workers` must be at most {len(found)} where `{PROCESSES}` is "
                f"{processes}, got {count}"
            )
    most = per_gpu * len(found)
    if "runner.per_gpu" in given and count > most:
        raise ValueError(
            f"`runner.workers` must be at most {most}, `runner.per_gpu` {per_gpu} on "
            f"{counted(len(found), 'GPU')}, got {count}"
        )
    count = count or most
    shared = settings[MPS] and len(found) < count <= mps.MOST * len(found)
    return replace(workers, count=count, device="cuda", settings=found, mps=shared)


def _refuse_more(processes: int, most: int, of: str) -> None:
    if processes > most:
        raise ValueError(f"`{PROCESSES}` must be at most {most}, the {of}, got {processes}")


def together(found: Gpus, processes: int) -> Gpus:
    """Groups of GPUs, each for a trial of so many processes; those that are left over are idle.

    >>> together((gpus.Gpu("0", "A"), gpus.Gpu("1", "A"), gpus.Gpu("2", "A")), 2)
    (Gpu(visible='0,1', name='A'),)
    """
    starts = range(0, len(found) - processes + 1, processes)
    groups = [found[start : start + processes] for start in starts]
    return tuple(
        gpus.Gpu(
            ",".join(gpu.visible for gpu in group),
            " and ".join(dict.fromkeys(gpu.name for gpu in group)),
        )
        for group in groups
    )


def unshareable(trials: Iterable[Trial], processes: int) -> list[str]:
    """A line for each rule that trials break whose batches several processes are to share."""
    lines = []
    for protocol in {trial.protocol: None for trial in trials} if processes > 1 else ():
        recipe, rule = protocol.recipe, f"`{PROCESSES}` must "
        if recipe.iter_size == 1 and recipe.batch_size % processes:
            lines.append(f"{rule}divide `batch_size`, {recipe.batch_size}, got {processes}")
        if recipe.iter_size > 1 and recipe.iter_size % processes:
            lines.append(f"{rule}divide `iter_size`, {recipe.iter_size}, got {processes}")
        most = min(protocol.validation_images, protocol.facts.test)
        if processes > most:
            lines.append(
                f"{rule}be at most {most}, the images of the smallest part, got {processes}"
            )
    return list(dict.fromkeys(lines))


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
        say(f"trials run on the CPU, not on a GPU: {reason}")
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
    least = OLDEST.get(int(needed.partition(".")[0]), (0, 0))
    for name, capability in zip(driver.names, driver.capabilities, strict=False):
        if capability < least:
            has, needs = (".".join(map(str, pair)) for pair in (capability, least))
            return (
                f"the GPU {name} has compute capability {has}, and torch for CUDA {needed} needs "
                f"{needs} (`{VISIBLE}` can leave it out)"
            )
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


def half_idle(workers: Workers, todo: Sequence[Trial]) -> list[str]:
    """A line where each GPU has one trial of a small network, and more are to do."""
    alone = isinstance(workers.settings, tuple) and workers.count <= len(workers.settings)
    small = all(trial.protocol.image_size <= SMALL for trial in todo)
    if workers.processes > 1 or not alone or not small or len(todo) <= workers.count:
        return []
    return ["small networks do not fill a GPU: with `runner.per_gpu=8` eight share one"]


def described(workers: Workers, noun: str = "trial") -> str:
    """Where trials run, or other tasks, and how many at a time."""
    if workers.engine != "local":
        where = f"{workers.engine} with a {'GPU' if workers.device == 'cuda' else 'core'} each"
    elif isinstance(workers.settings, tuple):
        names = dict.fromkeys(gpu.name for gpu in workers.settings)
        count = len(workers.settings) * workers.processes
        where = f"{counted(count, 'GPU')} ({', '.join(names)})"
    else:
        where = "the CPU"
    each = f", {workers.processes} processes each" if workers.processes > 1 else ""
    return f"{where}, {counted(workers.count, noun)} at a time{each}"
