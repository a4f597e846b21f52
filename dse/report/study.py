"""The section of a report on the searches of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from dse.analysis import folder as reading
from dse.analysis.axes import NoSweep
from dse.analysis.rendering import counted
from dse.analysis.studies import (
    MEASURED,
    best_rows,
    counts,
    effect_rows,
    ending,
    guessing,
    history,
    reached,
    refusals,
    survivors,
)
from dse.figures.importing import import_matplotlib
from dse.report.page import Figure, Point, Section, Table
from dse.results import compressed
from dse.results.studies import GRID

ABOUT = {
    "importance": "share of what leads to the best tenth of the validation accuracies (PED-ANOVA); "
    "shares add up to 1 even where no key matters",
    "rank correlation": "Spearman's, of the key's value with validation accuracy",
    "best value": "the value with the highest mean validation accuracy",
    "trials": "how many of the trained networks have the best value",
}
TRIAL = {
    "trial": "its place in the study, from 1",
    "on_chip_bytes": "bytes of the weights, and the most of activations in memory at once",
    "id": "the beginning of its trial_id, for each seed",
}
DECODED = {
    **TRIAL,
    "compressed_bytes": "length of the compressed file, mean over the seeds, bytes",
    "val_top1": "top-1 accuracy of the decoded file on the validation set, percent",
    "top1": "top-1 accuracy of the decoded file on the test set, percent",
    "id": "the beginning of its compressed_id, for each seed",
}
"""What the columns mean where compressed bytes are sought."""
EVEN = ("random", GRID)
"""Samplers that choose values regardless of what they found."""
TEXT = (
    f"A sampler proposed these networks one after the other: {' and '.join(EVEN)} regardless of "
    "what they found, the others by the validation accuracies of those before. What exceeds a "
    "limit was never trained, and no network twice."
)


def networks_of(folder: Path, studies: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The columns `MEASURED` of the networks of a folder with studies, by their ids."""
    if not studies:
        return pd.DataFrame(columns=[*MEASURED])
    trials = reading.load(folder).set_index("trial_id")
    parts = [trials[[*MEASURED]]]
    if any(study.get("compression") for study in studies.values()):
        files = compressed.load(folder, trials.reset_index())
        files = files[files["compressed_id"] != ""].rename(columns={"fp32_bytes": "size_bytes"})
        parts.append(files.set_index("compressed_id")[[*MEASURED]])
    return pd.concat(parts)


def searches(
    studies: Mapping[str, Mapping[str, Any]], networks: pd.DataFrame | None = None
) -> Section:
    """The studies of a folder (see `dse.results.studies.load`); empty where there are none.

    `networks` are what `networks_of` gives.
    """
    known = pd.DataFrame() if networks is None else networks
    found = [(name, study) for name, study in studies.items() if study["points"]]
    return Section(
        id="search",
        title="Searches",
        text=[TEXT] if found else [],
        points=[
            Point(
                text=_sentence(name, study),
                more=[*refusals(study["refused"]), *survivors(study), *guessing(study)],
            )
            for name, study in found
        ],
        figures=[figure for name, study in found for figure in _figures(name, study)],
        tables=[table for name, study in found for table in _tables(name, study, known)],
    )


def _sentence(name: str, study: Mapping[str, Any]) -> str:
    """What a study was, and how far it came."""
    table = history(study)
    limits = "".join(f", {key} at most {most:,}" for key, most in study["limits"].items())
    way = study.get("compression")
    limits += f", of networks decoded from their compressed files ({way})" if way else ""
    epochs = counted(int(table["epochs"].iloc[-1]), "epoch") if len(table) else "no epochs"
    return (
        f"Study {name} (sampler {study['sampler']}, "
        f"objective {' and '.join(study['objectives'])}{limits}): "
        f"{counts(study)}; {epochs} trained; {reached(study)}.{ending(study)}"
    )


def _tables(name: str, study: Mapping[str, Any], networks: pd.DataFrame) -> Iterator[Table]:
    """The best trials, and which keys matter."""
    if len(rows := best_rows(study, networks)):
        costs = study["objectives"][:-1]  # bytes and counts, means over the seeds
        rows = rows.assign(**{cost: rows[cost].round().astype(int) for cost in costs})
        about = DECODED if study.get("compression") else TRIAL
        what = "The front" if costs else _best(study, len(rows))
        yield Table(f"{what}, by validation accuracy: {name}", rows, about)
    if len(rows := effect_rows(study)):
        is_even = study["sampler"] in EVEN and not study.get("warm_start")
        chosen = "" if is_even else "; the values were not chosen evenly"
        yield Table(f"Which keys matter for accuracy: {name}{chosen}", rows, ABOUT)


def _best(study: Mapping[str, Any], shown: int) -> str:
    """What the table of the best trials shows."""
    accuracies = history(study)["val_top1"]
    tied = int((accuracies == accuracies.max()).sum())
    best = f"{shown} best trials" if shown > 1 else "best trial"
    return f"The {best}{f' ({tied:,} tied for the first place)' if tied > 1 else ''}"


def _figures(name: str, study: Mapping[str, Any]) -> list[Figure]:
    import_matplotlib()
    from dse.figures.plotting import encoded
    from dse.figures.study import study_figure

    with suppress(NoSweep):
        (svg,) = encoded(study_figure(study), "svg")
        return [Figure(name=f"study_{name}", svg=svg, caption=f"Study {name} over time")]
    return []
