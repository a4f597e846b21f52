"""`python -m dse.reproduce`: the paper's Figure 3, Table 3 and Table 2 again, and compared."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise

from dse.compress import table2
from dse.compress.plan import plan as plan_of_compression
from dse.sweep import launch
from dse.sweep.closing import close
from dse.sweep.errors import RequestError
from dse.sweep.estimate import within_budget
from dse.sweep.help import REPRODUCED
from dse.sweep.messages import say
from dse.sweep.plan import plan
from dse.sweep.preflight import check_folder, check_records
from dse.sweep.request import Request, read_request
from dse.sweep.signals import guarded
from dse.sweep.streams import print_lines
from dse.trial.question import Trial

DEFAULT, TABLE_2 = REPRODUCED[:3], "table2"
SEEDS = "seed=range(0,8)"
DESCRIPTION = (
    "Train the sweeps of the paper's figures and tables, draw them, and write a report that "
    f"compares them with the paper. Name the pages to train first, any of {', '.join(REPRODUCED)} "
    f"(default: {' '.join(DEFAULT)}), then key=value as for dse.sweep; seeds are 0 to 7 unless "
    f"seed= is given ({TABLE_2}: 0 to 4). The networks of {TABLE_2} are then compressed by every "
    "method."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some trials failed, 2 wrong request,
    130 interrupted."""
    return guarded(_main, arguments)


def _main(arguments: list[str]) -> int:
    names = [a for a in arguments if a in REPRODUCED] or list(DEFAULT)
    requests = _requests(names, [a for a in arguments if a not in REPRODUCED])
    first = requests[0]
    check_folder(first.folder)
    for line in dict.fromkeys(line for request in requests for line in request.remarks):
        say(line)
    every = {t.trial_id: t for request in requests for t in request.trials}
    check_records(first.folder, every)
    trials: Sequence[Trial] = within_budget(first, list(every.values()), say)
    by_page = {name: request.trials for name, request in zip(names, requests, strict=True)}
    kept = {trial.trial_id for trial in trials}
    compressed = [t for t in by_page.pop(TABLE_2, ()) if t.trial_id in kept]
    if first.plan:
        print_lines(plan(first, trials, say))
        if compressed:
            print_lines(plan_of_compression(table2.wanted(compressed, first)).splitlines()[-1])
        return 0
    command = shlex.join(["python", "-m", "dse.reproduce", *arguments])
    failures = launch.run(trials, first.folder, first.workers, first.store, command=command)
    close(trials, first.folder, command, by_page)
    if compressed:
        failures += table2.compress(compressed, first, command)
    return 1 if failures else 0


def _requests(names: Sequence[str], arguments: list[str]) -> list[Request]:
    """The request of each page, all for one folder; raises their mistakes all at once."""
    errors = [
        f"`{argument}` must be key=value or one of {', '.join(REPRODUCED)}"
        for before, argument in pairwise(["", *arguments])
        if "=" not in argument and not argument.startswith("-") and not before.startswith("-")
    ]
    if any(argument.startswith(("-cn", "--config-name")) for argument in arguments):
        errors.append("`--config-name` must be left out: pages are named, as in `figure3a table3`")
    if errors:
        raise RequestError(errors)
    given = {a.partition("=")[0] for a in arguments}
    requests: list[Request] = []
    for name in names:
        defaults = {"name": "name=reproduce", **({} if name == TABLE_2 else {"seed": SEEDS})}
        own = [*arguments, *(text for key, text in defaults.items() if key not in given)]
        try:
            requests.append(read_request("reproduce", DESCRIPTION, own, page=name))
        except RequestError as error:
            errors += error.lines
    if errors:
        raise RequestError(errors)
    return requests


if __name__ == "__main__":
    sys.exit(main())
