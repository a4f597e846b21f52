"""What a search leaves: the tables, figures and report of its trials, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from dse.analysis.rendering import columns
from dse.analysis.studies import front_rows, refusals
from dse.results import studies
from dse.search.answers import Answers
from dse.search.outcome import outcome
from dse.search.request import Request
from dse.search.study import Study
from dse.sweep import closing
from dse.sweep.messages import say
from dse.sweep.streams import print_lines
from dse.trial.names import written


def close(request: Request, study: Study, command: str) -> int:
    """Write the tables, figures and report of a study's trials; print a summary.

    Returns how many of its trials have no record, or none of the compressed network that is sought.
    """
    entries = [entry for entry in study.entries if entry.state != TrialState.PRUNED]
    points = [entry.user_attrs["point"] for entry in entries]
    trials = [trial for point in points for trial in request.question.trials(point)]
    left = len(Answers(request.folder, request.question.compression).left(trials))
    found = outcome(request, study)
    studies.save(request.folder, request.study, found)
    closing.close(trials, request.folder, command)
    if len(request.question.objectives) > 1:
        print_lines(*front(found))
    say(f"study {request.study}: {study.ended}", *refusals(study.refused))
    return left


def front(study: Mapping[str, Any]) -> list[str]:
    """The networks on a study's front, the cheapest first."""
    rows = front_rows(study)
    if rows.empty:
        return []
    rows["val_top1"] = rows["val_top1"].map("{:.1f}".format)
    cost = study["objectives"][0]
    rows[cost] = rows[cost].map("{:,.0f}".format)
    cells = [[written(value) for value in row] for row in rows.to_numpy().tolist()]
    sides = [">" if name in study["objectives"] else "<" for name in rows]
    way = study["compression"]
    of = f" of the networks decoded from their files ({way})" if way else ""
    return [f"the front, by validation accuracy{of}:", *columns([[*rows], *cells], sides)]
