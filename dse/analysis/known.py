"""Which trials have the values to be shown, which networks learned, and both in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, require
from dse.analysis.rendering import counted
from dse.analysis.selection import STEPS
from dse.trial.names import outcomes

UNLEARNED = ("never_learned", "diverged")
"""How a training ended whose network is no better than guessing, or has no finite loss."""


def finite(found: Sweep, *columns: str) -> tuple[Sweep, str]:
    """The sweep without the trials that have no value in a column, and how many, in words.

    A value is missing where it is NaN, where a trial does not read the field, and where one of the
    `STEPS` is -1: it did not happen.

    Raises `NoSweep` where no trial is left, or the table lacks a column.
    """
    require(found.rows, *columns)
    rows = found.blank(found.rows)
    unknown = {
        name: rows[name].isna() | ((rows[name] < 0) if name in STEPS else False)
        for name in dict.fromkeys(columns)
    }
    lacking = " or ".join(name for name, rows in unknown.items() if rows.any())
    known = found.rows[~np.logical_or.reduce(list(unknown.values()))]
    count = len(found.rows) - len(known)
    if known.empty:
        raise NoSweep(f"no trial has a value of {lacking}")
    lost = f"Not shown: {counted(count, 'trial')} without a value of {lacking}." if count else ""
    return replace(found, rows=known), lost


def learned(found: Sweep) -> pd.Series[bool]:
    """For each row, whether its configuration learned with any seed, that is, whether one of its
    trainings did not end `UNLEARNED`. In a table without `status` all did."""
    rows = found.rows
    if "status" not in rows:
        return pd.Series(True, rows.index)
    names: Any = [rows[axis.name] for axis in found.axes] or np.zeros(len(rows), dtype=int)
    return (~rows["status"].isin(UNLEARNED)).groupby(names).transform("any")


def ended(rows: pd.DataFrame) -> str:
    """How the trainings ended, unless all learned or it is not known."""
    known = "status" in rows and not (rows["status"] == "learned").all()
    return f"{outcomes(rows)}." if known else ""


def off_front(found: Sweep) -> str:
    """How the trainings ended, and where some networks did not learn, that they are on no front."""
    off = "A network that did not learn with any seed is not on the front."
    return " ".join(filter(None, (ended(found.rows), "" if learned(found).all() else off)))
