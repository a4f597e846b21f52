"""What a command leaves of its trials: tables, figures and a report, and the summary it prints."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dse.analysis.rendering import counted
from dse.figures.drawing import draw
from dse.results import tables
from dse.sweep.captions import caption
from dse.sweep.messages import say
from dse.sweep.streams import print_lines
from dse.trial.question import Trial

if TYPE_CHECKING:
    import pandas as pd


def close(
    trials: Sequence[Trial],
    folder: Path,
    command: str,
    pages: Mapping[str, Sequence[Trial]] | None = None,
    summarise: Callable[[pd.DataFrame, int], str] | None = None,
    sampled: Collection[str] = (),
    searched: Collection[str] = (),
    stopped: int = 0,
) -> None:
    """Write the tables, figures and report of `trials` to `folder`; print a summary, and the paths.

    `command` is the command line that the report shows. With `pages`, the figures are those of
    these pages of `sweeps/`, each of the trials that the page asked for. `summarise` makes another
    summary of the trials' table than `dse.analysis.summary.summary`. `sampled` are the ids of those
    that a sampler chose, `searched` the keys that a search varied, and `stopped` how many more
    trials it stopped early.

    Raises `OSError` where not all can be written; the summary is printed first.
    """
    from dse.analysis.summary import summary  # imports pandas: a wrong request need not wait for it

    summarise = summarise or summary
    try:
        whole = tables.write_tables(folder)
        table = _rows(whole, trials)
        others = len(whole) - len(table)
        parts = None
        if pages is not None:
            rows = {name: _rows(table, of_page) for name, of_page in pages.items()}
            parts = {name: (one, caption(one, others)) for name, one in rows.items()}
        note = caption(table, others, searched=searched)
        drawn = draw(folder, table, note, parts, sampled)
        from dse.report import build  # imports pandas

        path = build.write(
            folder, table, drawn.figures, command, note, sampled=sampled, stopped=stopped
        )
    except OSError:
        print_lines(summarise(_rows(tables.load(folder), trials), len(trials)))
        say(f"not all of the table, figures and report could be written to {folder}")
        raise
    print_lines(folder / "table.csv", *drawn.paths)
    say(*drawn.messages)
    print_lines(summarise(table, len(trials)), path)
    if others:
        shown = shlex.join(["python", "-m", "dse.report", str(folder)])
        say(
            f"figures and report do not show {counted(others, 'other trial')} in {folder}; "
            f"{shown} shows all {len(whole):,}"
        )


def _rows(table: pd.DataFrame, trials: Sequence[Trial]) -> pd.DataFrame:
    """The rows of `trials`."""
    rows = table[table["trial_id"].isin([trial.trial_id for trial in trials])]
    return rows.reset_index(drop=True)
