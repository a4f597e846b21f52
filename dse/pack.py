"""`python -m dse.pack results/NAME`: finished trials in one file instead of a folder each.

With `into`, those of several results folders in one.
"""

from __future__ import annotations

import argparse
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
ABOUT = """Add the records and learning curves of finished trials to
results/NAME/trials.parquet, and those of compressed networks to
compressed.parquet. Every command reads packed trials like those in folders."""
KEYS = """keys:
  remove=true       then delete the folders of packed trials; their weights are
                    not packed and are lost
  into=results/ALL  pack the trials of the folders there: one results folder of
                    several machines or people; weights stay where they are
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where records are damaged, 2 for a wrong folder.

    See `dse.results.packing.pack`.
    """
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m dse.pack",
        usage="python -m dse.pack results/NAME [results/NAME ...] [KEY=VALUE ...]",
        description=ABOUT,
        epilog=KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "arguments",
        nargs="+",
        metavar="results/NAME",
        help="a results folder, or with `into` several",
    )
    given = parser.parse_args(arguments).arguments
    keys, folders = {"remove": "false", "into": ""}, list[Path]()
    for text in given:
        key, equals, value = text.partition("=")
        if equals and key in keys and value:
            keys[key] = value
        elif equals and not Path(text).exists():
            parser.error(f"the keys are remove=true and into=results/ALL, got {text}")
        else:
            folders.append(Path(text))
    if keys["remove"].lower() not in ("true", "false"):
        parser.error(f"`remove` must be true or false, got {keys['remove']}")
    remove = keys["remove"].lower() == "true"
    if not folders:
        parser.error("a results folder must be given")
    if len(folders) > 1 and not keys["into"]:
        parser.error(f"`into` must be the folder that gets the trials of {len(folders)} folders")
    if remove and keys["into"]:
        parser.error("`remove` must be false with `into`, got true")
    target, lines = Path(keys["into"] or folders[0]), list[str]()
    try:
        for folder in folders:
            files.require_trials(folder)
        if keys["into"]:
            done, lines = packing.join(folders, target)
        else:
            done = packing.pack(target, remove)
    except BlockingIOError as error:  # another command packs
        say(error)
        return 1
    except OSError as error:
        say(unwritable("folder", target, error))
        return 1
    if not done:
        raise ValueError(f"`folder` must have finished trials, got {target}")
    for line in lines:
        say(line)
    for one in done:
        path = files.pack_of(target, one.kind)
        print_lines(
            f"{path}: {counted(one.total, NOUNS[one.kind])}, {one.added:,} new, {one.size:,} bytes"
        )
        if one.removed:
            their = "their" if one.removed > 1 else "its"
            gone = f"{counted(one.removed, 'folder')} removed, with {their} {LOST[one.kind]}"
            print_lines(f"{target / one.kind}: {gone}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
