"""What a search leaves: the tables, figures and report of its trials, and what it says."""

from __future__ import annotations

from optuna.trial import TrialState

from dse.analysis.studies import refusals
from dse.results import records, studies
from dse.search.outcome import outcome
from dse.search.request import Request
from dse.search.study import Study
from dse.sweep import closing
from dse.sweep.messages import say


def close(request: Request, study: Study, command: str) -> int:
    """Write the tables, figures and report of a study's trials; print a summary.

    Returns how many of its trials have no record.
    """
    entries = [entry for entry in study.entries if entry.state != TrialState.PRUNED]
    points = [entry.user_attrs["point"] for entry in entries]
    trials = [trial for point in points for trial in request.question.trials(point)]
    left = len(records.unfinished(request.folder, trials))
    studies.save(request.folder, request.study, outcome(request, study))
    closing.close(trials, request.folder, command)
    say(f"study {request.study}: {study.ended}", *refusals(study.refused))
    return left
