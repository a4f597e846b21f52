"""Devices: which ones a request uses, how tasks are divided among GPUs, and a GPU that is lost.

No test needs a GPU: what the CUDA driver says is made up.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reading import composed_once, lines, read
from toy_runs import ends, events, running

from dse.runner import gpus
from dse.runner.events import Failed, Finished, Retried, Started
from dse.runner.gpus import VISIBLE, Driver, Gpu
from dse.runner.runner import Workers
from dse.runner.submitit import Jobs
from dse.sweep import devices
from dse.sweep.plan import plan

__all__ = ["composed_once"]

TWO = (Gpu("0", "A"), Gpu("1", "B"))


def machine(
    patch: pytest.MonkeyPatch,
    *names: str,
    cuda: int = 13000,
    torch: str = "13.0",
    capability: tuple[int, int] = (9, 0),
    **env: str,
) -> None:
    """A machine whose driver sees the GPUs `names`; `env` is the environment."""
    driver = Driver(cuda, names, (capability,) * len(names))
    patch.setattr(gpus, "ask_driver", lambda: driver)
    patch.setattr(devices, "torch_cuda", lambda: torch)
    patch.delenv(VISIBLE)
    for name, value in env.items():
        patch.setenv(name, value)


# What is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["runner.device=cpu"], ["runner.per_gpu=8"]])
def test_without_a_gpu_trials_run_on_the_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    machine(monkeypatch, cuda=0)
    cores = len(os.sched_getaffinity(0))
    assert read(*words).workers == Workers(count=cores, patience=3600.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ([], 2),
        (["runner.device=cuda"], 2),
        (["runner.per_gpu=8"], 16),
        (["runner.workers=5"], 5),
        (["runner.workers=3", "runner.per_gpu=2"], 3),
    ],
)
def test_every_visible_gpu_is_used(
    monkeypatch: pytest.MonkeyPatch, words: list[str], count: int
) -> None:
    machine(monkeypatch, "A", "B")
    workers = read(*words).workers
    assert workers == Workers(
        count=count, device="cuda", settings=TWO, mps=count > 2, patience=3600.0
    )


def test_the_cpu_can_be_chosen_where_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "A", "B")
    assert read("runner.device=cpu", "runner.workers=2").workers == Workers(
        count=2, patience=3600.0
    )


@pytest.mark.parametrize(
    ("value", "names", "visible"),
    [
        ("1", ("B",), ["1"]),
        ("1,0", ("B", "A"), ["1", "0"]),
        ("GPU-8e1c, 0", ("B", "A"), ["GPU-8e1c", "0"]),
        ("MIG-0f", ("A MIG 1g.10gb",), ["MIG-0f"]),
        ("0,-1,1", ("A",), ["0"]),
        ("", (), []),
        ("-1", (), []),
    ],
)
def test_the_environment_chooses_among_gpus(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
    names: tuple[str, ...],
    visible: list[str],
) -> None:
    machine(monkeypatch, *names, **{VISIBLE: value})
    workers = read("runner.workers=7").workers
    assert [gpu.visible for gpu in workers.settings or ()] == visible  # type: ignore[union-attr]
    assert [gpu.name for gpu in workers.settings or ()] == list(names)  # type: ignore[union-attr]
    assert workers.device == ("cuda" if visible else "cpu")
    assert capsys.readouterr().err == ""


SHARED = "`runner.processes_per_trial` must "


@pytest.mark.parametrize(
    ("words", "names", "line"),
    [
        ("processes_per_trial=0", (), SHARED + "be a whole number in 1 .. 1024, got 0"),
        ("processes_per_trial=999", (), SHARED + "be at most {cores}, the cores, got 999"),
        ("processes_per_trial=3", ("A", "B"), SHARED + "be at most 2, the visible GPUs, got 3"),
        (
            "processes_per_trial=2 runner.per_gpu=2",
            ("A", "B"),
            "`runner.per_gpu` must be 1 where `runner.processes_per_trial` is 2, got 2",
        ),
        (
            "processes_per_trial=2 runner.workers=2",
            ("A", "B", "C"),
            "`runner.workers` must be at most 1 where `runner.processes_per_trial` is 2, got 2",
        ),
        (
            "processes_per_trial=2 batch_size=33,64",
            ("A", "B"),
            SHARED + "divide `batch_size`, 33, got 2",
        ),
        (
            "processes_per_trial=2 batch_size=96 iter_size=3",
            ("A", "B"),
            SHARED + "divide `iter_size`, 3, got 2",
        ),
        (
            "processes_per_trial=4 validation_share=0.0022 batch_size=96",
            ("A", "B", "C", "D"),
            SHARED + "be at most 3, the images of the smallest part, got 4",
        ),
    ],
)
def test_processes_that_cannot_share_a_trial_are_refused(
    monkeypatch: pytest.MonkeyPatch, words: str, names: tuple[str, ...], line: str
) -> None:
    machine(monkeypatch, *names, cuda=13000 if names else 0)
    cores = len(os.sched_getaffinity(0))
    assert lines(*f"runner.{words}".split()) == [line.format(cores=cores)]


def test_a_trial_gets_as_many_gpus_as_it_has_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, *"ABCDE", **{VISIBLE: "4,3,2,1,0"})
    workers = read("runner.processes_per_trial=2").workers
    groups = Gpu("4,3", "A and B"), Gpu("2,1", "C and D")
    assert workers == Workers(count=2, device="cuda", settings=groups, processes=2, patience=3600.0)
    assert devices.described(workers) == (
        "4 GPUs (A and B, C and D), 2 trials at a time, 2 processes each"
    )
    found = ends(events(("on gpu", 0.2), ("on gpu", 0.2), workers=2, settings=groups))
    assert {end.value for end in found.values()} == {"4,3", "2,1"}  # type: ignore[union-attr]


def test_on_the_cores_there_are_fewer_trials_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=0)
    monkeypatch.setattr(devices, "cores", lambda: 7)
    workers = read("runner.processes_per_trial=2").workers
    assert (workers.count, workers.place) == (3, ("cpu", 2))
    assert devices.described(workers).endswith("3 trials at a time, 2 processes each")


NO_GPU = "`runner.device` must be auto or cpu here, got cuda: "


@pytest.mark.parametrize(
    ("of", "words", "line"),
    [
        ({"cuda": 0}, [], NO_GPU + "there is no NVIDIA driver (libcuda.so.1)"),
        ({}, [], NO_GPU + "the driver finds no GPU (`CUDA_VISIBLE_DEVICES` is not set)"),
        ({VISIBLE: "7"}, [], NO_GPU + "the driver finds no GPU (`CUDA_VISIBLE_DEVICES` is 7)"),
        ({VISIBLE: ""}, [], NO_GPU + "`CUDA_VISIBLE_DEVICES` hides all GPUs"),
        ({"torch": ""}, [], NO_GPU + "the installed torch was built without CUDA"),
        (
            {"cuda": 12020},
            [],
            NO_GPU + "the driver is too old: it supports CUDA 12.2, and torch needs 13.0",
        ),
        (
            {"names": "A", VISIBLE: "0,7"},
            [],
            "`CUDA_VISIBLE_DEVICES` must name GPUs of this machine, each once, got '7' in '0,7'",
        ),
        (
            {"names": "AB"},
            ["runner.workers=9", "runner.per_gpu=4"],
            "`runner.workers` must be at most 8, `runner.per_gpu` 4 on 2 GPUs, got 9",
        ),
        (
            {"names": ["Tesla V100"], "capability": (7, 0)},
            [],
            "`runner.device` must be auto or cpu here, got cuda: the GPU Tesla V100 has compute "
            "capability 7.0, and torch for CUDA 13.0 needs 7.5 "
            "(`CUDA_VISIBLE_DEVICES` can leave it out)",
        ),
        (
            {"names": "A"},
            ["runner.per_gpu=0"],
            "`runner.per_gpu` must be a whole number in 1 .. 256, got 0",
        ),
        (
            {"names": "A"},
            ["runner.device=gpu"],
            "`runner.device` must be one of auto, cpu, cuda, got 'gpu'",
        ),
        (
            {"names": "A"},
            ["runner.device=cpu", "runner.per_gpu=2"],
            "`runner.per_gpu` must be left out where `runner.device` is cpu, got 2",
        ),
        (
            {"names": "A"},
            ["runner.engine=submitit"],
            "`submitit.gpus` must be above 0 where `runner.device` is cuda, got 0",
        ),
        (
            {"names": "A"},
            ["runner.engine=submitit", "submitit.gpus=1", "runner.per_gpu=2"],
            "`runner.per_gpu` must be left out where `runner.engine` is submitit, got 2",
        ),
    ],
)
def test_a_mistake_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, of: dict[str, Any], words: list[str], line: str
) -> None:
    machine(monkeypatch, *of.pop("names", ""), **of)
    if "runner.engine=submitit" in words:
        pytest.importorskip("submitit")
    chosen = [] if "runner.device" in " ".join(words) else ["runner.device=cuda"]
    assert lines(*chosen, *words) == [line]


@pytest.mark.parametrize(
    "of", [{"cuda": 12020}, {"torch": ""}, {"names": ()}, {"capability": (7, 0)}]
)
def test_a_gpu_that_is_left_out_is_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], of: dict[str, Any]
) -> None:
    machine(monkeypatch, *of.pop("names", "A"), **of)
    assert read().workers.device == "cpu"
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("trials run on the CPU, not on a GPU: the ")


def test_jobs_of_a_cluster_get_the_gpus_that_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    machine(monkeypatch, cuda=0)  # the login node has none
    slurm = ("runner.engine=submitit", "runner.workers=64")
    workers = read(*slurm, "submitit.gpus=1", "runner.device=cuda").workers
    assert (workers.device, workers.count) == ("cuda", 64)
    assert workers.settings == Jobs(gpus=1)
    assert read(*slurm, "submitit.gpus=1", "runner.device=cpu").workers.device == "cpu"
    assert read(*slurm).workers.device == "cpu"


def test_a_gpu_with_one_small_network_is_said_to_have_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dse.sweep.plan.estimate", lambda *_: fail())
    line = "small networks do not fill a GPU: with `runner.per_gpu=8` eight share one"

    def said(*words: str) -> bool:
        request = read(f"results.root={tmp_path}", *words)
        return line in plan(request, request.trials, lambda line: None).splitlines()

    machine(monkeypatch, "A", "B")
    assert said("sr=0.25,0.5,1")
    assert not said("sr=0.25,0.5")
    assert not said("sr=0.25,0.5,1", "runner.per_gpu=4")
    assert not said("sr=0.25,0.5,1", "runner.device=cpu")
    assert not said("sr=0.25,0.5,1", "runner.processes_per_trial=2")
    assert not said("sr=0.25,0.5,1", "layout=v1_1", "image_size=224")


@pytest.mark.parametrize(
    ("names", "words", "line"),
    [
        ("", ["runner.workers=3"], "trains on the CPU, 3 trials at a time"),
        ("A", ["runner.per_gpu=8"], "trains on 1 GPU (A), 8 trials at a time"),
        ("AAB", [], "trains on 3 GPUs (A, B), 3 trials at a time"),
    ],
)
def test_a_plan_says_where_trials_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str, words: list[str], line: str
) -> None:
    monkeypatch.setattr("dse.sweep.plan.estimate", lambda *_: fail())
    machine(monkeypatch, *names, cuda=13000 if names else 0)
    request = read(f"results.root={tmp_path}", *words)
    assert line in plan(request, request.trials, lambda line: None).splitlines()


def fail() -> None:
    raise RuntimeError("not now")


# The driver -----------------------------------------------------------------------------------


class FakeCuda:
    """The functions of libcuda that are called, for a machine with some GPUs."""

    def __init__(self, status: int, *names: bytes) -> None:
        self._status, self._names = status, names

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12080
        return 0

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._names)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = 10 + number
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: 7, 76: device.value - 10}[attribute]
        return 0

    def cuDeviceGetName(self, text: Any, size: int, device: Any) -> int:
        text.value = self._names[device.value - 10][:size]
        return 0


@pytest.mark.parametrize(
    ("status", "names", "expected"),
    [
        (
            0,
            (b"NVIDIA H200", b"NVIDIA L4"),
            Driver(12080, ("NVIDIA H200", "NVIDIA L4"), ((7, 0), (7, 1))),
        ),
        (0, (), Driver(12080)),
        (100, (b"A",), Driver(12080)),  # CUDA_ERROR_NO_DEVICE
    ],
)
def test_the_driver_lists_gpus(
    monkeypatch: pytest.MonkeyPatch, status: int, names: tuple[bytes, ...], expected: Driver
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeCuda(status, *names))
    assert gpus.ask_driver() == expected


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert gpus.ask_driver() == Driver()


def test_the_cuda_of_the_installed_torch_is_read_without_importing_it() -> None:
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    facts = runpy.run_path(str(Path(str(spec.origin)).with_name("version.py")))
    assert devices.torch_cuda() == (facts["cuda"] or "")


# Tasks on GPUs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 4])
def test_tasks_are_divided_evenly_and_each_sees_one_gpu(workers: int) -> None:
    received = events(*[("on gpu", 0.05)] * 8, workers=workers, settings=TWO)
    seen = {key: end.value for key, end in ends(received).items() if isinstance(end, Finished)}
    assert set(seen.values()) == {"0", "1"}
    for now in running(iter(received)):
        assert max(Counter(seen[key] for key in now).values(), default=0) <= workers // 2 + 1
    first = [event.key for event in received if isinstance(event, Started)][:workers]
    assert Counter(seen[key] for key in first) == {"0": workers // 2, "1": workers // 2}


def test_without_gpus_a_task_sees_what_its_driver_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the fork server was started when that was another one, as in a Ray worker."""
    for value in ("3", "GPU-1", None):
        if value is None:
            monkeypatch.delenv(VISIBLE)
        else:
            monkeypatch.setenv(VISIBLE, value)
        assert ends(events(("on gpu", 0))) == {0: Finished(0, value)}


