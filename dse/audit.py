"""The paper, claim by claim, and its Table 1 for any network.

    python -m dse.audit [--verdict contradicted] [--format text|markdown|csv] [--output FILE]
    python -m dse.audit table1 [layout=v1_0_caffe image_size=224 sr=0.25 ...]

`dse.paper.verdicts` says how the verdicts come about.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from dse.analysis.rendering import aligned, comma_separated, markdown
from dse.paper.published import SOLVER, TABLE_1, TABLE_1_PARAMS_AFTER, Table1Row
from dse.paper.table1 import is_published, pruned, table1
from dse.paper.verdicts import COMPARISONS, VERDICTS, Finding, audit
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

WIDTH = 110
"""Most columns that the text format takes on a terminal."""
FORMATS = ("text", "markdown", "csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0, or 2 for a wrong request)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["table1"]:
            table1_command(words[1:])
        else:
            audit_command(words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def audit_command(arguments: Sequence[str]) -> None:
    """Print every claim with its verdict; the last line counts the verdicts."""
    parser = _parser("", "The published numbers of SqueezeNet, claim by claim.")
    parser.add_argument("--verdict", choices=VERDICTS, help="show only claims with this verdict")
    parser.epilog = "python -m dse.audit table1 --help: any network in the form of Table 1"
    options = parser.parse_args(arguments)

    findings = audit()
    shown = [options.verdict] if options.verdict else VERDICTS
    _write(render_audit(findings, options.format, shown), options.output)
    if options.output:
        print(summary(findings))
    elif options.format == "csv":
        print(summary(findings), file=sys.stderr)


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
    _write(render_table1(architecture, image_size, options.format), options.output)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m dse.audit{name}", description=description)
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE", help="write to this file, not the terminal")
    return parser


def _write(text: str, output: str | None) -> None:
    """Print `text`, or write it to a file and print the file's name."""
    if output is None:
        print(text, end="")
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"`output` must be a file that can be written, got {output} ({error.strerror})"
        ) from None
    print(f"wrote {output}")


# The network that is asked for --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What `key=value` arguments start from: a named layout, and a size of picture."""

    layout: str = knob("v1_0", one_of(*LAYOUTS), "named layout")
    image_size: int = knob(SOLVER.crop_size, integer(1, MAX_PIXELS), "side of a picture, pixels")


KEYS = (*field_names(Start), *field_names(Metaparameters), *field_names(Layout))


def request(arguments: Iterable[str]) -> tuple[Architecture, int]:
    """The network and the picture's side (pixels) that `key=value` arguments ask for.

    >>> architecture, image_size = request(["sr=0.25", "layout=v1_1", "dropout=0"])
    >>> architecture.fires[0].s1x1, architecture.layout.pool_after, image_size
    (32, '1-3-5', 227)

    The keys are those of `Start`, `Metaparameters` and `Layout`; a key that is not given has its
    default, or its value in the named layout. Raises one `ValueError` with a line for each mistake.
    """
    lines: list[str] = []
    given = _read(arguments, lines)
    for kind in (Start, Metaparameters, Layout):
        lines += mistakes(kind, given)
    if lines:
        raise ValueError("\n".join(lines))

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
        raise ValueError("\n".join(lines))
    return generate(metaparameters, layout), start.image_size


def _read(arguments: Iterable[str], lines: list[str]) -> dict[str, Any]:
    """The values of known keys; a line for each other argument is added to `lines`."""
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            lines.append(f"`settings` must be written as key=value, got {argument!r}")
        elif key not in KEYS:
            lines.append(f"unknown key `{key}`; known are {', '.join(KEYS)}")
        elif key in values:
            lines.append(f"`{key}` must be given once, got {values[key]} and {text}")
        else:
            values[key] = _value(text)
    return values


def _value(text: str) -> int | float | bool | str:
    """The number, the truth value or the text that was written."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


# The audit as text --------------------------------------------------------------------------

HEADER = (
    "id", "verdict", "source", "claim", "published", "computed", "unit", "comparison", "remark",
)  # fmt: skip


def render_audit(findings: Sequence[Finding], form: str, shown: Sequence[str]) -> str:
    """The findings whose verdict is in `shown`; the last line counts all, but not in CSV."""
    chosen = [finding for finding in findings if finding.verdict in shown]
    rows = [_cells(finding) for finding in chosen]
    if form == "csv":
        return comma_separated(HEADER, rows)
    if form == "markdown":
        return f"{markdown(HEADER, rows)}\n{summary(findings)}\n"
    return f"{_terminal(chosen)}\n{_legend()}\n{summary(findings)}\n"


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many claims got each verdict."""
    counts = Counter(finding.verdict for finding in findings)
    shares = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    return f"{len(findings)} claims: {shares}"


