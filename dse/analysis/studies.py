"""How a study went: the best accuracy or the front it had after each trial and each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
COMPLETE = ("trained", "stored")
ENDED = (*COMPLETE, "stopped", "failed")


def history(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each point of a study (see `dse.results.studies.load`) that has ended, in order.

    Columns: `trial` (from 1), `epochs` trained so far, `state`, `val_top1` in percent, with two
    objectives `cost`, `on_front` and `hypervolume`, with one `best`. The hypervolume is the share
    of the box from cost 0 and accuracy 100 % to the highest cost of the study and accuracy 0 that
    the front so far dominates. A point that was stopped early counts its epochs only.
    """
    ended = [p for p in study["points"] if p["state"] in ENDED]
    whole = [p["state"] in COMPLETE for p in ended]
    accuracy = np.array(
        [p["values"][-1] if w else np.nan for p, w in zip(ended, whole, strict=True)]
    )
    table = pd.DataFrame(
        {
            "trial": np.arange(1, len(ended) + 1),
            "epochs": np.cumsum([p["epochs"] for p in ended], dtype=np.int64),
            "state": [p["state"] for p in ended],
            "val_top1": accuracy,
        }
    )
    if len(study["objectives"]) == 1:
        return table.assign(best=pd.Series(accuracy).cummax().to_numpy())
    cost = np.array([p["values"][0] if w else np.nan for p, w in zip(ended, whole, strict=True)])
    most = np.nanmax(cost) if any(whole) else 1.0
    volumes = [hypervolume(cost[:n], accuracy[:n], most) for n in range(1, len(ended) + 1)]
    return table.assign(cost=cost, on_front=on_front(cost, accuracy), hypervolume=volumes)


def hypervolume(cost: Floats, accuracy: Floats, most: float) -> float:
    """The share of the box from cost 0 to `most` and accuracy 0 to 100 % that points dominate;
    those that are NaN do not count.

    >>> hypervolume(np.array([1.0, 2.0]), np.array([50.0, 100.0]), 4.0)
    0.625
    """
    known = ~np.isnan(cost)
    order = np.argsort(cost[known], kind="stable")
    costs = cost[known][order]
    best = np.maximum.accumulate(accuracy[known][order]) if known.any() else costs
    widths = np.diff(np.append(costs, most))
    return float(np.sum(widths * best) / (100 * most))


def on_front(cost: Floats, accuracy: Floats) -> npt.NDArray[np.bool_]:
    """Which points no other one dominates; none that is NaN."""
    cheaper = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    result: npt.NDArray[np.bool_] = ~np.asarray((cheaper & better).any(axis=1)) & ~np.isnan(cost)
    return result


def front_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """The points on a study's front, the cheapest first: their keys, the cost and the validation
    accuracy; with one objective the best point."""
    table = history(study)
    if table["val_top1"].isna().all():
        return pd.DataFrame()
    ended = [p for p in study["points"] if p["state"] in ENDED]
    chosen = table["on_front"] if "on_front" in table else table["val_top1"] == table["best"].max()
    rows = [
        {
            **ended[place]["point"],
            **dict(zip(study["objectives"], ended[place]["values"], strict=True)),
        }
        for place in table.index[chosen]
    ]
    return pd.DataFrame(rows).sort_values(study["objectives"][0], ignore_index=True)


def refusals(refused: Mapping[str, int]) -> list[str]:
    """A line for each reason why proposals led to no training."""
    return [
        f"{number:,} proposal{'s' if number != 1 else ''} {REASONS[reason]}"
        if reason in REASONS
        else f"{number:,} proposal{'s' if number != 1 else ''} exceeded {reason}"
        for reason, number in _grouped(refused).items()
    ]


REASONS: Mapping[str, str] = {
    "repeat": "repeated a network that the study had already",
    "running": "repeated a network that was being trained",
    "failed": "repeated a network that had failed",
    "invalid": "had values that do not fit together",
}
"""Why proposals led to no training, apart from limits."""


def _grouped(refused: Mapping[str, int]) -> dict[str, int]:
    """The counts by the first word of the reason."""
    counts: dict[str, int] = {}
    for reason, number in refused.items():
        name = reason.partition(":")[0]
        counts[name] = counts.get(name, 0) + number
    return counts


def effect_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each key of a study: how much it matters for accuracy, and in which direction."""
    rows = [
        {
            "key": key,
            "importance": effect["importance"],
            "rank correlation": effect["rank"],
            "best value": effect["best"],
        }
        for key, effect in study["effects"].items()
    ]
    table = pd.DataFrame(rows)
    return table if table.empty else table.sort_values("importance", ascending=False)
