"""`python -m dse.compress results/NAME method=svd,prune`: small files of trained networks."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from dse.compress import decode, recode, scan, show, verify, weights
from dse.compress.closing import close
from dse.compress.launch import run
from dse.compress.plan import plan
from dse.compress.request import read_request
from dse.sweep.preflight import check_folder
from dse.sweep.signals import guarded
from dse.sweep.streams import print_lines

OTHERS = {
    "decode": decode.main,
    "recode": recode.main,
    "sensitivity": scan.main,
    "show": show.main,
    "verify": verify.main,
}
"""What else the command does, by its first word."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some failed or differ, 2 wrong request,
    130 interrupted."""
    return guarded(_main, arguments)


def _main(arguments: list[str]) -> int:
    if arguments and arguments[0] in OTHERS:
        return OTHERS[arguments[0]](arguments[1:])
    if any(argument.endswith(weights.SUFFIXES) for argument in arguments):
        return weights.main(arguments)
    request = read_request(arguments)
    if request.plan:
        print_lines(plan(request))
        return 0
    check_folder(request.folder, "folder")
    command = shlex.join(["python", "-m", "dse.compress", *arguments])
    failures = run(request, command=command)
    close(request)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
