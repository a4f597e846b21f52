"""Fields of a question that its trial does not read, each with the only value that it may have.

That value is the same whatever page the others come from, so that equal trainings have one id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dse.space.architecture import Layout, Metaparameters, field_names

SHARED = ("norm", "dropout")
"""Fields of a layout that every network reads."""

SQUEEZENET: Mapping[str, Any] = {
    name: getattr(part, name)
    for part in (Metaparameters(), Layout())
    for name in field_names(type(part))
    if name not in SHARED
}
"""What only SqueezeNet reads, at its default: v1.0."""

PLAIN: Mapping[str, Any] = {"dsd_sparse": 0, "dsd_final": 0}
"""What only a dense-sparse-dense training reads."""


DECIDING: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "network": lambda network: SQUEEZENET if network == "alexnet" else {},
    "dsd_density": lambda density: PLAIN if density == 1 else {},
}
"""Fields whose value decides what is not read."""


def unread(question: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The fields that a trial of this question does not read, and their values.

    Of a part of a question, those that are known not to be read.

    >>> unread({"network": "alexnet"})["sr"], unread({"network": "squeezenet", "dsd_density": 1})
    (0.125, {'dsd_sparse': 0, 'dsd_final': 0})
    """
    known = [fields(question[name]) for name, fields in DECIDING.items() if name in question]
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
    for field, fields in DECIDING.items():
        if name in fields(question[field]):
            return f"`{field}` is {question[field]}".removesuffix(".0")
    return ""
