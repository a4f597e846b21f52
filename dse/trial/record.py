"""A trial: one configuration trained once; its identity, and the record that it leaves.

A `Trial` is a question. Its `trial_id` is a hash of the whole question in canonical form, so
that skipping, resuming, removing duplicates and merging tables of several machines all follow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from typing import Any

from dse.space.architecture import (
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    field_names,
    generate,
    map_sizes,
)
from dse.space.rules import Rule, check, integer, knob, one_of, real
from dse.trial.protocol import Protocol, Recipe

SEMANTICS = 3
"""The version of what training means. A change that may alter an answer raises it, which makes
every trial a new one; a test watches the syntax trees of the modules that decide it."""

SINCE: Mapping[str, Any] = {
    "manifest": "none",
    "normalise": "dataset",
    "dead_after": 0,
    "ladder": "none",
    "dead_step": -1,
    "restarts": 0,
}
"""Fields added after a release, with the neutral value that a record without them means. In a
question it keeps the field out of the identity, so that old results stay valid."""

ID_DIGITS = 20
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
    semantics: int = knob(SEMANTICS, integer(1, SEMANTICS), "version of what training means")

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
        return {**row, "seed": self.seed, "semantics": self.semantics}

    @property
    def trial_id(self) -> str:
        """20 hexadecimal digits (80 bits) of the SHA-256 of the canonical question."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:ID_DIGITS]

    def canonical(self) -> str:
        """The question as one text: names sorted, numbers in one form (1 and 1.0 are equal).

        The declared facts of the data set that training depends on are in it.
        """
        facts = self.protocol.facts
        contents = {n: v for n, v in self.question.items() if n not in SINCE or v != SINCE[n]}
        for name in ("digest", "train", "test", "mean", "std"):
            contents[f"data_{name}"] = getattr(facts, name)
        texts = {name: _canonical(value) for name, value in contents.items()}
        return json.dumps(texts, sort_keys=True, separators=(",", ":"))


def trial_from(question: Mapping[str, Any]) -> Trial:
    """The trial of a flat question: `trial_from(trial.question) == trial`.

    A field of `SINCE` that is not there has its neutral value, and `semantics` today's; keys that
    are not of the question are passed over. Raises `ValueError` for a missing key, a value outside
    its rule, or values that do not fit together.
    """
    whole = {**SINCE, "semantics": SEMANTICS, **question}

    def part(kind: type[Any]) -> dict[str, Any]:
        return {name: whole[name] for name in field_names(kind) if name != "recipe"}

    missing = [name for name in QUESTION if name not in whole]
    if missing:
        raise ValueError("\n".join(f"`{name}` is missing" for name in missing))
    return Trial(
        metaparameters=Metaparameters(**part(Metaparameters)),
        layout=Layout(**part(Layout)),
        protocol=Protocol(**part(Protocol), recipe=Recipe(**part(Recipe))),
        seed=whole["seed"],
        semantics=whole["semantics"],
    )


def _canonical(value: Any) -> str:
    """A value in one written form.

    >>> [_canonical(value) for value in (1, 1.0, 1e-3, True, "none", (0.5, 10))]
    ['1', '1', '0.001', 'true', 'none', '0.5-10']
    """
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, tuple):
        return "-".join(_canonical(item) for item in value)
    return format(Decimal(repr(value)).normalize(), "f")


def _loss() -> Rule:
    """Nats per picture; a loss that is not finite is NaN."""

    def read(value: Any) -> float:
        number = float(value)
        if number < 0:
            raise ValueError
        return number if math.isfinite(number) else math.nan

    return Rule("at least 0, or NaN", read)


def _words() -> Rule:
    """Text that a spreadsheet takes for text: a letter or digit comes first."""

    def read(value: Any) -> str:
        if not (isinstance(value, str) and value.isprintable() and value[:1].isalnum()):
            raise ValueError
        return value

    return Rule("printable text that begins with a letter or a digit", read)


