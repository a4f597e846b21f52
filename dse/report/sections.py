"""The sections of a report that come from the table of its trials."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, configurations, sweep
from dse.analysis.compare import Comparison, comparisons, highlights, undecidable
from dse.analysis.devices import times_comparable
from dse.analysis.findings import examined
from dse.analysis.front import front, seeds_compared
from dse.analysis.known import finite, off_front
from dse.analysis.plateau import LOCATING_SEEDS, PAPER, plateaus
from dse.analysis.rendering import counted, value_list
from dse.analysis.small import ABOUT, Environment, explained, what_small_buys
from dse.analysis.statistics import INTERVAL_SEEDS
from dse.analysis.table3 import table3
from dse.report.page import Point, Section, Table
from dse.trial.names import outcome, short_id, written

ROWS = 2000
"""Maximum number of rows of a table on the page."""
SETTINGS = 4
"""Up to so many settings of what else varies, each has a sentence on its plateau."""


def compared(found: Sweep) -> Section:
    """Each value of each axis compared with the axis' first value."""
    known: list[Comparison] = []
    with suppress(NoSweep):
        known = comparisons(found.rows)
    if not known:
        return Section(id="comparisons", title="Comparisons")
    decided = sum(one.decided for one in known)
    lacking = undecidable(known)
    count = lacking or f"{decided:,} of {counted(len(known), 'difference')} decided"
    text = (
        "Each value is compared with the first one of its axis, paired by seed: both trials of a "
        "pair are equal in all else. A difference is decided where it is more than chance at the "
        f"5% level, all of them considered together (Holm). {count[0].upper()}{count[1:]}."
    )
    together = lacking and len(known) > 1
    single = ", corrected for together (Holm); each claim is tested by itself" if together else ""
    shown = [] if lacking else highlights(known)  # the table says the same
    sentences = [*(one.sentence for one in shown), *_plateaus(found)]
    frame = pd.DataFrame([_comparison(one) for one in known])
    return Section(
        id="comparisons",
        title="Comparisons",
        headline=f"{count}{single}.",
        text=[text],
        points=[Point(text=text) for text in sentences],
        tables=[Table("All comparisons; differences in points", frame, ABOUT_COMPARISONS)],
    )


def _plateaus(found: Sweep) -> list[str]:
    """Where accuracy stops rising along the paper's axes, if there are few settings of others."""
    sentences = []
    for column in PAPER:
        with suppress(ValueError):  # it does not vary, or not alone
            known = plateaus(found.rows, column)
            located = [one for one in known if one.seeds + one.left_out >= LOCATING_SEEDS]
            sentences += [one.sentence for one in located if len(known) <= SETTINGS]
    return sentences


def _comparison(one: Comparison) -> dict[str, object]:
    pairs, difference = one.pairs, one.difference
    return {
        "value": f"{pairs.column}={written(pairs.after)}",
        "compared with": written(pairs.before),
        "where": pairs.where.removeprefix("at "),
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "seeds": difference.count,
        "p": one.p,
        "Holm's p": one.adjusted_p,
        "verdict": one.direction,
    }


ABOUT_COMPARISONS = {
    "difference": "mean difference of accuracy, points",
    "low": "lower end of its 95% interval; empty below 3 seeds",
    "high": "upper end of its 95% interval; empty below 3 seeds",
    "seeds": "pairs of trials",
    "p": "of a sign-flip permutation test",
    "Holm's p": "adjusted for the number of comparisons",
}


def paper(found: Sweep) -> Section:
    """The paper's claims against these trials."""
    (tested, untested), tables = examined(found.rows), []
    with suppress(NoSweep):
        rows = table3(found.rows)
        tables.append(Table("Table 3: bypass connections, here and in the paper", rows))
    needs = [f'"{claim[:-1]}" (needs {what})' for claim, what in untested.items()]
    if not (tested or tables or needs):
        return Section(id="paper", title="The paper's claims")
    text = (
        "The paper's numbers are of single runs on ImageNet, and these data are not ImageNet: a "
        "claim may hold there and not here. Each claim is tested by itself at the 5% level."
    )
    several = any(axis.name == "data" for axis in found.axes)
    points = [
        Point(
            verdict=one.verdict,
            text=f"{one.claim} ({one.data})" if several else one.claim,
            more=(f"Paper: {one.paper}", f"Here: {one.evidence}"),
        )
        for one in tested
    ]
    counts = Counter(one.verdict for one in tested)
    verdicts = ", ".join(f"{counts[name]} {word}" for name, word in WORDS.items() if counts[name])
    return Section(
        id="paper",
        title="The paper's claims",
        headline=f"{len(tested)} tested here, {verdicts}." if tested else "",
        text=[text, *([f"Not tested: {', '.join(needs)}."] if needs else [])],
        points=points,
        tables=tables,
    )


WORDS = {"agrees": "agreed with", "contradicts": "contradicted", "not decided": "not decided"}


