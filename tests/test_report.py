"""`dse.report`: what a page says about the trials of a folder, and how the command answers."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
from sample_compressed import compressed_record
from sample_records import record
from swept import made, swept
from test_page import Reader

from dse.analysis.axes import sweep
from dse.figures import drawing
from dse.report import __main__ as command
from dse.report import build
from dse.report.figures import PLACES, figures_of, remarks
from dse.report.sections import ROWS, listed, small
from dse.results import commands, compressed, files, records, studies
from dse.results.files import COMPRESSED
from dse.results.tables import load
from dse.trial.record import Record

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
DEMO = Path(__file__).parents[1] / "results/reference/demo"
FIGURES = {"figure3a": b"<svg/>"}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The tables that figures were asked for; none is drawn."""
    asked: list[pd.DataFrame] = []

    def stub(table: pd.DataFrame, *_: object) -> dict[str, bytes]:
        asked.append(table)
        return dict.fromkeys(PLACES, SVG)

    monkeypatch.setattr(build, "figures_of", stub)
    return asked


def folder_of(folder: Path, trials: Iterable[Record], curve: str = "") -> Path:
    """A results folder with the records of these trials."""
    for one in trials:
        records.save(folder, one, {"curve.csv": curve.encode()} if curve else {})
    return folder


def compress(folder: Path) -> None:
    """Give a folder's first trial the record of a compressed network."""
    one = compressed_record()
    records.save_row(folder, one.compressed_id, one.row(), {}, COMPRESSED)


def shown(folder: Path, note: str = "") -> str:
    """The texts of a folder's report."""
    path = build.write(folder, load(folder), FIGURES, "python -m dse.sweep", note)
    return " ".join(" ".join(Reader(path.read_bytes()).texts).split())


def sample(n: int = 3, **answer: Any) -> list[Record]:
    """Trials of two squeeze ratios, of several seeds each."""
    values = {"top1": 70.0, "val_top1": 71.0, **answer}
    return [
        record(sr, seed, **{**values, "top1": values["top1"] + seed})
        for sr in (0.125, 0.5)
        for seed in range(n)
    ]


def test_a_report_says_what_was_trained_and_how_it_ended(tmp_path: Path) -> None:
    trials = [*sample(), record(0.75, 0, status="never_learned", top1=10.0, val_top1=9.0)]
    text = shown(folder_of(tmp_path / "mine", trials))
    assert (
        "7 networks were trained from scratch on digits for 20 epochs: 6 learned, 1 at chance."
        in text
    )
    assert "sr 0.125, 0.5, 0.75" in text
    assert "not ImageNet" in text
    assert "dse=0.1.0 python=3.11.7" in text
    assert "2026-01-01" in text
    lacking = "1-3 seeds none of the 2 differences can be decided (7 seeds needed)"
    assert f": with {lacking}, corrected for together (Holm); each claim is tested by" in text
    assert f"(Holm). With {lacking}." in text
    assert "Mean validation accuracy" not in text  # too few seeds to locate a plateau
    assert "needs at least 7 seeds" not in text  # it need not say so of each


def test_what_samplers_chose_is_in_no_comparison(tmp_path: Path) -> None:
    of = {sr: [record(sr, n, top1=70.0 + n, val_top1=71.0) for n in range(3)] for sr in (0.75, 1.0)}
    grid, chosen = [*sample(), *of[0.75]], of[1.0]
    folder_of(tmp_path, [*grid, *chosen])
    point = {"number": 0, "state": "trained", "point": {}, "values": [1.0], "epochs": 1}
    study = dict.fromkeys(studies.KEYS, "") | {"objectives": ["val_top1"], "sampler": "tpe"}
    study |= {"limits": {}, "refused": {}, "effects": {}}
    ids = [one.trial.trial_id for one in (*grid, *chosen)]
    stopped = {**point, "state": "stopped", "values": None, "trials": ["none", ids[0]]}
    for own, lines in ((ids[9:], True), (ids, False)):
        studies.save(tmp_path, "tpe", {**study, "points": [{**point, "trials": own}, stopped]})
        text = shown(tmp_path)
        assert ("not ImageNet" in text) == ("paired by seed" in text) == lines
        assert text.count("Not shown: 3 trials that a sampler chose.") == 2 * lines
        assert "sr=1 0.125" not in text
        assert "Pareto front" in text
        assert "12 learned, and 1 more was stopped early." in text  # another was trained later
        assert "The best trial, by validation accuracy: tpe" in text
        rows = load(tmp_path).set_index("trial_id").loc[ids[9:] if lines else ids]
        assert f"{rows['params'].mean():,.0f} {rows['size_bytes'].mean():,.0f} 1.00 " in text
        assert f" 1.00 {rows['top1'].mean():.2f} " in text


