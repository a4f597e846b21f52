"""The settings of `python -m dse.search`, and their rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any

from dse.space.cost import Cost
from dse.space.rules import Rule, duration, integer, one_of
from dse.sweep.keys import GROUPS, RULES, Setting
from dse.sweep.keys import SETTINGS as OF_SWEEP
from dse.trial.compression import Settings

SAMPLERS = ("random", "tpe", "gp", "nsga2", "annealing", "grid")
STOPPING = ("none", "median", "halving", "front")
ACCURACY = "val_top1"
ON_CHIP = "on_chip_bytes"
COSTS = (*(item.name for item in fields(Cost)), ON_CHIP)
"""What a network costs: those of `dse.space.cost`, and the bytes of its weights with the most bytes
of activations alive at once, which is the memory that a chip needs without any outside it."""

COMPRESSED_BYTES = "compressed_bytes"
"""The length of the file that a trained network is compressed to, mean over its seeds."""
COMPRESS = "compress."
CHEAP = {"method": "deep_compression", "density": 1.0, "bits": 6, "retrain_epochs": 0}
"""How a network is compressed unless the user says otherwise: no weight is pruned, each layer
shares 64 values, and nothing is retrained."""

UNITS: Mapping[str, int] = {
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    "k": 10**3, "M": 10**6, "G": 10**9,
}  # fmt: skip

NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,9})?(?:[eE]\+?\d{1,2})?) ?([A-Za-z]*)")


def amount() -> Rule:
    """A number of bytes or of anything else; a unit may follow it.

    >>> [amount().read(text) for text in (50e6, "50M", "0.5MB", "8.5 MiB")]
    [50000000, 50000000, 500000, 8912896]
    """

    def read(value: Any) -> int:
        match = NUMBER.fullmatch(str(value))
        if isinstance(value, bool) or not match or match[2] not in UNITS:
            raise ValueError
        number = int(Fraction(match[1]) * UNITS[match[2]])  # exact, as limits are
        if not 0 < number < 2**63:
            raise ValueError
        return number

    examples = "50e6, 100kB, 0.5MB (10**6 bytes), 64KiB or 4.8MiB (2**20 bytes)"
    return Rule(f"a number above 0 such as {examples}", read)


def text() -> Rule:
    """Any printable text."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError
        return value

    return Rule("text", read)


def unknown_before_training() -> Rule:
    """No value: a cost that is known only after training cannot be a limit."""

    def read(_: Any) -> None:
        raise ValueError

    return Rule(
        "left out, since a compressed file's length is known only after training: limit "
        "max.size_bytes",
        read,
    )


OWN: Mapping[str, Setting] = {
    "sampler": Setting(one_of(*SAMPLERS), "what proposes networks", "tpe"),
    "n_trials": Setting(
        integer(1, 1_000_000), "distinct networks to train in all, resumed studies included", 40
    ),
    "timeout": Setting(duration(), "start no more trials after this time", math.inf),
    "objective": Setting(
        one_of(ACCURACY, *COSTS, COMPRESSED_BYTES),
        f"{ACCURACY}, or a cost and {ACCURACY} joined by a comma, for their Pareto front",
        ACCURACY,
    ),
    **{f"max.{name}": Setting(amount(), f"upper limit on {name}", 0) for name in COSTS},
    **{
        COMPRESS + item.name: Setting(
            item.metadata["rule"],
            item.metadata["meaning"],
            CHEAP.get(item.name, item.default),
        )
        for item in fields(Settings)
        if item.name != "phase"
    },
    "stopping": Setting(one_of(*STOPPING), "rule that stops unpromising trials early", "none"),
    "study": Setting(OF_SWEEP["name"].rule, "name of the study in the results folder", ""),
    "study_seed": Setting(integer(0, 2**31 - 1), "seed of the sampler", 0),
    "storage": Setting(text(), "URL of a PostgreSQL database, postgresql://USER@HOST/NAME", ""),
}
"""What a search has in addition to a sweep."""

OWN_TEXT = {name for name, setting in OWN.items() if setting.rule.kind != "number"}
LEFT_OUT = ("budget", "limit", "runner.processes_per_trial")
SETTINGS: Mapping[str, Setting] = {
    **OWN,
    f"max.{COMPRESSED_BYTES}": Setting(unknown_before_training(), "", None),
    **{name: setting for name, setting in OF_SWEEP.items() if name not in LEFT_OUT},
}
KEYS = (*RULES, *SETTINGS, *GROUPS)
"""All keys of a search's command line."""
