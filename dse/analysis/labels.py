"""The label of every column on an axis, with its unit, and the scale that it is drawn on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from dse.space.architecture import LAYOUTS, Layout, Metaparameters
from dse.space.rules import one_of
from dse.trial.compressed import Measured
from dse.trial.compression import Settings
from dse.trial.names import LAYOUT, OUTCOMES, brief
from dse.trial.protocol import Protocol
from dse.trial.question import QUESTION, Trial
from dse.trial.recipe import Recipe
from dse.trial.record import Answer, Circumstance

PARTS = (
    *(Metaparameters, Layout, Protocol, Recipe, Trial, Answer, Circumstance),
    *(Settings, Measured),
)
MEANINGS = {
    item.name: item.metadata["meaning"]
    for part in PARTS
    for item in fields(part)
    if "meaning" in item.metadata
}
"""What each column holds, as its field says."""
RULES = {
    item.name: item.metadata["rule"]
    for part in PARTS
    for item in fields(part)
    if "rule" in item.metadata and part is not Circumstance
} | {LAYOUT: one_of(*LAYOUTS)}
"""What each column of questions, settings and results may hold."""
LABELS = MEANINGS | {
    "top1": "top-1 on the test set (%)",
    "top5": "top-5 on the test set (%)",
    "val_top1": "top-1 on the validation set (%)",
    "train_top1": "training top-1 over the last epoch (%)",
    "loss": "loss on the test set (nats per image)",
    "val_loss": "loss on the validation set (nats per image)",
    "train_loss": "training loss over the last epoch (nats per image)",
    "seconds": "time of one trial (seconds)",
    "size_bytes": "size of the weights at fp32",
    "macs": "multiply-accumulates for one image",
    "peak_activation_bytes": "most memory for activations, one image",
    "normalise": "normalisation of the images",
    "init": "initial weights",
    "layout": "layout of the network",
    "status": "how training ended",
    "diverged_step": "first step with a non-finite loss or gradient",
    "dead_step": "steps after which a dead run was stopped",
    "file_bytes": "length of the compressed file",
    "fp32_bytes": "weights of the trial at fp32",
    "epoch": "epoch",
    "study": "study",
    "study_trial": "trial of the study",
}
"""The same for an axis: in other words where a meaning is too long."""
ACCURACIES = ("top1", "top5", "val_top1", "train_top1")
UNITED = (*ACCURACIES, "loss", "val_loss", "train_loss", "seconds", "epoch")
BYTES = ("size_bytes", "peak_activation_bytes", "file_bytes", "fp32_bytes")
COUNTS = ("params", "macs", "activations")
KILO, MEGA = 2**10, 2**20
LOGARITHMIC = (*BYTES, *COUNTS, "lr", "weight_decay", "seconds")
"""Columns that are drawn on a logarithmic axis where they span a factor of `WIDE`."""
WIDE = 4.0
MOST_TICKS = 12
"""More ticks than this do not fit on an axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How a column is drawn: where its values are, and what its axis says.

    `position` maps values to numbers on the axis. `ticks` are the places of the values of a field
    of the question, if they are few, and `names` what is written there where it is text.
    """

    label: str
    position: Callable[[Any], Any]
    ticks: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


def scale(name: str, values: Sequence[Any]) -> Scale:
    """The scale of a column with these values; text has its places 0, 1, ... in this order."""
    data = pd.Series(list(values))
    if not is_numeric(data):
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return Scale(
            label=label(name),
            position=lambda shown: np.array([places[value] for value in shown], dtype=float),
            ticks=tuple(places.values()),
            names=tuple(value_text(name, value) for value in places),
        )
    small, large = float(data.min()), float(data.max())
    text, unit = _unit(name, min(large, 100 * small) if small > 0 else large)
    ticks = np.unique(data.astype(float)) if name in QUESTION else ()
    return Scale(
        label=text,
        position=lambda shown: np.asarray(shown, dtype=float) / unit,
        ticks=tuple(map(float, ticks)) if len(ticks) <= MOST_TICKS else (),
    )


def value_text(name: str, value: Any) -> str:
    r"""A value of a column for a figure: a `status` in words, others as on the command line.

    >>> value_text("status", "never_learned"), value_text("sr", 0.5), value_text("device", "a$b")
    ('at chance', '0.5', 'a\\$b')
    """
    return OUTCOMES[value] if name == "status" else brief(value).replace("$", r"\$")


def words(setting: Mapping[str, Any]) -> str:
    """Values with their names, without those that are missing: "pct3x3 0.25, bypass simple"."""
    known = {name: value for name, value in setting.items() if not pd.isna(value)}
    return ", ".join(_named(name, value_text(name, value)) for name, value in known.items())


def _named(name: str, text: str) -> str:
    """A value after its name; each with its own, for several fields that vary together.

    >>> _named("sr", "0.5"), _named("method, retrain_epochs", "prune, 2")
    ('sr 0.5', 'method prune, retrain_epochs 2')
    """
    names, texts = name.split(", "), text.split(", ")
    if len(names) != len(texts):
        return f"{name} {text}"
    return ", ".join(f"{one} {value}" for one, value in zip(names, texts, strict=True))


def spaced(ticks: Sequence[float], room: int) -> list[float]:
    """Those ticks, from the left, that are far enough apart where there is room for `room`.

    >>> spaced([0.01, 0.125, 0.25, 0.5, 0.99], room=5)
    [0.01, 0.25, 0.5, 0.99]
    """
    kept: list[float] = []
    for tick in ticks:
        if not kept or (tick - kept[-1]) * room >= ticks[-1] - ticks[0]:
            kept.append(tick)
    return kept


def is_numeric(values: pd.Series[Any]) -> bool:
    """Whether a column holds numbers; true and false are text."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def label(name: str) -> str:
    """A column's meaning, with its unit or its name.

    >>> label("val_top1"), label("sr")
    ('top-1 on the validation set (%)', 'squeeze ratio: squeeze / expand filters (sr)')
    """
    if name not in LABELS:
        return name
    return LABELS[name] if name in UNITED else f"{LABELS[name]} ({name})"


