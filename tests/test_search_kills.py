"""Searches as processes that are killed at random moments, and several on one database."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from dse.results.studies import JOURNAL

SEARCH = [sys.executable, "-m", "toy_search"]
POSTGRES = Path("/usr/lib/postgresql")
ARGUMENTS = ("objective=size_bytes,val_top1", "max.size_bytes=60kB")


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SEARCH, str(folder), *ARGUMENTS, *arguments],
        cwd=Path(__file__).parent,
        stderr=(folder.parent / f"{folder.name}.stderr").open("ab"),
        start_new_session=True,
    )


def killed_often(folder: Path, kills: int, seed: int, *arguments: str) -> None:
    """Run a search that is killed so many times, and then to its end."""
    rng = random.Random(seed)
    done = 0
    while done < kills:
        process = started(folder, *arguments)
        begun, size = time.monotonic(), journal_size(folder)
        while journal_size(folder) == size and process.poll() is None:
            time.sleep(0.01)  # it starts
        try:
            process.wait(timeout=rng.uniform(0, 0.1 + (time.monotonic() - begun) / 4))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            done += 1
        else:
            break
        process.wait()
    assert done == kills, "the study was too short for that many kills"
    assert started(folder, *arguments).wait() == 0


def journal_size(folder: Path) -> int:
    path = folder / JOURNAL
    return path.stat().st_size if path.exists() else 0


def entries(storage: BaseStorage) -> list[Any]:
    """What all entries of the only study say."""
    (study,) = storage.get_all_studies()
    return [
        (t.state.name, t.params, t.values, {**t.user_attrs, "owner": ""})
        for t in storage.get_all_trials(study._study_id)
    ]


def journal(folder: Path) -> list[Any]:
    return entries(JournalStorage(JournalFileBackend(str(folder / JOURNAL))))


def trained(folder: Path) -> list[str]:
    """The trials that were trained to the end, in order."""
    lines = folder.with_name(f"{folder.name}.trained").read_text().splitlines()
    return [line.split()[0] for line in lines if line.endswith(" trained")]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "nsga2", "annealing", "grid"])
def test_twenty_kills_change_nothing(tmp_path: Path, sampler: str) -> None:
    arguments = (f"sampler={sampler}", f"n_trials={40 if sampler != 'gp' else 24}")
    assert started(tmp_path / "whole", *arguments).wait() == 0
    killed_often(tmp_path / "killed", 20, 1, *arguments)
    assert journal(tmp_path / "killed") == journal(tmp_path / "whole")
    both = [trained(tmp_path / name) for name in ("whole", "killed")]
    assert set(both[0]) == set(both[1])


@pytest.mark.slow
def test_several_workers_lose_no_trial_and_train_none_twice(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    killed_often(folder, 8, 2, "sampler=nsga2", "n_trials=40", "runner.workers=4")
    found = journal(folder)
    points = [
        json.dumps(attributes["point"])
        for state, _, _, attributes in found
        if state == "COMPLETE" and "repeat" not in attributes
    ]
    assert len(points) == len(set(points)) == 40
    assert not [state for state, *_ in found if state == "RUNNING"]
    assert len(list((folder / "trials").glob("*/record.json"))) == 40
    assert len(trained(folder)) <= 40 + 8 * 4  # a kill may come between training and saving


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database on a server of its own, run by a user without privileges."""
    pytest.importorskip("psycopg")
    programs = sorted(POSTGRES.glob("*/bin"))
    if not programs:
        pytest.skip("needs PostgreSQL's server")
    home = Path(f"/tmp/dse-postgres-{os.getpid()}")
    home.mkdir()
    as_user: list[str] = []
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(home, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def run(name: str, *arguments: str) -> None:
        quiet = subprocess.DEVNULL
        program = str(programs[-1] / name)
        subprocess.run([*as_user, program, *arguments], check=True, stdout=quiet, stderr=quiet)

    data = ("-D", str(home / "data"))
    try:
        run("initdb", *data, "-A", "trust", "-U", "dse")
        run("pg_ctl", *data, "-o", f"-c listen_addresses='' -k {home}", "-w", "start")
        run("createdb", "-h", str(home), "-U", "dse", "dse")
        yield f"postgresql://dse@/dse?host={home}"
        run("pg_ctl", *data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)


@pytest.mark.slow
def test_two_machines_share_a_study_in_postgresql(tmp_path: Path, database: str) -> None:
    """Two results folders, as of two machines; one is killed and goes on."""
    arguments = ("sampler=tpe", "n_trials=40", f"storage={database}")
    folders = [tmp_path / machine / "s" for machine in "ab"]
    for folder in folders:
        folder.parent.mkdir()
    first, second = (started(folder, *arguments) for folder in folders)
    while first.poll() is None and not list(folders[0].glob("trials/*/record.json")):
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert started(folders[0], *arguments).wait() == 0
    assert second.wait() == 0
    found = entries(RDBStorage(database.replace("postgresql:", "postgresql+psycopg:")))
    points = [
        json.dumps(attributes["point"], sort_keys=True)
        for state, _, _, attributes in found
        if state == "COMPLETE" and "repeat" not in attributes
    ]
    assert len(points) == len(set(points)) == 40
    assert all(len(trained(folder)) > 3 for folder in folders)
    assert not set(trained(folders[0])) & set(trained(folders[1]))
