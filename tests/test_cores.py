"""The cores that a driver may use, and that its tasks may use the same ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy_runs import ends, events

from dse.runner.cores import cores, cpu_model
from dse.runner.events import Finished

ALLOWED = {0, 1, 2, 3, 4, 5, 6, 7}

V1 = "25 20 0:22 {above} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "30 20 0:26 {above} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = "26 20 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def machine(root: Path, own: str, mounts: str, quotas: dict[str, str]) -> Path:
    """A root folder of a machine: its control groups, and where this process is among them."""
    files = {"proc/self/cgroup": own, "proc/self/mountinfo": OTHER + mounts}
    for group, quota in quotas.items():
        if " " in quota:
            files[f"sys/fs/cgroup{group}/cpu.max"] = f"{quota}\n"
        else:
            place = f"sys/fs/cgroup/cpu,cpuacct{group}/cpu.cfs"
            files |= {f"{place}_quota_us": f"{quota}\n", f"{place}_period_us": "100000\n"}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("own", "mounts", "quotas", "count"),
    [
        ("0::/\n", V2, {"": "100000 100000"}, 1),
        ("0::/\n", V2, {"": "250000 100000"}, 3),
        ("0::/\n", V2, {"": "1000 100000"}, 1),
        ("0::/\n", V2, {"": "max 100000"}, 8),
        ("0::/\n", V2, {"": "6400000 100000"}, 8),
        ("0::/a/b\n", V2, {"": "max 100000", "/a": "200000 100000", "/a/b": "max 100000"}, 2),
        ("0::/a/b\n", V2, {"/a": "700000 100000", "/a/b": "150000 50000", "/a/c": "1 100000"}, 3),
        ("0::/a\n", V2.replace("{above}", "/a"), {"": "400000 100000"}, 4),
        ("4:memory:/m\n2:cpu,cpuacct:/\n0::/\n", V1, {"": "100000"}, 1),
        ("2:cpu,cpuacct:/\n", V1, {"": "-1"}, 8),
        ("2:cpu,cpuacct:/a/b\n", V1, {"": "-1", "/a": "150000", "/a/b": "-1"}, 2),
        ("2:cpu,cpuacct:/d/x\n", V1.replace("{above}", "/d/x"), {"": "300000"}, 3),
        ("2:cpu,cpuacct:/d\n0::/\n", V1 + V2, {"": "-1", "/d": "500000"}, 5),
        ("0::/../outside\n", V2, {}, 8),
        ("", "", {}, 8),
    ],
)
def test_a_quota_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    own: str,
    mounts: str,
    quotas: dict[str, str],
    count: int,
) -> None:
    """Of this process's group, or of one that contains it; the least of them, rounded up."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: ALLOWED)
    assert cores(machine(tmp_path, own, mounts.replace("{above}", "/"), quotas)) == count


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    assert cores(tmp_path) == len(os.sched_getaffinity(0))


def test_the_cpus_model_is_known_where_linux_says_it(tmp_path: Path) -> None:
    assert cpu_model(tmp_path / "none") == ""
    (tmp_path / "proc").mkdir()
    text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9R14\nmodel name\t: other\n"
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert cpu_model(tmp_path) == "AMD EPYC 9R14"


def test_tasks_have_the_cores_of_their_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever an imported library does: OpenMP binds a process to a core by OMP_PROC_BIND."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) == 1:
        pytest.skip("there is one core")
    (tmp_path / "binding.py").write_text(
        f"import os\nos.sched_setaffinity(0, {{{min(allowed)}}})\n"
        "def run(argument, report):\n    return os.sched_getaffinity(0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    received = ends(events(0, 1, function="binding:run"))
    assert received == {key: Finished(key, allowed) for key in (0, 1)}
