"""A folder's figures are drawn once, and again only where something has changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawn import content
from swept import PCT, SR, WIRES, made, swept

from dse.figures import drawing, plotting
from dse.figures.paper import figure3a, figure3b
from dse.results import files, studies
from dse.trial.record import COLUMNS

NAMES = ("figure3a.svg", "figure3a.png")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.DataFrame(swept(sr=SR[:2], seed=(0,)))


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The tables that are drawn from then on; drawing itself is a stub."""
    drawn: list[pd.DataFrame] = []

    def stub(parts: drawing.Pages) -> list[tuple[str, bytes]]:
        drawn.extend(rows for rows, _ in parts.values())
        return [(name, f"{name} {len(drawn)}".encode()) for name in NAMES]

    monkeypatch.setattr(drawing, "_drawings", stub)
    return drawn


def test_figures_are_written_and_drawn_alike_after_an_interruption(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawing.draw(tmp_path, table).figures
    assert images == {"figure3a": (tmp_path / "figure3a.svg").read_bytes()}
    assert images["figure3a"].startswith(b"<?xml")
    assert {path.name for path in tmp_path.glob("[!.]*")} == set(NAMES)

    def interrupted(_: drawing.Pages) -> Iterator[tuple[str, bytes]]:
        yield "figure3a.svg", b"of another table"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_drawings", interrupted)
        with pytest.raises(KeyboardInterrupt):
            drawing.draw(tmp_path, table[:1])
    assert drawing.draw(tmp_path, table).figures == images


def test_the_same_table_is_drawn_once_and_named_each_time(
    table: pd.DataFrame, drawings: list[pd.DataFrame], tmp_path: Path
) -> None:
    for same in (table, table.copy()):
        drawn = drawing.draw(tmp_path, same)
        assert drawn.figures == {"figure3a": b"figure3a.svg 1"}
        assert drawn.paths == [tmp_path / name for name in NAMES]
    assert len(drawings) == 1


def test_what_samplers_chose_is_drawn_as_points_and_a_grid_besides_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = plotting.encoded  # PNG files are not looked at here
    monkeypatch.setattr(plotting, "encoded", lambda one, *kinds: encoded(one, "svg") * len(kinds))
    grid = pd.DataFrame(swept(sr=SR[:3], pct3x3=PCT[:2], seed=(0,)))
    other = pd.DataFrame(swept(sr=SR[:3], pct3x3=PCT[-1:], seed=(0,)))
    stored = {"state": "stored", "trials": grid["trial_id"].tolist()[:3]}
    own = {"state": "trained", "trials": [*other["trial_id"], *grid["trial_id"][4:5]]}
    study = dict.fromkeys(studies.KEYS, "") | {"points": [stored, own], "sampler": "tpe"}
    studies.save(tmp_path, "tpe", study)
    assert [*drawing.draw(tmp_path, other).figures] == ["points"]
    drawn = drawing.draw(tmp_path, pd.concat([grid, other], ignore_index=True)).figures
    assert [*drawn] == ["points", "figure3a", "figure3b", "heat_map"]
    note = "Not shown: 3 trials that a sampler chose."
    assert drawn["figure3a"] == plotting.encoded(figure3a(grid, note), "svg")[0]
    asked = drawing.draw(tmp_path, other, sampled=())  # as after a sweep of its own
    assert "figure3a" in asked.figures
    studies.save(tmp_path, "tpe", {**study, "sampler": "grid"})
    assert "figure3a" in drawing.draw(tmp_path, other).figures
    (bare := tmp_path / "table only").mkdir()
    assert [*drawing.draw(bare, other.assign(study="tpe")).figures] == ["points"]


@pytest.mark.parametrize("name", [*NAMES, files.DRAWN])
def test_a_missing_file_is_drawn_again(
    table: pd.DataFrame, drawings: list[pd.DataFrame], tmp_path: Path, name: str
) -> None:
    drawing.draw(tmp_path, table)
    (tmp_path / name).unlink()
    drawing.draw(tmp_path, table)
    assert len(drawings) == 2
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize("mark", [b"", b"\xff", b"0", b"\n", b"{}\nfigure3a.svg"])
def test_a_damaged_mark_means_drawing_again(
    table: pd.DataFrame, drawings: list[pd.DataFrame], tmp_path: Path, mark: bytes
) -> None:
    drawing.draw(tmp_path, table)
    (tmp_path / files.DRAWN).write_bytes(mark)
    drawing.draw(tmp_path, table)
    assert len(drawings) == 2


def test_a_table_of_the_paper_says_what_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the titles and captions of figures do."""
    monkeypatch.setattr(plotting, "encoded", content)
    rows = made(swept(bypass=WIRES)).assign(device=["cpu"] * 4 + ["NVIDIA H200"] * 5)
    drawing.draw(tmp_path, rows, "Fixed: lr 0.01.")
    devices = "Trained on different devices: NVIDIA H200 (5 trials), cpu (4 trials)."
    last = (tmp_path / "table3.md").read_text().splitlines()[-1]
    assert last == f"digits, 20 epochs. Fixed: lr 0.01. {devices}"


def test_another_table_is_drawn(
    table: pd.DataFrame, drawings: list[pd.DataFrame], tmp_path: Path
) -> None:
    """Figures are of the trials asked for, in a folder that may hold more."""
    others = [table[:1], table.assign(top1=table["top1"] + 1e-9), table]
    for number, other in enumerate([table, *others], 1):
        drawing.draw(tmp_path, other)
        assert len(drawings) == number


def test_another_note_or_other_pages_are_drawn(
    table: pd.DataFrame, drawings: list[pd.DataFrame], tmp_path: Path
) -> None:
    drawing.draw(tmp_path, table)
    drawing.draw(tmp_path, table, "A note.")
    drawing.draw(tmp_path, table, pages={"figure3a": (table, "A note.")})
    drawing.draw(tmp_path, table, pages={"figure3a": (table[:1], "A note.")})
    assert len(drawings) == 4


def test_a_table_without_figures_is_looked_at_once(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[drawing.Pages] = []
    monkeypatch.setattr(drawing, "_drawings", lambda parts: drawn.append(parts) or [])
    assert drawing.draw(tmp_path, table) == drawing.draw(tmp_path, table) == ([], [])
    assert len(drawn) == 1


def test_pages_are_drawn_from_their_own_rows(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "encoded", content)
    wide = pd.DataFrame(swept(pct3x3=PCT[:2], sr=(0.125, 0.25), seed=(0,)))
    pages = {"figure3b": (wide, "Of b."), "table3": (table, "")}
    drawn = drawing.draw(tmp_path, table, pages=pages)
    assert drawn.figures == {"figure3b": content(figure3b(wide, "Of b."), "svg")[0]}


def test_why_a_figure_is_not_drawn_is_said_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "encoded", content)
    rates = [n / 100 for n in range(1, 12)]
    many = pd.DataFrame(swept(sr=SR[:2], lr=rates, seed=(0,)))
    assert "figure3a" in drawing.draw(tmp_path, many[many["lr"].isin(rates[:2])]).figures
    for _ in range(2):
        drawn = drawing.draw(tmp_path, many)
        assert "figure3a" not in drawn.figures
        assert not [*tmp_path.glob("figure3a.*")], "those of fewer values"
        (message,) = drawn.messages
        assert message.startswith("figure3a is not drawn: 11 lines along `sr` are too many to read")


NOTHING = "no figure is drawn: there is only one configuration"


@pytest.mark.parametrize(
    ("axes", "names", "messages"),
    [
        ({}, set(), [NOTHING]),
        ({"sr": SR[:2]}, {"figure3a"}, []),
        ({"epochs": (10, 20)}, {"lines"}, []),
        ({"bypass": ("none", "simple")}, {"lines"}, []),
        ({"sr": SR[:2], "pct3x3": PCT[3:5]}, {"figure3a", "figure3b", "heat_map"}, []),
        ({"epochs": (10, 20), "lr": (0.1, 0.2)}, {"lines", "heat_map"}, []),
        ({"epochs": (10, 20), "lr": (0.1, 0.2), "clip": (1.0, 2.0)}, {"effects"}, []),
        ({"init": ("he", "xavier")}, {"trainability", "lines"}, []),
    ],
)
def test_what_is_drawn_follows_from_the_axes(
    axes: dict[str, Any],
    names: set[str],
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is drawn twice: lines along sr are Figure 3(a)."""
    monkeypatch.setattr(plotting, "encoded", content)
    drawn = drawing.draw(tmp_path, pd.DataFrame(swept(**axes, seed=(0, 1))), "A note.")
    assert drawn.figures.keys() == names
    assert all(b"A note." in image for image in drawn.figures.values())
    assert drawn.messages == messages


def test_a_table_without_trials_says_so(tmp_path: Path) -> None:
    drawn = drawing.draw(tmp_path, pd.DataFrame(columns=list(COLUMNS)))
    assert drawn == ([], ["no figure is drawn: there are no trials"])


@pytest.mark.parametrize("package", [*drawing.PACKAGES, "report"])
def test_figures_are_drawn_again_where_code_that_they_depend_on_changes(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "ROOT", tmp_path)
    before = drawing.code_digest("report")
    (tmp_path / package).mkdir()
    (tmp_path / package / "new.py").write_text("CHANGED = 1")
    assert drawing.code_digest("report") != before


def test_the_digest_covers_every_package_that_figures_import() -> None:
    for package in drawing.PACKAGES:
        for path in (drawing.ROOT / package).glob("*.py"):
            used = set(re.findall(r"from dse\.(\w+)", path.read_text()))
            assert used <= {*drawing.PACKAGES, "results"}, path
