"""`python -m dse.compress recode FILE`: a compressed network written again, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dse.coding.container import CODERS, encode
from dse.compress.decode import check_output, model, read, replace
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.streams import print_lines


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0. Raises `RequestError` for a wrong request or a damaged file."""
    parser = RequestParser(
        prog="python -m dse.compress recode",
        description="Write a compressed network again, without loss: the authors' "
        "compressed_SqueezeNet.net in this project's format, or a file with another coder.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a compressed network")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", required=True, help="the new file"
    )
    parser.add_argument(
        "coder", nargs="?", default="coder=adaptive", metavar="coder=...", help="[adaptive]"
    )
    options = parser.parse_intermixed_args(arguments)
    key, _, coder = options.coder.partition("=")
    if key != "coder" or coder not in CODERS:
        rule = f"one of {', '.join(f'coder={name}' for name in CODERS)}"
        raise RequestError([f"`coder` must be {rule}, got {options.coder}"])
    content = read(options.file)
    check_output(options.output, options.file)
    file = encode(model(options.file, content), coder)
    replace(options.output, file)
    print_lines(f"{options.output}: {len(file):,} bytes, without loss from {len(content):,}")
    return 0
