"""Jobs on a real SLURM of this one machine, started by the test, where its programs are installed.

On Debian `apt-get install slurm-wlm munge`; then as root `pytest -n 0 -m slow tests/test_slurm.py`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from images import folder
from sample_records import comparable
from test_engines import check_stop, check_tasks
from test_imagenet_page import job_of_the_page, small
from toy_runs import ends, parent, pids, soon

from dse.results import drivers, tables
from dse.runner.events import Event, Finished, Reported, Retried
from dse.runner.runner import Runner, Workers
from dse.runner.submitit import POLL, Jobs

pytest.importorskip("submitit")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
        reason=f"needs root and {', '.join(PROGRAMS)}",
    ),
]

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthInfo=socket={place}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmdSpoolDir={place}/slurmd
StateSaveLocation={place}/slurmctld
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
JobAcctGatherType=jobacct_gather/none
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
{node} NodeAddr=127.0.0.1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=graced Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SLURM of this machine; gives its folder."""
    place = tmp_path_factory.mktemp("slurm")
    for name in ("munge", "slurmd", "slurmctld"):
        (place / name).mkdir(mode=0o755)
    key = place / "munge/key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    node = _run("slurmd", "-C").splitlines()[0]
    conf = CONF.format(host=os.uname().nodename, place=place, node=node)
    (place / "slurm.conf").write_text(conf)
    munge = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    options = [f"--{name}={place}/munge/{file}" for name, file in munge.items()]
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SLURM_CONF", str(place / "slurm.conf"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())]))
        for name in ("munge/pid", "slurmctld.pid", "slurmd.pid"):
            stack.callback(_end, place / name)
        _run("munged", "--force", *options, f"--seed-file={place}/munge/seed")
        _run("slurmctld")
        _run("slurmd")
        assert soon(lambda: "idle" in _run("sinfo", "--noheader", "--format=%T"), 60)
        yield place


@pytest.fixture
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
    """Settings of small jobs; none is left by a test."""
    request.getfixturevalue("slurm")
    yield Jobs(folder=tmp_path / "jobs", mem_gb=0.1, notice=10)
    for process in HURRYING:
        process.kill()
        process.wait()
    HURRYING.clear()
    assert soon(lambda: not _queue(), 30)


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _end(file: Path) -> None:
    if file.exists():
        process = int(file.read_text())
        os.kill(process, signal.SIGTERM)
        assert soon(lambda: not Path(f"/proc/{process}").exists(), 20)


def _queue() -> list[str]:
    """The numbers of the sweeps' jobs."""
    return _run("squeue", "--noheader", "--name=dse", "--format=%A").split()


def _displace() -> None:
    """A short job that needs the whole machine, now."""
    _run("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")


HURRYING: list[subprocess.Popen[bytes]] = []


def _hurry(number: str) -> None:
    """SLURM lets a job that it queued again wait for minutes. An operator need not, but for the
    seconds in which the node still refuses what was ended on it."""
    facts = f"scontrol show job --oneliner {number}"
    loop = f"until {facts} | grep -q ' Restarts=[1-9]'; do sleep 0.5; done; sleep 3; "
    loop += f"until {facts} | grep -q JobState=RUNNING; "
    loop += f"do scontrol update jobid={number} StartTime=now; sleep 2; done"
    nothing = subprocess.DEVNULL
    HURRYING.append(subprocess.Popen(["sh", "-c", loop], stdout=nothing, stderr=nothing))


INTERRUPTIONS: dict[str, Callable[[], object]] = {
    "low": _displace,
    "graced": _displace,
    "requeued": lambda: _run("scontrol", "requeue", *_queue()),
    "signalled": lambda: _run("scancel", "--signal=USR2", *_queue()),
    "out of time": lambda: None,
}


@pytest.mark.parametrize("why", INTERRUPTIONS)
def test_a_job_that_slurm_interrupts_resumes_as_the_same(
    why: str, jobs: Jobs, tmp_path: Path
) -> None:
    """Preempted at once or after a time of grace, queued again by an operator, signalled, or near
    the end of its time: it stops where it is and resumes, and that is not a failed attempt."""
    if why in ("low", "graced"):
        jobs = replace(jobs, partition=why)
    if why == "out of time":
        jobs = replace(jobs, timeout_min=2, notice=1)
    received: list[Event] = []
    with Runner(
        "toy:behave", Workers(count=2, engine="submitit", settings=jobs, retries=0)
    ) as runner:
        runner.submit("it", ("save and resume", tmp_path))
        for event in runner.events():
            if isinstance(event, Reported) and event.value == 5:  # it waits
                (number,), start = _queue(), time.monotonic()
                INTERRUPTIONS[why]()
                _hurry(number)
            if isinstance(event, Reported) and event.value == 6:
                assert time.monotonic() - start < (150 if why == "out of time" else 45)
            received.append(event)
    assert ends(received) == {"it": Finished("it", list(range(10)))}
    first, *steps = pids(received)
    assert steps[:5] == [1, 2, 3, 4, 5]
    assert steps[6:] == [6, 7, 8, 9, 10]
    assert steps[5] != first


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_a_job_that_is_gone_is_noticed_and_retried(how: str, jobs: Jobs, tmp_path: Path) -> None:
    received: list[Event] = []
    with Runner(
        "toy:behave", Workers(count=2, engine="submitit", settings=jobs, retries=1)
    ) as runner:
        runner.submit("it", ("wait for go", tmp_path / "go"))
        for event in runner.events():
            if isinstance(event, Reported) and not (tmp_path / "go").exists():
                (tmp_path / "go").touch()
                if how == "cancelled":
                    _run("scancel", *_queue())
                else:
                    os.kill(parent(parent(event.value)), signal.SIGKILL)
            received.append(event)
    assert ends(received) == {"it": Finished("it", "resumed")}
    (retried,) = [event for event in received if isinstance(event, Retried)]
    state = "CANCELLED" if how == "cancelled" else "FAILED"
    assert f" ended without a result, {state}" in retried.reason


