"""The learning curve of a point: as its trials report it, and as their files have it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from dse.results import curves
from dse.search.study import Proposal


@dataclass(slots=True)
class Active:
    """A point in training: the trials that have not ended, and each trial's accuracies so far."""

    proposal: Proposal
    left: set[str]
    curves: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""
    stopped: bool = False

    def report(self, trial_id: str, epoch: int, accuracy: float) -> None:
        """Note an epoch of a trial; a restarted one begins with its first again."""
        curve = self.curves.setdefault(trial_id, [])
        del curve[epoch - 1 :]
        curve += [math.nan] * (epoch - 1 - len(curve)) + [accuracy]

    @property
    def curve(self) -> list[float]:
        """The mean over the seeds, of the epochs that all of them have; NaN for those before one of
        them was resumed."""
        if len(self.curves) < len(self.proposal.trials):
            return []
        return [fmean(values) for values in zip(*self.curves.values(), strict=False)]


def read_curve(folder: Path, proposal: Proposal) -> list[float]:
    """The validation accuracies of the epochs that all seeds of a point have, their mean; none
    where a curve cannot be read."""
    table, missing = curves.load(folder, [trial.trial_id for trial in proposal.trials])
    if missing:
        return []
    epochs = table.groupby("epoch")["val_top1"]
    return [float(value) for value in epochs.mean()[epochs.size() == len(proposal.trials)]]