def test_the_best_is_chosen_on_the_validation_part(tmp_path: Path) -> None:
    trials = [record(0.125, 0, top1=90.0, val_top1=50.0), record(0.5, 0, top1=60.0, val_top1=80.0)]
    text = shown(folder_of(tmp_path, trials))
    assert "Best by validation accuracy: sr=0.5; on the test set 60.0%" in text


def test_failures_and_the_note_are_shown(tmp_path: Path) -> None:
    folder_of(tmp_path, sample())
    failure = {"name": "sr=0.9 <b>", "reason": "out of memory", "details": ""}
    records.fail(tmp_path, "0" * 20, failure)
    text = shown(tmp_path, "Fixed: lr 0.01. Not shown: 2 other trials in this folder.")
    assert "Fixed: lr 0.01. Not shown: 2 other trials in this folder." in text
    assert "1 trial failed and has no result yet" in text
    assert "sr=0.9 <b> out of memory" in text


def test_failures_with_the_same_name_are_counted_each(tmp_path: Path) -> None:
    folder_of(tmp_path, sample())
    for digit in "01":  # of two sweeps, which name their trials by what varies in them
        records.fail(tmp_path, digit * 20, {"name": "sr=0.9", "reason": f"reason {digit}"})
    text = shown(tmp_path)
    assert "2 trials failed and have no result yet" in text
    assert "sr=0.9 reason 0 sr=0.9 reason 1" in text


def test_values_are_written_as_on_the_command_line(tmp_path: Path) -> None:
    text = shown(folder_of(tmp_path, sample(1)))
    assert "nesterov true" in text
    assert "head_relu true" in text


def test_the_numbers_of_the_table_are_those_of_the_records(tmp_path: Path) -> None:
    table = load(DEMO)
    path = build.write(shutil.copytree(DEMO, tmp_path / "demo"), table, {}, "command")
    reader = Reader(path.read_bytes())
    rows = [a["data-id"] for a in reader.all("tr") if "data-id" in a]
    assert rows == table["trial_id"].tolist()
    values = {float(str(cell["data-v"])) for cell in reader.all("td") if "data-v" in cell}
    for column in ("top1", "val_top1", "loss", "size_bytes"):
        assert set(table[column]) <= values | {float(c) for c in reader.cells if c.isdigit()}


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [record()],
        sample(1),
        sample(status="diverged", diverged_step=3, loss=float("nan"), val_loss=float("nan")),
    ],
    ids=["none", "one", "one seed", "all diverged"],
)
def test_any_folder_gives_a_page(tmp_path: Path, trials: list[Record]) -> None:
    (tmp_path / "trials").mkdir()
    text = shown(folder_of(tmp_path, trials))
    assert "nan" not in text.lower().split()
    expected = f"{len(trials)} network" if trials else "No trial has finished yet"
    assert expected in text
    assert ("Varied nothing" in text) == (len(trials) == 1)


def test_each_figure_is_in_its_section(tmp_path: Path) -> None:
    compress(folder_of(tmp_path, sample()))
    page = build.write(tmp_path, load(tmp_path), FIGURES, "command").read_text()
    for name, place in {"figure3a": "figures", **PLACES}.items():
        section = page.partition(f'<section id="{place}"')[2].partition("</section>")[0]
        assert f'data-name="{name}.svg"' in section


