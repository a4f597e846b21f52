"""The paper's Table 2 (compressed networks), measured here next to the published one.

Every size is the length of a file, and every accuracy that of the network decoded from it. As
retraining adds epochs, each method is also compared with the uncompressed network after as many.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep, check_once, require
from dse.analysis.compressed import control_change, distinct
from dse.analysis.statistics import PERCENT, POINTS, interval
from dse.analysis.table3 import FIXED
from dse.paper.published import TABLE_2, Table2Row
from dse.trial.compression import METHODS, SETTINGS, USES, Settings, used
from dse.trial.names import written
from dse.trial.question import QUESTION
from dse.trial.unread import unread

NETWORKS = {"alexnet": "AlexNet", "squeezenet": "SqueezeNet"}
PAPER = {
    ("alexnet", "none", 32): "alexnet",
    ("alexnet", "svd", 32): "svd",
    ("alexnet", "prune", 32): "pruning",
    ("alexnet", "deep_compression", 8): "deep_compression",
    ("squeezenet", "none", 32): "squeezenet",
    ("squeezenet", "deep_compression", 8): "squeezenet_8bit",
    ("squeezenet", "deep_compression", 6): "squeezenet_6bit",
}
"""Network, method and bits of a weight -> the row of the paper's Table 2."""


def table2(table: pd.DataFrame) -> pd.DataFrame:
    """Table 2: a row for each network and each way it was compressed, means over the seeds.

    `table` has a row per compressed network and, as `method` none without retraining, per trial
    (`dse.load_compressed`). The columns:

    - `network`, what else varies between the trials, `method`, and the settings that vary ("" where
      a network does not read one);
    - `bits` of a stored weight (ristretto: the widest that was allowed), `seeds`;
    - `fp32_bytes` and `file_bytes`, their `ratio`, and `factor`: how many times smaller the file is
      than the fp32 weights of the uncompressed AlexNet for the same data (NaN without one);
    - `top1` with its 95% interval, and `top5`, of the decoded network, percent;
    - `change`, in points of top-1 with its interval: the difference, paired by trial, from the
      uncompressed network with equal epochs in all, of the same `phase` (NaN where that was not
      trained for each seed);
    - the paper's size and accuracies, on ImageNet, one run each.

    Raises `NoSweep` where the table lacks a column, or is empty, and `ValueError` where it holds a
    network twice.
    """
    ids, answers = ("trial_id", "compressed_id"), ("file_bytes", "fp32_bytes", "top1", "top5")
    require(table, *ids, "network", "data", *SETTINGS, *answers)
    if table.empty:
        raise NoSweep("there are no networks")
    check_once(table)
    table = distinct(table)
    names = [name for name in (*QUESTION, *SETTINGS) if name in table and name != "seed"]
    varied = table.groupby("network")[names].nunique().gt(1).any()  # not only between networks
    keys = [name for name in names if name in ("network", "method") or varied[name]]
    alexnets = table[_uncompressed(table) & (table["network"] == "alexnet")]
    alexnet_bytes = alexnets.groupby("data")["fp32_bytes"].mean()
    table = table.assign(change=control_change(table))
    groups = list(table.groupby(keys, sort=False))
    found = pd.DataFrame(
        _row(dict(zip(keys, key, strict=True)), rows, alexnet_bytes) for key, rows in groups
    )
    values = pd.DataFrame([key for key, _ in groups], columns=keys)  # in `found` some are text
    order = values.assign(
        method=found["method"].map(METHODS.index),
        **({"bits": found["bits"]} if "bits" in keys else {}),
    )
    return found.loc[order.sort_values([*keys], kind="stable").index].reset_index(drop=True)


def _uncompressed(table: pd.DataFrame) -> pd.Series[bool]:
    return (table["method"] == "none") & (table["retrain_epochs"] == 0)


def _row(
    key: dict[str, Any],
    rows: pd.DataFrame,
    alexnet_bytes: pd.Series[float],
) -> dict[str, Any]:
    """One row of the table: the networks of one setting, which differ in their seed."""
    bits = int(rows["bits"].iloc[0]) if "bits" in USES[key["method"]] else 32
    size, original = rows["file_bytes"].mean(), rows["fp32_bytes"].mean()
    top1 = interval(rows["top1"].tolist(), within=PERCENT)
    known = rows["change"].notna().all()
    change = interval(rows["change"].tolist(), within=POINTS) if known else None
    read = _read(rows.iloc[0])
    settings = {
        name: written(value) if name in read else ""
        for name, value in key.items()
        if name not in ("network", "method", "bits")
    }
    return {
        **key,
        **settings,
        "bits": bits,
        "seeds": len(rows),
        "fp32_bytes": original,
        "file_bytes": size,
        "ratio": original / size,
        "factor": alexnet_bytes.get(rows["data"].iloc[0], math.nan) / size,
        "top1": top1.mean,
        "top1_low": top1.low,
        "top1_high": top1.high,
        "top5": rows["top5"].mean(),
        "change": change.mean if change else math.nan,
        "change_low": change.low if change else math.nan,
        "change_high": change.high if change else math.nan,
        **_published(rows.iloc[0], bits),
    }


def _read(row: Any) -> set[str]:
    """The fields and settings that a network reads; no file has been coded for a trial itself."""
    idle = set(unread(row)) | ({"coder"} if row["method"] == "none" else set())
    return {*QUESTION, *used(Settings(**{name: row[name] for name in SETTINGS}))} - idle


def _published(first: Any, bits: int) -> dict[str, Any]:
    """The paper's numbers; empty where its table has no such row."""
    key = PAPER.get((first["network"], first["method"], bits))
    fixed = {**FIXED, "bypass": "none"}
    own = first["network"] == "alexnet" or all(first[name] == v for name, v in fixed.items())
    retrained = first["method"] == "none" and first["retrain_epochs"]
    rows = TABLE_2 if own and not retrained else ()
    row: Table2Row | None = next((row for row in rows if row.key == key), None)
    if row is None:
        return {"paper_size": "", "paper_top1": math.nan, "paper_top5": math.nan}
    return {"paper_size": f"{row.size}MB", "paper_top1": row.top1, "paper_top5": row.top5}
