"""How a study went: what it had found after each trial and each epoch, and its front over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from dse.analysis.axes import NoSweep
from dse.analysis.front import pareto
from dse.analysis.studies import history
from dse.figures.plotting import COLOURS, DASHES, OURS, WIDTH, Figure, caption, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = {0.25: "a quarter", 0.5: "half", 1.0: "all"}
"""After which shares of the trials the front is drawn."""

NAMES = {"compressed_bytes": "length of the compressed file"}
"""What a cost is called on its axis, if not by its key."""


def study_figure(study: Mapping[str, Any], title: str = "", note: str = "") -> Figure:
    """What a study (see `dse.results.studies.load`) had found over time.

    With one objective: every accuracy, and the best so far, against trials and epochs. With two:
    accuracy against cost with the front after a quarter, half and all of the trials, and the share
    of the box that the front dominates, against trials and epochs. `note` is added to the caption.
    Raises `NoSweep` below two trained points.
    """
    table = history(study)
    known = table[table["val_top1"].notna()]
    if len(known) < 2:
        raise NoSweep("the study has fewer than two trained points")
    two = len(study["objectives"]) == 2
    with style():
        figure = Figure(figsize=(WIDTH, 5.4 if two else 2.9), layout="constrained")
        grid = figure.add_gridspec(1 + two, 2, height_ratios=(1.5, 1) if two else (1,))
        if two:
            _front(figure.add_subplot(grid[0, :]), known, study["objectives"][0])
        left = figure.add_subplot(grid[-1, 0])
        right = figure.add_subplot(grid[-1, 1], sharey=left)
        for axes, x in ((left, "trial"), (right, "epochs")):
            _progress(axes, known, x, "hypervolume" if two else "best")
        right.tick_params(labelleft=False)
        stopped = int((table["state"] == "stopped").sum())
        if title:
            figure.suptitle(title, fontsize="medium")
        caption(
            figure,
            f"Sampler {study['sampler']}; validation accuracy, mean over the seeds of a point.",
            f"Of networks decoded from their compressed files ({way})."
            if (way := study.get("compression"))
            else "",
            "Hypervolume: the share of the area below 100% accuracy and up to the study's highest "
            "cost that the front dominates."
            if two
            else "A dot is a point, the line the best so far.",
            f"{stopped:,} points were stopped early and count their epochs only."
            if stopped
            else "",
            note,
        )
    return figure


def _front(axes: Axes, known: pd.DataFrame, cost: str) -> None:
    """All points, and the front after each of `SHARES`."""
    axes.plot(known["cost"], known["val_top1"], "o", color="0.7", markersize=3, linestyle="none")
    for number, (share, words) in enumerate(SHARES.items()):
        rows = known.head(max(1, round(share * len(known))))
        own = pareto(rows["cost"].to_numpy(float), rows["val_top1"].to_numpy(float)[None])[0]
        front = rows[own].sort_values("cost")
        axes.step(
            front["cost"], front["val_top1"], where="post", color=COLOURS[number],
            linestyle=DASHES[len(SHARES) - 1 - number], marker="o", markersize=3.5,
            label=f"after {words} of the trials" if share < 1 else "after all trials",
        )  # fmt: skip
    name = NAMES.get(cost, cost)
    axes.set_xlabel(f"{name} (bytes)" if cost.endswith("bytes") else name)
    axes.set_ylabel("validation top-1 (%)")
    if known["cost"].min() > 0 and known["cost"].max() > 10 * known["cost"].min():
        axes.set_xscale("log")
    axes.legend(loc="lower right", frameon=False)


def _progress(axes: Axes, known: pd.DataFrame, x: str, y: str) -> None:
    """The best so far, or the share that the front dominates."""
    if y == "best":
        axes.plot(known[x], known["val_top1"], "o", color="0.7", markersize=3, linestyle="none")
        axes.set_ylabel("validation top-1 (%)" if x == "trial" else "")
    else:
        axes.set_ylabel("hypervolume" if x == "trial" else "")
    axes.step(known[x], known[y], where="post", color=OURS)
    axes.set_xlabel("trials" if x == "trial" else "epochs trained")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlim(left=0, right=max(1, float(np.max(known[x])) * 1.02))
