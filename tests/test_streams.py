"""Commands with standard streams that are missing, full, or closed by their reader, on a folder
whose name cannot be printed, with files of other programs in it."""

from __future__ import annotations

import os
import subprocess
import sys
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

COMPRESS = ("method=svd", "retrain_epochs=0", "runner.device=cpu")
SLOW = pytest.mark.slow
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a results folder: all its trials and compressed networks are done."""
    home = tmp_path_factory.mktemp("finished")
    folder = home / NAME
    for trial in read_request("sweep", "", ("sr=0.125,0.5", "seed=0,1"), "figure3a").trials:
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


@pytest.mark.parametrize(
    "words",
    [
        ("dse.status", NAME),
        pytest.param(("dse.plot", NAME, "x=sr", "output=drawn.svg"), marks=SLOW),
    ],
)
def test_commands_end_alike_whatever_their_streams_are(
    words: tuple[str, ...], finished: Path
) -> None:
    """They print alike, and write the same files."""
    ends, drawn = [], []
    for case in CASES:
        ends.append(ended(finished, case, *words))
        drawn += [path.read_bytes() for path in finished.glob("drawn.svg")]
        (finished / "drawn.svg").unlink(missing_ok=True)
    printed, left, full, missing, unheard = ends
    assert "Traceback" not in printed.errors
    assert printed.code == left.code == missing.code == unheard.code == 0
    assert full.code == 1
    assert missing[1:] == ("", "")
    assert unheard.out == printed.out
    assert FULL in full.errors
    assert left.errors == full.errors.replace(FULL, "") == printed.errors
    if words == ("dse.status", NAME):
        assert printed.out == f"{PRINTED}: 4 done, 0 failed\n{PRINTED}: 4 compressed, 0 failed\n"
    else:
        assert drawn == drawn[:1] * len(CASES) != []


def test_help_that_cannot_be_printed_is_a_line(tmp_path: Path) -> None:
    """It is printed by argparse, and not by the commands."""
    shown = ended(tmp_path, "full", "dse.audit", "--help")
    assert (shown.code, shown.errors) == (1, FULL)


def test_a_sweep_trains_without_streams(tmp_path: Path) -> None:
    """Next to files of others; what its workers write to stderr ends up in no file of results."""
    folder = tmp_path / "x"
    strew(folder / TRIALS)
    (folder / files.COMMANDS).touch()  # as that of a sweep which was stopped early
    assert ended(tmp_path, "missing", "toy_trial", "x", "trials=3", "workers=2").code == 0
    for name in FOREIGN:
        left = folder / TRIALS / name.format(id="0" * 20)
        assert left.read_text() == "{}"
        left.unlink()
    for name in ("@eaDir", f"{'0' * 20} (conflicted copy)", ".claims/@eaDir", ".claims"):
        (folder / TRIALS / name).rmdir()
    assert len(trials(Plan(trials=3))) == len(records.ids(folder))
    check(folder, Plan(trials=3))


@SLOW
def test_a_network_is_trained_without_streams(tmp_path: Path) -> None:
    """With torch in the worker."""
    words = ("sr=0.125", "train_share=0.1", "epochs=1", "name=x", f"results.root={ROOT}")
    assert ended(tmp_path, "missing", "dse.sweep", *words) == (0, "", "")
    assert len(tables.load(tmp_path / NAME)["top1"].dropna()) == 1
