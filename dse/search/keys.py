"""The settings of `python -m dse.search`, and their rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dse.space.amounts import amount
from dse.space.cost import Cost
from dse.space.rules import Rule, duration, flag, integer, one_of
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
DENSITIES = "densities"
"""The setting that names layers, which a search does not have: its networks differ in them."""
CHEAP = {"method": "deep_compression", "density": 1.0, "bits": 6, "retrain_epochs": 0}
"""How a network is compressed unless the user says otherwise: no weight is pruned, each layer
shares 64 values, and nothing is retrained."""


def text() -> Rule:
    """Any printable text."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError
        return value

    return Rule("text", read)


OWN: Mapping[str, Setting] = {
    "sampler": Setting(one_of(*SAMPLERS), "what proposes networks", "tpe"),
    "n_trials": Setting(
        integer(1, 1_000_000), "distinct networks to train in all, resumed studies included", 40
    ),
    "warm_start": Setting(
        flag(),
        "begin with networks that the folder has already; they count towards n_trials",
        False,
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
        if item.name not in ("phase", DENSITIES)
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
    **{name: setting for name, setting in OF_SWEEP.items() if name not in LEFT_OUT},
}
KEYS = (*RULES, *SETTINGS, *GROUPS)
"""All keys of a search's command line."""
