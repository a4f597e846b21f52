"""A trial's state as bytes: its dead attempts, and the training that was going on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from dse.training.judge import Judgement
from dse.training.loop import Epoch, Position, State, Training


class Unreadable(ValueError):
    """Bytes that are no state of this release."""


def encode(
    attempts: Sequence[Training],
    state: State,
    question: Mapping[str, Any] = MappingProxyType({}),
    seconds: float = 0.0,
    places: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> bytes:
    """A line of JSON (the dead attempts, the position, the seconds spent so far and where, and the
    trial's question, which `dse.status` reads), then the tensors as safetensors."""
    dead = [asdict(replace(attempt, sparse={})) for attempt in attempts]
    position = asdict(state.position)
    parts = {"attempts": dead, "position": position, "seconds": seconds, "places": dict(places)}
    return (
        json.dumps({**parts, "question": dict(question)}).encode()
        + b"\n"
        + save(dict(state.tensors))
    )


def decode(content: bytes) -> tuple[list[Training], State, float, dict[str, list[str]]]:
    """The dead attempts, state, seconds and places that `encode` was given (no places in one of an
    earlier release); raises `Unreadable`."""
    head, _, tensors = content.partition(b"\n")
    try:
        parts = json.loads(head)
        position = Position(**{**parts["position"], "curve": _curve(parts["position"]["curve"])})
        attempts = [_training(attempt) for attempt in parts["attempts"]]
        state = State(tensors=load(tensors), position=position)
        return attempts, state, float(parts.get("seconds", 0)), dict(parts.get("places", {}))
    except (ValueError, LookupError, TypeError, SafetensorError) as error:
        raise Unreadable(str(error)) from None


def _training(attempt: Mapping[str, Any]) -> Training:
    parts = {
        "curve": _curve(attempt["curve"]),
        "validation": Judgement(**attempt["validation"]),
    }
    return Training(**{**attempt, **parts})


def _curve(rows: Iterable[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**row) for row in rows)