_COUNT = integer(0, 2**63 - 1)
_PERCENT = real(0, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a trial found. Equal for equal trials on one machine's processor.

    Accuracies of a diverged trial are those of its weights before `diverged_step`, which is `steps`
    where the last step left no finite loss. Raises `ValueError` for a value outside its rule.
    """

    params: int = knob(MISSING, _COUNT, "weights and biases")
    macs: int = knob(MISSING, _COUNT, "multiply-accumulates for one picture")
    activations: int = knob(MISSING, _COUNT, "outputs of all convolutions for one picture")
    peak_activation_bytes: int = knob(MISSING, _COUNT, "most bytes alive at once, one picture")
    size_bytes: int = knob(MISSING, _COUNT, "bytes of the weights at fp32")
    status: str = knob(MISSING, one_of(*STATUSES), "how the training ended: see `status_of`")
    top1: float = knob(MISSING, _PERCENT, "top-1 accuracy on the test set, percent")
    top5: float = knob(MISSING, _PERCENT, "top-5 accuracy on the test set, percent")
    loss: float = knob(MISSING, _loss(), "loss on the test set, nats per picture")
    val_top1: float = knob(MISSING, _PERCENT, "top-1 accuracy on the validation part, percent")
    val_loss: float = knob(MISSING, _loss(), "loss on the validation part, nats per picture")
    train_top1: float = knob(MISSING, _PERCENT, "top-1 accuracy over the last epoch, percent")
    train_loss: float = knob(MISSING, _loss(), "loss over the last epoch, nats per picture")
    classes_predicted: int = knob(MISSING, _COUNT, "classes predicted on the validation part")
    steps: int = knob(MISSING, _COUNT, "steps of the optimizer, of the last attempt")
    diverged_step: int = knob(
        MISSING,
        integer(-1, 2**63 - 1),
        "first step, from 0, without finite loss and gradient, or -1",
    )
    dead_step: int = knob(
        MISSING, integer(-1, 2**63 - 1), "steps after which it was given up as dead, or -1"
    )
    restarts: int = knob(MISSING, _COUNT, "dead attempts before this one, rungs of the ladder")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstance:
    """How and where a trial was run: nothing here is promised to repeat.

    Raises `ValueError` for a value outside its rule.
    """

    seconds: float = knob(MISSING, real(0, math.inf), "from its data to its record, seconds")
    device: str = knob(MISSING, _words(), "processor or accelerator")
    threads: int = knob(MISSING, integer(1, 65_536), "threads of the training")
    machine: str = knob(MISSING, _words(), "the processor's architecture")
    finished: str = knob(MISSING, _words(), "when: ISO 8601, UTC")
    versions: str = knob(MISSING, _words(), "name=version of what took part, joined by spaces")

    def __post_init__(self) -> None:
        check(self)


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
    """The record of a flat row: `record_from(record.row())` has the same row.

    Raises `ValueError` where the row is not one: a column is missing, a value is outside its
    rule, or `trial_id` is not that of the question, so that a changed value is not believed.
    """
    row = {**SINCE, "semantics": 1, **row}
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError("\n".join(f"`{name}` is missing" for name in missing))
    record = Record(
        trial=trial_from(row),
        answer=Answer(**{n: row[n] for n in ANSWER}),
        circumstance=Circumstance(**{n: row[n] for n in CIRCUMSTANCE}),
    )
    if record.trial.trial_id != row["trial_id"]:
        raise ValueError(f"`trial_id` must be the hash of the question, got {row['trial_id']}")
    return record


def status_of(*, val_top1: float, guess: float, missed: int, step: int) -> str:
    """The status of a finished training, decided on the validation part alone.

    In this order. `diverged`: the loss or its gradient was not finite at `step`, or the loss after
    so many steps (-1: never); `never_learned`: `val_top1` (percent) is at most what a `guess`
    reaches; `partly_dead`: some classes were `missed`, never predicted; else `learned`.

    >>> status_of(val_top1=11.0, guess=15.2, missed=9, step=-1)
    'never_learned'
    """
    if step >= 0:
        return "diverged"
    if val_top1 <= guess:
        return "never_learned"
    return "partly_dead" if missed else "learned"


def _question_names() -> tuple[str, ...]:
    parts = (Metaparameters, Layout, Protocol, Recipe)
    names = [n for part in parts for n in field_names(part) if n != "recipe"]
    return (*names, "seed", "semantics")


QUESTION = _question_names()
ANSWER = tuple(f.name for f in fields(Answer))
CIRCUMSTANCE = tuple(f.name for f in fields(Circumstance))
COLUMNS = ("trial_id", *QUESTION, *ANSWER, *CIRCUMSTANCE)
"""The columns of a record, in order; the three groups are `QUESTION`, `ANSWER`, `CIRCUMSTANCE`."""
