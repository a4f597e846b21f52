"""The section of a report on compressed networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pandas as pd

from dse.analysis.axes import TooMany, sweep
from dse.analysis.budgets import at_budgets
from dse.analysis.compressed import beyond_margin, by_settings, compared, fixed_settings
from dse.analysis.compression_tables import (
    BUDGETS_ABOUT,
    TABLE2_ABOUT,
    budget_sentences,
    readable_budgets,
    readable_table2,
)
from dse.analysis.rendering import counted
from dse.analysis.table2 import table2
from dse.report.page import Point, Section, Table
from dse.report.sections import ROWS
from dse.trial.compression import SETTINGS
from dse.trial.names import short_id, written

TEXT = (
    "Every size is the length of a file, and every accuracy that of the network decoded from it. "
    "Changes are in points: top1_change from the same trial as it was trained, control_change from "
    "the uncompressed network retrained for as many epochs (method none), which is the fair "
    "comparison. At each number of bytes, the best compressed and the best uncompressed network, "
    "both by validation accuracy, are compared on the test set, paired by seed."
)
BUDGETS = "At a number of bytes: a small network, or a large one compressed?"
ABOUT = {
    "networks": "compressed networks that the means are over",
    "ratio": "times smaller than the trial's weights at fp32",
    "top1_change": "top-1 compared with the trial as it was trained, points",
    "control_change": "top-1 compared with method none after as many epochs, points",
    "settings": "the settings that vary",
}


def compression(table: pd.DataFrame) -> Section:
    """The compressed networks of a report's trials; empty where there are none."""
    if table.empty or not table["compressed_id"].any():
        return Section(id="compression", title="Compressed networks")
    rows = compared(table)
    fixed = {name: written(value) for name, value in fixed_settings(rows).items()}
    count = counted(len(rows), "compressed network")
    caption = count if len(rows) <= ROWS else f"The first {ROWS:,} of {count}"
    budgets = pd.DataFrame()
    with suppress(TooMany):  # several data sets
        budgets = at_budgets(table)
    sentences = [*(budget_sentences(budgets) if len(budgets) else []), *beyond_margin(rows)]
    return Section(
        id="compression",
        title="Compressed networks",
        headline=f"{count}, {rows['ratio'].min():.1f} to {rows['ratio'].max():.1f} times smaller.",
        text=[TEXT],
        points=[Point(text=one) for one in sentences],
        details={"Settings that all of them have in common": fixed},
        tables=[
            *_table2(table),
            *([Table(BUDGETS, readable_budgets(budgets), BUDGETS_ABOUT)] if len(budgets) else []),
            Table("Means by method", by_settings(rows), ABOUT),
            Table(caption, _each(rows.head(ROWS)), ABOUT),
        ],
    )


def _table2(table: pd.DataFrame) -> Iterator[Table]:
    if "network" in table:
        yield Table("Table 2, here and in the paper", readable_table2(table2(table)), TABLE2_ABOUT)


def _each(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each network: what varies among their trials, the settings and the measures."""
    found = sweep(rows)
    names = [axis.name for axis in found.axes if not set(axis.columns) & set(SETTINGS)]
    varying = ["settings"] if rows["settings"].any() else []
    frame = pd.DataFrame({"id": rows["compressed_id"].map(short_id)})
    control = ["control_change"] if rows["control_change"].notna().any() else []
    columns = [*names, "seed", "method", *varying, *MEASURES, *control]
    return frame.join(found.blank(found.rows)[columns])


MEASURES = ("file_bytes", "ratio", "stored_density", "top1", "val_top1", "top1_change")
