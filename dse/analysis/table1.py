"""Any network in the form of the paper's Table 1, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from dse.analysis.audit import WIDTH, in_words
from dse.analysis.rendering import aligned
from dse.paper.published import TABLE_1, TABLE_1_PARAMS_AFTER, Table1Row
from dse.paper.table1 import is_published, pruned, table1
from dse.paper.verdicts import audit
from dse.space.architecture import Architecture

PRUNING_COLUMNS = ("kept", "bits", "params_after")
COLUMNS = {
    "layer": "layer",
    "output": "output",
    "filter": "filter/stride",
    "depth": "depth",
    "s1x1": "s1x1",
    "e1x1": "e1x1",
    "e3x3": "e3x3",
    "params": "params",
    "kept": "kept, %",
    "bits": "bits",
    "params_after": "pruned to",
}


def render(architecture: Architecture, image_size: int) -> str:
    """A network in the form of Table 1; v1.0 also with the paper's own cells and mistakes.

    Raises `ValueError` where the image is too small for the layout.
    """
    rows = table1(architecture, image_size)
    published = is_published(architecture)
    rows = pruned(rows) if published else rows
    columns = [name for name in COLUMNS if published or name not in PRUNING_COLUMNS]
    cells: list[list[object]] = []
    for row in rows:
        cells.append(_table1_cells(row, columns))
        cells += _differences(row, columns) if published else []
    cells.append(_totals(rows, columns))
    if published and cells[-1][-1] != TABLE_1_PARAMS_AFTER:
        cells.append(["total, paper", *[None] * (len(columns) - 2), TABLE_1_PARAMS_AFTER])

    table = aligned([COLUMNS[column] for column in columns], cells)
    return f"{table}\n{_notes()}" if published else table


def _table1_cells(row: Table1Row, columns: Iterable[str]) -> list[object]:
    kept = "/".join(str(share) for share in row.kept)
    label = f" ({row.kept_filter})" if row.kept_filter else ""
    shapes = {"output": row.shape, "kept": kept + label}
    return [shapes.get(column, getattr(row, column)) for column in columns]


def _differences(row: Table1Row, columns: Sequence[str]) -> list[list[object]]:
    """The paper's cells where they differ from `row`, as one more row; none if none do."""
    printed = next(other for other in TABLE_1 if other.layer == row.layer)
    ours, theirs = _table1_cells(row, columns), _table1_cells(printed, columns)
    cells = [b if a != b else None for a, b in zip(ours, theirs, strict=True)]
    return [[f"{row.layer}, paper", *cells[1:]]] if any(cells[1:]) else []


def _totals(rows: Sequence[Table1Row], columns: Sequence[str]) -> list[object]:
    sums = {c: sum(getattr(row, c) or 0 for row in rows) for c in ("params", "params_after")}
    return ["total", *(sums.get(column) for column in columns[1:])]


def _notes() -> str:
    """What is wrong in Table 1 and in the text about it, as a list."""
    wrong = (
        finding
        for finding in audit()
        if finding.verdict == "contradicted"
        and finding.claim.id.startswith(("table1.", "section3.3."))
    )
    items = (textwrap.fill(f"- {in_words(f)}", WIDTH, subsequent_indent="  ") for f in wrong)
    return "In the paper's Table 1 and section 3.3:\n\n" + "\n".join(items) + "\n"
