"""At a given number of bytes: is a small network better, or a large one that is compressed?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dse.analysis.axes import Sweep, check_data_set, require, sweep
from dse.analysis.compressed import UNCOMPRESSED, distinct, ways
from dse.analysis.labels import KILO
from dse.analysis.statistics import PERCENT, POINTS, interval
from dse.trial.names import written
from dse.trial.question import QUESTION
from dse.trial.unread import unread

KINDS = ("uncompressed", "compressed")
NONE: Mapping[str, Any] = {
    "words": "",
    "bytes": math.nan,
    "epochs": math.nan,
    "answers": pd.Series(dtype=float),
}
"""Where no network fits."""


def at_budgets(table: pd.DataFrame, budgets: Sequence[float] = ()) -> pd.DataFrame:
    """The best uncompressed and the best compressed network of at most so many bytes.

    `table` is that of `dse.load_compressed`, of one data set; `budgets` are in bytes (default:
    powers of two, in KB, from the smallest file to the largest). A network fits where the file of
    each of its seeds does, and the best has the highest mean validation accuracy; of equal ones,
    the smaller. Uncompressed networks may have been retrained. A row for each budget:

    - `budget_bytes`;
    - `uncompressed` and `compressed`: the network in words, "" where none fits;
    - of each, `..._epochs`, those of training and retraining, `..._bytes`, the mean over the seeds,
      and `..._top1` with its 95% interval (`..._low`, `..._high`), on the test set (top-5 where
      there are many classes), percent;
    - `difference` of the compressed network from the uncompressed one with its 95% interval
      (`difference_low`, `difference_high`), points; over `seeds`, those that both have.

    Raises `ValueError` for a table that is empty or holds a network twice, and `TooMany`, a
    `ValueError` too, for several data sets.
    """
    require(table, "compressed_id", "method", "file_bytes", "val_top1", "epochs_total")
    table = distinct(table)
    found = sweep(table.assign(way=ways(table)))
    check_data_set(found.rows)
    keys: Any = [*(axis.name for axis in found.axes), "way"]
    networks = [_network(found, rows) for _, rows in found.rows.groupby(keys, sort=False)]
    networks.sort(key=lambda one: (-one["val_top1"], one["bytes"]))
    return pd.DataFrame([_row(b, networks) for b in budgets or default_budgets(table)])


def default_budgets(table: pd.DataFrame) -> list[float]:
    """Powers of two, in KB, from the first that a network fits in to the first that all fit in."""
    sizes = table["file_bytes"] / KILO
    ends = [math.ceil(math.log2(end)) for end in (sizes.min(), sizes.max())]
    return [KILO * 2.0**power for power in range(ends[0], ends[1] + 1)]


def _network(found: Sweep, rows: pd.DataFrame) -> dict[str, Any]:
    """One network over its seeds, in words and in numbers."""
    first: Any = rows.iloc[0]
    idle = set(unread(first))
    words = [
        f"{axis.name} {written(first[axis.name])}".removeprefix("network ")
        for axis in found.axes
        if set(axis.columns) & set(QUESTION) and not set(axis.columns) <= idle
    ]
    words.append(first["way"].removeprefix(KINDS[0]).removeprefix(", "))
    return {
        "kind": KINDS[int(first["method"] != UNCOMPRESSED)],
        "words": ", ".join(filter(None, words)) or KINDS[0],
        "bytes": rows["file_bytes"].mean(),
        "epochs": rows["epochs_total"].mean(),
        "largest": rows["file_bytes"].max(),
        "val_top1": rows["val_top1"].mean(),
        "answers": rows.set_index("seed")[found.answer],
    }


def _row(budget: float, networks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best of each kind that fits; `networks` are from the best to the worst."""
    row: dict[str, Any] = {"budget_bytes": budget}
    answers = []
    for kind in KINDS:
        fits = (one for one in networks if one["kind"] == kind and one["largest"] <= budget)
        best = next(fits, NONE)
        answers.append(best["answers"])
        known = interval(best["answers"].tolist() or [math.nan], within=PERCENT)
        row |= {kind: best["words"], f"{kind}_bytes": best["bytes"], f"{kind}_top1": known.mean}
        row |= {f"{kind}_epochs": best["epochs"]}
        row |= {f"{kind}_low": known.low, f"{kind}_high": known.high}
    before, after = answers
    differences = (after - before).dropna()
    gained = interval(differences.tolist() or [math.nan], within=POINTS)
    row |= {"difference": gained.mean, "difference_low": gained.low}
    return row | {"difference_high": gained.high, "seeds": len(differences)}