def pareto(found: Sweep) -> Section:
    """The networks that no other one beats in both size and validation accuracy."""
    section = Section(id="front", title="Pareto front")
    try:
        known, lost = finite(found, found.answer, "val_top1")
    except NoSweep:
        return section
    found = sweep(known.rows) if lost else found
    if not found.axes:
        return section
    points = found.blank(front(found.rows))
    if not points["on_front"].any():
        return replace(section, text=["No network learned."])
    names = [axis.name for axis in found.axes]
    columns = ["size_bytes", "val_top1", "mean", "low", "high", "count", "front_share"]
    shown = points[points["on_front"]].sort_values("size_bytes")[[*names, *columns]]
    shown["front_share"] *= 100
    shown = shown.rename(columns={"mean": found.answer, "count": "seeds"}).head(ROWS)
    text = (
        "For each of these networks, no other one has at least its validation accuracy at no more "
        "bytes. front_share says how sure that is: the share of resamples of the seeds (%) in "
        "which the network is on the front; empty below 3 seeds."
    )
    few = points["count"].max() in range(INTERVAL_SEEDS, 6)
    luck = "With 3 to 5 seeds, one of ten that are only as good as a smaller one has 95% by luck."
    texts = (text, luck * few, seeds_compared(points), off_front(found), lost)
    about = {**_about(found), "front_share": "share of resamples with it on the front, percent"}
    caption = f"{len(shown):,} of {len(points):,} configurations"
    return replace(
        section,
        headline=f"{caption}, by validation accuracy and size.",
        text=[" ".join(filter(None, texts))],
        tables=[Table(caption, shown, about)],
    )


def per_configuration(found: Sweep) -> Section:
    """The configurations where they have several seeds; else the trials show them."""
    points = configurations(found)
    if len(found.rows) == len(points):
        return Section(id="configurations", title="Configurations")
    columns = ["count", "mean", "low", "high", "val_top1", "size_bytes", "macs"]
    columns += ["seconds"] if times_comparable(found.rows) else []
    shown = listed(found.blank(points))[[*(axis.name for axis in found.axes), *columns]]
    shown = shown.rename(columns={"count": "seeds", "mean": found.answer})
    table = Table(_caption(len(points), "configuration"), shown, _about(found))
    return Section(id="configurations", title="Configurations", tables=[table])


def _about(found: Sweep) -> dict[str, str]:
    """What the columns of a configuration mean."""
    return {
        "seeds": "trials that differ in their seed only",
        found.answer: "mean accuracy on the test set over the seeds, percent",
        "low": "lower end of its 95% interval, percent; empty below 3 seeds",
        "high": "upper end of its 95% interval, percent; empty below 3 seeds",
        "val_top1": "mean accuracy on the validation set over the seeds, percent",
        "seconds": "mean duration of a training, seconds",
    }


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that a page has room for: all, or those with the highest validation accuracy, the
    highest first."""
    return rows.nlargest(ROWS, "val_top1") if len(rows) > ROWS else rows


def each_trial(found: Sweep) -> Section:
    """A row for each trial, which opens its learning curve."""
    rows = listed(found.blank(found.rows))
    names = [*(axis.name for axis in found.axes), "seed"]
    frame = pd.DataFrame({"trial": rows["trial_id"].map(short_id)}).join(rows[names])
    frame["outcome"] = [outcome(row) for row in rows.to_dict("records")]
    columns = list(dict.fromkeys([found.answer, *COLUMNS]))
    columns += ["restarts"] if rows["restarts"].any() else []
    frame[columns] = rows[columns]
    caption = _caption(len(found.rows), "trial")
    return Section(
        id="trials",
        title="Trials",
        text=["Select a trial to see its learning curve, or the name of a column to sort by it."],
        tables=[Table(caption, frame, ids=rows["trial_id"].tolist())],
        details={"What all trials have in common": {n: written(v) for n, v in found.fixed.items()}},
    )


COLUMNS = ("top1", "val_top1", "loss", "size_bytes", "params", "macs", "seconds")


def _caption(count: int, noun: str) -> str:
    if count <= ROWS:
        return counted(count, noun)
    return f"The {ROWS:,} of {count:,} {noun}s with the highest validation accuracy"


def small(found: Sweep) -> Section:
    """What small networks buy: communication, updates, memory on a chip."""
    environment = Environment()
    points = found.blank(configurations(found))
    bought = what_small_buys(points, environment).sort_values("size_bytes", kind="stable")
    distinct = bought.drop_duplicates([*COSTS])
    shown = distinct[[*ABOUT]].head(SIZES)
    shown = pd.concat([_of_these_sizes(found, bought, distinct.head(SIZES)), shown], axis=1)
    caption = "Networks by size" + (f" (the smallest {SIZES})" if len(distinct) > SIZES else "")
    return Section(
        id="small",
        title="What a small network saves",
        text=[explained(environment)],
        tables=[Table(caption, shown, ABOUT)],
    )


SIZES = 50
"""Maximum number of networks in the table of what small networks buy."""
COSTS = ("size_bytes", "params", "peak_activation_bytes")


def _of_these_sizes(found: Sweep, points: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """For each row of `shown`, the values of the axes of all points that cost the same.

    An axis that has the same values in every row, such as the learning rate, is left out.
    """
    same = points.merge(shown[[*COSTS]].reset_index(names="row"), on=[*COSTS])
    columns = {}
    for axis in found.axes:
        own = same.groupby("row", sort=False)[axis.name].unique().reindex(shown.index)
        values = [tuple(some[pd.notna(some)]) for some in own]
        if len({frozenset(some) for some in values}) > 1:
            single = all(len(some) < 2 for some in values)
            columns[axis.name] = [
                (some[0] if some else None) if single else value_list(some) for some in values
            ]
    return pd.DataFrame(columns, index=shown.index)
