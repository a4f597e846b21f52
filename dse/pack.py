"""`python -m dse.pack results/NAME`: finished trials in one file instead of a folder each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dse.analysis.rendering import counted
from dse.results import files, packing
from dse.sweep.errors import Parser
from dse.sweep.messages import say, unwritable
from dse.sweep.streams import print_lines, reported

NOUNS = {files.TRIALS: "trial", files.COMPRESSED: "compressed network"}
LOST = {files.TRIALS: "weights", files.COMPRESSED: "compressed files"}
"""What is in the folders that are removed, and in no pack."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where records are damaged, 2 for a wrong folder.

    See `dse.results.packing.pack`.
    """
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m dse.pack",
        description="Add the records and learning curves of finished trials to "
        "results/NAME/trials.parquet, and those of compressed networks to compressed.parquet. "
        "Every command reads packed trials like those in folders.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument(
        "remove",
        nargs="?",
        default="remove=false",
        metavar="remove=true",
        help="then delete the folders of packed trials; their weights are not packed and are lost",
    )
    options = parser.parse_args(arguments)
    key, _, value = options.remove.partition("=")
    if key != "remove" or value.lower() not in ("true", "false"):
        parser.error(f"the only key is `remove`, true or false, got {options.remove}")
    folder: Path = options.folder
    try:
        files.require_trials(folder)
        done = packing.pack(folder, remove=value.lower() == "true")
    except BlockingIOError as error:  # another command packs
        say(error)
        return 1
    except OSError as error:
        say(unwritable("folder", folder, error))
        return 1
    if not done:
        raise ValueError(f"`folder` must have finished trials, got {folder}")
    for one in done:
        path = files.pack_of(folder, one.kind)
        print_lines(
            f"{path}: {counted(one.total, NOUNS[one.kind])}, {one.added:,} new, {one.size:,} bytes"
        )
        if one.removed:
            their = "their" if one.removed > 1 else "its"
            gone = f"{counted(one.removed, 'folder')} removed, with {their} {LOST[one.kind]}"
            print_lines(f"{folder / one.kind}: {gone}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
