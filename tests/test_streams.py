"""Every command with standard streams that are missing, full, or closed by their reader, on a
folder whose name cannot be printed, with files of other programs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import pytest
from sample_compressed import compressed_record
from sample_records import FILES, record
from test_faults import ENVIRONMENT, check
from toy_trial import Plan, trials

from dse.compress.request import read_request as read_compression
from dse.results import files, records, tables
from dse.results.compressed import FILE
from dse.results.files import COMPRESSED, TRIALS
from dse.sweep.request import read_request

ROOT = "données\udce9"
"""A folder's name with a letter that ASCII has not, and a byte that UTF-8 has not."""
NAME, PRINTED = f"{ROOT}/x", "donn\\xe9es\\udce9/x"
SETTINGS = ENVIRONMENT | {"PYTHONIOENCODING": "ascii", "CUDA_VISIBLE_DEVICES": ""}
FULL = "standard output cannot be written: No space left on device\n"
FOREIGN = ("desktop.ini", "@eaDir/x", "{id} (conflicted copy)/record.json", ".claims/@eaDir/x")

SWEEP = ("sr=0.125,0.5", "seed=0,1", "name=x", f"results.root={ROOT}")
COMPRESS = ("method=svd", "retrain_epochs=0", "runner.device=cpu")
TINY = ("train_share=0.1", "epochs=1", f"results.root={ROOT}")
SEARCH = ("sampler=random", "n_trials=2", *TINY)
SLOW = pytest.mark.slow
ON_RECORDS = [
    ("status", NAME),
    *(
        pytest.param(words, marks=SLOW)
        for words in (
            ("audit",),
            ("audit", "--output", "CASE.csv", "--format", "csv"),
            ("audit", "table1"),
            ("audit", "--help"),
            ("compare", NAME, "sr=0.125,0.5"),
            ("plot", NAME, "x=sr", "output=CASE.svg"),
            ("plot", "architecture", "output=CASE.png"),
            ("report", NAME),
            ("pack", NAME),
            ("sweep", *SWEEP),
            ("sweep", *SWEEP, "plan=true"),
            ("sweep", "sr=abc"),
            ("reproduce", "figure3a", *SWEEP),
            ("search", *SEARCH, "plan=true"),
            ("compress", NAME, *COMPRESS),
            ("compress", NAME, *COMPRESS, "plan=true"),
            ("status", "nowhere"),
        )
    ),
]
ON_NETWORKS = [
    ("sweep", *TINY, "sr=0.125", "name=CASE"),
    ("search", *SEARCH, "name=of_CASE"),
    ("compress", f"{ROOT}/CASE", *COMPRESS),
    ("compress", "verify", NAME, "runner.device=cpu"),
    ("compress", "sensitivity", NAME, "density=0.5", "runner.device=cpu"),
    ("compress", "show", "network.bin"),
    ("compress", "decode", "network.bin", "-o", "CASE.safetensors"),
    ("compress", "weights.safetensors", "-o", "CASE.bin", "method=none", "sr=0.125"),
]
CASES = ("printed", "left", "full", "missing", "unheard")
"""Streams as they should be; a closed pipe as stdout; a full device; none; a closed pipe as
stderr."""


class Ended(NamedTuple):
    code: int
    out: str
    errors: str


def ended(home: Path, case: str, *words: str) -> Ended:
    """How a command ends in one of the cases."""
    redirected = {"full": ">/dev/full", "missing": "<&- >&- 2>&-"}.get(case, "")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", *words],
        cwd=home,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | SETTINGS,
        stdout=writer if case == "left" else subprocess.PIPE,
        stderr=writer if case == "unheard" else subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    return Ended(done.returncode, *((text or b"").decode() for text in (done.stdout, done.stderr)))


