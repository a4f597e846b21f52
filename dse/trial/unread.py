"""Fields of a question that its trial does not read, each with the only value that it may have.

That value is the same whatever page the others come from, so that equal trainings have one id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dse.space.architecture import Layout, Metaparameters, field_names

NETWORKS = ("squeezenet", "alexnet")
"""The kinds of network."""

SHARED = ("norm", "dropout")
"""Fields of a layout that every network reads."""

SQUEEZENET: Mapping[str, Any] = {
    name: getattr(part, name)
    for part in (Metaparameters(), Layout())
    for name in field_names(type(part))
    if name not in SHARED
}
"""What only SqueezeNet reads, at its default: v1.0."""

PHASES: Mapping[str, Any] = {"dsd_sparse": 0, "dsd_final": 0}
"""What only a dense-sparse-dense training reads."""


IDLE: Mapping[tuple[str, Any], Mapping[str, Any]] = {
    **{("network", name): SQUEEZENET for name in NETWORKS if name != "squeezenet"},
    ("dsd_density", 1): PHASES,
}
"""What is not read where a field has a value."""


DECIDING = tuple(dict.fromkeys(name for name, _ in IDLE))
"""The fields whose value decides what is read."""


def unread(question: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The fields that a trial of this question does not read, and their values.

    Of a part of a question, those that are known not to be read.

    >>> unread({"network": "alexnet"})["sr"], unread({"network": "squeezenet", "dsd_density": 1})
    (0.125, {'dsd_sparse': 0, 'dsd_final': 0})
    """
    known = [fields for (name, value), fields in IDLE.items() if question.get(name) == value]
    return {name: value for fields in known for name, value in fields.items()}


def misplaced(question: Mapping[str, Any]) -> list[str]:
    """A line for each field that is not read and has another value."""
    return [
        f"`{name}` must stay at its default {value} where {reason(name, question)}, "
        f"got {question[name]}"
        for name, value in unread(question).items()
        if question[name] != value
    ]


def reason(name: str, question: Mapping[Any, Any]) -> str:
    """Why a trial of this question does not read a field; "" where it does."""
    for (field, value), fields in IDLE.items():
        if name in fields and question[field] == value:
            return f"`{field}` is {value}"
    return ""
