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
        request = read_request(
            [*TOY, f"results.root={folder.parent}", f"name={folder.name}", *given]
        )
        run(request, "toy_trial:run")
        return 0

    return launch.guarded(command, list(arguments))


if __name__ == "__main__":
    sys.exit(search(Path(sys.argv[1]), *sys.argv[2:]))
