"""`python -m dse.search sampler=tpe n_trials=40`: search a space; write one table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from dse.results import records
from dse.search.request import read_request
from dse.sweep.messages import say
from dse.sweep.preflight import check_folder, check_records
from dse.sweep.signals import guarded
from dse.sweep.streams import print_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some trials failed, 2 wrong request,
    130 interrupted."""
    return guarded(_main, arguments)


def _main(arguments: list[str]) -> int:
    request = read_request(arguments)
    check_records(request.folder, records.ids(request.folder))
    if request.plan:
        from dse.search.plan import plan  # imports Optuna, as those below: a mistake need not wait

        print_lines(plan(request, say))
        return 0
    check_folder(request.folder)
    from dse.search import closing, drive

    command = shlex.join(["python", "-m", "dse.search", *arguments])
    study = drive.run(request, command=command)
    return 1 if closing.close(request, study, command) else 0


if __name__ == "__main__":
    sys.exit(main())
