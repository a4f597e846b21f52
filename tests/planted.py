"""Tables of made-up records whose effects are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dse.space.architecture import LAYOUTS
from dse.trial.protocol import Protocol
from dse.trial.question import Trial, trial_from
from dse.trial.unread import unread

QUESTION = Trial(layout=LAYOUTS["px16"], protocol=Protocol(image_size=12)).question
SEEDS = range(8)


def planted(
    accuracy: Callable[[Mapping[str, Any]], float],
    seeds: Iterable[int] = SEEDS,
    spread: float = 0.3,
    **axes: Iterable[Any],
) -> pd.DataFrame:
    """A sweep over `axes` in random order: `accuracy` of the question, percent, plus noise.

    Seeds differ by tens of points, which pairing removes; what is left is normal with a standard
    deviation of `spread` points. Test and validation accuracy differ by noise.
    """
    random = np.random.default_rng(7)
    rows = []
    for seed, *values in itertools.product(seeds, *axes.values()):
        chosen = QUESTION | dict(zip(axes, values, strict=True)) | {"seed": seed}
        chosen |= unread(chosen)
        top1, val_top1 = accuracy(chosen) + 5 * np.sin(seed) + random.normal(0, spread, 2)
        sizes = {"size_bytes": int(1e6 * chosen["sr"]), "seconds": 10.0 + seed, "status": "learned"}
        answer = {"top1": float(top1), "top5": 99.0, "val_top1": float(val_top1)}
        trial_id = trial_from(chosen).trial_id
        rows.append({"trial_id": trial_id, **chosen, **sizes, **answer})
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)
