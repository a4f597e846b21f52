"""A command's figures show the trials that it asked for, all of them and no others.

The records are made up before, so that nothing is trained.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import toy_trial
from drawn import content
from matplotlib.figure import Figure
from reading import composed_once

from dse import reproduce
from dse.figures import plotting
from dse.figures.paper import figure3a, figure3b
from dse.report import build
from dse.results import records, tables
from dse.sweep import __main__ as sweep
from dse.sweep.request import read_request

__all__ = ["composed_once"]

FOLDER = Path("results/figure3a")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plotting, "encoded", content)
    monkeypatch.setattr(build, "write", lambda *_, **__: Path("report.html"))


def done(*arguments: str, page: str = "figure3a", name: str = "figure3a") -> None:
    """Save a record for each trial of a command."""
    for trial in read_request("sweep", "", [*arguments, f"name={name}"], page).trials:
        records.save(Path("results") / name, toy_trial.record(trial), {})


def drawn(figure: Figure) -> str:
    return content(figure, "svg")[0].decode()


def shown(name: str, folder: Path = FOLDER) -> str:
    return (folder / f"{name}.svg").read_text()


def test_a_second_sweep_in_a_folder_draws_its_own_trials(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Others, with the same axis, are counted in the caption."""
    done("lr=0.01")
    done()
    assert sweep.main(["lr=0.01"]) == 0
    assert "Fixed: lr 0.01. Not shown: 5 other trials in this folder." in shown("figure3a")
    assert sweep.main([]) == 0
    error = capsys.readouterr().err
    line = f"figures and report do not show 5 other trials in {FOLDER}; python -m dse.report"
    assert f"{line} {FOLDER} shows all 10" in error.splitlines()
    rows = tables.load(FOLDER).query("lr == 0.15")
    assert len(rows) == 5
    assert shown("figure3a") == drawn(figure3a(rows, "Not shown: 5 other trials in this folder."))


def test_a_grid_of_two_metaparameters_has_a_line_for_each_value() -> None:
    arguments = ["sr=0.125,0.25,0.5", "pct3x3=0.25,0.5,0.75"]
    done(*arguments)
    assert sweep.main(arguments) == 0
    found = shown("figure3a")
    assert all(f"pct3x3 {value}" in found for value in ("0.25", "0.5", "0.75"))
    assert "Figure 3(a) of the paper: ImageNet, one run each, pct3x3 0.5" in found
    found = shown("figure3b")
    assert all(f"sr {value}" in found for value in ("0.125", "0.25", "0.5"))
    assert "not shown" not in found.lower()


def test_the_papers_points_are_not_next_to_other_networks() -> None:
    arguments = ["sr=0.125,0.25", "pct3x3=0.25"]
    done(*arguments)
    assert sweep.main(arguments) == 0
    found = shown("figure3a")
    assert "Fixed: pct3x3 0.25." in found
    assert "The paper's points are not shown: no line here has their pct3x3 0.5" in found
    assert "ImageNet" not in found


def test_two_epochs_in_one_folder_are_two_lines() -> None:
    done("epochs=20,40")
    assert sweep.main(["epochs=20,40"]) == 0
    table = tables.load(FOLDER)
    assert len(table) == 10
    assert shown("figure3a") == drawn(figure3a(table))
    found = shown("figure3a")
    assert "epochs 20" in found
    assert "epochs 40" in found
    assert "no line" not in found


def test_reproduce_draws_each_page_from_all_of_its_trials() -> None:
    arguments = ["sr=0.125,0.25", "seed=0"]
    for page in reproduce.DEFAULT:
        done(*arguments, page=page, name="reproduce")
    done("sr=1", page="table3", name="reproduce")
    assert reproduce.main(arguments) == 0
    folder = Path("results/reproduce")
    table = tables.load(folder).query("sr < 1")
    note = "Not shown: 3 other trials in this folder."
    wires = table["bypass"] == "none"
    rows = table[wires]
    assert len(rows) == 18
    assert shown("figure3b", folder) == drawn(figure3b(rows, note))
    rows = table[wires & (table["pct3x3"] == 0.5)]
    assert shown("figure3a", folder) == drawn(figure3a(rows, note))
    rows = pd.read_csv(folder / "table3.csv", keep_default_na=False)
    assert rows[["sr", "bypass"]].to_numpy().tolist() == [
        [sr, bypass] for sr in (0.125, 0.25) for bypass in ("none", "simple", "complex")
    ]


def test_more_lines_than_can_be_read_are_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sr=0.25,0.5", f"lr={','.join(str(n / 100) for n in range(1, 12))}"]
    done(*arguments)
    assert sweep.main(arguments) == 0
    assert not (FOLDER / "figure3a.svg").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "figure3a is" in line]
    assert line == (
        "figure3a is not drawn: 11 lines along `sr` are too many to read (at most 10); select some "
        "with key=value in `python -m dse.plot`"
    )
