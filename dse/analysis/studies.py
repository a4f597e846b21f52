"""How a study went: the best accuracy or the front it had after each trial and each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.front import pareto
from dse.analysis.hypervolume import hypervolume
from dse.analysis.rendering import counted
from dse.trial.names import short_id

COMPLETE = ("trained", "stored")
ENDED = (*COMPLETE, "stopped", "failed")


def history(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each point of a study (see `dse.results.studies.load`) that has ended, in order.

    Columns: `trial` (from 1), `epochs` trained so far, `state`, `val_top1` in percent, with two
    objectives `cost`, `on_front` and `hypervolume`, with one `best`. The hypervolume is the share
    of the box from cost 0 and accuracy 100% to the highest cost of the study and accuracy 0 that
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
    ends = range(1, len(ended) + 1)
    volumes = [hypervolume(cost[:n], accuracy[:n], (most, 0.0)) / (100 * most) for n in ends]
    on_front = np.zeros(len(ended), dtype=bool)
    on_front[whole] = pareto(cost[whole], accuracy[None, whole])[0]
    return table.assign(cost=cost, on_front=on_front, hypervolume=volumes)


def front_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """The points on a study's front, the cheapest first: their keys, the cost, the validation
    accuracy, and the short ids of their networks; with one objective the best point."""
    table = history(study)
    if table["val_top1"].isna().all():
        return pd.DataFrame()
    ended = [p for p in study["points"] if p["state"] in ENDED]
    chosen = table["on_front"] if "on_front" in table else table["val_top1"] == table["best"].max()
    rows = [
        {
            **ended[place]["point"],
            **dict(zip(study["objectives"], ended[place]["values"], strict=True)),
            "id": ", ".join(map(short_id, _networks(ended[place]))),
        }
        for place in table.index[chosen]
    ]
    return pd.DataFrame(rows).sort_values(study["objectives"][0], ignore_index=True)


def _networks(point: Mapping[str, Any]) -> list[str]:
    """The ids of a point's networks, a seed each; searches of earlier versions kept the trials', or
    none."""
    ids: list[str] = point.get("networks") or point.get("trials") or []
    return ids


def guessing(study: Mapping[str, Any]) -> list[str]:
    """A line where networks on a study's front, or its best one, are no better than guessing."""
    rows = front_rows(study)
    limit = study.get("chance", 0.0)  # searches of earlier versions did not keep it
    low = 0 if rows.empty else int((rows["val_top1"] <= limit).sum())
    front = f"{low:,} of {counted(len(rows), 'network')} on the front"
    what = front if len(study["objectives"]) > 1 else "the best network"
    verb = "is" if low == 1 or what != front else "are"
    text = f"{what} {verb} no better than guessing (accuracy up to {limit:.1f}%)"
    return [text] if low else []


def refusals(refused: Mapping[str, int]) -> list[str]:
    """A line for each reason why proposals led to no training."""
    return [
        f"{counted(number, 'proposal')} {REASONS.get(reason, f'exceeded {reason}')}"
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


def _share(key: str, value: Any, points: Sequence[Mapping[str, Any]]) -> str | None:
    """How many of the points have a value of a key."""
    if value is None:
        return None
    return f"{sum(point.get(key) == value for point in points):,} of {len(points):,}"


def effect_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each key of a study: how much it matters for accuracy, and in which direction.

    `trials` says how many of the trained points have the best value. No column `importance` where
    the study had too few points.
    """
    done = [point["point"] for point in study["points"] if point["state"] in COMPLETE]
    rows = [
        {
            "key": key,
            "importance": effect["importance"],
            "rank correlation": effect["rank"],
            "best value": effect["best"],
            "trials": _share(key, effect["best"], done),
        }
        for key, effect in study["effects"].items()
    ]
    table = pd.DataFrame(rows)
    if table.empty or table["importance"].isna().all():
        return table.drop(columns="importance", errors="ignore")
    return table.sort_values("importance", ascending=False)
