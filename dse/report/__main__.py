"""`python -m dse.report results/NAME [key=value ...]`: one HTML page of the trials in a folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dse.analysis import selection
from dse.figures import drawing
from dse.report import build
from dse.results import files, records, tables
from dse.sweep.captions import caption
from dse.sweep.errors import Parser, printable
from dse.sweep.messages import say
from dse.sweep.streams import print_lines, with_streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0, or 1 for damaged records, 2 for a wrong request, 130 for an interruption.
    """
    return with_streams(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m dse.report",
        description="Write a report of the trials in a results folder: one HTML page, which needs "
        "no network, and the figures that it shows. It trains nothing.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument(
        "wanted",
        nargs="*",
        default=[],
        metavar="key=value",
        help="show only some trials: sr=0.125,0.25 seed=0",
    )
    options = parser.parse_args(given)
    folder: Path = options.folder
    try:
        files.require_trials(folder)
        wanted = selection.parse(options.wanted)
        table = tables.write_tables(folder)
        if wanted:
            from dse.analysis.folder import rows_of  # imports pandas

            table = rows_of(table, wanted)
        note = caption(table, len(records.ids(folder)) - len(table))
        drawn = drawing.draw(folder, table, note)
        command = shlex.join(["python", "-m", "dse.report", *given])
        path = build.write(folder, table, drawn.figures, command, note)
    except files.Damaged as error:
        say(error)
        return 1
    except OSError as error:
        reason = error.strerror or error
        say(printable(f"`folder` must be writable, got {folder}: {reason}"))
        return 2
    except ValueError as error:
        say(error)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    print_lines(folder / "table.csv", *drawn.paths)
    say(*drawn.messages)
    print_lines(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
