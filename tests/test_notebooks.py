"""Every notebook runs from top to bottom, and is saved with what it prints and draws."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A copy of `notebooks/` next to the measured records, as in the repository."""
    for part in ("notebooks", "results/reference"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path / "notebooks"


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shape(cell: NotebookNode) -> list[tuple[str, ...]]:
    """The kinds of a cell's outputs, without what may change from machine to machine."""
    return [
        (out.output_type, *sorted(out.get("data", {})), out.get("name", "")) for out in cell.outputs
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_saved_with_its_outputs(path: Path, desk: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    rerun = nbformat.read(desk / path.name, as_version=4)
    for cell in code(rerun):
        cell.outputs = []
    NotebookClient(
        rerun, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(desk)}}
    ).execute()
    assert [shape(cell) for cell in code(saved)] == [shape(cell) for cell in code(rerun)]
    assert any("image/png" in kinds for cell in code(saved) for kinds in shape(cell))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_nothing_of_the_run(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    nbformat.validate(saved)
    assert [cell.execution_count for cell in code(saved)] == list(range(1, len(code(saved)) + 1))
    assert all("execution" not in cell.metadata for cell in saved.cells)
    outputs = [out for cell in code(saved) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    assert str(ROOT) not in nbformat.writes(saved)


def test_a_folder_without_bypass_trials_is_shown_without_an_error(tmp_path: Path) -> None:
    for record in (ROOT / "results/reference/demo/trials").glob("*/record.json"):
        if '"bypass": "none"' in record.read_text() and '"pct3x3": 0.5,' in record.read_text():
            shutil.copytree(record.parent, tmp_path / "trials" / record.parent.name)
    cells = code(nbformat.read(ROOT / "notebooks/figure3.ipynb", as_version=4))
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell.source.replace("../results/reference/demo", str(tmp_path)), names)
    assert len(names["table"]) == 15
    assert "`bypass` has one value only" in eval(cells[-1].source, names).data


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
