"""`python -m toy_search FOLDER key=value ...`: a search whose trials take milliseconds."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sample_compressed import compressed_record
from toy_trial import note, record, run

from dse.data.store import Store
from dse.results import locks, records
from dse.results.compressed import FILE
from dse.results.files import COMPRESSED
from dse.runner.task import Later, Reporter
from dse.trial.compression import Settings, compressed_id
from dse.trial.question import Trial

BROKEN, KILL, KILLED_AT, RESUMED = "broken", "kill", 4, "resumed"
TOY = ("epochs=2", "lr=0.002", "runner.workers=1")


def train(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """Train a trial whose accuracy rises evenly to a level that its question decides.

    With the file `RESUMED` it is resumed after the first half of its epochs.
    """
    of, folder, _, _ = argument
    with locks.claim(folder, of.trial_id) as state:
        if state == "held":
            raise Later
        if state == "done":
            return None
        epochs, level = of.protocol.recipe.epochs, random.Random(of.trial_id).uniform(10, 90)
        lines = ["attempt,epoch,lr,train_loss,train_top1,val_top1,val_loss"]
        resumed, before = (folder / RESUMED).exists(), list[float]()
        for epoch in range(1, epochs + 1):
            accuracy = level * epoch / epochs
            lines.append(f"1,{epoch},0.1,1.0,50.0,{accuracy},1.0")
            if resumed and epoch <= epochs // 2:
                before.append(accuracy)
                continue
            note(folder, of.trial_id, f"epoch{epoch}")
            report((epoch, accuracy, *before))
            before.clear()
            taken = folder.with_name(f"{of.trial_id}.{epoch}")
            while not taken.exists():  # what the search decides may be to stop this trial
                time.sleep(0.002)
        own = record(of, val_top1=level)
        records.save(folder, own, {"curve.csv": "\n".join(lines).encode()})
        return own.row()


def compress(
    argument: tuple[Trial, Path, Store, str, Settings], report: Reporter
) -> dict[str, Any] | None:
    """Train a trial with the toy, and save a made-up compressed network of it.

    In between, if the folder has the file `KILL`, the command, which leads a session, is killed
    once `KILLED_AT` trials are trained; with the file `BROKEN`, the compression fails.
    """
    of, folder, store, device, settings = argument
    run((of, folder, store, device), report)
    kill = folder / KILL
    if kill.exists() and len(list(folder.glob("trials/*/record.json"))) >= KILLED_AT:
        kill.unlink()
        os.kill(os.getsid(0), signal.SIGKILL)
        time.sleep(1000)
    if (folder / BROKEN).exists():
        raise ValueError("it is broken")
    own = compressed_id(of.trial_id, settings)
    with locks.claim(folder, own, COMPRESSED) as state:
        if state != "mine":
            return None
        note(folder, own, "compressed")
        like, rng = compressed_record(), random.Random(own)
        measured = replace(
            like.measured, file_bytes=rng.randrange(1000, 9000), val_top1=rng.uniform(10, 90)
        )
        made = replace(like, trial=of, settings=settings, measured=measured)
        records.save_row(folder, own, made.row(), {FILE: b"file"}, COMPRESSED)
        return made.row()


def search(folder: Path, *arguments: str, execute: str = "") -> int:
    """Run a search with real records of made-up accuracies; returns the exit code.

    `execute` is by default what the objectives need; for `train` there is a file next to the
    folder for each report that the search has taken.
    """
    from dse.runner.events import Event, Reported
    from dse.runner.runner import Runner
    from dse.search import drive
    from dse.search.request import read_request
    from dse.sweep import launch, signals

    def command(given: list[str]) -> int:
        keys = {argument.partition("=")[0] for argument in given}
        toy = [argument for argument in TOY if argument.partition("=")[0] not in keys]
        where = (f"results.root={folder.parent}", f"name={folder.name}")
        request = read_request([*toy, *where, *given])
        usual = "toy_search:compress" if request.question.compression else "toy_trial:run"
        print(drive.run(request, execute or usual).ended)
        return 0

    class Taken(Runner):
        def events(self, *turn: Any) -> Iterator[Event]:
            for event in super().events(*turn):
                yield event
                if execute and isinstance(event, Reported):
                    folder.with_name(f"{event.key}.{event.value[0]}").touch()

    launch.Runner = Taken
    try:
        return signals.guarded(command, list(arguments))
    finally:
        launch.Runner = Runner


if __name__ == "__main__":
    sys.exit(search(Path(sys.argv[1]), *sys.argv[2:]))
