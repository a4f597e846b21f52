"""Whether trials ran on different kinds of devices, whose results differ slightly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dse.analysis.rendering import counted

if TYPE_CHECKING:
    import pandas as pd


def mixed_devices(table: pd.DataFrame) -> str:
    """A sentence that names the devices of a table's trials or compressed networks, each counted
    once; empty where there is only one.

    >>> import pandas as pd
    >>> mixed_devices(pd.DataFrame({"device": ["cpu", "NVIDIA H200", "cpu"]}))
    'Trained on different devices: cpu (2 trials), NVIDIA H200 (1 trial).'
    """
    if "device" not in table or table["device"].nunique() < 2:
        return ""
    noun = "compressed network" if "compressed_id" in table else "trial"
    counts = once(table)["device"].value_counts()
    listed = ", ".join(f"{name} ({counted(count, noun)})" for name, count in counts.items())
    return f"Trained on different devices: {listed}."


def once(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each trial, or compressed network, once."""
    ids = [name for name in ("trial_id", "compressed_id") if name in table]
    return table.drop_duplicates(ids) if ids else table


def times_comparable(table: pd.DataFrame) -> bool:
    """Whether the trials ran on one kind of device and CPU, with as many threads each and one
    version of torch."""
    own = table[[name for name in ("device", "threads", "machine") if name in table]]
    if "versions" in table:
        own = own.assign(torch=torch_of(table["versions"]))
    return own.columns.empty or len(own.drop_duplicates()) <= 1


def torch_of(versions: pd.Series[Any]) -> pd.Series[str]:
    """The version of torch in each value of `versions`, missing where it names none."""
    return versions.astype(str).str.extract(r"\btorch=(\S+)", expand=False)
