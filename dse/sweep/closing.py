"""What a command leaves of its trials: tables, figures and a report, and the summary it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dse.analysis.drawing import draw
from dse.results import tables
from dse.sweep.launch import asked
from dse.trial.question import Trial


def close(trials: Sequence[Trial], folder: Path, command: str) -> None:
    """Write the tables, figures and report of `trials` to `folder`; print a summary, and the paths.

    `command` is the command line that the report shows.
    """
    table = asked(tables.write_tables(folder), trials, folder)
    figures = draw(folder, table)
    from dse.analysis import report, summary  # pandas, which a wrong request need not wait for

    path = report.write(folder, table, figures, command)
    print(summary.summary(table, len(trials)), path, sep="\n")
