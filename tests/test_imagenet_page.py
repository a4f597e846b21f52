"""The commands of docs/imagenet.md: that they are valid, and that they do what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from reading import composed_once, read
from test_devices import machine

from dse.data import folder as image_folder
from dse.results import tables

__all__ = ["composed_once"]

PAGE = Path(__file__).parents[1] / "docs/imagenet.md"
REAL = Path(os.environ.get("SQUEEZENET_DSE_DATA", "/nonexistent")) / "imagenet10"
SMALL = {
    **{"image_size": "64", "conv1_filters": "8", "base_e": "8", "incr_e": "8", "epochs": "1"},
    **{"batch_size": "8", "validation_share": "0.4", "data.loaders": "1"},
    **{"runner.processes_per_trial": "2", "runner.device": "cpu"},
}
"""What the page's commands are given to end in seconds on two cores."""


def commands() -> list[list[str]]:
    """The words of each `python -m dse.NAME ...` of the page, from `dse.NAME` on."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^ *python -m (dse\.[^#\n&]*)", text, re.MULTILINE)
    return [shlex.split(command) for command in found]


def sweeps() -> list[list[str]]:
    """The keys of each of the page's sweeps, without `-cn squeezenet`."""
    every = [words for words in commands() if words[0] == "dse.sweep"]
    assert all(words[1:3] == ["-cn", "squeezenet"] for words in every)
    return [words[3:] for words in every]


def job_of_the_page() -> tuple[str, list[str], str]:
    """The job for SLURM: what comes before its command, the command's words, and what follows."""
    (job,) = re.findall(
        r"```sh\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    head, command, end = re.split(r"^(python -m .*?)&\n", job, maxsplit=1, flags=re.DOTALL | re.M)
    return head, shlex.split(command.replace("\\\n", " ")), end


def given(words: Sequence[str], **values: object) -> list[str]:
    """Words with other values: keys that are there are replaced, the others are added."""
    keys = dict(word.split("=", 1) for word in words)
    return [f"{key}={value}" for key, value in {**keys, **values}.items()]


def small(words: Sequence[str], **values: object) -> list[str]:
    """The keys of a sweep of the page, for a small training."""
    parts = {"iter_size": 2} if any(word.startswith("iter_size=") for word in words) else {}
    return given(words, **{**SMALL, **parts, **values})


def test_every_sweep_of_the_page_is_a_valid_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eight GPUs, for a thousand classes."""
    machine(monkeypatch, *["H100"] * 8)
    ids = set()
    for words in sweeps():
        assert "data.root=DIR" in words
        manifest = f"1000-1281167-50000-{0:020}"
        place = {"data.root": tmp_path, "results.root": tmp_path}
        request = read(*given(words, manifest=manifest, **place))
        (trial,) = request.trials
        assert trial.architecture.num_classes == 1000
        ids.add(trial.trial_id)
    assert len(ids) >= 3  # the page's recipes


def run(words: Sequence[str], cwd: Path) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def links(root: Path, train: int = 6, val: int = 2) -> Path:
    """A folder of links to some images of each of the ten classes."""
    for part, count in (("train", train), ("val", val)):
        for home in sorted((REAL / part).iterdir()):
            (root / part / home.name).mkdir(parents=True)
            for image in sorted(home.iterdir())[:count]:
                (root / part / home.name / image.name).symlink_to(image)
    return root


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="SQUEEZENET_DSE_DATA has no imagenet10")
def test_the_page_s_commands_run_on_ten_classes_of_imagenet(tmp_path: Path) -> None:
    """In the order of the page, over two processes: plans, trainings, status and report."""
    root = links(tmp_path / "images")
    shown = {"dse.sweep": "", "dse.status": "", "dse.report": ""}
    for name, *words in commands():
        if name == "dse.sweep":
            place = {"data.root": root, "data.cache": tmp_path / "cache"}
            words = [*words[:2], *small(words[2:], **place)]
        shown[name] += run([name, *words], tmp_path)
    assert "2 processes" in shown["dse.sweep"]
    assert "estimated time with 1 worker" in shown["dse.sweep"]
    table = tables.load(tmp_path / "results/imagenet")
    check(table, image_folder.read(root, tmp_path / "cache").text)
    assert (tmp_path / "results/imagenet/report.html").is_file()


def check(table: pd.DataFrame, manifest: str) -> None:
    """The records of the page's trials."""
    assert len(table) >= 3
    assert set(table.manifest) == {manifest}
    assert set(table.threads) == {2}
    assert table.top1.between(0, 100).all()
    assert (table.steps == 5).all()  # 36 images, 8 at a time
