"""`python -m toy_search FOLDER key=value ...`: a search whose trials take milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path

TOY = ("epochs=2", "lr=0.002", "runner.workers=1")


def search(folder: Path, *arguments: str) -> int:
    """Run a search with real records of made-up accuracies; returns the exit code."""
    from dse.search.drive import run
    from dse.search.request import read_request
    from dse.sweep import launch

    def command(given: list[str]) -> int:
        keys = {argument.partition("=")[0] for argument in given}
        toy = [argument for argument in TOY if argument.partition("=")[0] not in keys]
        where = (f"results.root={folder.parent}", f"name={folder.name}")
        request = read_request([*toy, *where, *given])
        run(request, "toy_trial:run")
        return 0

    return launch.guarded(command, list(arguments))


if __name__ == "__main__":
    sys.exit(search(Path(sys.argv[1]), *sys.argv[2:]))
