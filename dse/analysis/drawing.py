"""The figures and tables of a results folder, drawn from its table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dse.results import atomic, files

if TYPE_CHECKING:
    import pandas as pd


def draw(folder: Path, table: pd.DataFrame) -> dict[str, bytes]:
    """Draw the figures and tables of the sweeps in `table` into `folder` and print their paths.

    Returns the SVG of each figure by name. Where the same table was drawn last, by the same code,
    and no file is missing, nothing is drawn (matplotlib takes a second to import).
    """
    drawn_from = _digest(table)
    paths = _drawn(folder, drawn_from)
    if paths is None:
        paths = []
        (folder / files.DRAWN).unlink(missing_ok=True)
        for name, content in _drawings(table):
            atomic.write(folder / name, content)
            paths.append(folder / name)
        mark = "\n".join([drawn_from, *(path.name for path in paths)])
        atomic.write(folder / files.DRAWN, mark.encode())
    print(folder / "table.csv", *paths, sep="\n")
    return {path.stem: path.read_bytes() for path in paths if path.suffix == ".svg"}


def _drawings(table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """The name and content of each file that the sweeps in `table` give."""
    from dse.analysis.figures import FIGURES
    from dse.analysis.plotting import encoded
    from dse.analysis.rendering import markdown
    from dse.analysis.sweeps import NoSweep
    from dse.analysis.table3 import TABLES

    for name, figure in FIGURES.items():
        with suppress(NoSweep):
            svg, png = encoded(figure(table), "svg", "png")
            yield f"{name}.svg", svg
            yield f"{name}.png", png
    for name, tabulated in TABLES.items():
        with suppress(NoSweep):
            rows = tabulated(table)
            yield f"{name}.csv", rows.to_csv(index=False).encode()
            yield f"{name}.md", markdown([*map(str, rows)], rows.itertuples(index=False)).encode()


def _drawn(folder: Path, drawn_from: str) -> list[Path] | None:
    """The files drawn last, if from this digest and all there; else None."""
    with suppress(OSError, ValueError):  # no mark, or a damaged one
        digest, *names = (folder / files.DRAWN).read_text(encoding="utf-8").splitlines()
        paths = [folder / name for name in names]
        if digest == drawn_from and all(path.is_file() for path in paths):
            return paths
    return None


def _digest(table: pd.DataFrame) -> str:
    """A digest of what figures depend on: the table, and the code of this package."""
    digest = hashlib.sha256(table.to_csv().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
