"""How a study went: the best accuracy or the front it had after each trial and each epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.front import hypervolume, pareto
from dse.analysis.rendering import counted
from dse.trial.names import short_id

COMPLETE = ("trained", "stored")
ENDED = (*COMPLETE, "stopped", "failed")
WORDS = {
    "stored": "already in the folder",
    "trained": "trained",
    "stopped": "stopped early",
    "failed": "failed",
    "running": "not finished",
}
BEST, MEASURED = 10, ("params", "size_bytes", "top1")
"""Maximum number of trials in the table of the best ones, and what it has from their records."""


def trials(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each point of a study (see `dse.results.studies.load`), in order, as
    `dse.load_study` returns them."""
    rows = []
    for place, point in enumerate(study["points"], 1):
        is_whole = point["state"] in COMPLETE
        values = point["values"] if is_whole else [math.nan] * len(study["objectives"])
        row = {
            "study_trial": place,
            **point["point"],
            "state": point["state"],
            "epochs_trained": point["epochs"],
            **dict(zip(study["objectives"], values, strict=True)),
            "stopped_val_top1": point.get("last", math.nan),
            **point.get("costs", {}),  # searches of earlier versions did not keep them
            "trial_id": " ".join(point.get("trials", ())),
        }
        if study.get("compression"):
            row["compressed_id"] = " ".join(_networks(point)) if is_whole else ""
        rows.append(row)
    return pd.DataFrame(rows)


def history(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each point of a study (see `dse.results.studies.load`) that has ended, in order.

    Columns: `trial` (its place in the study, from 1), `epochs` trained so far, `state`, `val_top1`
    in percent, with two objectives `cost`, `on_front` and `hypervolume`, with one `best`. The
    hypervolume is the share of the box from cost 0 and accuracy 100% to the highest cost of the
    study and accuracy 0 that the front so far dominates. A point that was stopped early counts its
    epochs only.
    """
    places = [n for n, p in enumerate(study["points"], 1) if p["state"] in ENDED]
    ended = [study["points"][n - 1] for n in places]
    whole = [p["state"] in COMPLETE for p in ended]
    accuracy = np.array(
        [p["values"][-1] if w else np.nan for p, w in zip(ended, whole, strict=True)]
    )
    table = pd.DataFrame(
        {
            "trial": np.array(places, dtype=np.int64),
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
    """The points on a study's front, the cheapest first: the trial (see `history`), its keys, the
    cost, the validation accuracy, and the short ids of its networks; with one objective the best
    point."""
    table = history(study)
    if table["val_top1"].isna().all():
        return pd.DataFrame()
    chosen = table["on_front"] if "on_front" in table else table["val_top1"] == table["best"].max()
    rows = _rows(study, table["trial"][chosen])
    return rows.sort_values(study["objectives"][0], ignore_index=True)


def best_rows(study: Mapping[str, Any], networks: pd.DataFrame) -> pd.DataFrame:
    """The best trials by the study's own objectives, with what their records say, for information.

    With a cost the front, as `front_rows` has it, else the `BEST` with the highest validation
    accuracy, of equal ones the smallest first. `networks` has the columns `MEASURED` of networks by
    their ids; shown are means over the seeds, nothing where one of them is missing.
    """
    rows = front_rows(study)
    if rows.empty:
        return rows
    if is_one := len(study["objectives"]) == 1:
        table = history(study)
        rows = _rows(study, table["trial"][table["val_top1"].notna()])
        rows = rows.nlargest(BEST, "val_top1", keep="all")
    known = networks.reindex(columns=[*MEASURED])
    means = [
        known.reindex(_networks(study["points"][trial - 1])).mean(skipna=False)
        for trial in rows["trial"]
    ]
    for name in MEASURED:
        if name not in rows:
            rows[name] = [float(mean[name]) for mean in means]
    if is_one:
        rows = rows.sort_values(["val_top1", "size_bytes"], ascending=[False, True], kind="stable")
        rows = rows.head(BEST)
    last = [*study["objectives"], "top1", "id"]
    return rows[[*(name for name in rows if name not in last), *last]]


def _rows(study: Mapping[str, Any], trials: Iterable[int]) -> pd.DataFrame:
    """A row for each of some trials that are done."""
    points = {trial: study["points"][trial - 1] for trial in trials}
    return pd.DataFrame(
        {
            "trial": trial,
            **point["point"],
            **dict(zip(study["objectives"], point["values"], strict=True)),
            "id": ", ".join(map(short_id, _networks(point))),
        }
        for trial, point in points.items()
    )


def counts(study: Mapping[str, Any]) -> str:
    """How many trials a study has had, and how many of them ended in which way."""
    states = Counter(point["state"] for point in study["points"])
    words = WORDS | ({"trained": "trained to the end"} if states["stopped"] else {})
    had, asked = len(study["points"]), study.get("n_trials", 0)
    of = f"{had:,} of " if had < asked else ""
    ended = [f"{states[state]:,} {word}" for state, word in words.items() if states[state]]
    return ", ".join([f"{of}{counted(max(had, asked), 'trial')}", *ended])


def reached(study: Mapping[str, Any]) -> str:
    """The best validation accuracy of a study and, with two objectives, how many points its front
    has."""
    table = history(study)
    known = table["val_top1"].notna().any()
    best = f"best validation accuracy {table['val_top1'].max():.1f}%" if known else "no result yet"
    if known and "on_front" in table:
        return f"{counted(int(table['on_front'].sum()), 'point')} on the front, {best}"
    return best


def ending(study: Mapping[str, Any]) -> str:
    """Why a study has ended, as a sentence after a space; "" where its counts say the same."""
    ended = study["ended"]
    return "" if not ended or ended.endswith((" done", " already")) else f" {ended.capitalize()}."


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


def survivors(study: Mapping[str, Any]) -> list[str]:
    """A line where which keys matter is not said because trials were stopped early."""
    count, had = stopped(study), counted(len(study["points"]), "trial")
    text = f"{count:,} of {had} were stopped early, and those left were chosen by their accuracy"
    return [f"no table of which keys matter: {text}"] if count and study["effects"] else []


def stopped(study: Mapping[str, Any]) -> int:
    """How many trials of a study were stopped early."""
    return sum(point["state"] == "stopped" for point in study["points"])


def _share(key: str, value: Any, points: Sequence[Mapping[str, Any]]) -> str | None:
    """How many of the points have a value of a key."""
    if value is None:
        return None
    return f"{sum(point.get(key) == value for point in points):,} of {len(points):,}"


def effect_rows(study: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each key of a study: how much it matters for accuracy, and in which direction.

    `trials` says how many of the trained points have the best value. No column `importance` where
    the study had too few points. Empty where trials were stopped early: those that are left were
    chosen by their accuracy.
    """
    if stopped(study):
        return pd.DataFrame()
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
