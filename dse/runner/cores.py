"""How many cores this process may use, so that no more tasks than that run at a time by default;
and which ones they are."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cores(root: Path = Path("/")) -> int:
    """The number of cores that this process may use.

    Those that it may run on; at most the quota of its control groups, rounded up, which limits a
    container's cores. `root` holds `proc` and the control groups.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    quota = min(_quotas(root), default=math.inf)
    return count if quota >= count else max(math.ceil(quota), 1)


@functools.cache
def cpu_model(root: Path = Path("/")) -> str:
    """The name of the CPU's model, such as "AMD EPYC 9354P"; empty where Linux does not say it."""
    for line in _lines(root / "proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores, of this process's group and of those that contain it."""
    for folder, top in _groups(root):
        for group in (folder, *folder.parents):
            yield _quota(group)
            if group == top:
                break


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """The folder of this process's group in each hierarchy that limits cores, and the folder where
    that is mounted. See cgroups(7) and proc(5)."""
    own = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, *_, options = system.split()
        key = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if key not in own or (key and key not in options.split(",")):
            continue
        above, place = mount.split()[3:5]
        top = root / place.lstrip("/")
        with contextlib.suppress(ValueError):  # the group lies outside of what is mounted
            yield top / PurePosixPath(own[key]).relative_to(above), top


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").splitlines()
    return []


def _quota(group: Path) -> float:
    """A group's quota in cores, by version 2 or 1 of control groups; infinite without one."""
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        quota, period = map(int, (group / "cpu.max").read_text().split())
        return quota / period
    with contextlib.suppress(OSError, ValueError):
        quota = int((group / "cpu.cfs_quota_us").read_text())
        if quota > 0:
            return quota / int((group / "cpu.cfs_period_us").read_text())
    return math.inf
