"""The networks of a results folder that a study begins with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from dse.analysis.rendering import counted
from dse.results import records, tables
from dse.search.answers import Answers
from dse.search.candidates import Point
from dse.search.limits import costs_of, exceeded
from dse.search.request import Request
from dse.search.space import ends
from dse.trial.unread import DECIDING, unread


def known_points(request: Request) -> list[Point]:
    """With `warm_start`, the points of the space that are within the limits and whose trials all
    have an answer in the folder, in the order of its table; a field that a trial does not read has
    any of its values."""
    if not request.warm_start:
        return []
    question, table = request.question, tables.load(request.folder)
    answers = Answers(request.folder, question.compression)
    axes = {axis.name: axis for axis in question.space.axes}
    rows: Any = table[[*{*axes, *DECIDING}]].drop_duplicates().to_dict("records")
    found: dict[str, Point] = {}
    for row in rows:
        idle = unread(row)
        point = {n: ends(axis)[0] if n in idle else row[n] for n, axis in axes.items()}
        with suppress(ValueError):  # values that do not fit together with the question's others
            if all(axis.has(point[name]) for name, axis in axes.items()):
                trials = question.trials(point)
                within = not exceeded(costs_of(trials[0]), question.limits)
                if within and not answers.left(trials):
                    found.setdefault(trials[0].trial_id, point)
    return [*found.values()]


def said(request: Request, count: int) -> list[str]:
    """A line on how many points a study begins with, if it is asked to."""
    if not request.warm_start:
        return []
    some = f"{counted(count, 'network')} of {request.folder}"
    where = f"{'is' if count == 1 else 'are'} in the space"
    where += " and within the limits" if request.question.limits else ""
    trials = len(records.ids(request.folder))
    others = f": none of its {counted(trials, 'trial')} is one of the study's"
    return [f"warm_start: {some} {where}{others if trials and not count else ''}"]
