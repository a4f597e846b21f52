"""The text of a search's plan: the space, how much of it is within the limits, and what is kept."""

from __future__ import annotations

import math

from dse.analysis.rendering import columns
from dse.search.compression import described
from dse.search.limits import MOST, Feasible
from dse.search.request import Request
from dse.search.space import Axis, Choice
from dse.trial.names import written


def plan(request: Request) -> str:
    """What a search would do."""
    question = request.question
    rows = [("key", "values"), *((axis.name, shown(axis)) for axis in question.space.axes)]
    lines = columns(rows, "<<")
    size = question.space.size
    count = "infinitely many points" if math.isinf(size) else f"{size:,.0f} points"
    if question.limits:
        limits = ", ".join(f"{name} at most {most:,}" for name, most in question.limits.items())
        count += f"; {limits}"
        if size <= MOST:
            feasible = Feasible(question.space, question.trial, question.limits)
            count += f": {int(feasible.mask.sum()):,} points"
    sought = f"objective: {', '.join(question.objectives)}"
    if question.compression:
        sought += f"; files by {described(question.compression)}"
    seeds = len(question.seeds)
    each = f", {seeds} seeds each" if seeds > 1 else ""
    return "\n".join(
        [
            *lines,
            count,
            sought,
            f"study {request.study}: {question.sampler}, {request.n_trials:,} trials{each}",
        ]
    )


def shown(axis: Axis) -> str:
    """An axis as text."""
    if isinstance(axis, Choice):
        return ", ".join(map(written, axis.values))
    scale = ", on a logarithmic scale" if axis.log else ""
    return f"{written(axis.low)} to {written(axis.high)}{scale}"
