"""The figures and tables of a results folder, drawn from its table."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dse.results import atomic, files

if TYPE_CHECKING:
    import pandas as pd


def draw(folder: Path, table: pd.DataFrame) -> dict[str, bytes]:
    """Draw what the sweeps in `table` give, into `folder`; say where; return the SVG of each.

    Where these very tables were drawn before and all is there, nothing is imported or written.
    """
    before = _drawn(folder)
    images = _drawings(table) if before is None else before
    print(folder / "table.csv")
    for name, content in images.items():
        if before is None:
            atomic.write(folder / name, content)
        print(folder / name)
    if before is None:
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in images.items()}
        mark = files.sealed({"of": _drawn_of(folder), "files": digests})
        atomic.write(folder / files.DRAWN, mark)
    paths = {Path(name): content for name, content in images.items()}
    return {path.stem: content for path, content in paths.items() if path.suffix == ".svg"}


def _drawings(table: pd.DataFrame) -> dict[str, bytes]:
    """The files of all figures and tables whose sweeps are in `table`, by name."""
    from dse.analysis import figures

    images: dict[str, bytes] = {}
    for name, figure in figures.FIGURES.items():
        with suppress(figures.NoSweep):
            svg, png = figures.encoded(figure(table), "svg", "png")
            images |= {f"{name}.svg": svg, f"{name}.png": png}
    for name, tabulated in figures.TABLES.items():
        with suppress(figures.NoSweep):
            rows = tabulated(table)
            images[f"{name}.csv"] = rows.to_csv(index=False).encode()
            images[f"{name}.md"] = figures.markdown(rows).encode()
    return images


def _drawn(folder: Path) -> dict[str, bytes] | None:
    """What today's tables were drawn into; None where they were not, or a file is not as it was."""
    with suppress(OSError, ValueError, KeyError, AttributeError, RecursionError):
        mark = files.unsealed((folder / files.DRAWN).read_bytes())
        images = {n: (folder / Path(n).name).read_bytes() for n in mark["files"]}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in images.items()}
        if (mark["of"], mark["files"]) == (_drawn_of(folder), digests):
            return images
    return None


def _drawn_of(folder: Path) -> str:
    """A digest of what figures are made of: the tables, and the module that draws them."""
    spec = importlib.util.find_spec("dse.analysis.figures")
    paths = [folder / "table.parquet", Path(str(spec and spec.origin))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
