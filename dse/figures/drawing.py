"""The figures and tables of a results folder, drawn from its table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dse.figures.importing import import_matplotlib
from dse.results import atomic, files

if TYPE_CHECKING:
    import pandas as pd

Pages = Mapping[str, tuple["pd.DataFrame", str]]
"""Name of a page of `sweeps/`, "" for what follows from the axes, or `POINTS` -> its rows, and the
note for its caption."""
POINTS = "points"
"""Accuracy against size."""
Drawings = Callable[[Pages], Iterator[tuple[str, bytes | str]]]
"""The name and content of each file; or the name of a figure, and why it is not drawn."""
ROOT = Path(__file__).parents[1]
PACKAGES = ("analysis", "figures", "paper", "space", "trial")
"""What figures are made with: `results` only reads the rows that they are drawn from."""


class Drawn(NamedTuple):
    """The paths of all files that were drawn, and a line for each figure that was not."""

    paths: list[Path]
    messages: list[str]

    @property
    def figures(self) -> dict[str, bytes]:
        """The SVG of each figure by name."""
        return {path.stem: path.read_bytes() for path in self.paths if path.suffix == ".svg"}


def draw(
    folder: Path,
    table: pd.DataFrame,
    note: str = "",
    pages: Pages | None = None,
    sampled: Collection[str] | None = None,
) -> Drawn:
    """Draw the figures and tables of `table` into `folder`.

    What is drawn follows from what varies in the table. With `pages`, it is the figure or table of
    each page, from that page's own rows. `note` is for the captions. Trials with the ids `sampled`
    (default: those that the folder's searches chose) are shown by accuracy against size alone.

    Where the same was drawn last, by the same code, and no file is missing, nothing is drawn
    (matplotlib takes a second to import).
    """
    from dse.analysis.folder import sampled as chosen

    known = chosen(folder, table) if sampled is None else sampled
    parts = pages if pages is not None else _parts(table, note, known)
    return _written(folder, parts, _drawings)


def figures(
    table: pd.DataFrame, note: str = "", sampled: Collection[str] = ()
) -> tuple[dict[str, bytes], list[str]]:
    """The figures that `draw` draws of `table`, as SVG by name, and a line for each that it does
    not; nothing is written."""
    import_matplotlib()
    drawn, messages = {}, []
    for name, content in _drawings(_parts(table, note, sampled)):
        if isinstance(content, str):
            messages.append(_undrawn(name, content))
        elif name.endswith(".svg"):
            drawn[name.removesuffix(".svg")] = content
    return drawn, messages


def draw_compressed(folder: Path, table: pd.DataFrame, note: str = "") -> Drawn:
    """Draw Table 2 and the figure of compressed networks into `folder`.

    `table` is that of `dse.load_compressed`, and `note` is for the captions. As `draw`, it draws
    nothing again.
    """
    return _written(folder, {"": (table, note)}, _of_compressed, files.DRAWN_COMPRESSED)


def _written(folder: Path, parts: Pages, drawings: Drawings, mark: str = files.DRAWN) -> Drawn:
    """Draw, if need be; `mark` is the name of the file that keeps what was drawn last."""
    drawn_from = _digest(parts)
    drawn = _drawn(folder, drawn_from, mark)
    if drawn is None:
        (folder / mark).unlink(missing_ok=True)
        drawn = {"digest": drawn_from, "files": [], "messages": []}
        import_matplotlib()
        for name, content in drawings(parts):
            if isinstance(content, str):
                drawn["messages"].append(_undrawn(name, content))
                for kind in ("svg", "png") if name else ():  # of when it could be drawn
                    (folder / f"{name}.{kind}").unlink(missing_ok=True)
                continue
            atomic.write(folder / name, content)
            drawn["files"].append(name)
        atomic.write(folder / mark, json.dumps(drawn).encode())
    return Drawn([folder / name for name in drawn["files"]], drawn["messages"])


def _parts(table: pd.DataFrame, note: str, sampled: Collection[str]) -> Pages:
    """All trials by accuracy against size, where samplers chose some, and the others as a grid."""
    from dse.analysis.folder import without_sampled

    rows = without_sampled(table, sampled)
    if not (count := len(table) - len(rows)):
        return {"": (table, note)}
    return {POINTS: (table, note), "": (rows, f"{note} {not_shown(count)}".strip())}


def not_shown(count: int) -> str:
    """What a caption says of trials that samplers chose, where others are shown only."""
    from dse.analysis.rendering import counted

    return f"Not shown: {counted(count, 'trial')} that a sampler chose."


def _undrawn(name: str, reason: str) -> str:
    """The line for a figure that is not drawn."""
    return f"{name} is not drawn: {reason}" if name else f"no figure is drawn: {reason}"


def _drawings(parts: Pages) -> Iterator[tuple[str, bytes | str]]:
    """The name and content of each file; or the name of a figure, and why it is not drawn."""
    for page, (rows, note) in parts.items():
        if page == POINTS:
            yield from _points(rows, note)
            continue
        names = set()
        for name, content in _paper(rows, note, page):
            yield name, content
            names.add(name)
        if not page:
            yield from _overview(rows, note, names, whole=POINTS not in parts)


def _paper(rows: pd.DataFrame, note: str, page: str) -> Iterator[tuple[str, bytes | str]]:
    """The paper's figures and tables of some rows; with a page, that of the page."""
    from dse.analysis.axes import NoSweep, TooMany
    from dse.analysis.rendering import markdown
    from dse.analysis.table3 import table3
    from dse.figures.paper import FIGURES

    for name in [page] if page else [*FIGURES, "table3"]:
        try:
            if name in FIGURES:
                yield from _files(name, FIGURES[name](rows, note))
            else:
                shown = table3(rows)
                yield f"{name}.csv", shown.to_csv(index=False).encode()
                text = markdown([*map(str, shown)], shown.itertuples(index=False))
                yield f"{name}.md", f"{text}\n{remark(rows, note)}\n".encode()
        except NoSweep as error:
            if page or isinstance(error, TooMany):
                yield name, str(error)


def remark(rows: pd.DataFrame, note: str) -> str:
    """What a table must say below it: what a figure says in its title and its caption, which begins
    with `note`."""
    from dse.analysis.devices import mixed_devices
    from dse.figures.plotting import described

    return " ".join(text for text in (f"{described(rows)}.", note, mixed_devices(rows)) if text)


def _points(rows: pd.DataFrame, note: str) -> Iterator[tuple[str, bytes | str]]:
    """Accuracy against size."""
    from dse.analysis.axes import sweep
    from dse.figures.plots import scatter

    found = sweep(rows)
    if found.axes:
        yield from _files(POINTS, scatter(found, "size_bytes", note=note))
    else:
        yield "", "there is only one configuration"


def _overview(
    rows: pd.DataFrame, note: str, names: set[str], whole: bool
) -> Iterator[tuple[str, bytes | str]]:
    """What follows from the axes, without lines where the files `names` show them already; without
    points, and without a word where nothing is drawn, unless the rows are the `whole` table."""
    from dse.analysis.axes import NoSweep, sweep
    from dse.figures.overview import overview
    from dse.figures.paper import LINES

    without = {"lines", POINTS} if names & {f"{name}.svg" for name in LINES} else set()
    without |= set() if whole else {POINTS}
    try:
        for name, figure in overview(sweep(rows), note, without).items():
            yield from _files(name, figure)
    except NoSweep as error:
        if whole:
            yield "", str(error)


def _files(name: str, figure: Any) -> Iterator[tuple[str, bytes]]:
    """A figure in both formats."""
    from dse.figures.plotting import encoded

    svg, png = encoded(figure, "svg", "png")
    yield f"{name}.svg", svg
    yield f"{name}.png", png


def _of_compressed(parts: Pages) -> Iterator[tuple[str, bytes | str]]:
    """Table 2, and accuracy against the bytes of the files."""
    from dse.analysis.axes import NoSweep, sweep
    from dse.analysis.compression_tables import TABLE2_ABOUT, readable_table2
    from dse.analysis.rendering import markdown
    from dse.analysis.table2 import table2
    from dse.figures.compressed import compressed

    for rows, note in parts.values():
        found = table2(rows)
        yield "table2.csv", found.to_csv(index=False).encode()
        shown = readable_table2(found)
        about = [f"- {name}: {text}" for name, text in TABLE2_ABOUT.items() if name in shown]
        text = markdown([*map(str, shown)], shown.itertuples(index=False))
        yield "table2.md", "\n".join([text, *about, "", remark(rows, note), ""]).encode()
        try:
            yield from _files("compressed", compressed(sweep(rows), note=note))
        except NoSweep as error:
            yield "compressed", str(error)


def _drawn(folder: Path, drawn_from: str, mark: str) -> dict[str, Any] | None:
    """What was drawn last, if from this digest and all there; else None."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # no mark, or a damaged one
        drawn: dict[str, Any] = json.loads((folder / mark).read_bytes())
        there = all((folder / name).is_file() for name in drawn["files"])
        if there and drawn["digest"] == drawn_from and isinstance(drawn["messages"], list):
            return drawn
    return None


def _digest(parts: Pages) -> str:
    """A digest of what figures depend on: rows, notes, and code."""
    from pandas.util import hash_pandas_object

    digest = hashlib.sha256(code_digest())
    for name, (rows, note) in parts.items():
        digest.update(json.dumps([name, note, *map(str, rows)]).encode())
        digest.update(hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def code_digest(*more: str) -> bytes:
    """A digest of the packages that decide what a figure shows, and of those named in `more`."""
    digest = hashlib.sha256()
    for package in (*PACKAGES, *more):
        for path in sorted((ROOT / package).glob("*.*")):
            digest.update(path.read_bytes())
    return digest.digest()
