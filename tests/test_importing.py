"""Every command that draws does so whatever the settings of the user's matplotlib are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("sr=0.125,0.25", "epochs=1", "train_share=0.1", "seed=0")
COMMANDS = [
    ("sweep", *SMALL),
    ("compress", "results/figure3a", "bits=8", "retrain_epochs=0"),
    ("plot", "results/figure3a"),
    ("plot", "results/figure3a", "x=sr"),
    ("plot", "architecture", "sr=0.25"),
    ("report", "results/figure3a"),
    ("reproduce", "figure3a", *SMALL),
]
DRAWN = (".svg", ".png", ".html")


def draw(folder: Path, **settings: str) -> dict[str, bytes]:
    """All commands in a folder; the figures and pages that they leave there."""
    for name, *words in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", f"dse.{name}", *words],
            cwd=folder,
            env=os.environ | settings,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (name, done.stderr)
        assert "Traceback" not in done.stderr
    paths = [path for path in folder.rglob("*") if path.suffix in DRAWN]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_every_command_draws_the_same_whatever_the_users_settings(tmp_path: Path) -> None:
    """A backend that is not known, and a file that cannot be decoded; then none of them, TeX and
    another style, and no settings, all of the same trials."""
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "matplotlibrc").write_bytes("text.usetex: True".encode("utf-16"))
    first = draw(folder, MPLBACKEND="Qt4Agg")
    assert {Path(name).suffix for name in first} == set(DRAWN)
    assert any(name.startswith("plots/") for name in first)
    for name, settings in ("tex", "text.usetex: True\naxes.facecolor: black\n"), ("plain", ""):
        other = tmp_path / name
        shutil.copytree(folder, other)
        for path in [path for path in other.rglob("*") if path.suffix in DRAWN]:
            path.unlink()
        (other / "matplotlibrc").write_text(settings)
        assert draw(other, MPLBACKEND="QtAgg") == first
