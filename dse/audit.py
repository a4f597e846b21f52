"""The paper, claim by claim, and its Table 1 for any network.

    python -m dse.audit [--verdict contradicted]
    python -m dse.audit table1 [layout=v1_0_caffe image_size=224 sr=0.25 ...]

`dse.paper.verdicts` says how the verdicts come about.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dse.analysis import table1
from dse.analysis.audit import legend, render
from dse.paper.published import SOLVER
from dse.paper.verdicts import VERDICTS, audit
from dse.sweep.errors import Parser
from dse.sweep.streams import print_lines, reported


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0, or 2 for a wrong request)."""
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    text = table1_text(words[1:]) if words[:1] == ["table1"] else audit_text(words)
    print_lines(text.removesuffix("\n"))
    return 0


def audit_text(arguments: Sequence[str]) -> str:
    """Every claim with its verdict; the last line counts the verdicts."""
    parser = _parser("", "The published numbers of SqueezeNet, claim by claim.")
    parser.add_argument(
        "--verdict", choices=VERDICTS, metavar="VERDICT", help="show only claims with this verdict"
    )
    other = "python -m dse.audit table1 --help: any network in the form of Table 1"
    parser.epilog = f"{legend('verdicts:', VERDICTS, 80)}\n{other}"
    options = parser.parse_args(arguments)
    return render(audit(), [options.verdict] if options.verdict else VERDICTS)


def table1_text(arguments: Sequence[str]) -> str:
    """One network in the form of the paper's Table 1."""
    parser = _parser(" table1", "A network in the form of the paper's Table 1.")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="as for dse.sweep, such as layout=v1_1 sr=0.25 "
        f"(default: SqueezeNet v1.0 at {SOLVER.crop_size} pixels)",
    )
    settings = parser.parse_args(arguments).settings
    from dse.sweep.networks import read_networks

    if not any(text.startswith(("image_size=", "protocol=")) for text in settings):
        settings = [*settings, f"image_size={SOLVER.crop_size}"]
    if any(text.startswith("module=") for text in settings):
        raise ValueError("`module` must be left out: Table 1 has every module")
    networks, *_ = read_networks(settings, most=1)
    ((architecture, image_size),) = networks.values()
    return table1.render(architecture, image_size)


def _parser(name: str, description: str) -> Parser:
    return Parser(
        prog=f"python -m dse.audit{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
