"""A trial: one configuration trained once; its identity, and the record that it leaves.

A `Trial` is a question. Its `trial_id` is a hash of the whole question in canonical form, so
that skipping, resuming, removing duplicates and merging tables of several machines all follow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from dse.protocol import Protocol, Recipe
from dse.rules import check, integer, knob
from dse.space import (
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    field_names,
    generate,
    map_sizes,
)

SEMANTICS = 1
"""The version of what training means. A change that may alter an answer raises it, which makes
every trial a new one; a test over the syntax trees of `model`, `train` and `data` watches."""

SINCE: Mapping[str, Any] = {}
"""Fields added after a release, with the neutral value that keeps them out of the identity, so
that old results stay valid."""

STATUSES = ("learned", "partly_dead", "never_learned", "diverged")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration, trained from scratch once.

    Raises `ValueError`, with every mistake on a line of its own, where the parts do not fit:
    a picture too small for the layout, or a metaparameter without effect.
    """

    metaparameters: Metaparameters = field(default_factory=Metaparameters)
    layout: Layout
    protocol: Protocol
    seed: int = knob(0, integer(0, 2**31 - 1), "seed of every random stream")

    def __post_init__(self) -> None:
        check(self)
        found = conflicts(self.metaparameters, self.layout)
        try:
            map_sizes(self.layout, self.protocol.image_size)
        except ValueError as error:
            found.append(str(error))
        if found:
            raise ValueError("\n".join(found))

    @property
    def architecture(self) -> Architecture:
        """The network that this trial trains."""
        facts = self.protocol.facts
        return generate(
            self.metaparameters,
            self.layout,
            num_classes=facts.num_classes,
            in_channels=facts.channels,
        )

    @property
    def question(self) -> dict[str, Any]:
        """The question as a flat row: column = field = key on the command line."""
        parts = (self.metaparameters, self.layout, self.protocol, self.protocol.recipe)
        row = {n: getattr(part, n) for part in parts for n in field_names(type(part))}
        del row["recipe"]
        return {**row, "seed": self.seed}

    @property
    def trial_id(self) -> str:
        """20 hexadecimal digits (80 bits) of the SHA-256 of the canonical question."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:20]

    def canonical(self) -> str:
        """The question as one text: names sorted, numbers in one form (1 and 1.0 are equal)."""
        contents = {
            name: _canonical(value)
            for name, value in self.question.items()
            if not (name in SINCE and value == SINCE[name])
        }
        contents["data_digest"] = self.protocol.facts.digest
        contents["semantics"] = str(SEMANTICS)
        return json.dumps(contents, sort_keys=True, separators=(",", ":"))


def trial_from(question: Mapping[str, Any]) -> Trial:
    """The trial of a flat question: `trial_from(trial.question) == trial`.

    Raises `ValueError` for a missing key or a value outside its rule.
    """

    def part(kind: type[Any]) -> dict[str, Any]:
        return {name: question[name] for name in field_names(kind) if name != "recipe"}

    missing = [name for name in QUESTION if name not in question]
    if missing:
        raise ValueError("\n".join(f"`{name}` is missing" for name in missing))
    return Trial(
        metaparameters=Metaparameters(**part(Metaparameters)),
        layout=Layout(**part(Layout)),
        protocol=Protocol(**part(Protocol), recipe=Recipe(**part(Recipe))),
        seed=question["seed"],
    )


def _canonical(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    return format(Decimal(repr(value)).normalize(), "f")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a trial found. Equal for equal trials on one machine's processor.

    Accuracies are percent, losses nats per picture. `diverged_step` is the first step whose loss
    was not finite, -1 where all were; accuracies of a diverged trial are those of its last
    finite weights, its losses may be NaN.
    """

    params: int
    macs: int
    activations: int
    peak_activation_bytes: int
    size_bytes: int
    status: str
    top1: float
    top5: float
    loss: float
    val_top1: float
    val_loss: float
    train_top1: float
    train_loss: float
    classes_predicted: int
    steps: int
    diverged_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstance:
    """How and where a trial was run: nothing here is promised to repeat."""

    seconds: float
    device: str
    threads: int
    machine: str
    finished: str
    versions: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The flat row that a finished trial leaves: question, answer, circumstance."""

    trial: Trial
    answer: Answer
    circumstance: Circumstance

    def row(self) -> dict[str, Any]:
        """The record as one flat row, `trial_id` first."""
        parts = (self.answer, self.circumstance)
        rest = {n: getattr(part, n) for part in parts for n in field_names(type(part))}
        return {"trial_id": self.trial.trial_id, **self.trial.question, **rest}


def record_from(row: Mapping[str, Any]) -> Record:
    """The record of a flat row; raises `ValueError` where the row is not one.

    The row's `trial_id` must be that of its question: a changed value is not believed.
    """
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError(f"`{missing[0]}` is missing")
    record = Record(
        trial=trial_from(row),
        answer=Answer(**{n: row[n] for n in ANSWER}),
        circumstance=Circumstance(**{n: row[n] for n in CIRCUMSTANCE}),
    )
    if record.trial.trial_id != row["trial_id"]:
        raise ValueError(f"`trial_id` must be the hash of the question, got {row['trial_id']}")
    return record


def status_of(*, val_top1: float, pictures: int, classes: int, predicted: int, step: int) -> str:
    """The status of a finished training, decided on the validation part alone.

    `never_learned`: `val_top1` (percent) is within three standard deviations of guessing over
    `pictures`; `partly_dead`: some class is never predicted; `diverged`: the loss was not finite
    at `step` (-1: it always was).

    >>> status_of(val_top1=11.0, pictures=300, classes=10, predicted=1, step=-1)
    'never_learned'
    """
    if step >= 0:
        return "diverged"
    chance = 1 / classes
    bound = chance + 3 * math.sqrt(chance * (1 - chance) / pictures)
    if val_top1 <= 100 * bound:
        return "never_learned"
    return "learned" if predicted == classes else "partly_dead"


def _question_names() -> tuple[str, ...]:
    parts = (Metaparameters, Layout, Protocol, Recipe)
    names = [n for part in parts for n in field_names(part) if n != "recipe"]
    return (*names, "seed")


QUESTION = _question_names()
ANSWER = tuple(f.name for f in fields(Answer))
CIRCUMSTANCE = tuple(f.name for f in fields(Circumstance))
COLUMNS = ("trial_id", *QUESTION, *ANSWER, *CIRCUMSTANCE)
"""The columns of a record, in order; the three groups are `QUESTION`, `ANSWER`, `CIRCUMSTANCE`."""
