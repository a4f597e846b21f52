"""`python -m dse.sweep sr=0.125,0.25`: train every network of a grid; write one table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from dse.sweep.closing import close
from dse.sweep.estimate import within_budget
from dse.sweep.launch import run
from dse.sweep.messages import say
from dse.sweep.plan import plan
from dse.sweep.preflight import check_folder, check_records
from dse.sweep.request import read_request
from dse.sweep.signals import guarded
from dse.sweep.streams import print_lines

DESCRIPTION = (
    "Train every network of a grid from scratch. Writes a record for each, a table, figures and a "
    "report to results/NAME."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some trials failed, 2 wrong request,
    130 interrupted."""
    return guarded(_main, arguments)


def _main(arguments: list[str]) -> int:
    request = read_request("sweep", DESCRIPTION, arguments, page="figure3a")
    if request.configuration:
        say(*request.remarks)
        print_lines(request.configuration)
        return 0
    check_folder(request.folder, write=not request.plan)
    check_records(request.folder, [trial.trial_id for trial in request.trials])
    for line in request.remarks:
        say(line)
    trials = within_budget(request, request.trials, say)
    if request.plan:
        print_lines(plan(request, trials, say))
        return 0
    command = shlex.join(["python", "-m", "dse.sweep", *arguments])
    failures = run(trials, request.folder, request.workers, request.store, command=command)
    close(trials, request.folder, command)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
