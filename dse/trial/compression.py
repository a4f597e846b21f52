"""How a network is compressed: `Settings`, and which of them each method reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dse.space.architecture import field_names
from dse.space.rules import check, integer, knob, one_of, real
from dse.trial.densities import NONE, by_layer
from dse.trial.question import ID_DIGITS

METHODS = ("none", "svd", "prune", "deep_compression", "ristretto")
"""`none` keeps every weight at fp32: with `retrain_epochs`, the network that the others are
compared with at equal total epochs."""

TUNING = 0.25
"""The share of the epochs in which values that are shared or rounded are retrained."""

SEMANTICS = 1
"""The version of what fitting means. A change that may alter a compressed network raises it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One way to compress a trained network.

    Raises `ValueError` for a value outside its rule.
    """

    method: str = knob("deep_compression", one_of(*METHODS), "compression method")
    bits: int = knob(8, integer(2, 8), "bits of a weight: deep_compression, ristretto")
    density: float = knob(
        0.33,
        real(0, 1, above=True),
        "share of the weights to keep, first layer excluded: prune, deep_compression",
    )
    densities: str = knob(
        NONE,
        by_layer(),
        "densities of single layers, such as conv10:0.2-fire8.expand3x3:0.5; the others have "
        "density: prune, deep_compression",
    )
    quality: float = knob(
        0.0,
        real(0, 10),
        "prune weights below this many standard deviations of their layer (0: use density)",
    )
    rounds: int = knob(
        1, integer(1, 100), "times that weights are pruned and retrained: prune, deep_compression"
    )
    bias_bits: int = knob(
        8, integer(0, 16), "bits of a bias in fixed point (0: float32): deep_compression"
    )
    energy: float = knob(
        0.9, real(0, 1, above=True), "share of a layer's squared singular values kept: svd"
    )
    factors: float = knob(
        0.0,
        real(0, 1),
        "share of a layer's weights for its factors, of rank 1 at least (0: by energy): svd",
    )
    margin: float = knob(
        0.5, real(0, 100), "points of val_top1 that narrower numbers may lose: ristretto"
    )
    coder: str = knob("adaptive", one_of("adaptive", "huffman"), "entropy coder of the file")
    phase: str = knob(
        "final",
        one_of("final", "sparse"),
        "the trial's weights: at its end, or after the sparse phase of dense-sparse-dense training",
    )
    retrain_epochs: int = knob(8, integer(0, 10_000), "epochs of retraining in all")
    retrain_lr: float = knob(
        0.5, real(0, 10, above=True), "peak learning rate of retraining, as a share of the trial's"
    )

    def __post_init__(self) -> None:
        check(self)


USES: Mapping[str, tuple[str, ...]] = {
    "none": ("coder", "retrain_epochs", "retrain_lr"),
    "svd": ("energy", "factors", "coder", "retrain_epochs", "retrain_lr"),
    "prune": (
        "density",
        "densities",
        "quality",
        "rounds",
        "coder",
        "retrain_epochs",
        "retrain_lr",
    ),
    "deep_compression": (
        "bits",
        "density",
        "densities",
        "quality",
        "rounds",
        "bias_bits",
        "coder",
        "retrain_epochs",
        "retrain_lr",
    ),
    "ristretto": ("bits", "margin", "coder", "retrain_epochs", "retrain_lr"),
}
"""The settings that each method reads, in addition to `phase`; the others have no effect on it."""

SINCE = {"phase": "final", "densities": NONE}
"""Settings added later, with the neutral value that keeps them out of the identity."""

SETTINGS = field_names(Settings)
"""The names of the settings, in order."""


def used(settings: Settings) -> tuple[str, ...]:
    """The settings that have an effect, `method` first.

    >>> used(Settings(method="prune", quality=1, retrain_epochs=0))
    ('method', 'quality', 'rounds', 'coder', 'retrain_epochs', 'phase')
    """
    idle = {"density", "densities"} if settings.quality else set()
    idle |= {"energy"} if settings.factors else set()
    idle |= set() if settings.retrain_epochs else {"retrain_lr"}
    return ("method", *(name for name in USES[settings.method] if name not in idle), "phase")


def stages(epochs: int) -> tuple[int, int]:
    """Epochs of retraining before weights are shared or rounded, and after that.

    >>> stages(8), stages(1)
    ((6, 2), (1, 0))
    """
    tuning = max(round(TUNING * epochs), 1) if epochs > 1 else 0
    return epochs - tuning, tuning


def too_many_rounds(settings: Settings, prefix: str = "") -> list[str]:
    """The mistake of settings that prune in more rounds than there are epochs for it: with
    deep_compression, those before weights are shared.

    >>> too_many_rounds(Settings(method="prune", rounds=9))
    ['`rounds` must be at most 8 where `retrain_epochs` is 8, got 9']
    >>> too_many_rounds(Settings(rounds=7))
    ['`rounds` must be at most 6 where `retrain_epochs` is 8, got 7']
    """
    epochs, rounds = settings.retrain_epochs, settings.rounds
    shared = stages(epochs)[1] if settings.method == "deep_compression" else 0
    most = max(epochs - shared, 1)
    if "rounds" not in used(settings) or rounds <= most:
        return []
    where = f"where `{prefix}retrain_epochs` is {epochs}"
    return [f"`{prefix}rounds` must be at most {most} {where}, got {rounds}"]


def effective(settings: Settings) -> Settings:
    """The settings with those that have no effect at their defaults.

    >>> effective(Settings(method="svd", bits=4)).bits
    8
    """
    names = used(settings)
    idle: dict[str, Any] = {f.name: f.default for f in fields(settings) if f.name not in names}
    return replace(settings, **idle)


def compressed_id(trial_id: str, settings: Settings) -> str:
    """The identity of a compressed network: its trial, and the settings that have an effect."""
    question: dict[str, Any] = {name: getattr(settings, name) for name in used(settings)}
    question = {name: value for name, value in question.items() if SINCE.get(name) != value}
    question |= {"trial": trial_id, "semantics": SEMANTICS}
    text = json.dumps(question, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]
