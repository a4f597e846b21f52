"""Commands as a user types them, in a directory of their own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from held import HOLD, WAITS
from sample_records import comparable
from test_help import HEAVY, IMPORTS
from toy_runs import alive

from dse.data.store import DEFAULT
from dse.results import files, records, tables
from dse.runner.task import Reporter
from dse.sweep import __main__, launch
from dse.sweep.request import read_request
from dse.training import worker


def dse(
    command: str, *arguments: str, cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"dse.{command}", *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def held(cwd: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A sweep whose trial waits in the middle, and the process of that trial."""
    results = cwd / "results"
    results.mkdir()
    (results / HOLD).touch()
    with subprocess.Popen(
        [sys.executable, "-m", "held", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        yield driver, waiting(cwd, driver)


def waiting(cwd: Path, driver: subprocess.Popen[str]) -> int:
    """The process of a trial that waits, once there is one."""
    place = cwd / "results" / WAITS
    while not place.exists():
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.01)
    return int(place.read_text())


def assert_same_table(*folders: Path) -> None:
    pd.testing.assert_frame_equal(
        *(comparable(tables.load(folder)) for folder in folders), check_exact=True
    )


SOME = ("sr=0.125", "train_share=0.1", "epochs=20")
FOLDER = Path("results/figure3a")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one small sweep in it: two squeeze ratios that learn."""
    home = tmp_path_factory.mktemp("swept")
    run = dse("sweep", "sr=0.125,0.5", cwd=home)
    assert run.returncode == 0, run.stderr
    return home


def test_a_sweep_trains_networks_that_learn(swept: Path) -> None:
    table = pd.read_csv(swept / "results/figure3a/table.csv", keep_default_na=False)
    assert table["sr"].tolist() == [0.125, 0.5]
    assert table["status"].tolist() == ["learned", "learned"]
    assert (table["top1"] > 50).all()
    assert (table["top1"] <= 100).all()
    assert table["size_bytes"].is_monotonic_increasing
    for name in ("figure3a.svg", "figure3a.png", "table.parquet", "report.html"):
        assert (swept / "results/figure3a" / name).stat().st_size > 1000


def test_the_same_command_trains_nothing_again(swept: Path) -> None:
    folder = swept / "results/figure3a"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")}
    figure = (folder / "figure3a.svg").read_bytes()
    run = dse("sweep", "sr=0.125,0.5", cwd=swept)
    assert run.returncode == 0
    assert "2 already done, 0 to do" in run.stderr
    assert "2 trials: 2 learned; accuracies in percent\nsr     top1  val_top1" in run.stdout
    assert "\nbest by validation accuracy: sr=0.5; on the test set " in run.stdout
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")} == before
    assert (folder / "figure3a.svg").read_bytes() == figure


def test_a_plan_writes_nothing_and_imports_nothing_heavy(tmp_path: Path) -> None:
    brief = "from dse.sweep import calibrate\ncalibrate.SECONDS = 0.1\n"
    brief += "calibrate._imports = lambda: (1.0, 10**8)\n"  # in a process of its own
    cache = f"data.cache={tmp_path}.cache"
    command = ["-c", brief + IMPORTS % (HEAVY,), "sr=0.125,0.25", "plan=true", cache]
    run = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert json.loads(run.stderr.splitlines()[-1]) == [0, []]
    assert "2 trials, 0 done, 2 to do" in run.stdout
    assert "54,120" in run.stdout  # its exact bytes, running statistics included
    assert "12,778" in run.stdout  # parameters of sr 0.125: with norm, and no bias before it
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_at_once_and_nothing_written(tmp_path: Path) -> None:
    run = dse("sweep", "sr=abc", "freq=0", "bypass=foo", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    assert sorted(run.stderr.splitlines()) == [
        "`bypass` must be one of none, simple, complex, got 'foo'",
        "`freq` must be a whole number in 1 .. 8, got 0",
        "`sr` must be in (0, 1], got 'abc'",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", "a\nb", "x" * 300, "'a\\0b'", ".hidden", "-x"]
)
def test_names_stay_inside_the_results_folder(
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["plan=true", f"name={name}"]) == 2
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a sweep that nothing stopped, trained here."""
    folder, threads = tmp_path_factory.mktemp("undisturbed"), torch.get_num_threads()
    (trial,) = read_request("sweep", "", SOME, "figure3a").trials
    assert worker.run((trial, folder, DEFAULT, "cpu"), Reporter(lambda report: None))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def unshown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of this process run in the folder of the test, and draw nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "import_figures", lambda: None)
    monkeypatch.setattr(__main__, "close", lambda *_: None)


@pytest.mark.usefixtures("unshown")
def test_a_killed_worker_is_replaced_and_an_interrupted_sweep_resumes_from_its_checkpoint(
    undisturbed: Path, tmp_path: Path
) -> None:
    """After SIGKILL in the middle the trial is retried, and after SIGINT it goes on with the same
    command, to the same end, bit for bit."""
    with held(tmp_path, *SOME) as (driver, killed):
        (tmp_path / "results" / WAITS).unlink()
        os.kill(killed, signal.SIGKILL)
        process = waiting(tmp_path, driver)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 130
    assert "the process was killed by SIGKILL" in errors
    assert errors.splitlines()[-1] == f"interrupted; resume with: {shlex.join(driver.args)}"
    assert "Traceback" not in errors
    assert not alive(process)
    assert records.ids(tmp_path / FOLDER) == set()
    assert len(list((tmp_path / FOLDER / "trials" / files.UNFINISHED).iterdir())) == 1
    assert __main__.main([*SOME]) == 0
    assert records.failures(tmp_path / FOLDER) == {}
    resumed, expected = (
        {p.parent.name: p.read_bytes() for p in folder.glob("trials/*/weights.safetensors")}
        for folder in (tmp_path / FOLDER, undisturbed)
    )
    assert len(resumed) == 1
    assert resumed == expected
    assert_same_table(tmp_path / FOLDER, undisturbed)


@pytest.mark.usefixtures("unshown")
@pytest.mark.parametrize("engine", ["submitit", "ray"])
def test_other_engines_leave_the_same_records(
    engine: str, undisturbed: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    own = {"submitit": ["submitit.cluster=local", "submitit.folder=jobs"], "ray": []}[engine]
    assert __main__.main([*SOME, f"runner.engine={engine}", *own]) == 0
    assert_same_table(tmp_path / FOLDER, undisturbed)
    if engine == "submitit":
        assert list((tmp_path / "jobs").glob("*.pkl")) == []
