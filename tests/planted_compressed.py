"""Tables of made-up compressed networks whose effects are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from planted import planted

from dse.trial.compression import Settings, effective

SR = (0.125, 0.25, 0.5, 1.0)
Way = tuple[Mapping[str, Any], float, float]
"""Settings, how many times smaller the file is, and the points that are lost."""
EIGHT: Way = ({"method": "ristretto", "bits": 8}, 4.0, 0.0)
FOUR: Way = ({"method": "ristretto", "bits": 4}, 8.0, 6.0)
SVD: Way = ({"method": "svd"}, 2.0, 30.0)


def compressed_networks(
    ways: Iterable[Way],
    accuracy: Callable[[Mapping[str, Any]], float],
    seeds: Iterable[int] = range(5),
    **axes: Iterable[Any],
) -> pd.DataFrame:
    """A table as of `dse.load_compressed`: a sweep, and each of its trials in some ways.

    Accuracies have noise of 0.2 points, apart from what a seed has in all networks.
    """
    original = _row({"method": "none", "retrain_epochs": 0}, 1.0)
    tables = [planted(accuracy, seeds, 0.2, **axes).assign(compressed_id="", **original)]
    for number, (settings, ratio, lost) in enumerate(ways):
        table = planted(lambda question, lost=lost: accuracy(question) - lost, seeds, 0.2, **axes)
        own = table["trial_id"] + str(number)
        tables.append(table.assign(compressed_id=own, **_row(settings, ratio)))
    whole = pd.concat(tables, ignore_index=True)
    whole["epochs_total"] = whole["epochs"] + whole["retrain_epochs"]
    whole["fp32_bytes"] = whole["size_bytes"]
    return whole.assign(file_bytes=(whole["size_bytes"] / whole.pop("smaller")).astype(int))


def _row(settings: Mapping[str, Any], ratio: float) -> dict[str, Any]:
    known = effective(Settings(**settings))
    return {**{name: getattr(known, name) for name in Settings.__slots__}, "smaller": ratio}
