"""`python -m keeping ...` is `python -m dse.sweep ...` with checkpoints ten times a second."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from dse.data.store import Store
from dse.runner.task import Reporter
from dse.sweep import __main__, launch
from dse.training import worker
from dse.trial.question import Trial


def run(argument: tuple[Trial, Path, Store, str], report: Reporter) -> dict[str, Any] | None:
    """A real trial."""
    worker.CHECKPOINT_SECONDS, worker.CHECKPOINT_COST = 0.1, 0
    return worker.run(argument, report)


if __name__ == "__main__":
    __main__.run = partial(launch.run, execute="keeping:run")
    sys.exit(__main__.main())
