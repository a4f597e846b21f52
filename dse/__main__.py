"""`python -m dse`: the commands that there are."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dse.sweep.messages import say
from dse.sweep.streams import print_lines, with_streams

COMMANDS = {
    "sweep": "train every network of a grid",
    "reproduce": "the paper's Figure 3, Table 3 and Table 2 again, and compared",
    "search": "search a space: networks chosen by a sampler",
    "status": "what is done, failed, running and stopped half-way",
    "report": "one HTML page of the trials in a folder",
    "compare": "is one value better than another?",
    "plot": "figures of any sweep, and drawings of networks",
    "compress": "small files of trained networks",
    "pack": "finished trials in one file instead of a folder each",
    "audit": "the paper's numbers, claim by claim",
}
LISTING = "\n".join(
    [
        "A design-space exploration workbench for SqueezeNet-like networks. Its commands:",
        "",
        *(f"  python -m dse.{name:<10} {line}" for name, line in COMMANDS.items()),
        "",
        "Each has --help.",
    ]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """List the commands; returns 0, or 2 where one is asked for in another way than its own."""
    return with_streams(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print_lines(LISTING)
        return 0
    name = arguments[0] if arguments[0] in COMMANDS else "sweep"
    say(f"a command is written with a dot, as in python -m dse.{name}; python -m dse lists them")
    return 2


if __name__ == "__main__":
    sys.exit(main())
