"""What the command leaves of its compressed networks: a table, the report, and a summary."""

from __future__ import annotations

import shlex

from dse.analysis.rendering import markdown
from dse.compress.request import Request
from dse.figures import drawing
from dse.results import compressed, tables
from dse.results.atomic import write
from dse.sweep.captions import caption

TABLE = "compressed.csv"


def close(request: Request) -> None:
    """Write `compressed.csv` and the report of the folder; print a summary of the request."""
    from dse.analysis.compressed import compared, summary  # these import pandas
    from dse.analysis.table2 import table2
    from dse.report import build

    folder = request.folder
    trials = tables.write_tables(folder)
    table = compressed.load(folder, trials)
    write(folder / TABLE, table.to_csv(index=False).encode())
    shown = table2(table)
    write(folder / "table2.csv", shown.to_csv(index=False).encode())
    write(folder / "table2.md", markdown([*shown], shown.itertuples(index=False)).encode())
    note = caption(trials)
    command = shlex.join(["python", "-m", "dse.report", str(folder)])
    figures = drawing.draw(folder, trials, note, quiet=True)
    path = build.write(folder, trials, figures, command, note)
    rows = compared(table)
    own = rows[rows["compressed_id"].isin(request.names)]
    files = [folder / name for name in (TABLE, "table2.csv", "table2.md")]
    print(summary(own, len(request.names)), *files, path, sep="\n")
