"""The package installed: the pages are found wherever it lies, from any directory."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
WHERE = "import dse, dse.sweep.pages as pages; print(dse.__file__); print(pages.bundled())"


def run(*command: str | Path, cwd: Path) -> str:
    """A command's output; fails with what it said where it failed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that has the wheel, and sees what is installed here.

    What is installed here is found last, and its editable install of this package not at all: a
    `.pth` file is not read in a folder that another one names.
    """
    pytest.importorskip("hatchling")
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", home, cwd=ROOT)
    (wheel,) = home.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home)
    Path(site.strip(), "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))


@pytest.mark.slow
def test_a_wheel_brings_its_data(installed: Path, tmp_path: Path) -> None:
    package, pages = run(installed, "-c", WHERE, cwd=tmp_path).split()
    assert Path(package).is_relative_to(installed.parents[1])
    assert Path(pages) == Path(package).parent / "sweeps"
    assert listed(Path(pages)) == listed(ROOT / "sweeps")
    for room, files in {
        "data": {"digits.csv.gz", "digits.txt"},
        "report": {"page.html.jinja", "page.css", "page.js"},
    }.items():
        assert files <= {path.name for path in (Path(package).parent / room).iterdir()}


@pytest.mark.slow
def test_a_wheel_sweeps_in_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    planned = run(installed, "-m", "dse.sweep", "plan=true", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert planned == run(sys.executable, "-m", "dse.sweep", "plan=true", cwd=tmp_path)
    assert "5 trials, 0 done, 5 to do" in planned
    run(installed, "-m", "dse.sweep", "sr=0.125", "epochs=1", "train_share=0.1", cwd=tmp_path)
    assert len(list((tmp_path / "results/figure3a/trials").glob("*/record.json"))) == 1


def test_the_pages_are_found_from_another_directory(tmp_path: Path) -> None:
    package, pages = run(sys.executable, "-c", WHERE, cwd=tmp_path).split()
    assert listed(Path(pages)) == listed(ROOT / "sweeps")
    assert Path(pages).parent in (Path(package).parent, Path(package).parents[1])


@pytest.mark.parametrize("command", ["sweep", "audit"])
def test_a_zip_is_refused_in_a_line(command: str, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "dse.whl", "w") as archive:
        for path in (ROOT / "dse").rglob("*.py"):
            archive.write(path, path.relative_to(ROOT))
    done = subprocess.run(
        [sys.executable, "-P", "-m", f"dse.{command}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "dse.whl")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "(ImportError: dse must be installed, as with pip: it cannot run from a zip)\n"
    )
    assert done.stderr.count("\n") == 1
