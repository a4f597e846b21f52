"""The GPUs that this process may use, as the CUDA driver lists them; torch is not needed.

The driver knows what `CUDA_VISIBLE_DEVICES`, a container, SLURM or Ray leave visible. A process is
confined to one GPU by setting that variable before it uses CUDA.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

VISIBLE = "CUDA_VISIBLE_DEVICES"

MAJOR, MINOR = 75, 76
"""The driver's numbers of the two parts of a compute capability."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: the value of `CUDA_VISIBLE_DEVICES` that leaves it alone visible, and its name."""

    visible: str
    name: str


Gpus: TypeAlias = tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class Driver:
    """What the CUDA driver says: the newest CUDA that it supports (13020 for 13.2; 0 where there
    is no driver), and of the visible GPUs, in order, the names and compute capabilities, such as
    (9, 0)."""

    cuda: int = 0
    names: tuple[str, ...] = ()
    capabilities: tuple[tuple[int, int], ...] = ()


def ask_driver() -> Driver:
    """Ask the CUDA driver, within this process; no memory of a GPU is used."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Driver()
    version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return Driver(version.value)  # no GPU is visible, or the driver does not run
    names, capabilities = [], []
    for number in range(count.value):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGet(ctypes.byref(device), number)
        cuda.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode(errors="replace"))
        parts = ctypes.c_int(), ctypes.c_int()
        for part, attribute in zip(parts, (MAJOR, MINOR), strict=True):
            cuda.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
        capabilities.append((parts[0].value, parts[1].value))
    return Driver(version.value, tuple(names), tuple(capabilities))


def visible(names: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> Gpus:
    """The visible GPUs, whose `names` the driver gave in order.

    Raises `ValueError` where `CUDA_VISIBLE_DEVICES` lists a GPU that the driver does not have: the
    driver would leave out that one and all after it.

    >>> visible(("A", "B"), {VISIBLE: "2,0"})
    (Gpu(visible='2', name='A'), Gpu(visible='0', name='B'))
    """
    listed = [text.strip() for text in environment.get(VISIBLE, "").split(",")]
    asked = [*takewhile(lambda text: text not in ("", "-1"), listed)]
    if VISIBLE not in environment:
        asked = [str(number) for number in range(len(names))]
    if len(asked) > len(names):
        raise ValueError(
            f"`{VISIBLE}` must name GPUs of this machine, each once, got {asked[len(names)]!a} "
            f"in {environment[VISIBLE]!a}"
        )
    return tuple(map(Gpu, asked, names))
