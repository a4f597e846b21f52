"""The audit of the paper as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, zip_longest

from dse.paper.comparisons import COMPARISONS
from dse.paper.verdicts import VERDICTS, Finding, counts

WIDTH = 110
"""Most columns that the text takes on a terminal."""
COLUMNS = {
    "verdict": 14,
    "claim": 38,
    "published": 13,
    "found": 13,
    "evidence": 10,
    "comparison": 10,
}
"""The columns of the text, and their widths."""


def render(findings: Sequence[Finding], shown: Iterable[str]) -> str:
    """The findings whose verdict is in `shown`; the last line counts all."""
    verdicts = set(shown)
    chosen = [finding for finding in findings if finding.verdict in verdicts]
    comparisons = {name: comparison.text for name, comparison in COMPARISONS.items()}
    legends = (legend("verdict", VERDICTS), legend("comparison", comparisons))
    return "\n".join([_terminal(chosen), *legends, f"{summary(findings)}\n"])


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many claims got each verdict."""
    shares = (f"{n} {verdict}" for verdict, n in counts(findings).items())
    return f"{len(findings)} claims: {', '.join(shares)}".replace("needs ", "need ")


def in_words(finding: Finding) -> str:
    """A contradiction as a sentence, with both numbers and what explains them."""
    c = finding.claim
    found = f"{finding.found}{c.unit} {f'in {finding.place}' if finding.place else 'computed'}"
    return f"{c.statement}: {c.published}{c.unit} published, but {found}. {c.remark}".rstrip()


def legend(heading: str, meanings: Mapping[str, str], columns: int = WIDTH) -> str:
    """A heading, then a name and its meaning on each line."""
    width = max(map(len, meanings))
    lines = (
        textwrap.fill(f"  {name:<{width}}  {text}", columns, subsequent_indent=" " * (width + 4))
        for name, text in meanings.items()
    )
    return "\n".join([heading, *lines]) + "\n"


def _terminal(findings: Iterable[Finding]) -> str:
    """The findings by source, in at most `WIDTH` columns."""
    blocks = [_line(COLUMNS)]
    for source, group in groupby(findings, key=lambda finding: finding.claim.source):
        blocks.append("\n".join([source, *(_lines(finding) for finding in group)]))
    return "\n\n".join(blocks) + "\n"


def _lines(finding: Finding) -> str:
    """A claim with its verdict, both values and how they compare; then what explains them."""
    c = finding.claim
    found = f"{finding.found}{c.unit}" if finding.found else ""
    cells = (
        finding.verdict, c.statement, c.published + c.unit, found, finding.evidence,
        finding.comparison,
    )  # fmt: skip
    wrapped = (
        textwrap.wrap(cell, width) for cell, width in zip(cells, COLUMNS.values(), strict=True)
    )
    lines = [_line(parts) for parts in zip_longest(*wrapped, fillvalue="")]
    indent = " " * (2 + COLUMNS["verdict"] + 2)
    for text in (f"Elsewhere: {finding.place}." if finding.place else "", c.remark):
        lines += textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    pairs = zip(cells, COLUMNS.values(), strict=True)
    return ("  " + "  ".join(cell.ljust(width) for cell, width in pairs)).rstrip()