def _cells(finding: Finding) -> list[str]:
    c = finding.claim
    return [
        c.id, finding.verdict, c.source, c.statement, c.published, finding.computed,
        c.unit.strip(), finding.comparison, c.remark,
    ]  # fmt: skip


def _terminal(findings: Iterable[Finding]) -> str:
    """The findings by source, in at most `WIDTH` columns."""
    blocks = [f"  {'verdict':<14}  {'claim':<46}  {'published':<15}  {'computed':<15}  comparison"]
    for source, group in groupby(findings, key=lambda finding: finding.claim.source):
        blocks.append("\n".join([source, *(_lines(finding) for finding in group)]))
    return "\n\n".join(blocks) + "\n"


def _lines(finding: Finding) -> str:
    """A claim's verdict, statement, both values and comparison; then its remark."""
    c = finding.claim
    columns = [
        [finding.verdict],
        textwrap.wrap(c.statement, 46),
        textwrap.wrap(c.published + c.unit, 15),
        textwrap.wrap(f"{finding.computed}{c.unit}" if finding.computed else "", 15),
        [finding.comparison],
    ]
    lines = zip_longest(*columns, fillvalue="")
    text = [f"  {a:<14}  {b:<46}  {c:<15}  {d:<15}  {e}".rstrip() for a, b, c, d, e in lines]
    indent = " " * 18
    remark = textwrap.wrap(c.remark, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*text, *remark])


def _legend() -> str:
    """What each comparison means."""
    lines = (
        textwrap.fill(f"  {name:<10}  {comparison.text}", WIDTH, subsequent_indent=" " * 14)
        for name, comparison in COMPARISONS.items()
    )
    return "comparison\n" + "\n".join(lines) + "\n"


# Table 1 as text ----------------------------------------------------------------------------

PRUNING_COLUMNS = ("kept", "bits", "params_after")
COLUMNS = {
    "layer": "layer",
    "output": "output",
    "filter": "filter/stride",
    "depth": "depth",
    "s1x1": "s1x1",
    "e1x1": "e1x1",
    "e3x3": "e3x3",
    "params": "params",
    "kept": "kept, %",
    "bits": "bits",
    "params_after": "pruned to",
}


def render_table1(architecture: Architecture, image_size: int, form: str) -> str:
    """A network in the form of Table 1; v1.0 also with the paper's own cells and mistakes.

    Raises `ValueError` where the picture is too small for the layout.
    """
    rows = table1(architecture, image_size)
    published = is_published(architecture)
    rows = pruned(rows) if published else rows
    columns = [name for name in COLUMNS if published or name not in PRUNING_COLUMNS]
    cells: list[list[object]] = []
    for row in rows:
        cells.append(_table1_cells(row, columns))
        cells += _differences(row, columns) if published else []
    cells.append(_totals(rows, columns))
    if published and cells[-1][-1] != TABLE_1_PARAMS_AFTER:
        cells.append(["total, paper", *[None] * (len(columns) - 2), TABLE_1_PARAMS_AFTER])

    header = [COLUMNS[column] for column in columns]
    if form == "csv":
        return comma_separated(header, cells)
    table = markdown(header, cells) if form == "markdown" else aligned(header, cells)
    return f"{table}\n{_notes()}" if published else table


def _table1_cells(row: Table1Row, columns: Iterable[str]) -> list[object]:
    kept = "/".join(str(share) for share in row.kept)
    label = f" ({row.kept_filter})" if row.kept_filter else ""
    shapes = {"output": row.shape, "kept": kept + label}
    return [shapes.get(column, getattr(row, column)) for column in columns]


def _differences(row: Table1Row, columns: Sequence[str]) -> list[list[object]]:
    """The paper's cells where they differ from `row`, as one more row; none if none do."""
    printed = next(other for other in TABLE_1 if other.layer == row.layer)
    ours, theirs = _table1_cells(row, columns), _table1_cells(printed, columns)
    cells = [b if a != b else None for a, b in zip(ours, theirs, strict=True)]
    return [[f"{row.layer}, paper", *cells[1:]]] if any(cells[1:]) else []


def _totals(rows: Sequence[Table1Row], columns: Sequence[str]) -> list[object]:
    sums = {c: sum(getattr(row, c) or 0 for row in rows) for c in ("params", "params_after")}
    return ["total", *(sums.get(column) for column in columns[1:])]


def _notes() -> str:
    """What is wrong in Table 1 and in the text about it, as a list that is valid Markdown."""
    items = (
        f"- {f.claim.statement}: {f.claim.published}{f.claim.unit} in the paper, "
        f"{f.computed}{f.claim.unit} computed. {f.claim.remark}"
        for f in audit()
        if f.verdict == "contradicted" and f.claim.id.startswith(("table1.", "section3.3."))
    )
    lines = (textwrap.fill(item, WIDTH, subsequent_indent="  ") for item in items)
    return "In the paper's Table 1 and section 3.3:\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
