"""`python -m dse.compress show FILE`: what a compressed network's file holds, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dse.analysis.rendering import aligned
from dse.compress.decode import model, read
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.streams import print_lines


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0. Raises `RequestError` for a wrong request or a damaged file."""
    parser = RequestParser(
        prog="python -m dse.compress show",
        description="Show what a compressed network's file holds in the pruned columns of the "
        "paper's Table 1: percent of the weights kept, bits of each, and parameters. Of a file in "
        "fixed point, also the width and the fraction length of each layer's activations.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a compressed network")
    options, more = parser.parse_known_args(arguments)
    path: Path = options.file
    if more:
        raise RequestError([f"show takes one file, got {path} and {' '.join(more)}"])
    content = read(path)

    from dse.coding.contents import contents  # imports pandas

    table = contents(model(path, content))
    shown = aligned([*map(str, table)], table.to_numpy().tolist())
    print_lines(f"{shown}{path}: {len(content):,} bytes")
    return 0
