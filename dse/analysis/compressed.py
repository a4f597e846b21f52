"""What compression did to the trials of a folder: bytes and accuracies by method."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dse.analysis.rendering import columns, counted, done
from dse.trial.compression import SETTINGS, Settings, used
from dse.trial.names import brief

LINES = 30
"""Maximum number of settings that are listed."""

WORDS = ("network", "method", "settings")
TEXTS = {
    "network": ("network", "{}"),
    "method": ("method", "{}"),
    "settings": ("settings", "{}"),
    "networks": ("networks", "{:,}"),
    "file_bytes": ("file_bytes", "{:,.0f}"),
    "ratio": ("times smaller", "{:.1f}"),
    "top1": ("top1", "{:.2f}"),
    "top1_change": ("change", "{:+z.2f}"),
    "control_change": ("vs none", "{:+z.2f}"),
}
"""The columns of a summary: their headers and formats."""

UNCOMPRESSED = "none"
"""The method that keeps every weight."""

BEFORE = ("top1", "top5", "val_top1")
"""What is compared with the trial as it was trained."""

TINY = 1e-9
"""Points of an accuracy below which a difference is rounding."""

CONTROL = ["trial_id", "phase", "retrain_epochs", "retrain_lr"]
"""What a compressed network shares with its control, the uncompressed one that was retrained."""


def distinct(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `dse.load_compressed` without the files of networks as they were trained (`none`,
    no retraining): the rows of their trials have the same accuracies."""
    as_trained = (table["method"] == UNCOMPRESSED) & (table["retrain_epochs"] == 0)
    as_trained &= (table["phase"] == "final") & (table["compressed_id"] != "")
    return table[~as_trained]


def ways(table: pd.DataFrame) -> list[str]:
    """How each network of a table of `dse.load_compressed` was made, with the settings that vary.

    Such as "uncompressed", "uncompressed, retrained" or "ristretto, bits 6".
    """
    compressed = table[table["compressed_id"] != ""]
    fixed = fixed_settings(compressed)
    texts = []
    for original, method, read in zip(
        table["compressed_id"] == "", table["method"], _read(table), strict=True
    ):
        varying = [f"{name} {brief(v)}" for name, v in read.items() if name not in fixed]
        retrained = "uncompressed, retrained" if read["retrain_epochs"] else "uncompressed"
        name = retrained if method == UNCOMPRESSED else method
        texts.append("uncompressed" if original else ", ".join([name, *varying]))
    return texts


def control_change(table: pd.DataFrame) -> pd.Series[float]:
    """For each network of a table of `dse.load_compressed`, the points of top-1 by which it differs
    from the uncompressed one with equal epochs in all, of the same phase.

    NaN for uncompressed networks, and where that one was not made.
    """
    uncompressed = table["method"] == UNCOMPRESSED
    controls = table[uncompressed].drop_duplicates(CONTROL).set_index(CONTROL)["top1"]
    before = controls.reindex(pd.MultiIndex.from_frame(table[CONTROL])).to_numpy()
    change: pd.Series[float] = (table["top1"] - before).mask(uncompressed)
    return change


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """The compressed networks of a table of `dse.load_compressed`, each with its own trial.

    More columns: `settings`, those that vary among the networks that read them, as text; `ratio`,
    how many times smaller the file is than the trial's weights at fp32; `top1_change`,
    `top5_change` and `val_top1_change`, in points, compared with the trial as it was trained;
    `control_change`.
    """
    original = table["compressed_id"] == ""
    before = table[original].set_index("trial_id")[list(BEFORE)]
    rows = table.assign(control_change=control_change(table))[~original]
    rows["settings"] = _varying(rows)
    rows["ratio"] = rows["fp32_bytes"] / rows["file_bytes"]
    for name in BEFORE:
        rows[f"{name}_change"] = rows[name] - rows["trial_id"].map(before[name]).astype(float)
    return rows


def beyond_margin(rows: pd.DataFrame) -> list[str]:
    """A line on the networks in fixed point, in rows of `compared`, that lose more than `margin`;
    none where all are within it."""
    fixed_point = rows[rows["method"] == "ristretto"]
    lost = int((fixed_point["val_top1_change"] < -fixed_point["margin"] - TINY).sum())
    if not lost:
        return []
    some = f"{lost:,} of {counted(len(fixed_point), 'ristretto network')}"
    rule = "where no width is within it, the widest is taken"
    return [f"val_top1 is lower than as trained by more than the margin in {some}; {rule}"]


def fixed_settings(rows: pd.DataFrame) -> dict[str, Any]:
    """The settings that are equal in all rows that read them."""
    read = _read(rows)
    values = {name: {one[name] for one in read if name in one} for name in SETTINGS}
    return {name: some.copy().pop() for name, some in values.items() if len(some) == 1}


def _varying(rows: pd.DataFrame) -> list[str]:
    """The other settings that each row reads, as text."""
    fixed = fixed_settings(rows)
    return [
        " ".join(f"{name}={brief(value)}" for name, value in one.items() if name not in fixed)
        for one in _read(rows)
    ]


def _read(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The settings that each row reads, without the method."""
    records: Any = rows[list(SETTINGS)].to_dict("records")
    return [{name: row[name] for name in used(Settings(**row))[1:]} for row in records]


def by_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `compared` -> a row for each method and its settings: means over their networks.

    Columns: `network` and `settings` (where they vary), `method`, `networks`, `file_bytes`,
    `ratio`, `stored_density`, `epochs_total`, `top1`, `top1_change`, `control_change` (NaN where it
    is not known for each network; no such column where it never is).
    """
    names = ["network"] if rows["network"].nunique() > 1 else []
    groups = rows.groupby([*names, "method", "settings"], sort=False)
    means = ["file_bytes", "ratio", "stored_density", "epochs_total", "top1", "top1_change"]
    found = groups[means].mean()
    found["control_change"] = (
        groups["control_change"].mean().mask(groups["control_change"].count() < groups.size())
    )
    found.insert(0, "networks", groups.size())
    found = found.reset_index()
    missing = [] if found["settings"].any() else ["settings"]
    missing += ["control_change"] if found["control_change"].isna().all() else []
    return found.drop(columns=missing)


def summary(rows: pd.DataFrame, asked: int) -> str:
    """`by_settings` as text, with the settings that vary in these rows; `asked` is how many
    networks were to be compressed."""
    count = done(len(rows), asked, "compressed network")
    if rows.empty:
        return count
    found = by_settings(rows.assign(settings=_varying(rows)))
    names = [name for name in TEXTS if name in found]
    header = [TEXTS[name][0] for name in names]
    sides = ["<" if name in WORDS else ">" for name in names]
    lines = [
        ["" if pd.isna(one[name]) else TEXTS[name][1].format(one[name]) for name in names]
        for one in found.head(LINES).to_dict("records")
    ]
    text = f"{count}; means, top-1 of the decoded files, percent, and its change since training"
    more = [f"and {len(found) - LINES:,} more settings"] if len(found) > LINES else []
    if "control_change" in found:
        more.append("vs none: compared with the uncompressed network retrained for as many epochs")
    elif rows["retrain_epochs"].any() and set(rows["method"]) != {UNCOMPRESSED}:
        more.append("Part of a change is due to retraining: method=none shows how much.")
    more += beyond_margin(rows)
    fixed = " ".join(f"{name}={brief(value)}" for name, value in fixed_settings(rows).items())
    return "\n".join([text, *columns([header, *lines], sides), *more, f"fixed: {fixed}"])