def strew(place: Path) -> None:
    """What other programs leave in a folder of trials or of compressed networks."""
    own = next((path.name for path in place.glob("?" * 20)), "0" * 20)
    for name in FOREIGN:
        path = place / name.format(id=own)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def checked(home: Path, words: Sequence[str]) -> list[Ended]:
    """How a command ends in each case; it must end alike, print alike and write the same files."""
    ends = []
    if "plan=true" in words:  # the first one calibrates, and says so
        ended(home, "printed", *words)
    for case in CASES:
        (home / NAME / "report.html").unlink(missing_ok=True)
        ends.append(ended(home, case, *(word.replace("CASE", case) for word in words)))
        if words[0] == "dse.report":
            assert (home / NAME / "report.html").stat().st_size
    printed, left, full, missing, unheard = ends
    assert "Traceback" not in printed.errors
    assert "Exception" not in left.errors + full.errors
    assert left.code == missing.code == unheard.code == printed.code
    assert missing[1:] == ("", "")
    says = bool(printed.out)
    assert full.code == (printed.code or int(says))
    assert (FULL in full.errors) == says
    if not any("CASE" in word for word in words) and words[0] != "dse.pack":
        assert unheard.out == printed.out
        assert left.errors == full.errors.replace(FULL, "") == printed.errors
    made = [file for case in CASES for file in home.glob(f"{case}.*")]
    contents = [file.read_bytes() for file in made]
    assert contents == contents[:1] * (len(CASES) if made else 0)
    for file in made:
        file.unlink()
    return ends


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a results folder: all its trials and compressed networks are done."""
    home = tmp_path_factory.mktemp("finished")
    folder = home / NAME
    for trial in read_request("sweep", "", SWEEP[:2], "figure3a").trials:
        one = replace(record(top1=60.0, val_top1=60.0, top5=90.0), trial=trial)
        records.save(folder, one, FILES)
    like = compressed_record()
    for one in read_compression([str(folder), *COMPRESS]).compressions:
        row = replace(like, trial=one.trial, settings=one.settings).row()
        records.save_row(folder, one.compressed_id, row, {FILE: b"f"}, COMPRESSED)
    for kind in TRIALS, COMPRESSED:
        strew(folder / kind)
    return home


@pytest.mark.parametrize("name", ["audit", "compare", "pack", "plot", "status"])
def test_a_command_that_is_interrupted_says_so_in_a_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first load of 100,000 records takes a minute."""
    command = import_module(f"dse.{name}")
    monkeypatch.setattr(command, "_main", Mock(side_effect=KeyboardInterrupt))
    assert command.main([]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize("words", ON_RECORDS)
def test_commands_end_alike_whatever_their_streams_are(
    words: tuple[str, ...], finished: Path
) -> None:
    printed, *_ = checked(finished, (f"dse.{words[0]}", *words[1:]))
    assert printed.code == (2 if words[-1] in ("nowhere", "sr=abc") else 0)
    if words == ("status", NAME):
        assert printed.out == f"{PRINTED}: 4 done, 0 failed\n{PRINTED}: 4 compressed, 0 failed\n"
    if words in (("sweep", *SWEEP), ("report", NAME)):
        assert f"{PRINTED}/figure3a.svg\n" in printed.out
        assert (finished / NAME / "figure3a.svg").stat().st_size


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a trained network, compressed."""
    home = tmp_path_factory.mktemp("trained")
    assert ended(home, "printed", "dse.sweep", *TINY, "sr=0.125", "name=x").code == 0
    assert ended(home, "printed", "dse.compress", NAME, *COMPRESS).code == 0
    for file, path in (
        ("network.bin", next(home.glob(f"{ROOT}/x/{COMPRESSED}/*/{FILE}"))),
        ("weights.safetensors", next(home.glob(f"{ROOT}/x/{TRIALS}/*/weights.safetensors"))),
    ):
        (home / file).write_bytes(path.read_bytes())
    for kind in TRIALS, COMPRESSED:
        strew(home / NAME / kind)
    return home


@SLOW
@pytest.mark.parametrize("words", ON_NETWORKS)
def test_commands_that_train_end_alike_too(words: tuple[str, ...], trained: Path) -> None:
    printed, *_ = checked(trained, (f"dse.{words[0]}", *words[1:]))
    assert printed.code == (2 if words[1] == "weights.safetensors" else 0), printed
    if words[0] in ("sweep", "search"):
        name = words[-1].removeprefix("name=")
        folders = [trained / ROOT / name.replace("CASE", case) for case in CASES]
        whole = [tables.load(folder)["top1"].tolist() for folder in folders]
        assert whole == whole[:1] * len(CASES)
        assert len(whole[0]) == (1 if words[0] == "sweep" else 2)


@pytest.mark.parametrize(
    "case", ["missing", *(pytest.param(case, marks=SLOW) for case in CASES if case != "missing")]
)
def test_a_sweep_trains_whatever_its_streams_are(case: str, tmp_path: Path) -> None:
    """Next to files of others; what its workers write to stderr ends up in no file of results."""
    folder = tmp_path / "x"
    strew(folder / TRIALS)
    (folder / files.COMMANDS).touch()  # as that of a sweep which was stopped early
    assert ended(tmp_path, case, "toy_trial", "x", "trials=3", "workers=2").code == 0
    for name in FOREIGN:
        left = folder / TRIALS / name.format(id="0" * 20)
        assert left.read_text() == "{}"
        left.unlink()
    for name in ("@eaDir", f"{'0' * 20} (conflicted copy)", ".claims/@eaDir", ".claims"):
        (folder / TRIALS / name).rmdir()
    assert len(trials(Plan(trials=3))) == len(records.ids(folder))
    check(folder, Plan(trials=3))
