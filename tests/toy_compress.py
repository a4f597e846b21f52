"""What the tests of launching compress: milliseconds each, with real records, without torch.

`python -m toy_compress FOLDER key=value ...` is the command with this in place of the real work.
"""

from __future__ import annotations

import os
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from sample_compressed import compressed_record

from dse.compress import __main__, launch
from dse.compress.request import Compression
from dse.data.store import Store
from dse.results import records
from dse.results.compressed import FILE
from dse.results.files import COMPRESSED
from dse.results.locks import claim
from dse.runner.task import Later, Reporter, Stopped
from dse.trial.compressed import CompressedRecord

BROKEN, HOLD = "broken", "hold"
"""Files in the folder: with `broken`, seed 1 fails; with `hold`, tasks wait once as many are saved
as it says."""


def run(argument: tuple[Compression, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """What `dse.compress.worker:run` does, without the compression."""
    one, folder, _, _ = argument
    with claim(folder, one.compressed_id, COMPRESSED) as state:
        if state == "held":
            raise Later
        if state == "done":
            return None
        if (folder / BROKEN).exists() and one.trial.seed == 1:
            raise ValueError("it is broken")
        note(folder, f"began {one.compressed_id}")
        for epoch in range(5):
            time.sleep(random.uniform(0, 0.002))
            report((epoch, 50.0))
        while (folder / HOLD).exists() and len(noted(folder, "saved")) >= int(
            (folder / HOLD).read_text()
        ):
            time.sleep(0.01)
            if report.stopping:
                raise Stopped
        like = compressed_record()
        record = CompressedRecord(
            trial=one.trial,
            settings=one.settings,
            measured=like.measured,
            circumstance=like.circumstance,
        )
        files = {FILE: b"f"}  # of as many bytes as the record says
        saved = records.save_row(folder, one.compressed_id, record.row(), files, COMPRESSED)
        note(folder, f"{'saved' if saved else 'late'} {one.compressed_id}")
        return record.row()


def note(folder: Path, line: str) -> None:
    """Append a line to the log, at once and as a whole."""
    handle = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def noted(folder: Path, what: str) -> list[str]:
    """The ids of the lines that say `what`."""
    if not (folder / "log").exists():
        return []
    lines = (folder / "log").read_text().split()
    return [own for word, own in zip(lines[::2], lines[1::2], strict=True) if word == what]


if __name__ == "__main__":
    __main__.run = partial(launch.run, function="toy_compress:run")
    __main__.close = lambda request: None
    sys.exit(__main__.main())
