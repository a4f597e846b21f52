"""The record that a trial leaves: its question, its answer, its circumstance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from dse.space.architecture import field_names
from dse.space.rules import Rule, check, integer, knob, one_of, real
from dse.trial.question import QUESTION, SINCE, Missing, Trial, trial_from

STATUSES = ("learned", "partly_dead", "never_learned", "diverged")


def _loss() -> Rule:
    """Nats per image; infinity becomes NaN."""

    def read(value: Any) -> float:
        number = float(value)
        if number < 0:
            raise ValueError
        return number if math.isfinite(number) else math.nan

    return Rule("at least 0, or NaN", read, "number")


def _text() -> Rule:
    """Text that no spreadsheet runs as a formula: it begins with a letter or a digit."""

    def read(value: Any) -> str:
        if not (isinstance(value, str) and value.isprintable() and value[:1].isalnum()):
            raise ValueError
        return value

    return Rule("printable text that begins with a letter or a digit", read)


COUNT = integer(0, 2**63 - 1)
PERCENT = real(0, 100)
LOSS = _loss()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The result of a trial: equal for equal trials on one machine's CPU.

    A diverged trial has the accuracies of its weights before `diverged_step`, which equals `steps`
    where the loss after the last step was not finite. Raises `ValueError` for a value outside its
    rule.
    """

    params: int = knob(MISSING, COUNT, "weights and biases")
    macs: int = knob(MISSING, COUNT, "multiply-accumulates for one image")
    activations: int = knob(MISSING, COUNT, "outputs of all layers with weights for one image")
    peak_activation_bytes: int = knob(MISSING, COUNT, "most bytes alive at once, one image")
    size_bytes: int = knob(MISSING, COUNT, "bytes of the weights at fp32")
    status: str = knob(MISSING, one_of(*STATUSES), "how training ended: see `status_of`")
    top1: float = knob(MISSING, PERCENT, "top-1 accuracy on the test set, percent")
    top5: float = knob(MISSING, PERCENT, "top-5 accuracy on the test set, percent")
    loss: float = knob(MISSING, LOSS, "loss on the test set, nats per image")
    val_top1: float = knob(MISSING, PERCENT, "top-1 accuracy on the validation set, percent")
    val_loss: float = knob(MISSING, LOSS, "loss on the validation set, nats per image")
    train_top1: float = knob(MISSING, PERCENT, "top-1 accuracy over the last epoch, percent")
    train_loss: float = knob(MISSING, LOSS, "loss over the last epoch, nats per image")
    classes_predicted: int = knob(MISSING, COUNT, "classes predicted on the validation set")
    steps: int = knob(MISSING, COUNT, "steps of the optimizer, of the last attempt")
    diverged_step: int = knob(
        MISSING,
        integer(-1, 2**63 - 1),
        "first step, from 0, without a finite loss and gradient, or -1",
    )
    dead_step: int = knob(
        MISSING, integer(-1, 2**63 - 1), "steps after which the run was stopped as dead, or -1"
    )
    restarts: int = knob(MISSING, COUNT, "dead attempts before this one")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstance:
    """How and where a trial was run; none of it is promised to repeat.

    Raises `ValueError` for a value outside its rule.
    """

    seconds: float = knob(
        MISSING, real(0, math.inf), "loading, training and judging, without pauses, seconds"
    )
    device: str = knob(MISSING, _text(), "what it was trained on: cpu, or the name of a GPU")
    threads: int = knob(MISSING, integer(1, 65_536), "threads of the training")
    machine: str = knob(MISSING, _text(), "the CPU's model, if known, and its architecture")
    finished: str = knob(MISSING, _text(), "time it finished: ISO 8601, UTC")
    versions: str = knob(MISSING, _text(), "name=version of the software used, joined by spaces")
    peak_memory_bytes: int = knob(0, COUNT, "most memory used of a GPU, bytes (0: not measured)")

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

    Raises `ValueError` where a column is missing, a value is outside its rule, or `trial_id` is not
    the hash of the question, so that a changed value is refused.
    """
    row = {**SINCE, "semantics": 1, **row}
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise Missing(missing)
    record = Record(
        trial=trial_from(row),
        answer=Answer(**{n: row[n] for n in ANSWER}),
        circumstance=Circumstance(**{n: row[n] for n in CIRCUMSTANCE}),
    )
    if record.trial.trial_id != row["trial_id"]:
        raise ValueError(f"`trial_id` must be the hash of the question, got {row['trial_id']}")
    return record


def status_of(*, val_top1: float, guess: float, missed: int, step: int) -> str:
    """The status of a finished training, decided on the validation set alone.

    The first that applies: `diverged` where the loss or its gradient was not finite at `step` (-1:
    they always were); `never_learned` where `val_top1` is at most `guess` (both in percent, see
    `dse.trial.protocol.chance`); `partly_dead` where some classes (`missed`) were never predicted;
    `learned`.

    >>> status_of(val_top1=11.0, guess=15.2, missed=9, step=-1)
    'never_learned'
    """
    if step >= 0:
        return "diverged"
    if val_top1 <= guess:
        return "never_learned"
    return "partly_dead" if missed else "learned"


ANSWER = field_names(Answer)
CIRCUMSTANCE = field_names(Circumstance)
COLUMNS = ("trial_id", *QUESTION, *ANSWER, *CIRCUMSTANCE)
"""The columns of a record, in order; the three groups are `QUESTION`, `ANSWER`, `CIRCUMSTANCE`."""
