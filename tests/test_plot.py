"""`python -m dse.plot`: what it writes, and the line that each mistake gets."""

from __future__ import annotations

import math
import os
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import sample_records
from drawn import content, crowded, text
from swept import SR, WIRES, made, swept

from dse import plot
from dse.analysis import folder
from dse.figures import drawn
from dse.figures.plotting import encoded
from dse.results import records, studies
from dse.sweep.networks import drawing_of
from dse.trial.question import QUESTION, trial_from
from dse.trial.record import COLUMNS

MADE = made(swept(sr=SR, bypass=WIRES))


def write(home: Path, table: pd.DataFrame = MADE) -> Path:
    """A folder that has a table only."""
    home.mkdir(exist_ok=True)
    table = table.assign(**{name: 1 for name in COLUMNS if name not in table})
    table.to_csv(home / "table.csv", index=False)
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("plot") / "mine")


def error(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The only line that a mistake gives."""
    assert plot.main([str(one) for one in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line


def test_the_figure_is_written_and_its_path_printed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main([str(home), "x=size_bytes", "y=top1", "hue=bypass", "sr=0.5,0.25"]) == 0
    svg, png = map(Path, capsys.readouterr().out.splitlines())
    assert svg == home / "plots/x=size_bytes_y=top1_hue=bypass_sr=0.5,0.25.svg"
    assert svg.read_bytes().startswith(b"<?xml")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_trials_that_are_left_out_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that the command leaves out."""
    monkeypatch.setattr("dse.figures.plotting.encoded", content)
    home = write(tmp_path / "mine", made(swept(sr=SR), swept(sr=(0.25,), pct3x3=(0.75, 0.99))))
    assert plot.main([str(home), "x=sr", "pct3x3=0.5,0.75"]) == 0
    assert capsys.readouterr().err == ("Not shown: 3 trials without a second value of sr.\n")


def test_commands_that_differ_late_have_different_files(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for bypass in ("none", "simple"):
        keys = f"sr={','.join(['0.125', '0.25', '0.5'] * 9)}", f"bypass={bypass}"
        assert plot.main([str(home), "x=sr", *keys]) == 0
    names = capsys.readouterr().out.splitlines()
    assert len({*names}) == 4


def test_the_output_may_be_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(home.rglob("*"))
    output = home.parent / "a.pdf"
    assert plot.main([str(home), "x=sr", f"output={output}"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(output)]
    assert output.read_bytes().startswith(b"%PDF")
    assert sorted(home.rglob("*")) == before


@pytest.mark.usefixtures("unsynced")
def test_a_results_folder_is_read_from_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in sample_records.RECORDS[:8]:
        records.save(tmp_path / "mine", one, sample_records.FILES)
    table = folder.read(tmp_path / "mine")
    assert len(folder.rows_of(table, {"sr": ["0.3"], "seed": ["0", "1"]})) == 2
    monkeypatch.setattr("dse.plot._write", lambda figures, *_: [text(*figures.values())])
    assert plot.main([str(tmp_path / "mine"), "x=sr", "seed=0,1"]) == 0


def test_captions_say_what_is_left_out() -> None:
    rows = folder.rows_of(MADE, {"bypass": ["none"]})
    (figure,) = drawn.drawn("", rows, Path(), {"x": ["sr"]}, "30 other trials.").values()
    assert "30 other trials." in text(figure)
    assert len(figure.axes[0].containers) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("srr=0.5", "unknown key `srr`; did you mean `sr`?"),
        ("sr=0.3", "`sr` must be one of 0.125, 0.25, 0.5, 0.75, 1, got 0.3"),
        ("x=tops1", "`x` must be a column of the table, got tops1; did you mean `top1`?"),
        (
            "x=sr hue=bypas",
            "`hue` must be a column of the table, got bypas; did you mean `bypass`?",
        ),
        ("x=foo", "got foo; columns that vary are sr, bypass, seed, "),
        ("x=pct3x3", "`pct3x3` has one value only: 0.5"),
        ("x=sr col=layout", "`layout` is a column where several fields of named layouts vary, and"),
        ("x=sr hue=sr", "`hue` must be another axis than `x`, got sr"),
        ("x=sr log=z", "`log` must be x, y, x,y or none, got z"),
        ("x=bypass log=x", "`log=x` needs numbers, and `bypass` is text"),
        ("x=trial_id", "`trial_id` has 45 texts"),
        ("x=sr output=a.jpg", "`output` must end with .svg, .png, .pdf, got a.jpg"),
        ("x=sr,bypass", "`x` must be one column, got sr,bypass"),
        ("lines", "the kind must be one of curves, heatmap, effects, front, chance, forest,"),
        ("heat_map", "compressed, study, architecture, got 'heat_map'; did you mean `heatmap`?"),
        ("curve", "got 'curve'; did you mean `curves`?"),
        ("pareto", "got 'pareto'; did you mean `front`?"),
        ("scatter", "got 'scatter'; did you mean `x=COLUMN y=COLUMN`?"),
        ("architecture", "a drawing must be of at most 8 networks, got 15: select by key=value"),
        ("x=sr module=fire4", "`module` is for architecture; it has no effect with x="),
        ("architecture sr=0.5 bypass=none module=fire1", "`module` must be one of fire2, fire3"),
        ("front forest", "one kind must be named, got front forest"),
        (
            "effects x=sr",
            "heatmap, front, chance, forest, distributions, subspaces; it has no effect with",
        ),
        ("curves", "mine has a table only, and no learning curves"),
        ("curves hue=loss", "`hue` must be one of what varies (sr, bypass), got loss"),
        ("curves y=top1", "`y` must be one of lr, train_loss, train_top1, val_top1, val_loss"),
        ("results/other x=sr", "one folder must be named, got results/other too"),
        ("x=sr top1", "a condition must be in quotes, such as 'top1>1': got top1 alone"),
        ("x>1", "`x` must be given by =, got x>1"),
        ("x=sr x>1", "`x` must be given by =, got x>1"),
        (
            "x=sr xlim=0,1",
            "unknown key `xlim`; keys are x, y, hue, col, value, log, module, output, and columns",
        ),
        ("x=sr outptu=a.svg", "unknown key `outptu`; did you mean `output`?"),
        ("hue=sr bypass=none", "`x` must be given, as in x=size_bytes"),
        ("heatmap x=sr bypass=none", "a heat map needs two axes that vary: name x= only"),
        ("heatmap x=sr y=top1", "`y` must be one of what varies (sr, bypass), got top1"),
        ("heatmap x=sr y=bypass value=status", "`value` must be a column of numbers, got status"),
        ("effects y=status", "`y` must be a column of numbers, got status"),
        ("chance x=loss", "`x` must be one of what varies (sr, bypass), got loss"),
        ("subspaces x=loss", "`x` must be one of what varies (sr, bypass), got loss"),
        ("distributions x=loss", "`x` must be one of what varies (sr, bypass), got loss"),
        ("distributions x=sr", "`sr` does not have 5 networks for each of its values"),
        ("distributions sr=0.5", "no axis has 5 networks for each of its values"),
        ("front x=file_bytes", "front draws trials only; the kind compressed draws their front"),
        ("interactions file_bytes>1", "`file_bytes` is of compressed networks; interactions draws"),
        ("forest x=epochs", "`x` must be one of what varies (sr, bypass), got epochs"),
        ("x=sr y=status hue=bypass", "`hue` needs numbers on the y axis, and `status` is text"),
        ("sr=0.5 bypass=none", "there is only one configuration"),
    ],
)
def test_a_mistake_gets_one_line(
    home: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error(home, *arguments.split(), capsys=capsys)


@pytest.mark.parametrize(
    ("kind", "given", "same"),
    [
        ("", {"y": ["loss"]}, {"x": ["sr"], "y": ["loss"]}),
        ("", {"hue": ["sr"]}, {"x": ["bypass"], "hue": ["sr"]}),
        ("heatmap", {"x": ["bypass"]}, {"x": ["bypass"], "y": ["sr"]}),
        ("heatmap", {"y": ["sr"]}, {"x": ["bypass"], "y": ["sr"]}),
        ("heatmap", {}, {"x": ["sr"], "y": ["bypass"]}),
    ],
)
def test_axes_that_are_not_named_are_those_that_vary(
    kind: str, given: dict[str, list[str]], same: dict[str, list[str]]
) -> None:
    shown, expected = (
        encoded(*drawn.drawn(kind, MADE, Path(), keys).values(), "svg") for keys in (given, same)
    )
    assert shown == expected


def test_networks_of_trials_are_drawn(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dse.figures.plotting.encoded", content)
    row = MADE[(MADE["sr"] == 0.25) & (MADE["bypass"] == "simple")].iloc[0]
    own = f"trial_id={row['trial_id'][:8]}"
    assert plot.main([str(home), "architecture", own]) == 0
    svg, _, module, _ = capsys.readouterr().out.splitlines()
    assert [svg, module] == [f"{home}/plots/{name}_{own}.svg" for name in ("architecture", "fire2")]
    assert plot.main([str(home), "architecture", own, "module=fire4"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == f"{home}/plots/fire4_{own}.svg"
    ((network, side),) = drawing_of([row.to_dict()])[0].values()
    assert (network, side) == (trial_from(row[[*QUESTION]]).architecture, row["image_size"])
    with pytest.raises(ValueError, match="`network` must be squeezenet in a drawing, got alexnet"):
        drawing_of([row.to_dict() | {"network": "alexnet"}])


def test_a_study_is_drawn_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = made(swept(sr=SR, pct3x3=[0.25]))
    home, kind = write(tmp_path / "mine", table), "study"
    assert "must be a results folder" in error(tmp_path, kind, capsys=capsys)
    point = {"state": "trained", "point": {"pct3x3": 0.25}, "values": [80.0], "epochs": 9}
    points = [{**point, "trials": [one]} for one in table["trial_id"]]
    study = dict.fromkeys(studies.KEYS, "") | {"objectives": ["val_top1"], "sampler": "tpe"}
    studies.save(home, "b", {**study, "points": points})
    assert plot.main([str(home), kind]) == 0
    svg, _ = map(Path, capsys.readouterr().out.splitlines())
    assert svg == home / "plots/study.svg"
    assert "Searched, with one value here: pct3x3 0.25." in svg.read_text()
    assert "Sampler tpe; validation accuracy" in svg.read_text()
    studies.save(home, "a", {**study, "points": points[:1]})
    for words, message in (
        ("", "`study` must be one of a, b, as "),
        ("study=c", "`study` must be one of a, b, got c"),
        ("study=a", "the study has fewer than two trained points"),
        ("study=b sr=0.5", "`sr` selects trials, and a study is drawn as a whole"),
        ("study=b x=sr", "subspaces; it has no effect with study"),
    ):
        assert message in error(home, kind, *words.split(), capsys=capsys)


def test_another_axis_than_those_given_is_suggested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = made(swept(sr=SR, bypass=WIRES, pct3x3=(0.25, 0.5, 0.75, 0.99)))
    home = write(tmp_path / "mine", table)
    line = "`y` must be given, as in y=pct3x3"
    assert error(home, "heatmap", "x=sr", capsys=capsys) == line
    assert error(home, "forest", "x=bypass", capsys=capsys).endswith(
        "comparisons, and at most 50 can be read: select values of pct3x3, sr, bypass by key=value"
    )


def test_only_the_folder_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        plot.main([])
    line = "the following arguments are required: results/NAME; see --help\n"
    assert capsys.readouterr().err == line


def test_folders_without_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be a results folder" in error(tmp_path / "none", capsys=capsys)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/table.csv").write_text("a,b\n1,2\n")
    assert "it has no column trial_id" in error(tmp_path / "other", capsys=capsys)
    (tmp_path / "failed/trials").mkdir(parents=True)
    assert "there are no finished trials" in error(tmp_path / "failed", capsys=capsys)
    lacking = write(tmp_path / "lacking")
    MADE.drop(columns="top1").to_csv(lacking / "table.csv")
    assert "must be a table of trials: it has no column" in error(lacking, capsys=capsys)
    for wrong, message in (
        ({"top1": "high"}, "top1 must be numbers"),
        ({"status": "fine"}, "status must be one of learned"),
        ({"data": "mine"}, "it has an unknown data set"),
        ({"trial_id": "a"}, "it holds a trial twice"),
        ({"sr": math.nan}, "sr is empty in a row"),
        ({"val_top1": 100.1}, "val_top1 must be in 0 .. 100"),
    ):
        assert message in error(write(lacking, MADE.assign(**wrong)), capsys=capsys)
    write(lacking, MADE.head(0))
    assert "there are no finished trials" in error(lacking, capsys=capsys)
    unknown = write(lacking, MADE.assign(top1=math.nan))
    assert "no trial has a value of top1" in error(unknown, "front", capsys=capsys)
    one = write(tmp_path / "one", MADE.head(1))
    for kind in ("", "front", "forest", "effects", "x=sr", "heatmap x=sr y=bypass"):
        assert error(one, *kind.split(), capsys=capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write(tmp_path / "mine")
    home.chmod(0o500)
    assert "choose another with output=FILE" in error(home, "x=sr", capsys=capsys)


def test_an_output_that_cannot_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = error(home, "x=sr", f"output={home}/none/a.svg", capsys=capsys)
    assert line.endswith("none/a.svg: No such file or directory")
    assert not (home / "none").exists()


def test_a_full_disk_leaves_the_old_figure(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = home.parent / "kept.svg"
    output.write_text("the old figure")

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    line = error(home, "x=sr", f"output={output}", capsys=capsys)
    full_disk = "is full (or out of inodes): No space left on device"
    assert line == f"the disk of {output} {full_disk}"
    assert output.read_text() == "the old figure"
    assert sorted(path.name for path in home.parent.glob("*kept*")) == ["kept.svg"]
    home = write(tmp_path / "mine")
    line = error(home, "x=sr", capsys=capsys)
    assert line == f"the disk of {home}/plots {full_disk}; choose another with output=FILE"
    assert not (home / "plots").exists()


def test_an_interruption_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "read", Mock(side_effect=KeyboardInterrupt))
    assert plot.main([str(home)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


EVERY = [
    ("", {"x": ["sr"]}),
    ("", {"x": ["size_bytes"], "hue": ["bypass"]}),
    ("", {"x": ["seconds"], "y": ["val_top1"]}),
    ("", {"x": ["size_bytes"], "hue": ["sr"], "col": ["bypass"]}),
    ("", {"x": ["bypass"], "y": ["status"]}),
    ("", {"x": ["seed"], "hue": ["status"]}),
    ("heatmap", {"x": ["sr"], "y": ["bypass"]}),
    ("effects", {}),
    ("front", {}),
    ("front", {"x": ["macs"]}),
    ("chance", {}),
    ("forest", {}),
    ("interactions", {}),
    ("subspaces", {"x": ["bypass", "sr"]}),
]


@pytest.mark.parametrize(("kind", "keys"), EVERY)
def test_no_text_of_a_figure_overlaps_another(kind: str, keys: dict[str, list[str]]) -> None:
    table = MADE.assign(status=["learned", "never_learned", "partly_dead"] * 15)
    (figure,) = drawn.drawn(kind, table, Path(), keys, "Fixed: epochs 8. " * 6).values()
    assert crowded(figure) == []


def test_networks_are_drawn_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plot.main(["architecture", "sr=0.25", "output=a.svg"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["a.svg", "a-fire2.svg"]
    assert "images of 224 pixels (image_size=)" in shown.err
    assert plot.main(["architecture", "output=b.svg", "output=c.svg"]) == 2
    assert "`output` must be given once, got b.svg and c.svg" in capsys.readouterr().err
    assert plot.main(["architecture", "results/mine", "sr=0.25"]) == 2
    line = "write: python -m dse.plot results/mine architecture\n"
    assert capsys.readouterr().err == line
    assert plot.main(["architecture", "srr=0.25"]) == 2
    assert "did you mean `sr`?" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-fire2.svg", "a.svg"]


def test_drawings_of_networks_are_named_after_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dse.figures.plotting.encoded", content)
    assert plot.main(["architecture", "sr=0.25", "bypass=simple,none", "module=fire4"]) == 0
    assert capsys.readouterr().out.split()[::2] == [
        "plots/architecture_sr=0.25_bypass=simple,none.svg",
        "plots/fire4_sr=0.25_bypass=simple,none.svg",
    ]


def test_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plot.main(["--help"])
    shown = capsys.readouterr().out
    for kind, uses in plot.USES.items():
        (line,) = [one for one in shown.splitlines() if one.startswith(f"  {kind or '(none)'} ")]
        assert all(f"{key}=" in line for key in uses)
    assert set(plot.USES) == {*drawn.KINDS, "study", "architecture"}