def _unit(name: str, largest: float) -> tuple[str, float]:
    """The label of a column of numbers, and how much of it is 1 on the axis.

    >>> _unit("size_bytes", 4_993_696)
    ('size of the weights at fp32 (MB of 2$^{20}$ bytes)', 1048576)
    >>> _unit("macs", 832_700_000)
    ('multiply-accumulates for one image (millions)', 1000000)
    """
    meaning = LABELS.get(name, name)
    if name in BYTES:
        if largest < 2 * MEGA:
            return f"{meaning} (KB of 2$^{{10}}$ bytes)", KILO
        return f"{meaning} (MB of 2$^{{20}}$ bytes)", MEGA
    if name in COUNTS:
        for unit, word in ((1_000_000, "millions"), (1_000, "thousands")):
            if largest >= 2 * unit:
                return f"{meaning} ({word})", unit
    return label(name), 1


def logarithmic(name: str, values: Any) -> bool:
    """Whether a column's axis is logarithmic unless the user says otherwise."""
    data = np.asarray(values)
    return name in LOGARITHMIC and bool(data.min() > 0 and data.max() >= WIDE * data.min())


def log_ticks(low: float, high: float, room: int = MOST_TICKS) -> list[float]:
    """Round numbers for a logarithmic axis from `low` to `high` where there is `room` for so many.

    >>> log_ticks(0.9, 25), log_ticks(0.9, 2500, room=5), log_ticks(54, 79)
    ([1.0, 2.0, 5.0, 10.0, 20.0], [1.0, 10.0, 100.0, 1000.0], [55.0, 60.0, 65.0, 70.0, 75.0])
    """
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    finer = [np.arange(10, 100, every) / 10 for every in (5, 2, 1)]
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), *finer):
        every = [float(f"{step * 10.0**power:.3g}") for power in powers for step in steps]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= (4 if len(steps) <= 3 else 3):
            break
    kept = set(spaced([float(np.log10(tick)) for tick in ticks], room))
    return [tick for tick in ticks if float(np.log10(tick)) in kept]
