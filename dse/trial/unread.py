"""Fields of a question that its trial does not read, each with the only value that it may have.

That value is the same whatever page the others come from, so that equal trainings have one id.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def unread(question: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The fields that a trial of this question does not read, and their values.

    >>> unread({"network": "alexnet"})["sr"], unread({"network": "squeezenet"})
    (0.125, {})
    """
    return SQUEEZENET if question["network"] == "alexnet" else {}


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
    return f"`network` is {question['network']}" if name in unread(question) else ""
