"""How and where a trial was run: the device, its memory, and the versions of the software.

A trial that resumed elsewhere names every place, in turn.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import torch

from dse import __version__
from dse.runner.cores import cpu_model
from dse.training import fused
from dse.trial.record import Circumstance

DRIVER = Path("/proc/driver/nvidia/version")
"""Where Linux states the version of the driver of NVIDIA's GPUs."""


Places = Mapping[str, Sequence[str]]
"""The values of `device` and `machine`, and the versions by name, in the order of use."""


def circumstance(
    seconds: float, device: torch.device, processes: int = 1, before: Places = MappingProxyType({})
) -> Circumstance:
    """The circumstance of a trial that took `seconds`, ends now on `device`, and was resumed after
    the places `before`; each of several `processes` had such a device, and its own threads."""
    found = places(device, processes, before)
    devices, machines = found.pop("device"), found.pop("machine")
    return Circumstance(
        seconds=round(seconds, 3),
        device=" then ".join(devices),
        threads=processes * torch.get_num_threads(),
        machine=" then ".join(machines),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=" ".join(f"{name}={','.join(used)}" for name, used in found.items()),
        peak_memory_bytes=torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0,
    )


def places(
    device: torch.device, processes: int = 1, before: Places = MappingProxyType({})
) -> dict[str, list[str]]:
    """This place, after those `before`."""
    on_gpu, model, kind = device.type == "cuda", cpu_model(), platform.machine() or "unknown"
    several = f"{processes} x " if processes > 1 else ""
    now = {
        "device": f"{several}{torch.cuda.get_device_name(device)}" if on_gpu else device.type,
        "machine": f"{model} ({kind})" if model[:1].isalnum() and model.isprintable() else kind,
        "dse": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **(_gpu_versions() if on_gpu else {}),
    }
    found = {name: list(values) for name, values in before.items()}
    for name, value in now.items():
        if found.setdefault(name, [])[-1:] != [value]:
            found[name].append(value)
    return found


def changes(before: Places, now: Places) -> str:
    """What is different now, in words; empty where nothing is."""
    found = ((name, before[name][-1], now[name][-1]) for name in before if name in now)
    return ", ".join(f"{name} {new} after {old}" for name, old, new in found if old != new)


def _gpu_versions() -> dict[str, str]:
    """The versions of CUDA, cuDNN, the driver and, if its kernels were used, Triton; unknown ones
    are left out."""
    text = ""
    with suppress(OSError):
        text = DRIVER.read_text()
    driver = re.search(r"\b\d{3,}(\.\d+)+\b", text)
    versions = {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": driver and driver[0],
        "triton": fused.triton_version(),
    }
    return {name: str(version) for name, version in versions.items() if version}
