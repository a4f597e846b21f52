"""`python -m dse.report results/NAME [key=value ...]`: one HTML page of the trials in a folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dse.analysis import selection
from dse.figures import drawing
from dse.report import build
from dse.results import compressed, files, records, studies, tables
from dse.sweep.captions import caption
from dse.sweep.errors import Parser
from dse.sweep.messages import say, unwritable
from dse.sweep.streams import print_lines, reported


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0, or 1 for damaged records, 2 for a wrong request, 130 for an interruption.
    """
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m dse.report",
        description="Write a report of the trials in a results folder: one HTML page, which needs "
        "no network, and the figures that it shows. Of a selection it writes the page only, to "
        "results/NAME/plots/. It trains nothing.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument(
        "wanted",
        nargs="*",
        default=[],
        metavar="key=value",
        help="show only some trials: sr=0.125,0.25 seed=0 'val_top1>80'",
    )
    options = parser.parse_args(given)
    folder: Path = options.folder
    wanted = selection.parse(options.wanted)
    command = shlex.join(["python", "-m", "dse.report", *given])
    try:
        paths, messages = _written(folder, wanted, command)
    except OSError as error:
        raise ValueError(unwritable("folder", folder, error)) from None
    print_lines(*paths[:-1])
    damage = studies.damage(folder)
    say(*messages, *([f"{damage}: a search refuses it"] if damage else []))
    print_lines(paths[-1])
    return 0


def _written(
    folder: Path, wanted: Mapping[str, Sequence[str]], command: str
) -> tuple[list[Path], list[str]]:
    """Write the table, the figures and the report; returns their paths, and a line for each figure
    that was not drawn. Of a selection only the page is written, under a name of its own.

    Raises `ValueError` for a mistake, and `OSError` where the folder cannot be written.
    """
    from dse.analysis.folder import read, rows_of, sampled  # imports pandas

    compressed.refuse(wanted, "a report selects trials")
    if wanted or not (files.has_trials(folder) and records.ids(folder)):
        table = read(folder)  # refuses a folder without any
    else:
        table = tables.write_tables(folder)
    searched = studies.searched(folder)
    if not wanted:
        note = caption(table, searched=searched)
        drawn = drawing.draw(folder, table, note)
        path = build.write(folder, table, drawn.figures, command, note)
        return [folder / "table.csv", *drawn.paths, path], drawn.messages
    rows = rows_of(table, wanted)
    note = caption(rows, len(table) - len(rows), selected=wanted, searched=searched)
    files.make(folder / "plots")
    figures, messages = drawing.figures(rows, note, sampled(folder, table))
    name = f"plots/{selection.file_name('report', *selection.words(wanted))}.html"
    page = build.write(folder, rows, figures, command, note, name, selected=wanted)
    return [page], messages


if __name__ == "__main__":
    sys.exit(main())
