"""How and where a trial was run: the device, its memory, and the versions of the software."""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch

from dse import __version__
from dse.training import fused
from dse.trial.record import Circumstance

DRIVER = Path("/proc/driver/nvidia/version")
"""Where Linux states the version of the driver of NVIDIA's GPUs."""


def circumstance(seconds: float, device: torch.device, processes: int = 1) -> Circumstance:
    """The circumstance of a trial that took `seconds` on `device` and ends now; each of several
    `processes` had such a device, and its own threads."""
    on_gpu = device.type == "cuda"
    several = f"{processes} x " if processes > 1 else ""
    versions = {
        "dse": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **(_gpu_versions() if on_gpu else {}),
    }
    return Circumstance(
        seconds=round(seconds, 3),
        device=f"{several}{torch.cuda.get_device_name(device)}" if on_gpu else device.type,
        threads=processes * torch.get_num_threads(),
        machine=platform.machine() or "unknown",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=" ".join(f"{name}={version}" for name, version in versions.items()),
        peak_memory_bytes=torch.cuda.max_memory_reserved(device) if on_gpu else 0,
    )


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