def test_tasks_and_stops(jobs: Jobs) -> None:
    settings: dict[str, Any] = {"engine": "submitit", "settings": jobs}
    check_tasks(Workers(count=2, **settings))
    check_stop(settings)


def test_a_controller_that_is_away_is_waited_for(slurm: Path, jobs: Jobs) -> None:
    """A job does not count as ended while SLURM does not answer."""

    def away() -> None:
        _end(slurm / "slurmctld.pid")
        away_since.append(time.monotonic())
        time.sleep(2.5 * POLL)
        _run("slurmctld")

    away_since: list[float] = []
    outage = threading.Thread(target=away)
    received: list[Event] = []
    with Runner(
        "toy:behave", Workers(count=1, engine="submitit", settings=jobs, retries=0)
    ) as runner:
        runner.submit("it", ("report steadily", 4 * POLL))
        for event in runner.events():
            if isinstance(event, Reported) and not received[1:]:
                outage.start()
            received.append(event)
    assert time.monotonic() - away_since[0] > 2.5 * POLL
    assert ends(received) == {"it": Finished("it", "worked")}
    outage.join()


def test_a_real_sweep_that_is_preempted_ends_as_one_that_is_not(jobs: Jobs, tmp_path: Path) -> None:
    """Bit for bit."""
    words = ["sr=0.125,0.25", "epochs=400", "train_share=0.1"]
    own = [
        "runner.engine=submitit",
        "runner.retries=0",
        *(f"submitit.{name}={getattr(jobs, name)}" for name in ("folder", "notice")),
    ]
    command = [sys.executable, "-m", "dse.sweep", *words]
    there = tmp_path / "results/there"
    with subprocess.Popen([*command, "name=there", *own], cwd=tmp_path) as driver:
        assert soon(lambda: any("epoch" in text for text in _epochs(there)), 60)
        numbers = _queue()
        _displace()
        for number in numbers:
            _hurry(number)
        assert driver.wait(timeout=300) == 0
    for number in numbers:
        assert int(_run("scontrol", "show", "job", number).split("Restarts=")[1].split()[0]) == 1
    subprocess.run([*command, "name=here"], cwd=tmp_path, check=True)
    both = [tables.load(tmp_path / "results" / name) for name in ("there", "here")]
    assert len(both[0]) == 2
    pd.testing.assert_frame_equal(*map(comparable, both), check_exact=True)
    weights = [
        {
            p.parent.name: p.read_bytes()
            for p in tmp_path.glob(f"results/{name}/trials/*/*.safetensors")
        }
        for name in ("there", "here")
    ]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("jobs")
def test_the_job_of_the_imagenet_page_resumes(tmp_path: Path) -> None:
    """docs/imagenet.md: near the end of its time it saves a checkpoint and is queued again."""
    root = folder(tmp_path / "root")
    place = {"data.root": root, "data.cache": tmp_path / "cache", "epochs": 60}
    head, command, end = job_of_the_page()
    words = [*command[:5], *small(command[5:], **place)]
    script = tmp_path / "job.sh"
    head = head.replace("--gpus=8 --cpus-per-task=64 --mem=128G", "--cpus-per-task=2")
    script.write_text(f"{head}{shlex.join([sys.executable, *words[1:]])} &\n{end}")
    number = _run("sbatch", "--parsable", f"--chdir={tmp_path}", str(script)).strip()
    results = tmp_path / "results/imagenet"
    assert soon(lambda: bool(_epochs(results)), 120), (tmp_path / f"slurm-{number}.out").read_text()
    _run("scancel", "--batch", "--signal=USR1", number)
    _hurry(number)
    assert soon(lambda: bool(list(results.glob("trials/*/record.json"))), 300)
    assert soon(lambda: number not in _run("squeue", "--noheader", "--format=%A").split(), 60)
    assert "interrupted; resume with:" in (tmp_path / f"slurm-{number}.out").read_text()
    table = tables.load(results)
    assert (len(table), table.threads[0], table.epochs[0]) == (1, 2, 60)


def _epochs(folder: Path) -> list[str]:
    """What running trials have reported after their first epoch."""
    sweeps = [status for status, running in drivers.published(folder) if running]
    texts = [text for status in sweeps for text in status["running"].values()]
    return [text for text in texts if not text.startswith("epoch 0 ")]
