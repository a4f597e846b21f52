"""Sweeps of made-up records: real questions, exact costs, planted accuracies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from dse.space.architecture import LAYOUTS, Metaparameters
from dse.space.cost import cost
from dse.trial.protocol import Protocol
from dse.trial.question import Trial, trial_from

SR = (0.125, 0.25, 0.5, 0.75, 1.0)
PCT = (0.01, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.99)
WIRES = {"none": 0.0, "simple": 0.5, "complex": -0.25}
POOLS = {"1-2-3": -3.0, "1-4-8": 0.0, "7-8-9": 2.0}
SEEDS = {0: 0.0, 1: 2.0, 2: 5.0}
"""Seeds differ by points: only paired differences show the effect of a bypass."""

BASE = Trial(
    metaparameters=Metaparameters(base_e=16, incr_e=16, sr=0.5),
    layout=replace(LAYOUTS["px16"], norm="batch", head_relu=False),
    protocol=Protocol(image_size=12),
)


def planted(row: dict[str, Any]) -> float:
    """A question's top-1 accuracy, percent; simple bypass gains 0.1 more from seed to seed."""
    return (
        50
        + 30 * math.sqrt(row["sr"])
        - 20 * (row["pct3x3"] - 0.5) ** 2
        + WIRES[row["bypass"]]
        + (row["seed"] - 1) * 0.1 * (row["bypass"] == "simple")
        + POOLS.get(row["pool_after"], 0.0)
        + (row["base_e"] - 16) / 4
        + (row["incr_e"] - 16) / 16
        - (row["freq"] - 2)
        + SEEDS[row["seed"]]
    )


def swept(**axes: Iterable[Any]) -> list[dict[str, Any]]:
    """The rows of a sweep."""
    rows = []
    for values in itertools.product(*({"seed": SEEDS} | axes).values()):
        chosen = dict(zip({"seed": SEEDS} | axes, values, strict=True))
        trial = trial_from(BASE.question | chosen)
        price = cost(trial.architecture, trial.protocol.image_size)
        answer = {
            "macs": price.macs,
            "size_bytes": price.size_bytes,
            "status": "learned",
            "top1": planted(trial.question),
            "top5": planted(trial.question) + 5,
        }
        rows.append({"trial_id": trial.trial_id, **trial.question, **answer})
    return rows


def shuffled(*sweeps: list[dict[str, Any]]) -> pd.DataFrame:
    """A folder's table after several sweeps, in random order."""
    together = pd.DataFrame(itertools.chain(*sweeps)).drop_duplicates("trial_id")
    return together.sample(frac=1, random_state=1).reset_index(drop=True)


def made(*sweeps: list[dict[str, Any]], **changes: Any) -> pd.DataFrame:
    """Rows of made-up sweeps with the other columns of a record; `changes` are to all rows."""
    table = shuffled(*sweeps)
    table["val_top1"] = table["top1"] + 1
    table["seconds"] = 1 + table["macs"] / 1e6 + table["seed"] / 10
    table["loss"] = 3 - table["top1"] / 50
    table["params"] = table["size_bytes"] // 4
    table["activations"] = table["macs"] // 20
    return table.assign(**changes)
