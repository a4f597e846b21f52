"""Engines: tasks are processes here, jobs of submitit or tasks of Ray, by the same rules."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_runs import TESTS, alive, ends, events, parent, pids, soon

from dse.runner import slurm
from dse.runner.events import Event, Failed, Finished, Interrupted, Reported, Retried, Started
from dse.runner.job import Spool
from dse.runner.ray import Cluster
from dse.runner.runner import Runner, Workers
from dse.runner.submitit import Jobs


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from here import the toy."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))


@pytest.fixture
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    """Settings for jobs on this machine."""
    request.getfixturevalue("toys")
    return Jobs(cluster="local", folder=tmp_path / "jobs", notice=10)


TASKS = {
    "count": ("count", 2),
    "raise": ("raise", "x"),
    "shout": ("shout",),
    "kill": ("kill",),
    "return": ("return", {"a": (1, None)}),
}


def check_tasks(workers: Workers, keys: Iterable[str] = TASKS) -> None:
    """Run some of `TASKS`; how they end, with one retry, by any engine."""
    with Runner("toy:behave", replace(workers, retries=1)) as runner:
        for key in keys:
            runner.submit(key, TASKS[key])
        received = list(runner.events())
    assert [event.value for event in received if isinstance(event, Reported)] == [0, 1]
    failure = ends(received)["raise"]
    assert isinstance(failure, Failed)
    assert failure.reason == "ValueError: x"
    assert "Traceback" in failure.details
    reason = "the process was killed by SIGKILL"
    expected = {
        "count": Finished("count", 2),
        "raise": failure,
        "shout": Finished("shout", 11),
        "kill": Failed("kill", f"{reason}; tried 2 times", ""),
        "return": Finished("return", {"a": (1, None)}),
    }
    assert ends(received) == {key: expected[key] for key in keys}
    retries = [event for event in received if isinstance(event, Retried)]
    assert retries == ([Retried("kill", reason, 1)] if "kill" in keys else [])


def test_local_tasks() -> None:
    check_tasks(Workers(count=2))


@pytest.mark.parametrize(
    ("keys", "logs"),
    [(("count", "raise", "shout"), 1), pytest.param(tuple(TASKS), 3, marks=pytest.mark.slow)],
)
def test_jobs(jobs: Jobs, keys: tuple[str, ...], logs: int) -> None:
    pytest.importorskip("submitit")
    check_tasks(Workers(count=4, engine="submitit", settings=jobs), keys)
    folder = jobs.folder
    assert folder.stat().st_mode & 0o77 == 0
    assert len(list(folder.glob("*/*_log.err"))) == logs  # of the attempts that failed
    assert all(path.exists() for path in folder.rglob("*"))  # submitit links to files that go


def test_a_preempted_job_resumes_and_a_killed_one_is_retried(jobs: Jobs, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    received: list[Event] = []
    go = tmp_path / "go"
    with Runner("toy:behave", Workers(count=2, engine="submitit", settings=jobs)) as runner:
        runner.submit("preempted", ("save and resume", tmp_path))
        runner.submit("killed", ("wait for go", go))
        for event in runner.events():
            if isinstance(event, Reported) and event.value == 5:  # it waits
                (process,) = pids([e for e in received if e.key == "preempted"])[:1]
                os.kill(parent(parent(process)), signal.SIGUSR2)
            if (
                isinstance(event, Reported)
                and event.key == "killed"
                and not (tmp_path / "go").exists()
            ):
                go.touch()
                os.kill(parent(parent(event.value)), signal.SIGKILL)
            received.append(event)
    assert ends(received) == {
        "preempted": Finished("preempted", list(range(10))),
        "killed": Finished("killed", "resumed"),
    }
    first, *steps = pids([event for event in received if event.key == "preempted"])
    assert steps[:5] == [1, 2, 3, 4, 5]
    assert steps[6:] == [6, 7, 8, 9, 10]
    assert steps[5] != first
    (retried,) = [event for event in received if isinstance(event, Retried)]
    assert (retried.key, retried.attempt) == ("killed", 1)
    assert re.fullmatch(r"job \d+ ended without a result, FINISHED(: .+)?", retried.reason)
    assert [e.key for e in received if isinstance(e, Started)].count("preempted") == 1
    assert soon(lambda: not any(alive(pid) for pid in (first, steps[5])))


def test_jobs_of_slurm_are_cancelled_by_one_command(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    engine = module.Submitit("toy:behave", 0, jobs)
    engine._slurm = True
    cleared: list[int] = []
    engine._attempts = [
        SimpleNamespace(
            job=SimpleNamespace(job_id=str(n)),
            spool=Spool(tmp_path / str(n)),
            clear=lambda n=n: cleared.append(n),
        )
        for n in range(5)
    ]
    commands: list[list[str]] = []
    monkeypatch.setattr(slurm, "_run", lambda *words: commands.append([*words]) or answers.pop())
    answers = ["", None, ""]
    engine.kill(*engine._attempts[1:3])
    assert cleared == [1, 2]
    left = engine._attempts[-1]
    engine.kill(left)  # SLURM does not answer
    assert left.spool.stopping
    engine.close()
    engine.close()
    assert commands == [["scancel", "1", "2"], ["scancel", "4"], ["scancel", "0", "3"]]
    assert cleared == [1, 2, 0, 3]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Programs that print a line, or fail without one. The real ones: `tests/test_slurm.py`."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def write(program: str, line: str) -> None:
        (place / program).write_text(f"#!/bin/sh\necho '{line}'\ntest -n '{line}'\n")
        (place / program).chmod(0o755)

    return write


def test_a_job_of_slurm_is_over_when_its_queue_says_so_twice(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, says: Callable[[str, str], None]
) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    monkeypatch.setattr(module, "POLL", 0.0)
    engine = module.Submitit("toy:behave", 0, jobs)
    engine._slurm = True
    attempt = module._Attempt(SimpleNamespace(job_id="7"), Spool(Path("none")))
    engine._attempts = [attempt]
    requeued = ["7 RUNNING", "7 PREEMPTED", "7 PENDING", "7 COMPLETING"]
    for line in [*requeued, "7 TIMEOUT", "", "8 RUNNING"]:  # in the end it is not listed any more
        assert len(attempt.ended) < 2
        says("squeue", line)
        engine._poll()
    assert attempt.ended == ["TIMEOUT", "UNKNOWN"]
    engine._attempts = []


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("JobId=7 JobState=RUNNING Reason=None PreemptTime=None", "running"),
        ("JobId=7 JobState=RUNNING PreemptEligibleTime=N/A", "running"),
        ("JobId=7 JobState=RUNNING PreemptTime=2026-11-21T19:34:09", "to be preempted"),
        ("JobId=7 JobState=SIGNALING PreemptTime=2026-11-21T19:34:09", "to be preempted"),
        ("JobId=7 JobState=COMPLETING PreemptTime=None Restarts=1", "ending"),
        ("JobId=7 JobState=PENDING PreemptTime=None Restarts=1", "ending"),
        ("", "ending"),
    ],
)
def test_what_sigterm_means_is_what_slurm_says(
    line: str, state: str, says: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("scontrol", line)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.own_state() == "running"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm.own_state() == state


@pytest.mark.parametrize(
    ("error", "kind"),
    [("ModuleNotFoundError: No module named 'dse'", "unimported"), ("ValueError: x", "failed")],
)
def test_a_machine_that_lacks_the_package_fails_no_task(
    error: str, kind: str, tmp_path: Path
) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    paths = SimpleNamespace(
        **{name: tmp_path / name for name in ("result_pickle", "stdout", "stderr")}
    )
    paths.result_pickle.touch()
    paths.stdout.write_text("submitit INFO - JobEnvironment(job_id=7, hostname=n3, node=0(1))\n")
    trace = f"Traceback (most recent call last):\n  ...\n{error}\n------\n"
    job = SimpleNamespace(job_id="7", paths=paths, exception=lambda: RuntimeError(trace))
    end = module._Attempt(job, Spool(tmp_path / "spool")).end()
    assert (end.kind, end.reason) == (kind, f"{error} (job 7 on n3)")


def test_the_reason_of_a_job_without_a_result_is_the_end_of_its_log(tmp_path: Path) -> None:
    module = pytest.importorskip("dse.runner.submitit")
    paths = SimpleNamespace(result_pickle=tmp_path / "none", stderr=tmp_path / "log")
    attempt = module._Attempt(SimpleNamespace(job_id="7", paths=paths), Spool(tmp_path / "spool"))
    attempt.ended = ["FAILED"]
    assert attempt.end().reason == "job 7 ended without a result, FAILED"
    paths.stderr.write_text("loading\nbash: /env/bin/python: No such file or directory\n\n")
    assert attempt.end().reason.endswith("FAILED: bash: /env/bin/python: No such file or directory")
    paths.stderr.write_text(f"loading\rOUT_OF_MEMORY\x1b[2J{'.' * 999}")
    end = attempt.end()
    assert end.kind == "died"
    assert end.reason.endswith(f"FAILED: OUT_OF_MEMORY\\x1b[2J{'.' * 180}")
    paths.stderr.write_text("slurmstepd: error: Detected 1 oom_kill event")
    attempt.ended = ["OUT_OF_MEMORY"]
    assert attempt.end().kind == "memory"


def test_reports_cut_by_a_kill_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "spool.reports").write_bytes(b'[1, 2]\n{"a": [3\xff[4]\n[5]\n[6')
    assert Spool(tmp_path / "spool").read() == [[1, 2], [5]]


@pytest.mark.slow
def test_jobs_that_hang_or_are_stopped(jobs: Jobs) -> None:
    pytest.importorskip("submitit")
    settings: dict[str, Any] = {"engine": "submitit", "settings": jobs, "retries": 0}
    (failure,) = ends(events(("deaf",), patience=1, **settings)).values()
    assert isinstance(failure, Failed)
    assert failure.reason == "the process sent no heartbeat for 1 s and was killed"
    assert "in _deaf" in failure.details
    check_stop(settings)


def check_stop(settings: dict[str, Any]) -> None:
    """Stop two tasks, of which one does not react and is killed when the other has ended."""
    received: list[Event] = []
    with Runner("toy:behave", Workers(count=2, **settings)) as runner:
        for key, kind in enumerate(("finish when stopped", "deaf", "deaf")):
            runner.submit(key, (kind,))
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and len(pids(received)) == 2:
                runner.stop(60)
            if isinstance(event, Finished):
                runner.stop(0.3)
    assert ends(received) == {0: Finished(0, "saved"), 1: Interrupted(1), 2: Interrupted(2)}
    assert soon(lambda: not any(alive(pid) for pid in pids(received)))


def test_stopped_local_tasks() -> None:
    check_stop({})


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_tasks_of_ray() -> None:
    """On a cluster of this machine, of two cores."""
    ray = pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    settings: dict[str, Any] = {"engine": "ray", "retries": 1}
    try:
        check_tasks(Workers(count=2, **settings))
        check_stop(settings)
        received: list[Event] = []
        with Runner("toy:behave", Workers(count=2, **settings, patience=1)) as runner:
            runner.submit("killed", ("report steadily", 2))
            runner.submit("hangs", ("deaf",))
            for event in runner.events():
                received.append(event)
                first = pids([e for e in received if e.key == "killed"])
                if isinstance(event, Reported) and first == [event.value]:
                    os.kill(parent(parent(event.value)), signal.SIGKILL)
        assert Retried("killed", "the task died: WorkerCrashedError", 1) in received
        assert ends(received)["killed"] == Finished("killed", "worked")
        assert "sent no heartbeat for 1 s" in ends(received)["hangs"].reason
        assert soon(lambda: not any(alive(pid) for pid in pids(received)))
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_a_ray_cluster_of_its_own() -> None:
    ray = pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    with Runner("toy:behave", Workers(engine="ray")):
        assert signal.getsignal(signal.SIGTERM) is handler
    check_tasks(Workers(count=2, engine="ray"))
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"num_cpus": 4000}, "`ray.num_cpus` must be at most "),
        ({"num_gpus": 1000}, "`ray.num_gpus` must be at most "),
        ({"mem_gb": 99_000}, "`ray.mem_gb` must be at most "),
    ],
)
@pytest.mark.slow
def test_what_this_machine_never_has_is_not_waited_for(settings: dict[str, Any], line: str) -> None:
    ray = pytest.importorskip("ray")
    with pytest.raises(ValueError, match=f"^{line}.* on this machine, got "):
        Runner("toy:behave", Workers(count=1, engine="ray", settings=Cluster(**settings)))
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "here:now", "::1:99999"])
def test_a_ray_cluster_that_is_not_there(address: str) -> None:
    pytest.importorskip("ray")
    line = f"^`ray.address` must be the address of a running Ray cluster, got {address}: "
    with pytest.raises(ValueError, match=line):
        Runner("toy:echo", Workers(count=1, engine="ray", settings=Cluster(address=address)))


@pytest.mark.parametrize("engine", ["submitit", "ray"])
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    line = rf"^`runner.engine` {engine} needs an extra: pip install 'squeezenet-dse"
    with pytest.raises(ValueError, match=rf"{line}\[{engine}\]'$"):
        Runner("toy:echo", Workers(count=1, engine=engine))


@pytest.mark.parametrize(
    ("engine", "settings", "line"),
    [
        ("submitit", {"cluster": "pbs"}, "`cluster` must be one of slurm, local, got 'pbs'"),
        ("submitit", {"timeout_min": 0}, "`timeout_min` must be a whole number in 1 .. 525600"),
        ("submitit", {"partition": "a\nb"}, "`partition` must be a name, got 'a\\nb'"),
        (
            "submitit",
            {"folder": __file__, "cluster": "local"},
            "`submitit.folder` must be a writable folder of your own, got ",
        ),
        ("ray", {"num_gpus": "one"}, "`num_gpus` must be in [0, 1024], got 'one'"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line(
    engine: str, settings: dict[str, Any], line: str
) -> None:
    pytest.importorskip(engine)
    kind = Cluster if engine == "ray" else Jobs
    with pytest.raises(ValueError, match="^" + re.escape(line)) as caught:
        Runner("toy:echo", Workers(count=1, engine=engine, settings=kind(**settings)))
    assert "\n" not in str(caught.value)
