"""The report of a results folder: one page that shows its trials, and what they say."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, configurations, sweep
from dse.analysis.figure3 import FIGURE_3
from dse.analysis.findings import findings
from dse.analysis.page import Curve, Picture, Point, Section, Table, page
from dse.analysis.table3 import table3
from dse.results import atomic, commands, records
from dse.results.files import trial_folder
from dse.trial.names import outcome, outcomes, short_id, written

REPORT = "report.html"
EPOCHS = 200
"""Maximum number of epochs of a curve that are drawn."""
ROWS = 2000
"""Maximum number of rows of a table on the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a report shows: `table` has the rows of its trials, `figures` their SVG by name.

    `command` repeats the report. `others` counts the trials in the folder that are not shown;
    `failures` maps the names of trials without a record to the reason.
    """

    title: str
    table: pd.DataFrame
    command: str
    figures: Mapping[str, bytes] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    commands: Sequence[commands.Command] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    others: int = 0


def write(folder: Path, table: pd.DataFrame, figures: Mapping[str, bytes], command: str) -> Path:
    """Write the report of the trials in `table` to their results folder; returns its path.

    `figures` maps the names of figures to their SVG; `command` is a command line that gives this
    report. Raises `OSError` where the folder cannot be written.
    """
    failures = records.failures(folder)
    contents = Contents(
        title=folder.resolve().name,
        table=table,
        command=command,
        figures=figures,
        curves={i: curve for i in table["trial_id"] if (curve := read_curve(folder, i))},
        commands=commands.noted(folder),
        failures={failure.name: failure.reason for failure in failures.values()},
        others=len(records.ids(folder)) - len(table),
    )
    path = folder / REPORT
    atomic.write(path, report(contents))
    return path


def report(contents: Contents) -> bytes:
    """The page of a report, as UTF-8 HTML."""
    try:
        found = sweep(contents.table)
    except NoSweep:
        found = None
    lead = [_trained(found), *_left_out(contents)]
    sections = [_figures(contents), _paper(contents.table)]
    if found is not None:
        sections += [_configurations(found), _trials(found)]
    sections.append(_origin(contents))
    shown = [one for one in sections if one.text or one.figures or one.tables or one.points]
    facts = {} if found is None else _facts(found)
    return page(contents.title, lead, facts, shown, contents.curves)


def read_curve(folder: Path, trial_id: str) -> Curve | None:
    """The learning curve of a trial's last attempt; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError):
        text = (trial_folder(folder, trial_id) / "curve.csv").read_text(encoding="utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        rows = [row for row in rows if row["attempt"] == rows[-1]["attempt"]]
        rows = rows[:: -(-len(rows) // EPOCHS) or 1]
        names = ("epoch", "train_top1", "val_top1")
        epochs, training, validation = ([float(row[n]) for row in rows] for n in names)
        return (epochs, training, validation) if rows else None
    return None


# The top of the page ------------------------------------------------------------------------


def _trained(found: Sweep | None) -> str:
    """What was trained and how it ended, in a sentence or two."""
    if found is None:
        return "No trial has finished yet: there is nothing to show."
    rows = found.rows
    trained = "1 network was" if len(rows) == 1 else f"{len(rows):,} networks were"
    data = " and ".join(sorted(rows["data"].unique()))
    return (
        f"{trained} trained from scratch on {data}: {outcomes(rows)}. "
        "Accuracies are on the test set, which was not used for any choice."
    )


def _left_out(contents: Contents) -> list[str]:
    lines = []
    if contents.others == 1:
        lines.append("1 other trial in this folder is not shown.")
    elif contents.others > 1:
        lines.append(f"{contents.others:,} other trials in this folder are not shown.")
    if failed := len(contents.failures):
        have = "1 trial failed and has" if failed == 1 else f"{failed:,} trials failed and have"
        lines.append(f"{have} no result yet; the same sweep tries again.")
    return lines


def _facts(found: Sweep) -> dict[str, str]:
    """The main numbers of a sweep."""
    rows, points = found.rows, configurations(found)
    counts = points["count"]
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()}-{counts.max()}"
    names = [axis.name for axis in found.axes]
    best = points.iloc[int(points["val_top1"].argmax())]
    setting = ", ".join(f"{name} {written(best[name])}" for name in names)
    answer = found.answer.replace("top", "top-")
    accuracy = f"{answer} {best['mean']:.1f} %{_interval(best['low'], best['high'])}"
    return {
        "Varied": "; ".join(f"{a.name} {_values(a.values)}" for a in found.axes) or "the seed only",
        "Configurations": f"{len(points):,}, with {seeds} {'seed' if seeds == '1' else 'seeds'}",
        "Training": f"{_values(sorted(rows['epochs'].unique()))} epochs, "
        f"{_duration(rows['seconds'].sum())} in all",
        "Best on the validation part": f"{setting}: {accuracy}" if setting else accuracy,
    }


def _interval(low: float, high: float) -> str:
    """A 95 % interval as text; empty where it is unknown."""
    return f" [{low:.1f}, {high:.1f}]" if low == low else ""


def _values(values: Sequence[Any], most: int = 6) -> str:
    """Values as text: all where they are few, else the ends."""
    texts = [written(value) for value in values]
    return ", ".join(texts) if len(texts) <= most else f"{texts[0]} .. {texts[-1]} ({len(texts)})"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


# The sections -------------------------------------------------------------------------------


def _figures(contents: Contents) -> Section:
    pictures = [
        Picture(name=name, svg=svg, caption=CAPTIONS.get(name, name))
        for name, svg in contents.figures.items()
    ]
    return Section(id="figures", title="Figures", figures=pictures)


CAPTIONS = {
    "figure3a": "Figure 3(a): squeeze ratio",
    "figure3b": "Figure 3(b): share of 3x3 filters",
    "downsample": "Late downsampling (section 3.1, strategy 3)",
    "widths": "Width: base_e, incr_e and freq",
    "trainability": "How often a network never learns",
}


def _paper(table: pd.DataFrame) -> Section:
    """The paper's claims against these trials."""
    points, tables = [], []
    for name in FIGURE_3:
        with suppress(ValueError):  # no such sweep, or no seed of both
            points += [Point(text=line) for line in findings(table, name)]
    with suppress(ValueError):  # no such sweep, or no seed of both
        tables.append(Table(caption="Table 3: bypass connections", frame=table3(table)))
    text = [NOT_IMAGENET] if points or tables else []
    return Section(id="paper", title="The paper's results", text=text, points=points, tables=tables)


NOT_IMAGENET = (
    "The paper's numbers are of single runs on ImageNet. These data are not ImageNet: a claim of "
    "the paper may hold there and not here, or here and not there."
)


def _configurations(found: Sweep) -> Section:
    """The configurations where they have several seeds; else the trials show them."""
    points = configurations(found)
    if len(found.rows) == len(points):
        return Section(id="configurations", title="Configurations")
    chosen = points.nlargest(ROWS, "val_top1").sort_index()
    columns = ["count", "mean", "low", "high", "val_top1", "size_bytes", "macs", "seconds"]
    shown = chosen[[*(axis.name for axis in found.axes), *columns]]
    shown = shown.rename(columns={"count": "seeds", "mean": found.answer})
    about = {
        "seeds": "trials that differ in their seed only",
        found.answer: "mean accuracy on the test set over the seeds, percent",
        "low": "lower end of its 95 % interval, percent; empty below 3 seeds",
        "high": "upper end of its 95 % interval, percent; empty below 3 seeds",
        "val_top1": "mean accuracy on the validation part over the seeds, percent",
        "seconds": "mean duration of a training, seconds",
    }
    table = Table(caption=_caption(len(points), "configurations"), frame=shown, about=about)
    return Section(id="configurations", title="Configurations", tables=[table])


def _trials(found: Sweep) -> Section:
    rows = found.rows.nlargest(ROWS, "val_top1").sort_index()
    names = list(dict.fromkeys(axis.name for axis in found.axes))
    frame = pd.DataFrame({"trial": rows["trial_id"].map(short_id)})
    frame[[*names, "seed"]] = rows[[*names, "seed"]]
    frame["outcome"] = [outcome(row) for row in rows.to_dict("records")]
    columns = list(dict.fromkeys([found.answer, *COLUMNS]))
    frame[columns] = rows[columns]
    table = Table(
        caption=_caption(len(found.rows), "trials"), frame=frame, ids=rows["trial_id"].tolist()
    )
    fixed = {name: written(value) for name, value in found.fixed.items()}
    return Section(
        id="trials",
        title="Trials",
        text=["Select a trial to see its learning curve. A click on a column's name sorts by it."],
        tables=[table],
        details={"What all trials have in common": fixed},
    )


COLUMNS = ("top1", "val_top1", "loss", "size_bytes", "params", "macs", "seconds")


def _caption(count: int, noun: str) -> str:
    if count <= ROWS:
        return f"{count:,} {noun if count > 1 else noun[:-1]}"
    return f"The {ROWS:,} of {count:,} {noun} with the highest validation accuracy"


def _origin(contents: Contents) -> Section:
    """How to repeat it; versions, machines and dates."""
    text = ["These commands trained the networks in this folder; each resumes or repeats its own:"]
    if not contents.commands:
        text = ["The commands that trained these networks were not noted."]
    lines = [command.line for command in contents.commands]
    tables = []
    if len(contents.table):
        tables.append(Table(caption="Where and when", frame=_machines(contents.table)))
    if contents.failures:
        failed = pd.DataFrame(contents.failures.items(), columns=["trial", "reason"])
        tables.append(Table(caption="Failed trials", frame=failed))
    return Section(
        id="origin",
        title="How to run it again",
        text=text,
        commands=[*lines, f"{contents.command}  # this report"],
        tables=tables,
    )


def _machines(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of machine and software that the trials ran on."""
    kinds = ["device", "machine", "threads", "versions"]
    groups = table.groupby(kinds, sort=True)
    found = groups.agg(
        trials=("seed", "size"),
        seconds=("seconds", "sum"),
        first=("finished", "min"),
        last=("finished", "max"),
    )
    return found.reset_index()
