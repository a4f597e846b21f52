"""`python tests/run_notebooks.py [NAME ...]`: run notebooks, and save them with their outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def run(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a new kernel that starts in `folder`; an error in a cell is raised."""
    NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def main(names: list[str]) -> None:
    """Run the notebooks with these names; all without names."""
    for path in NOTEBOOKS:
        if path.stem in names or not names:
            notebook = nbformat.read(path, as_version=4)
            kept = dict(notebook.metadata)
            run(notebook, path.parent)
            notebook.metadata = nbformat.from_dict(kept)
            path.write_text(f"{nbformat.writes(notebook)}\n", encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
