"""What a search leaves: the tables, figures and report of its trials, and what it says."""

from __future__ import annotations

from dse.analysis.rendering import counted
from dse.results import records
from dse.search.request import Request
from dse.search.study import Study
from dse.sweep import closing
from dse.sweep.messages import say

REFUSALS = {
    "repeat": "repeated a network that the study had already",
    "running": "repeated a network that was being trained",
    "failed": "repeated a network that had failed",
    "invalid": "had values that do not fit together",
}
"""Why proposals led to no training, apart from limits."""


def close(request: Request, study: Study, command: str) -> int:
    """Write the tables, figures and report of a study's trials; print a summary.

    Returns how many of its trials have no record.
    """
    trials = study.trials()
    left = len(records.unfinished(request.folder, trials))
    closing.close(trials, request.folder, command)
    say(f"study {request.study}: {study.ended}", *refusals(study))
    return left


def refusals(study: Study) -> list[str]:
    """A line for each reason why proposals led to no training."""
    lines = []
    for reason, number in sorted(study.refused.items()):
        why = REFUSALS.get(reason.partition(":")[0], f"exceeded {reason}")
        lines.append(f"{counted(number, 'proposal')} {why}")
    return lines
