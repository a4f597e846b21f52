"""Every notebook runs from top to bottom, and is saved with what it prints and draws."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbformat import NotebookNode
from run_notebooks import NOTEBOOKS, run

import dse
from dse.figures.plotting import encoded
from dse.report.notebook import Output, show
from dse.report.page import Point, Section, Table
from dse.results import files, packs

ROOT = Path(__file__).parents[1]
OF_RECORDS = [path for path in NOTEBOOKS if path.stem in ("figure3", "table3", "tour")]
LONG = ("squeezebench",)
"""Those that take many seconds: thousands of records, or many figures."""
TRAINS = "dse.sweep"
"""In the cell of the tour that trains; from there on it shows no records."""


def test_there_are_notebooks() -> None:
    names = {"audit", "compression", "figure3", "space_map", "squeezebench", "table3", "tour"}
    assert {path.stem for path in NOTEBOOKS} >= names


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A copy of `notebooks/` next to the measured records, as in the repository."""
    for part in ("notebooks", "results/reference"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path / "notebooks"


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shape(cell: NotebookNode) -> list[tuple[str, ...]]:
    """The kinds of a cell's outputs, without what may change from machine to machine.

    An image may have taken the place of a line since records were added.
    """
    either = {"image/png": "shown", "text/markdown": "shown"}
    kinds = [
        [either.get(kind, kind) for kind in sorted(out.get("data", {}))] for out in cell.outputs
    ]
    return [
        (out.output_type, *of_one, out.get("name", ""))
        for out, of_one in zip(cell.outputs, kinds, strict=True)
    ]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_and_is_saved_with_its_outputs(path: Path, desk: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    rerun = nbformat.read(desk / path.name, as_version=4)
    for cell in code(rerun):
        cell.outputs = []
        cell.source = cell.source.replace('"name=tour"', '"name=tour", "epochs=2"')
    rerun.cells.append(nbformat.v4.new_code_cell("import sys; print('torch' in sys.modules)"))
    run(rerun, desk)
    *cells, last = code(rerun)
    assert [shape(cell) for cell in code(saved)] == [shape(cell) for cell in cells]
    assert any("image/png" in out.get("data", {}) for cell in code(saved) for out in cell.outputs)
    trains = any(TRAINS in cell.source for cell in cells)
    assert last.outputs[0].text.strip() == str(trains), "only a trained network needs torch"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_nothing_of_the_run(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    nbformat.validate(saved)
    assert [cell.execution_count for cell in code(saved)] == list(range(1, len(code(saved)) + 1))
    assert all("execution" not in cell.metadata for cell in saved.cells)
    outputs = [out for cell in code(saved) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    assert path.stat().st_size < 600_000
    for out in outputs:
        out.get("data", {}).pop("image/png", None)
    absolute = re.findall(r"(?<![\w.:/])/\w+/\S*", nbformat.writes(saved))
    assert not absolute


# Other folders of results -------------------------------------------------------------------

KINDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one trial": lambda records: records[:1],
    "one seed": lambda records: records[records.seed == 0],
    "no bypass": lambda records: records[
        (records.bypass == "none") & (records.pct3x3 == 0.5) & (records.seed < 3)
    ],
}


@pytest.mark.parametrize("path", OF_RECORDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_says_what_a_folder_does_not_hold(
    kind: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dse.report.notebook.encoded", lambda figure, kind: [DOT])
    demo = ROOT / "results/reference/demo"
    rows: Any = KINDS[kind](dse.load(demo)).to_dict("records")
    files.pack_of(tmp_path).write_bytes(packs.encoded(files.TRIALS, rows, {}))
    shown = list(outputs(path, tmp_path))
    texts = [one.markdown for one in shown]
    assert all(one.png or one.markdown for one in shown)
    if kind == "one seed":
        assert any("not decided" in text for text in texts)
    else:
        assert any("Not shown" in text for text in texts)
    if path.stem == "table3" and kind != "one seed":
        assert all("Not shown" in text for text in texts[:6]), "tables, sentences, forest plots"


def test_without_compressed_networks_the_notebook_says_so(tmp_path: Path) -> None:
    (path,) = [path for path in NOTEBOOKS if path.stem == "compression"]
    trials = files.pack_of(ROOT / "results/reference/demo").read_bytes()
    files.pack_of(tmp_path).write_bytes(trials)
    shown = list(outputs(path, tmp_path))
    assert len(shown) == 12
    assert all("Not shown: " in one.markdown for one in shown)


DOT = encoded(Figure(figsize=(0.1, 0.1)), "png")[0]
"""An image in place of figures: to draw them takes longer than all else."""


def outputs(path: Path, folder: Path) -> Iterator[Output]:
    """What the cells show, with `folder` in place of the measured records."""
    names: dict[str, Any] = {}
    for cell in code(nbformat.read(path, as_version=4)):
        if TRAINS in cell.source:
            return
        source = re.sub(r"\.\./results/reference/\w+", str(folder), cell.source)
        *first, last = ast.parse(source).body
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(first, []), path.name, "exec"), names)
            found = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            if isinstance(found, Output):
                yield found
        else:
            exec(source, names)


# The output of a cell -----------------------------------------------------------------------


def test_a_figure_is_shown_as_an_image_of_its_width() -> None:
    shown = show(lambda: Figure(figsize=(5, 3)))
    assert (shown.png[:4], shown.width, shown.markdown) == (b"\x89PNG", 500, "")
    assert show(Figure(figsize=(5, 3))) == shown


def test_an_analysis_without_its_trials_is_shown_as_a_line() -> None:
    def analysis(table: pd.DataFrame, column: str) -> Figure:
        raise ValueError(f"`{column}` has one value only, got {len(table)}")

    shown = show(analysis, pd.DataFrame(), column="sr")
    assert shown.markdown == "*Not shown: `sr` has one value only, got 0.*"
    assert "Not shown" in show(lambda: []).markdown


def test_a_section_of_the_report_is_shown_as_markdown() -> None:
    table = Table("Sizes", pd.DataFrame({"bypass": ["a|b", "none"], "size_bytes": [1200, 7]}))
    points = [Point(text="It rises.", verdict="agrees"), Point(text="It stops.")]
    section = Section(
        id="x", title="X", headline="It does.", text=["As follows."], points=points, tables=[table]
    )
    shown = show(lambda: section)
    assert shown.markdown.split("\n\n") == [
        "**It does.**",
        "As follows.",
        "- **agrees** – It rises.\n- It stops.",
        "*Sizes*",
        "| bypass | size_bytes |\n| --- | --- |\n| a\\|b | 1,200 |\n| none | 7 |\n",
    ]


def test_what_has_a_sentence_is_shown_by_it() -> None:
    assert show(lambda: ["One.", Worded()]).markdown == "- One.\n- Two."


class Worded:
    sentence = "Two."