def test_a_task_whose_gpu_fails_is_retried_and_others_go_to_the_gpus_that_work() -> None:
    received = events(*[("on gpu", 0.02, "0")] * 12, workers=2, settings=TWO)
    assert ends(received) == {key: Finished(key, "1") for key in range(12)}
    retried = [event for event in received if isinstance(event, Retried)]
    reason = "RuntimeError: CUDA error: unspecified launch failure"
    assert {event.reason for event in retried} == {reason}
    assert len(retried) == 2  # then the GPU is considered lost


def test_a_fault_that_ends_several_tasks_of_a_gpu_counts_once() -> None:
    received = events(*[("on gpu", 0.5, "0")] * 4, workers=4, settings=TWO)
    assert ends(received) == {key: Finished(key, "1") for key in range(4)}
    assert len([event for event in received if isinstance(event, Retried)]) > 2


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: unspecified launch failure",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "No CUDA GPUs are available",
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions",
    ],
)
def test_the_only_gpu_fails(text: str) -> None:
    received = ends(events(("short of memory", text), ("return", 1), retries=1))
    (failure, other) = (received[key] for key in (0, 1))
    assert isinstance(failure, Failed)
    assert failure.reason == f"RuntimeError: {text}; tried 2 times"
    assert "Traceback" in failure.details
    assert other == Finished(1, 1)
