"""Whether trials ran on different kinds of devices, whose results differ slightly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dse.analysis.rendering import counted

if TYPE_CHECKING:
    import pandas as pd

    from dse.analysis.axes import Axis, Sweep


def mixed_devices(table: pd.DataFrame, noun: str = "trial") -> str:
    """A sentence that names the devices of a table's rows, which are a `noun` each; empty where
    there is only one.

    >>> import pandas as pd
    >>> mixed_devices(pd.DataFrame({"device": ["cpu", "NVIDIA H200", "cpu"]}))
    'Trained on different devices: cpu (2 trials), NVIDIA H200 (1 trial).'
    """
    if "device" not in table or table["device"].nunique() < 2:
        return ""
    counts = table["device"].value_counts()
    listed = ", ".join(f"{name} ({counted(count, noun)})" for name, count in counts.items())
    return f"Trained on different devices: {listed}."


def times_comparable(table: pd.DataFrame) -> bool:
    """Whether the trials ran on one kind of device, with as many threads each."""
    own = [name for name in ("device", "threads") if name in table]
    return not own or len(table[own].drop_duplicates()) <= 1


def mixed_pairs(found: Sweep, axis: Axis, values: Sequence[Any]) -> str:
    """The same for the trials that are in a pair of two of the values, and how many pairs mix
    devices: the difference between the devices is part of theirs."""
    if "device" not in found.rows:
        return ""
    others = [other.name for other in found.axes if other is not axis]
    rows = found.rows.dropna(subset=[found.answer])
    devices = rows.pivot(index=["seed", *others], columns=axis.name, values="device")[[*values]]
    devices = devices[devices.notna().sum(axis=1) > 1]
    text = mixed_devices(devices.melt(value_name="device"))
    if not text:
        return ""
    pairs = [devices[[*two]].dropna().nunique(axis=1) for two in combinations(values, 2)]
    mixed, count = sum(int((one > 1).sum()) for one in pairs), sum(map(len, pairs))
    if mixed:
        return f"{text} In {mixed:,} of {counted(count, 'pair')} the two devices differ."
    return f"{text} Both trials of each pair ran on the same device."
