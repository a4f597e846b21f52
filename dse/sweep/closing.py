"""What a command leaves of its trials: tables, figures and a report, and the summary it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dse.figures.drawing import draw
from dse.results import tables
from dse.sweep.captions import caption
from dse.sweep.launch import asked
from dse.trial.question import Trial


def close(
    trials: Sequence[Trial],
    folder: Path,
    command: str,
    pages: Mapping[str, Sequence[Trial]] | None = None,
) -> None:
    """Write the tables, figures and report of `trials` to `folder`; print a summary, and the paths.

    `command` is the command line that the report shows. With `pages`, the figures are those of
    these pages of `sweeps/`, each of the trials that the page asked for.
    """
    whole = tables.write_tables(folder)
    table = asked(whole, trials, folder)
    others = len(whole) - len(table)
    parts = None
    if pages is not None:
        ids = {name: [trial.trial_id for trial in of_page] for name, of_page in pages.items()}
        rows = {name: table[table["trial_id"].isin(known)] for name, known in ids.items()}
        parts = {name: (one, caption(one, others)) for name, one in rows.items()}
    note = caption(table, others)
    figures = draw(folder, table, note, parts)
    from dse.analysis import summary  # these import pandas: a wrong request need not wait for it
    from dse.report import build

    path = build.write(folder, table, figures, command, note)
    print(summary.summary(table, len(trials)), path, sep="\n")
