"""The thread through the whole: commands as a user types them, in a directory of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from dse import results


def dse(
    command: str, *arguments: str, cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"dse.{command}", *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


TINY = ("train_share=0.1", "epochs=2")


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
    for name in ("figure3a.svg", "figure3a.png", "table.parquet"):
        assert (swept / "results/figure3a" / name).stat().st_size > 1000


def test_the_same_command_trains_nothing_again(swept: Path) -> None:
    folder = swept / "results/figure3a"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")}
    figure = (folder / "figure3a.svg").read_bytes()
    start = time.monotonic()
    run = dse("sweep", "sr=0.125,0.5", cwd=swept)
    assert run.returncode == 0
    assert "2 done before, 0 to do" in run.stderr
    assert time.monotonic() - start < 20
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")} == before
    assert (folder / "figure3a.svg").read_bytes() == figure


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    run = dse("sweep", "sr=0.125,0.25", "plan=true", cwd=tmp_path)
    assert run.returncode == 0
    assert "2 trials" in run.stdout
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


def test_a_killed_worker_costs_its_trial_alone(tmp_path: Path) -> None:
    """SIGKILL in the middle: exit 1, the others are in the table, the next run trains the rest."""
    arguments = ("sr=0.125,0.25,0.5", "runner.workers=1", "train_share=0.1", "epochs=15")
    command = [sys.executable, "-m", "dse.sweep", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        victim = _worker(driver.pid)
        os.kill(victim, signal.SIGKILL)
        _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 1, errors
    assert "killed by SIGKILL" in errors
    table = results.load(tmp_path / "results/figure3a")
    assert len(table) == 2
    failure = next((tmp_path / "results/figure3a/trials").glob("*/failure.json"))
    assert "SIGKILL" in json.loads(failure.read_text())["reason"]

    again = dse("sweep", *arguments, cwd=tmp_path)
    assert again.returncode == 0
    assert "2 done before, 1 to do" in again.stderr
    assert len(results.load(tmp_path / "results/figure3a")) == 3
    assert not failure.exists()


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dse.sweep", "sr=0.125,0.25", "runner.workers=1", *TINY]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        worker = _worker(driver.pid)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert "goes on" in errors
    assert "Traceback" not in errors
    assert not _alive(worker)
    assert dse("sweep", "sr=0.125,0.25", *TINY, cwd=tmp_path).returncode == 0
    assert len(results.load(tmp_path / "results/figure3a")) == 2


def test_a_full_disk_is_told_in_lines_and_the_same_command_finishes(tmp_path: Path) -> None:
    """Files above 8 kB cannot be written, as on a full disk: no traceback, nothing half."""
    command = [sys.executable, "-m", "dse.sweep", "sr=0.125,0.5", "runner.workers=1", *TINY]
    full = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *command],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert full.returncode == 1
    assert "failed" in full.stderr
    assert "Traceback" not in full.stderr
    assert results.load(tmp_path / "results/figure3a").empty
    assert dse("sweep", "sr=0.125,0.5", *TINY, cwd=tmp_path).returncode == 0
    assert len(results.load(tmp_path / "results/figure3a")) == 2


def test_reproduce_draws_every_page_from_one_folder(tmp_path: Path) -> None:
    arguments = ("figure3a", "table3", "sr=0.125,0.25", "seed=0,1", *TINY)
    run = dse("reproduce", *arguments, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "results/reproduce"
    table = results.load(folder)
    # Two squeeze ratios without bypass, and both with each bypass: shared trials are trained once.
    assert len(table) == 12
    assert {p.name for p in folder.iterdir()} >= {
        "figure3a.svg", "figure3a.png", "table3.csv", "table3.md", "index.html", "table.csv",
    }  # fmt: skip
    page = (folder / "index.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "12 of 12 trainings" in page


def test_reproduce_names_what_it_does_not_know(tmp_path: Path) -> None:
    run = dse("reproduce", "figure9", "sr=0", cwd=tmp_path)
    assert run.returncode == 2
    assert "figure9" in run.stderr
    assert "Traceback" not in run.stderr


def _worker(driver: int) -> int:
    """The process id of a trial that runs: a child of the server that the driver started."""
    for _ in range(1200):
        for server in _children(driver):
            busy = [p for p in _children(server) if _alive(p)]
            if busy:
                return busy[0]
        time.sleep(0.05)
    raise AssertionError("no trial was started")


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
