"""The learning rate of each step: a linear warm-up, then the recipe's schedule, in each phase."""

from __future__ import annotations

import math
from collections.abc import Callable

from dse.trial.recipe import Recipe

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "step": lambda share: 0.1 ** int(3 * share),
    "constant": lambda share: 1.0,
}
"""Share of the steps after warm-up (0 to 1) -> share of the peak learning rate."""


LATER = 0.1
"""Peak learning rate of the sparse and of the final phase, as a share of the first one's."""


def warmup_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Steps of warm-up: `warmup` epochs, rounded to whole steps."""
    return round(recipe.warmup * steps_per_epoch)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of `step` (from 0).

    >>> recipe = Recipe(epochs=2, lr=1.0, warmup=0.0, schedule="linear")
    >>> [learning_rate(recipe, step, steps_per_epoch=2) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    warm, total = warmup_steps(recipe, steps_per_epoch), recipe.dense_epochs * steps_per_epoch
    peak = recipe.lr
    for epochs in (recipe.dsd_sparse, recipe.dsd_final):
        if step >= total and epochs:  # count from the beginning of the next phase
            step, total = step - total, epochs * steps_per_epoch
            warm, peak = 0, recipe.lr * LATER
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    share = (step - warm) / max(total - warm, 1)
    return peak * SCHEDULES[recipe.schedule](share)
