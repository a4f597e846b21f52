"""What the command leaves: tables, a figure and the report of the folder, and a summary."""

from __future__ import annotations

import shlex

from dse.compress.request import Request
from dse.figures import drawing
from dse.results import compressed, tables
from dse.results.atomic import write
from dse.sweep.captions import caption
from dse.sweep.messages import say
from dse.sweep.streams import print_lines

TABLE = "compressed.csv"


def close(request: Request) -> None:
    """Write the tables, the figure and the report of the folder; print a summary of the request."""
    from dse.analysis.compressed import compared, summary  # these import pandas
    from dse.report import build

    folder = request.folder
    trials = tables.write_tables(folder)
    table = compressed.load(folder, trials)
    write(folder / TABLE, table.to_csv(index=False).encode())
    note = caption(trials)
    command = shlex.join(["python", "-m", "dse.report", str(folder)])
    figures = drawing.draw(folder, trials, note).figures
    path = build.write(folder, trials, figures, command, note)
    rows = compared(table)
    own = rows[rows["compressed_id"].isin(request.names)]
    drawn = drawing.draw_compressed(folder, table, note)
    say(*drawn.messages)
    print_lines(summary(own, len(request.names)), folder / TABLE, *drawn.paths, path)
