"""The section of a report on the searches of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dse.analysis.axes import NoSweep
from dse.analysis.rendering import counted
from dse.analysis.studies import effect_rows, front_rows, guessing, history, refusals
from dse.figures.importing import import_matplotlib
from dse.report.page import Figure, Point, Section, Table
from dse.results.studies import GRID

ABOUT = {
    "importance": "share of what leads to the best tenth of the validation accuracies (PED-ANOVA); "
    "shares add up to 1 even where no key matters",
    "rank correlation": "Spearman's, of the key's value with validation accuracy",
    "best value": "the value with the highest mean validation accuracy",
    "trials": "how many of the trained networks have the best value",
}
EVEN = ("random", GRID)
"""Samplers that choose values regardless of what they found."""
TEXT = (
    "A sampler proposed these networks one after the other: random and grid regardless of what "
    "they found, the others by the validation accuracies of those before. What exceeds a limit was "
    "never trained, and no network twice."
)


def searches(studies: Mapping[str, Mapping[str, Any]]) -> Section:
    """The studies of a folder (see `dse.results.studies.load`); empty where there are none."""
    found = [(name, study) for name, study in studies.items() if study["points"]]
    return Section(
        id="search",
        title="Searches",
        text=[TEXT] if found else [],
        points=[
            Point(text=_sentence(name, study), more=[*refusals(study["refused"]), *guessing(study)])
            for name, study in found
        ],
        figures=[figure for name, study in found for figure in _figures(name, study)],
        tables=[table for name, study in found for table in _tables(name, study)],
    )


def _sentence(name: str, study: Mapping[str, Any]) -> str:
    """What a study was, and how far it came."""
    counts = Counter(point["state"] for point in study["points"])
    whole = "trained to the end" if counts["stopped"] else "trained"
    words = {"stored": "already in the folder", "trained": whole, "stopped": "stopped early"}
    states = ", ".join(f"{number:,} {words.get(state, state)}" for state, number in counts.items())
    table = history(study)
    value = "best validation accuracy"
    last = "none" if table["val_top1"].isna().all() else f"{table['val_top1'].max():.1f}%"
    if "hypervolume" in table:
        value, last = "points on the front", f"{int(table['on_front'].sum()):,}"
    limits = "".join(f", {key} at most {most:,}" for key, most in study["limits"].items())
    way = study.get("compression")
    limits += f", of networks decoded from their compressed files ({way})" if way else ""
    epochs = counted(int(table["epochs"].iloc[-1]), "epoch") if len(table) else "no epochs"
    said = study["ended"].endswith((" done", " already"))  # the counts say the same
    ended = "" if said else f" {study['ended'].capitalize()}."
    return (
        f"Study {name} (sampler {study['sampler']}, "
        f"objective {' and '.join(study['objectives'])}{limits}): "
        f"{counted(len(study['points']), 'trial')}, {states}; {epochs} trained; "
        f"{value}: {last}.{ended}"
    )


def _tables(name: str, study: Mapping[str, Any]) -> Iterator[Table]:
    """The best networks, and which keys matter."""
    if len(rows := front_rows(study)):
        costs = study["objectives"][:-1]  # bytes and counts, means over the seeds
        rows = rows.assign(**{cost: rows[cost].round().astype(int) for cost in costs})
        best = "The best network" if len(rows) == 1 else f"The best networks ({len(rows):,} tied)"
        what = "The front" if len(study["objectives"]) > 1 else best
        yield Table(f"{what}, by validation accuracy: {name}", rows)
    if len(rows := effect_rows(study)):
        chosen = "" if study["sampler"] in EVEN else "; the sampler chose the values, not evenly"
        yield Table(f"Which keys matter for accuracy: {name}{chosen}", rows, ABOUT)


def _figures(name: str, study: Mapping[str, Any]) -> list[Figure]:
    import_matplotlib()
    from dse.figures.plotting import encoded
    from dse.figures.study import study_figure

    with suppress(NoSweep):
        (svg,) = encoded(study_figure(study), "svg")
        return [Figure(name=f"study_{name}", svg=svg, caption=f"Study {name} over time")]
    return []
