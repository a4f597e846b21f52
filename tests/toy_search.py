"""`python -m toy_search FOLDER key=value ...`: a search whose trials take milliseconds."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

from toy_trial import note, record

from dse.data.store import Store
from dse.results import locks, records
from dse.runner.task import Later, Reporter
from dse.trial.question import Trial

TOY = ("epochs=2", "lr=0.002", "runner.workers=1")


def train(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """Train a trial whose accuracy rises evenly to a level that its question decides."""
    of, folder, _, _ = argument
    with locks.claim(folder, of.trial_id) as state:
        if state == "held":
            raise Later
        if state == "done":
            return None
        epochs, level = of.protocol.recipe.epochs, random.Random(of.trial_id).uniform(10, 90)
        lines = ["attempt,epoch,lr,train_loss,train_top1,val_top1,val_loss"]
        for epoch in range(1, epochs + 1):
            accuracy = level * epoch / epochs
            lines.append(f"1,{epoch},0.1,1.0,50.0,{accuracy},1.0")
            note(folder, of.trial_id, f"epoch{epoch}")
            report((epoch, accuracy))
            time.sleep(0.03)  # in which a trial may be stopped
        own = record(of, val_top1=level)
        records.save(folder, own, {"curve.csv": "\n".join(lines).encode()})
        return own.row()


def search(folder: Path, *arguments: str, execute: str = "toy_trial:run") -> int:
    """Run a search with real records of made-up accuracies; returns the exit code."""
    from dse.search.drive import run
    from dse.search.request import read_request
    from dse.sweep import launch

    def command(given: list[str]) -> int:
        keys = {argument.partition("=")[0] for argument in given}
        toy = [argument for argument in TOY if argument.partition("=")[0] not in keys]
        where = (f"results.root={folder.parent}", f"name={folder.name}")
        request = read_request([*toy, *where, *given])
        run(request, execute)
        return 0

    return launch.guarded(command, list(arguments))


if __name__ == "__main__":
    sys.exit(search(Path(sys.argv[1]), *sys.argv[2:]))
