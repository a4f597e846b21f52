"""The learning curve of a point: as its trials report it, and as their files have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from dse.results import curves
from dse.search.study import Proposal
from dse.trial.question import Trial


@dataclass(slots=True)
class Active:
    """A point in training: the trials that have not ended, and each trial's accuracies so far."""

    proposal: Proposal
    left: set[str]
    curves: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""
    stopped: bool = False

    def report(self, trial_id: str, epoch: int, accuracy: float) -> None:
        """Note an epoch of a trial; a restarted or resumed one begins with its first again."""
        curve = self.curves.setdefault(trial_id, [])
        curve[epoch - 1 :] = [accuracy]

    @property
    def curve(self) -> list[float]:
        """The mean over the seeds, of the epochs that all of them have."""
        if len(self.curves) < len(self.proposal.trials):
            return []
        return [fmean(values) for values in zip(*self.curves.values(), strict=False)]


def read_curve(folder: Path, proposal: Proposal) -> list[float]:
    """The validation accuracies of the epochs that all seeds of a point have, their mean; none
    where a curve cannot be read."""
    return Active(proposal, set(), read_curves(folder, proposal.trials)).curve


def read_curves(folder: Path, trials: Iterable[Trial]) -> dict[str, list[float]]:
    """The validation accuracies of finished trials by id; none where a curve cannot be read."""
    table, _ = curves.load(folder, [trial.trial_id for trial in trials])
    return {str(own): rows["val_top1"].tolist() for own, rows in table.groupby("trial_id")}
