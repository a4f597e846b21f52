"""The command on folders of images as people have them: what it says, before it trains.

Slow, and by the command line alone: each is a sweep of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from images import encoded, waves, write

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """2 classes of 30 + 6 images."""
    return write(
        tmp_path / "root",
        {
            f"{part}/class{label}/{number:02d}.jpg": encoded(waves(40, 36, number + label), "JPEG")
            for part, count in (("train", 30), ("val", 6))
            for label in (0, 1)
            for number in range(count)
        },
    )


def sweep(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A sweep of two small networks on a folder."""
    here = root.parent
    arguments = (
        *("-m", "dse.sweep", "--config-name", "squeezenet", "protocol=imagenet", "layout=px32"),
        *("image_size=32", "base_e=8", "incr_e=8", "epochs=1", "lr=0.01", "validation_share=0.5"),
        *("batch_size=8", "runner.workers=1", f"data.root={root}", f"data.cache={here / 'cache'}"),
        *(words or ("sr=0.25,0.5",)),
    )
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def trained(root: Path) -> int:
    return len(list((root.parent / "results/squeezenet/trials").glob("*/record.json")))


def test_a_cut_image_is_found_before_training_and_mended_in_place(root: Path) -> None:
    broken = root / "val/class1/03.jpg"
    whole = broken.read_bytes()
    write(root, {"val/class1/03.jpg": whole[:500], "val/class0/02.jpg": b"no image"})
    done = sweep(root)
    assert done.returncode == 2
    assert trained(root) == 0
    assert "val/class1/03.jpg: Image is incomplete or truncated" in done.stderr
    assert "val/class0/02.jpg: it is none of" in done.stderr
    assert "Traceback" not in done.stderr

    write(root, {"val/class1/03.jpg": whole, "val/class0/02.jpg": whole})
    done = sweep(root)
    assert done.returncode == 0, done.stderr
    assert trained(root) == 2
    assert f"checking images of {root}: 72 to decode" in done.stderr
    assert "checking" not in sweep(root, "sr=0.75").stderr


def test_an_image_that_vanishes_later_is_said_once(root: Path) -> None:
    """The check has seen it: it goes when the first trial has been trained."""
    victim = root / "val/class1/03.jpg"
    code = (
        "import sys, pathlib; from dse.results import records; from dse.sweep import launch\n"
        "from dse.sweep.__main__ import main\n"
        "take = launch.Progress.take\n"
        "def taken(self, event):\n"
        f"    pathlib.Path({str(victim)!r}).unlink(missing_ok=True); take(self, event)\n"
        "launch.Progress.take = taken\n"
        "sys.exit(main())\n"
    )
    (root.parent / "driver.py").write_text(code)
    words = ("protocol=imagenet", "layout=px32", "image_size=32", "base_e=8", "incr_e=8")
    more = ("epochs=1", "lr=0.01", "validation_share=0.5", "batch_size=8", "runner.workers=1")
    place = (f"data.root={root}", f"data.cache={root.parent / 'cache'}", "sr=0.25,0.5,0.75,1")
    done = subprocess.run(
        [sys.executable, "driver.py", "--config-name", "squeezenet", *words, *more, *place],
        cwd=root.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert trained(root) == 0
    assert done.stderr.count("val/class1/03.jpg: No such file or directory") == 1
    assert "3 of 4 trials stopped or did not start" in done.stderr


def test_what_systems_leave_is_ignored_and_what_does_not_belong_is_named(root: Path) -> None:
    left = ("Thumbs.db", ".DS_Store", "desktop.ini")
    folders = [f"{part}/class{label}" for part in ("train", "val") for label in (0, 1)]
    write(root, {f"{folder}/{name}": b"x" for folder in folders for name in left})
    done = sweep(root, "sr=0.25", "plan=true")
    assert done.returncode == 0, done.stderr
    assert f"12 files of {root} ignored, not images: 4 hidden, 4 .db, 4 .ini" in done.stdout
    for folder in folders[:2]:
        (root / folder / "more").mkdir()
    for words in (("sr=0.25", "plan=true"), ("sr=0.25",)):
        done = sweep(root, *words)
        assert done.returncode == 2
        for folder in folders[:2]:
            assert f"{folder}/more is a directory within a class" in done.stderr


def test_a_class_with_a_line_break_in_its_name_is_refused_by_the_plan(root: Path) -> None:
    for part in ("train", "val"):
        (root / part / "class1").rename(root / part / "class\n1")
    done = sweep(root, "sr=0.25", "plan=true")
    assert done.returncode == 2
    assert "train/class\\n1 has a line break in its name" in done.stderr


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_an_image_of_182_megapixels_is_refused_in_any_format(root: Path, form: str) -> None:
    size = 13_500
    image = waves(8, 8).convert("L").resize((size, size), 0)
    write(root, {f"val/class0/large.{form.lower()}": encoded(image, form)})
    done = sweep(root)
    assert done.returncode == 2
    assert f"val/class0/large.{form.lower()}: it has more than 178,956,970 pixels" in done.stderr
    assert trained(root) == 0
