"""The record of a compressed network: its trial, its settings, and what its file measures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from dse.space.architecture import field_names
from dse.space.rules import Rule, check, knob, one_of, real
from dse.trial.compression import SETTINGS, Settings, compressed_id
from dse.trial.question import QUESTION, SINCE, Missing, Trial, trial_from
from dse.trial.record import (
    CIRCUMSTANCE,
    COUNT,
    LOSS,
    PERCENT,
    STATUSES,
    Circumstance,
)


def _digest() -> Rule:
    """A SHA-256 in hexadecimal digits."""

    def read(value: Any) -> str:
        if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
            raise ValueError
        return value

    return Rule("64 hexadecimal digits", read)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured of a compressed network's file: the accuracies are those of the network
    that was decoded from it. Raises `ValueError` for a value outside its rule."""

    file_bytes: int = knob(MISSING, COUNT, "length of the compressed file, bytes")
    file_sha256: str = knob(MISSING, _digest(), "SHA-256 of the compressed file")
    fp32_bytes: int = knob(MISSING, COUNT, "bytes of the trial's weights at fp32: its size_bytes")
    stored_density: float = knob(
        MISSING, real(0, math.inf), "numbers that are stored for each weight: none for a pruned one"
    )
    weight_bits: float = knob(
        0.0, real(0, 32), "mean bits of a stored weight before entropy coding (0: not recorded)"
    )
    epochs_total: int = knob(MISSING, COUNT, "epochs of the trial and of retraining")
    status: str = knob(MISSING, one_of(*STATUSES), "what the network learned: see `status_of`")
    top1: float = knob(MISSING, PERCENT, "top-1 accuracy on the test set, percent")
    top5: float = knob(MISSING, PERCENT, "top-5 accuracy on the test set, percent")
    loss: float = knob(MISSING, LOSS, "loss on the test set, nats per image")
    val_top1: float = knob(MISSING, PERCENT, "top-1 accuracy on the validation set, percent")
    classes_predicted: int = knob(MISSING, COUNT, "classes predicted on the validation set")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressedRecord:
    """The flat row that a compressed network leaves."""

    trial: Trial
    settings: Settings
    measured: Measured
    circumstance: Circumstance

    @property
    def compressed_id(self) -> str:
        """The identity of the network: see `dse.trial.compression.compressed_id`."""
        return compressed_id(self.trial.trial_id, self.settings)

    def row(self) -> dict[str, Any]:
        """The record as one flat row: ids, question, settings, what was measured, circumstance."""
        parts = (self.settings, self.measured, self.circumstance)
        rest = {n: getattr(part, n) for part in parts for n in field_names(type(part))}
        ids = {"compressed_id": self.compressed_id, "trial_id": self.trial.trial_id}
        return {**ids, **self.trial.question, **rest}


def compressed_from(row: Mapping[str, Any]) -> CompressedRecord:
    """The record of a flat row. A setting or `weight_bits` that is missing has its default.

    Raises `ValueError` where another column is missing, a value is outside its rule, or an id is
    not the hash of what it names.
    """
    known = (*fields(Settings), *fields(Measured))
    defaults = {f.name: f.default for f in known if f.default is not MISSING}
    row = {**SINCE, **defaults, **row}
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise Missing(missing)
    record = CompressedRecord(
        trial=trial_from(row),
        settings=Settings(**{n: row[n] for n in SETTINGS}),
        measured=Measured(**{n: row[n] for n in MEASURED}),
        circumstance=Circumstance(**{n: row[n] for n in CIRCUMSTANCE}),
    )
    own = {"trial_id": record.trial.trial_id, "compressed_id": record.compressed_id}
    for name, value in own.items():
        if row[name] != value:
            raise ValueError(f"`{name}` must be {value}, the hash of this row, got {row[name]}")
    return record


MEASURED = field_names(Measured)
COLUMNS = ("compressed_id", "trial_id", *QUESTION, *SETTINGS, *MEASURED, *CIRCUMSTANCE)
"""The columns of a compressed network's record, in order."""
