"""What a layer loses when it alone is pruned, as text, and the densities that keep it small."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep
from dse.analysis.rendering import columns
from dse.trial.densities import joined
from dse.trial.names import written

SHOWN = 7
"""Maximum number of densities in the text: more do not fit in 80 columns."""

TINY = 1e-9
"""Points of an accuracy below which a difference is rounding."""


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `dse.compress.sensitivity` with `change`: `val_top1` minus that of the whole
    network, points. Of several networks, it has a column `seed`.

    Raises `NoSweep` for a table without rows or without the density 1.
    """
    table = table if "seed" in table else table.assign(seed=0)
    whole = table[table["density"] == 1].groupby("seed")["val_top1"].first()
    if table.empty or not set(table["seed"]) <= set(whole.index):
        raise NoSweep("there is no accuracy of the whole network, at density 1")
    return table.assign(change=table["val_top1"] - table["seed"].map(whole))


def _means(table: pd.DataFrame) -> tuple[dict[str, dict[float, float]], list[float]]:
    """The mean change over the seeds by layer and density, and the densities, descending."""
    groups = changes(table).groupby(["layer", "density"], sort=False)["change"]
    means: dict[str, dict[float, float]] = {}
    rows: Any = groups.mean().reset_index().to_dict("records")
    for row in rows:
        means.setdefault(row["layer"], {})[row["density"]] = row["change"]
    return means, sorted({density for one in means.values() for density in one}, reverse=True)


def within(table: pd.DataFrame, margin: float) -> dict[str, float]:
    """By layer, in the network's order, the smallest measured density down to which it alone loses
    at most `margin` points, the mean over the seeds."""
    means, densities = _means(table)
    found = {}
    for layer, own in means.items():
        for density in densities:
            if own[density] < -margin - TINY:
                break
            found[layer] = density
    return found


def text(table: pd.DataFrame, margin: float) -> list[str]:
    """The mean changes as lines, the most sensitive layer first and equal ones in the network's
    order, and `densities` for `margin`."""
    means, densities = _means(table)
    found, pruned = within(table, margin), densities[1:]
    if len(pruned) > SHOWN:
        pruned = [pruned[round(n * (len(pruned) - 1) / (SHOWN - 1))] for n in range(SHOWN)]
    rows = [
        [layer, *(f"{means[layer][density]:+z.1f}" for density in pruned), written(found[layer])]
        for layer in sorted(means, key=lambda layer: round(sum(means[layer].values()), 6))
    ]
    header = ["layer", *map(written, pruned), "within"]
    points = f"{written(margin)} point{'' if margin == 1 else 's'}"
    return [
        "change of val_top1, points, where one layer alone is pruned to a density",
        *columns([header, *rows], ["<", *">" * (len(header) - 1)]),
        f"within: the smallest density down to which the layer loses at most {points}",
        "Losses of several layers add up: measure these densities together, with",
        f"densities={joined(found)}",
    ]
