"""The means, intervals and tables of benchmarks/arena_judge.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from dse.analysis.rendering import markdown

BUDGETS = (20, 40, 60, 108)
"""Trained networks, or as many epochs, in the tables."""
EVERY = np.arange(1, BUDGETS[-1] + 1)
RESAMPLES = 2000


class Searches(NamedTuple):
    """The searches of one kind: the seed that each saw, and its quality at each of `EVERY`."""

    seeds: np.ndarray
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """The budgets that more than 90% of the searches have."""
        return np.isfinite(self.values).mean(axis=0) > 0.9

    def by_seed(self) -> list[np.ndarray]:
        return [self.values[self.seeds == seed] for seed in np.unique(self.seeds)]


Runs = dict[tuple[str, str, str], Searches]
"""By sampler, objective and early stopping."""


def at_budgets(spent: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """The quality at each of `EVERY`; NaN below the first trial, and more than a training beyond
    the last one."""
    place = np.searchsorted(spent, EVERY + 1e-9, side="right") - 1
    known = (place >= 0) & (spent[-1] + 1 >= EVERY)
    return np.where(known, quality[np.maximum(place, 0)], np.nan)


def seed_means(some: Searches) -> np.ndarray:
    """(seeds, budgets)"""
    return np.array([_mean(values, np.ones((1, len(values))))[0] for values in some.by_seed()])


def resampled(some: Searches, rng: np.random.Generator) -> np.ndarray:
    """The mean over the seeds, of resamples of each seed's searches: (`RESAMPLES`, budgets)."""
    parts = []
    for values in some.by_seed():
        draws = rng.integers(len(values), size=(RESAMPLES, len(values)))
        counts = np.stack([np.bincount(draw, minlength=len(values)) for draw in draws])
        parts.append(_mean(values, counts))
    return np.mean(parts, axis=0)


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means over the searches that have a budget, each counted so many times."""
    weights = counts @ np.isfinite(values)
    return np.where(weights, counts @ np.nan_to_num(values) / np.maximum(weights, 1), np.nan)


def ends(draws: np.ndarray) -> np.ndarray:
    """The ends of the 95% interval: (2, budgets)."""
    return np.quantile(draws, [0.025, 0.975], axis=0)


def summary(runs: Runs) -> pd.DataFrame:
    """Sampler, objective, stopping, budget in whole trainings -> searches, mean, low, high."""
    frames = []
    for (sampler, objective, stopping), some in runs.items():
        low, high = ends(resampled(some, np.random.default_rng(0)))
        mean = seed_means(some).mean(axis=0)
        frame = pd.DataFrame({"budget": EVERY, "mean": mean, "low": low, "high": high})[some.known]
        keys = {"sampler": sampler, "objective": objective, "stopping": stopping}
        frames.append(frame.assign(**keys, searches=len(some.values)))
    return pd.concat(frames)


def _shown(objective: str) -> tuple[int, int]:
    """What a quality is multiplied by, and its decimals."""
    return (1, 2) if objective == "accuracy" else (100, 1)


def means(runs: Runs, objective: str, stopping: str, seeds_of: tuple[str, ...]) -> str:
    """A line for each sampler, a column for each budget: the mean and its 95% interval; of
    `seeds_of`, the mean and those of each seed."""
    scale, digits = _shown(objective)
    lines = []
    for (sampler, *key), some in runs.items():
        if key != [objective, stopping]:
            continue
        seeds = scale * seed_means(some)
        low, high = scale * ends(resampled(some, np.random.default_rng(0)))
        cells = []
        for at in (budget - EVERY[0] for budget in BUDGETS):
            shown = seeds[:, at] if sampler in seeds_of else (low[at], high[at])
            inside = (", " if sampler in seeds_of else " to ").join(
                f"{value:.{digits}f}" for value in shown
            )
            mean = seeds.mean(axis=0)[at]
            cells.append(f"{mean:.{digits}f} ({inside})" if some.known[at] else "-")
        lines.append([sampler, len(some.values), *cells])
    return markdown(["sampler", "searches", *(f"{b} trainings" for b in BUDGETS)], lines)


def differences(runs: Runs, objective: str, base: str) -> str:
    """Each sampler less `base`, without early stopping: the mean, its 95% interval, and by seed."""
    return markdown(
        ["sampler", "trainings", f"less {base}", "by seed"],
        list(_differences(runs, objective, base)),
    )


def _differences(runs: Runs, objective: str, base: str) -> Iterator[list[object]]:
    scale, digits = _shown(objective)
    other = runs[base, objective, "none"]
    for (sampler, *key), some in runs.items():
        if sampler in ("random", base) or key != [objective, "none"]:
            continue
        drawn = (resampled(one, np.random.default_rng(n)) for n, one in enumerate((some, other)))
        sure = ends(np.subtract(*drawn))
        seeds = seed_means(some) - seed_means(other)
        for budget in BUDGETS:
            at = budget - EVERY[0]
            if some.known[at] and other.known[at]:
                numbers = scale * np.array([seeds.mean(axis=0)[at], *sure[:, at], *seeds[:, at]])
                mean, low, high, *each = (f"{number:+z.{digits}f}" for number in numbers)
                yield [sampler, budget, f"{mean} ({low} to {high})", ", ".join(each)]
