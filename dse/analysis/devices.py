"""Whether trials ran on different kinds of devices, whose results differ slightly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dse.analysis.rendering import counted

if TYPE_CHECKING:
    import pandas as pd


def mixed_devices(table: pd.DataFrame) -> str:
    """A sentence that names the devices of a table's trials; empty where there is only one.

    >>> import pandas as pd
    >>> mixed_devices(pd.DataFrame({"device": ["cpu", "NVIDIA H200", "cpu"]}))
    'Trained on different devices: cpu (2 trials), NVIDIA H200 (1 trial).'
    """
    if "device" not in table or table["device"].nunique() < 2:
        return ""
    counts = table["device"].value_counts()
    listed = ", ".join(f"{name} ({counted(count, 'trial')})" for name, count in counts.items())
    return f"Trained on different devices: {listed}."