def test_a_report_is_written_again_only_where_something_has_changed(
    tmp_path: Path, asked: list[pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "report", lambda contents: contents.note.encode())
    folder_of(tmp_path, sample())
    table = load(tmp_path)
    settings: list[dict[str, Any]] = [
        {"table": table},
        {"note": "other"},
        {"command": "other"},
        {"figures": {"figure3a": SVG}},
        {"table": table[1:]},
        {"table": table.assign(top1=1.0)},
    ]
    usual = {"table": table, "figures": FIGURES, "command": "command"}
    for count, changed in enumerate(settings, start=1):
        for _ in range(2):
            path = build.write(tmp_path, **{**usual, **changed})
            assert len(asked) == count
    path.write_bytes(path.read_bytes()[:-1])  # damaged
    build.write(tmp_path, **{**usual, **settings[-1]})
    assert len(asked) == len(settings) + 1


def test_figures_are_drawn_of_what_the_trials_allow(tmp_path: Path) -> None:
    folder_of(tmp_path, [*sample(1), record(0.75, 0, status="never_learned", size_bytes=2)])
    table = load(tmp_path)
    drawn = figures_of(table, compressed.load(tmp_path, table), tmp_path)
    assert list(drawn) == ["forest", "front", "chance"]  # no curves, no compressed networks
    assert all(svg.startswith(b"<?xml") for svg in drawn.values())
    assert remarks(drawn["chance"]).startswith("Wilson's 95% intervals; how a trial ended is")
    assert remarks(SVG) == ""
    one = table[table["sr"] == 0.125]
    assert figures_of(one, compressed.load(tmp_path, one), tmp_path) == {}
    compress(tmp_path)
    assert list(figures_of(one, compressed.load(tmp_path, one), tmp_path)) == ["compressed"]
    without = tmp_path / "without"  # no trials, and so no curves
    assert "curves" not in figures_of(table, compressed.load(without, table), without)


def test_of_too_many_trials_the_best_come_first() -> None:
    table = pd.DataFrame({"val_top1": [float(n % 7) for n in range(ROWS + 7)]})
    assert listed(table[7:])["val_top1"].tolist() == table["val_top1"][7:].tolist()
    assert listed(table)["val_top1"].is_monotonic_decreasing
    assert len(listed(table)) == ROWS


def test_networks_of_one_size_are_one_row_of_what_small_buys() -> None:
    """lr changes no size, and simple bypass neither: complex bypass has weights."""
    axes = {"lr": (0.1, 0.2), "bypass": ("none", "simple", "complex")}
    (table,) = small(sweep(made(swept(**axes), peak_activation_bytes=1))).tables
    assert table.frame["bypass"].tolist() == ["none, simple", "complex"]
    assert "lr" not in table.frame
    (table,) = small(sweep(made(swept(sr=(0.5, 0.25)), peak_activation_bytes=1))).tables
    assert table.frame["sr"].tolist() == [0.25, 0.5]


def test_long_curves_are_thinned_and_damaged_ones_left_out(tmp_path: Path) -> None:
    head = "attempt,epoch,step,lr,train_loss,train_top1,val_top1,val_loss\n"
    lines = [f"1,{epoch},1,0.1,nan,{epoch / 10},50,1.5\n" for epoch in range(1, 502)]
    one, other = record(seed=1), record(seed=2)
    folder_of(folder_of(tmp_path, [one], head + "".join(lines)), [other], "{not a curve}")
    found = build.read_curves(tmp_path, [one.trial.trial_id, other.trial.trial_id, "0" * 20])
    assert list(found) == [one.trial.trial_id]
    epochs, training, validation = found[one.trial.trial_id]
    assert (epochs[0], epochs[1], epochs[-1], len(epochs)) == (1, 3, 501, 200)
    assert training[1] == 0.3
    assert set(validation) == {50}


def test_a_thousand_trials_fit_on_a_page() -> None:
    points = itertools.product(range(1, 11), range(1, 11), ("none", "simple"), range(5))
    rows = [
        {
            **record().row(),
            "trial_id": f"{n:020x}",
            **{"sr": sr / 10, "pct3x3": pct / 10, "bypass": bypass, "seed": seed},
            **{"top1": 50 + 2 * sr + seed / 7, "val_top1": 50 + 2 * pct, "size_bytes": sr * 10**5},
        }
        for n, (sr, pct, bypass, seed) in enumerate(points)
    ]
    epochs = [float(epoch) for epoch in range(1, 101)]
    contents = build.Contents(
        title="large",
        table=pd.DataFrame(rows),
        command="command",
        curves={row["trial_id"]: (epochs, epochs, epochs) for row in rows},
    )
    start = time.process_time()
    html = build.report(contents)
    assert time.process_time() - start < 10
    assert len(html) < 3e6  # figures take the rest of 5 MB
    assert html.count(b"<tr data-id=") == 1000


# The command --------------------------------------------------------------------------------


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The tables that figures were asked for; none is drawn."""
    asked: list[pd.DataFrame] = []

    def draw(_: Path, table: pd.DataFrame, __: str) -> drawing.Drawn:
        asked.append(table)
        return drawing.Drawn([], [])

    def figures(table: pd.DataFrame, *_: object) -> tuple[dict[str, bytes], list[str]]:
        asked.append(table)
        return {"figure3a": SVG}, []

    monkeypatch.setattr(drawing, "draw", draw)
    monkeypatch.setattr(drawing, "figures", figures)
    return asked


OWN_PAGES = "Pages of your own (-cd) are read as they are now."
FITS = "A command with budget= trains the part of its trials that fits."


def test_the_command_shows_the_selected_trials(
    tmp_path: Path, undrawn: list[pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "my results", sample())
    commands.note(folder, "python -m dse.sweep 'sr=0.125,0.5'")
    assert command.main([str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "report.html")
    text = " ".join(Reader((folder / "report.html").read_bytes()).texts)
    assert OWN_PAGES not in text
    assert FITS not in text
    commands.note(folder, "python -m dse.sweep -cd mine -cn narrow budget=1m")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert command.main([str(folder), "sr=0.5", "seed=0,1"]) == 0
    path = folder / "plots/report_sr=0.5_seed=0,1.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert before == {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert undrawn[1]["sr"].tolist() == [0.5, 0.5]
    text = " ".join(Reader(path.read_bytes()).texts)
    assert "Selected: sr=0.5; seed=0, 1 (2 of 6 trials)." in text
    assert "python -m dse.sweep 'sr=0.125,0.5'" in text
    assert OWN_PAGES in text
    assert FITS in text
    assert f"python -m dse.report '{folder}' sr=0.5 seed=0,1" in text
    assert "on the test set, which was not used for any choice." in text
    point = {
        "number": 0,
        "state": "stopped",
        "point": {"dropout": 0.1},
        "values": None,
        "epochs": 1,
    }
    study = dict.fromkeys(studies.KEYS, "") | {"objectives": ["val_top1"], "sampler": "tpe"}
    study |= {"limits": {}, "refused": {}, "effects": {}, "points": [{**point, "trials": ["a"]}]}
    studies.save(folder, "tpe", study)
    assert command.main([str(folder), "top1>70"]) == 0
    text = (folder / "plots/report_top1-gt-70.html").read_text()
    assert "Searched, with one value here: dropout 0.5." in text
    assert "more was stopped" not in text  # which of them would be selected is not known
    said = "Trials were selected by top1, a result: means, intervals and p are of those that remain"
    assert f"on the test set. {said}. Claims and comparisons are left out." in text
    assert "Selected: top1&gt;70 (4 of 6 trials)." in text
    assert "not ImageNet" not in text
    assert "paired by seed" not in text
    assert command.main([str(folder), "params>0", "seed>0"]) == 0
    text = (folder / "plots/report_params-gt-0_seed-gt-0.html").read_text()
    assert "which was not used for any choice." in text
    assert "paired by seed" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sr=0.9"], "`sr` must be one of 0.125, 0.5, got 0.9"),
        (["srr=1"], "unknown key `srr`; did you mean `sr`?"),
        (["file_bytes<9"], "`file_bytes` is of compressed networks; a report selects trials"),
        (["sr"], "arguments must be key=value"),
        (["sr=0.125", "sr=0.5"], "`sr` must be given once"),
    ],
)
def test_a_wrong_request_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    folder = folder_of(tmp_path, sample(1))
    assert command.main([str(folder), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert words in err
    assert not (folder / "report.html").exists()


def test_a_folder_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "the following arguments are required: results/NAME; see --help"
    ]


def test_a_folder_without_trials_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(tmp_path)]) == 2
    assert "must be a results folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "trials").mkdir()
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"there are no finished trials in {tmp_path}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["trials"]


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_has_its_table_only_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(DEMO / "table.csv", tmp_path)
    before = (tmp_path / "table.csv").read_bytes()
    assert command.main([str(tmp_path)]) == 0
    table, page = capsys.readouterr().out.splitlines()
    assert [table, page] == [str(tmp_path / name) for name in ("table.csv", "report.html")]
    assert (tmp_path / "table.csv").read_bytes() == before
    assert "120 networks were trained" in Path(page).read_text()
    assert 'id="paper"' in Path(page).read_text()
    rows = pd.read_csv(tmp_path / "table.csv").assign(study="tpe")  # as after a search
    rows.to_csv(tmp_path / "table.csv", index=False)
    assert command.main([str(tmp_path)]) == 0
    assert 'id="paper"' not in Path(page).read_text()


def test_commands_are_listed_once_the_last_one_last_and_damage_is_left_out(tmp_path: Path) -> None:
    for line in ("a 'b\nc'", "d", "a 'b\nc'", "a 'b\nc'"):
        commands.note(tmp_path, line)
    with (tmp_path / files.COMMANDS).open("a") as file:
        file.write('{"command": 1\n[]\n{"started": "x"}\n')
    assert [one.line for one in commands.noted(tmp_path)] == ["d", "a 'b\nc'"]
    assert commands.noted(tmp_path / "elsewhere") == []


def test_a_command_is_noted_below_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / files.COMMANDS).write_text('{"command": "A", "sta')
    for line in ("B", "C"):
        commands.note(tmp_path, line)
    assert [one.line for one in commands.noted(tmp_path)] == ["B", "C"]
    assert (tmp_path / files.COMMANDS).read_text().count("\n") == 3


def test_the_command_writes_the_table_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, [record()])
    assert command.main([str(folder)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert folder / "table.csv" in paths
    assert all(path.is_file() for path in paths)


def test_a_full_disk_and_an_interruption_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, [record()])
    full = f"the disk of {folder} is full (or out of inodes): No space left on device\n"
    for error, code, line in (
        (OSError(28, "No space left on device", "x"), 2, full),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ):
        monkeypatch.setattr(drawing, "draw", Mock(side_effect=error))
        assert command.main([str(folder)]) == code
        assert capsys.readouterr().err == line
