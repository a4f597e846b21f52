"""`python -m held ...` is `python -m dse.sweep ...` with checkpoints ten times a second.

A trial waits after an epoch while there is a file `hold` in the folder of all results.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

from dse.data.store import Store
from dse.runner.task import Reporter
from dse.sweep import __main__, launch
from dse.training import worker
from dse.trial.question import Trial

HOLD, WAITS = "hold", "waits"
"""Files in the folder of all results; the number of the process that waits is in `waits`."""


class Holding:
    """A reporter that waits after a report while there is a file."""

    def __init__(self, reporter: Reporter, place: Path) -> None:
        self._reporter, self._place, self.fail = reporter, place, reporter.fail

    def __call__(self, value: Any) -> None:
        self._reporter(value)
        while (self._place / HOLD).exists() and not self._reporter.stopping:
            if not (self._place / WAITS).exists():
                (self._place / "new").write_text(str(os.getpid()))
                (self._place / "new").rename(self._place / WAITS)
            time.sleep(0.01)

    @property
    def stopping(self) -> bool:
        return self._reporter.stopping


def run(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """A real trial."""
    worker.CHECKPOINT_SECONDS, worker.CHECKPOINT_COST = 0.1, 0
    return worker.run(argument, cast(Reporter, Holding(report, argument[1].parent)))


if __name__ == "__main__":
    __main__.run = partial(launch.run, execute="held:run")
    sys.exit(__main__.main())
