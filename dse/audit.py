"""The paper, claim by claim, and its Table 1 for any network.

    python -m dse.audit [--verdict contradicted] [--format text|markdown|csv] [--output FILE]
    python -m dse.audit table1 [layout=v1_0_caffe image_size=224 sr=0.25 ...]

`dse.paper.verdicts` says how the verdicts come about.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dse.analysis import table1
from dse.analysis.audit import legend, render, summary
from dse.paper.published import SOLVER
from dse.paper.verdicts import VERDICTS, audit
from dse.space.architecture import (
    LAYOUTS,
    MAX_PIXELS,
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    field_names,
    generate,
    map_sizes,
)
from dse.space.rules import integer, knob, mistakes, one_of
from dse.sweep.errors import Parser, RequestError
from dse.sweep.messages import say
from dse.sweep.overrides import parse_overrides
from dse.sweep.streams import print_lines, reported

FORMATS = ("text", "markdown", "csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0, or 2 for a wrong request)."""
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["table1"]:
        table1_command(words[1:])
    else:
        audit_command(words)
    return 0


def audit_command(arguments: Sequence[str]) -> None:
    """Print every claim with its verdict; the last line counts the verdicts."""
    parser = _parser("", "The published numbers of SqueezeNet, claim by claim.")
    parser.add_argument(
        "--verdict", choices=VERDICTS, metavar="VERDICT", help="show only claims with this verdict"
    )
    other = "python -m dse.audit table1 --help: any network in the form of Table 1"
    parser.epilog = f"{legend('verdicts:', VERDICTS, 80)}\n{other}"
    options = parser.parse_args(arguments)

    findings = audit()
    shown = [options.verdict] if options.verdict else VERDICTS
    _write(render(findings, options.format, shown), options.output)
    if options.output:
        print_lines(summary(findings))
    elif options.format == "csv":
        say(summary(findings))


def table1_command(arguments: Sequence[str]) -> None:
    """Print one network in the form of the paper's Table 1."""
    parser = _parser(" table1", "A network in the form of the paper's Table 1.")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help=f"such as layout=v1_1 sr=0.25; the keys are {', '.join(KEYS)}",
    )
    options = parser.parse_intermixed_args(arguments)
    architecture, image_size = request(options.settings)
    _write(table1.render(architecture, image_size, options.format), options.output)


def _parser(name: str, description: str) -> Parser:
    parser = Parser(
        prog=f"python -m dse.audit{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE", help="write to this file, not the terminal")
    return parser


def _write(text: str, output: str | None) -> None:
    """Print `text`, or write it to a file and print the file's name."""
    if output is None:
        print_lines(text.removesuffix("\n"))
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"`output` must be a file that can be written, got {output} ({error.strerror})"
        ) from None
    print_lines(f"wrote {output}")


# The network that is asked for --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What `key=value` arguments start from: a named layout, and a size of image."""

    layout: str = knob("v1_0", one_of(*LAYOUTS), "named layout")
    image_size: int = knob(SOLVER.crop_size, integer(1, MAX_PIXELS), "side of an image, pixels")


KEYS = (*field_names(Start), *field_names(Metaparameters), *field_names(Layout))


def request(arguments: Iterable[str]) -> tuple[Architecture, int]:
    """The network and the image's side (pixels) that `key=value` arguments ask for.

    >>> architecture, image_size = request(["sr=0.25", "layout=v1_1", "dropout=0"])
    >>> architecture.fires[0].s1x1, architecture.layout.pool_after, image_size
    (32, '1-3-5', 227)

    The keys are those of `Start`, `Metaparameters` and `Layout`; a key that is not given has its
    default, or its value in the named layout. Raises `RequestError` with a line for each mistake.
    """
    lines: list[str] = []
    values = parse_overrides([*arguments], lines, KEYS)
    several = [key for key in values if len(values[key]) != 1]
    lines += [f"`{key}` must have one value, got {len(values[key]):,}" for key in several]
    given = {key: values[key][0] for key in values if key not in several}
    for kind in (Start, Metaparameters, Layout):
        lines += mistakes(kind, given)
    if lines:
        raise RequestError(lines)

    def part(kind: type) -> dict[str, Any]:
        return {key: given[key] for key in field_names(kind) if key in given}

    start = Start(**part(Start))
    metaparameters = Metaparameters(**part(Metaparameters))
    layout = replace(LAYOUTS[start.layout], **part(Layout))
    lines = conflicts(metaparameters, layout)
    try:
        map_sizes(layout, start.image_size)
    except ValueError as error:
        lines.append(str(error))
    if lines:
        raise RequestError(lines)
    return generate(metaparameters, layout), start.image_size


if __name__ == "__main__":
    sys.exit(main())
