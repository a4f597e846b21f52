"""The learning rate of each step: a linear warm-up, then the recipe's schedule."""

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


def warmup_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Steps of warm-up: `warmup` epochs, rounded to whole steps."""
    return round(recipe.warmup * steps_per_epoch)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of `step` (from 0).

    >>> recipe = Recipe(epochs=2, lr=1.0, warmup=0.0, schedule="linear")
    >>> [learning_rate(recipe, step, steps_per_epoch=2) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    warm, total = warmup_steps(recipe, steps_per_epoch), recipe.epochs * steps_per_epoch
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(total - warm, 1)
    return recipe.lr * SCHEDULES[recipe.schedule](share)
