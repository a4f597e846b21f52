"""The section of a report on compressed networks."""

from __future__ import annotations

import pandas as pd

from dse.analysis.axes import sweep
from dse.analysis.compressed import by_settings, compared, fixed_settings
from dse.analysis.rendering import counted
from dse.report.page import Section, Table
from dse.trial.compression import SETTINGS
from dse.trial.names import short_id, written

ROWS = 2000
"""Maximum number of rows of a table on the page."""

TEXT = (
    "Every size is the length of a file, and every accuracy that of the network decoded from it. "
    "A change compares it with its own trial as it was trained, in points; retraining has added "
    "epochs, so a fair comparison is with method none at the same epochs_total."
)
ABOUT = {
    "networks": "compressed networks that the means are over",
    "ratio": "times smaller than the trial's weights at fp32",
    "top1_change": "top-1 compared with the trial as it was trained, points",
    "settings": "the settings that vary",
}


def compression(table: pd.DataFrame) -> Section:
    """The compressed networks of a report's trials; empty where there are none."""
    if table.empty or not table["compressed_id"].any():
        return Section(id="compression", title="Compressed networks")
    rows = compared(table)
    fixed = {name: written(value) for name, value in fixed_settings(rows).items()}
    count = counted(len(rows), "compressed network")
    return Section(
        id="compression",
        title="Compressed networks",
        headline=f"{count}, {rows['ratio'].min():.1f} to {rows['ratio'].max():.1f} times smaller.",
        text=[TEXT],
        details={"Settings that all of them have in common": fixed},
        tables=[
            Table("Means by method", by_settings(rows), ABOUT),
            Table(_caption(len(rows)), _each(rows.head(ROWS)), ABOUT),
        ],
    )


def _caption(count: int) -> str:
    text = counted(count, "compressed network")
    return text if count <= ROWS else f"The first {ROWS:,} of {text}"


def _each(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each network: what varies among their trials, the settings and the measures."""
    found = sweep(rows)
    names = [axis.name for axis in found.axes if not set(axis.columns) & set(SETTINGS)]
    varying = ["settings"] if rows["settings"].any() else []
    frame = pd.DataFrame({"network": rows["compressed_id"].map(short_id)})
    return frame.join(found.rows[[*names, "seed", "method", *varying, *MEASURES]])


MEASURES = ("file_bytes", "ratio", "stored_density", "top1", "top1_change", "val_top1")
