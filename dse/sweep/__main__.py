"""`python -m dse.sweep sr=0.125,0.25`: train every configuration of a grid, leave one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dse.analysis.drawing import draw
from dse.results import tables
from dse.sweep import estimate as bill
from dse.sweep import request as config
from dse.sweep.launch import guarded, run
from dse.sweep.messages import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 some failed, 2 wrong, 130 interrupted)."""
    return guarded(_main, sys.argv[1:] if arguments is None else list(arguments))


def _main(arguments: list[str]) -> int:
    request = config.read(
        "sweep",
        "Train every configuration of a grid from scratch; leave records, a table, figures.",
        arguments,
        page="figure3a",
    )
    config.check_folder(request.folder)
    trials = bill.affordable(request, request.trials, say)
    if request.plan:
        print(bill.plan(request, trials, say))
        return 0
    failures = run(trials, request.folder, request.workers, request.store)
    draw(request.folder, tables.write_tables(request.folder))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
