"""The report of a results folder: one page that shows its trials, and what they say."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.analysis.axes import NoSweep, Sweep, configurations, sweep
from dse.analysis.devices import mixed_devices
from dse.analysis.folder import sampled as chosen
from dse.analysis.folder import without_sampled
from dse.analysis.rendering import counted, value_list
from dse.analysis.summary import best, by_results, trained
from dse.figures.drawing import code_digest, not_shown
from dse.report import sections
from dse.report.compression import compression
from dse.report.figures import PLACES, TITLES, figures_of, remarks
from dse.report.page import CURVE, Curve, Figure, Section, Table, page
from dse.report.study import networks_of, searches
from dse.results import atomic, commands, compressed, curves, records, studies
from dse.results.files import COMPRESSED
from dse.trial.names import duration

REPORT = "report.html"
EPOCHS = 200
"""Maximum number of epochs of a curve that are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a report shows: `table` has the rows of its trials, `figures` their SVG by name, and
    `compressed` their compressed networks, as `dse.load_compressed` returns them.

    `command` repeats the report. `note` says what is fixed, and how many trials of the folder are
    not shown; `selected` are the columns by which those shown were selected. `failures` are those
    of trials without a record, `uncompressed` those of compressed networks.
    `sampled` are the ids of trials that samplers chose: the paper's
    claims and comparisons are of the others. `networks` are those of the `studies`, as
    `dse.report.study.networks_of` returns them, and `stopped` is how many more trials these studies
    stopped early.
    """

    title: str
    table: pd.DataFrame
    command: str
    compressed: pd.DataFrame = field(default_factory=pd.DataFrame)
    figures: Mapping[str, bytes] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    commands: Sequence[commands.Command] = ()
    failures: Sequence[records.Failure] = ()
    uncompressed: Sequence[records.Failure] = ()
    note: str = ""
    selected: Sequence[str] = ()
    studies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampled: Sequence[str] = ()
    stopped: int = 0


def write(
    folder: Path,
    table: pd.DataFrame,
    figures: Mapping[str, bytes],
    command: str,
    note: str = "",
    name: str = REPORT,
    sampled: Collection[str] | None = None,
    selected: Collection[str] = (),
    stopped: int | None = None,
) -> Path:
    """Write the report of the trials in `table` to `name` in their folder; returns its path.

    `figures` maps the names of figures to their SVG; `command` is a command line that gives this
    report, and `note` is the figures' own. `sampled` are the ids of trials that samplers chose
    (default: those of the folder's searches), `selected` the columns by which the trials were
    selected, and `stopped` how many more trials were stopped early (default: all of the folder's
    searches, unless trials were selected). Raises `OSError` where the folder cannot be written.
    """
    found = studies.load(folder)
    if stopped is None:
        stopped = 0 if selected else len(studies.stopped(folder) - {*table["trial_id"]})
    contents = Contents(
        title=folder.resolve().name,
        table=table,
        command=command,
        compressed=compressed.load(folder, table),
        figures=figures,
        commands=commands.noted(folder),
        failures=tuple(records.failures(folder).values()),
        uncompressed=tuple(records.failures(folder, COMPRESSED).values()),
        note=note,
        selected=tuple(selected),
        studies=found,
        networks=networks_of(folder, found),
        sampled=sorted(chosen(folder, table) if sampled is None else sampled),
        stopped=stopped,
    )
    path, mark = folder / name, _mark(contents)
    if not _is_marked(path, mark):
        if len(table):
            drawn = figures_of(table, contents.compressed, folder, note, contents.sampled)
            figures = {**figures, **drawn}
            known = read_curves(folder, sections.listed(table)["trial_id"])
            contents = replace(contents, figures=figures, curves=known)
        atomic.write(path, report(contents) + mark)
    return path


def _mark(contents: Contents) -> bytes:
    """A comment with a digest of all that a report depends on: its contents, and this code."""
    empty = pd.DataFrame()
    rest = replace(contents, table=empty, compressed=empty, networks=empty)
    digest = hashlib.sha256(repr(rest).encode())
    for table in filter(len, (contents.table, contents.compressed, contents.networks)):
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    digest.update(code_digest("report"))
    return f"<!-- {digest.hexdigest()} -->\n".encode()


def _is_marked(path: Path, mark: bytes) -> bool:
    """Whether a file ends with this mark: then it has the same contents already."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(-len(mark), os.SEEK_END)
        return file.read() == mark
    return False


def report(contents: Contents) -> bytes:
    """The page of a report, as UTF-8 HTML."""
    try:
        found = sweep(contents.table)
    except NoSweep:
        found = None
    lead = [NOTHING if found is None else trained(found, contents.selected, contents.stopped)]
    lead += [_failed(len(contents.failures))] if contents.failures else []
    lead += [text for text in (contents.note, mixed_devices(contents.table)) if text]
    shown = [_figures(contents)]
    if found is not None:
        shown += [*_of_grid(contents), sections.pareto(found)]
        shown += [sections.per_configuration(found), sections.each_trial(found)]
        shown += [sections.small(found), compression(contents.compressed)]
        shown.insert(0, searches(contents.studies, contents.networks))
    shown.append(_origin(contents))
    return page(
        contents.title,
        lead,
        [] if found is None else [f"{line[0].upper()}{line[1:]}." for line in best(found)],
        {} if found is None else _facts(found),
        [_illustrated(one, contents.figures) for one in shown if one.is_filled],
        contents.curves,
    )


def _of_grid(contents: Contents) -> list[Section]:
    """The sections for which trials must be a grid: none are of what samplers or results chose."""
    rows = without_sampled(contents.table, contents.sampled)
    if rows.empty or by_results(contents.selected):
        return []
    known = [sections.paper(found := sweep(rows)), sections.compared(found)]
    if not (count := len(contents.table) - len(rows)):
        return known
    return [replace(one, text=[*one.text, not_shown(count)]) for one in known if one.is_filled]


def read_curves(folder: Path, trial_ids: Iterable[str]) -> dict[str, Curve]:
    """The learning curves of trials, of each at most `EPOCHS` epochs; none where it is damaged."""
    known, _ = curves.load(folder, trial_ids)
    found: dict[str, Curve] = {}
    for trial_id, rows in known.groupby("trial_id", sort=False):
        places = np.linspace(0, len(rows) - 1, min(len(rows), EPOCHS)).astype(int)
        found[str(trial_id)] = tuple(rows[name].iloc[places].tolist() for name in CURVE)
    return found


# The top of the page ------------------------------------------------------------------------


NOTHING = "No trial has finished yet: there is nothing to show."


def _failed(count: int) -> str:
    have = "has" if count == 1 else "have"
    return f"{counted(count, 'trial')} failed and {have} no result yet; the same sweep tries again."


def _facts(found: Sweep) -> dict[str, str]:
    """The main numbers of a sweep."""
    rows = found.rows
    counts = configurations(found)["count"]
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()}-{counts.max()}"
    return {
        "Varied": "; ".join(f"{a.name} {value_list(a.values)}" for a in found.axes)
        or ("the seed only" if len(rows) > 1 else "nothing"),
        "Configurations": f"{len(counts):,}, with {seeds} {'seed' if seeds == '1' else 'seeds'}",
        "Training": f"{value_list(sorted(rows['epochs'].unique()))} epochs, "
        f"{duration(rows['seconds'].sum())} in all",
    }


# What the folder holds apart from the table ------------------------------------------------


def _figures(contents: Contents) -> Section:
    """The figures that no other section shows."""
    names = [name for name in contents.figures if name not in PLACES]
    shown = [_figure(name, contents.figures[name]) for name in names]
    return Section(id="figures", title="Figures", figures=shown)


def _illustrated(section: Section, figures: Mapping[str, bytes]) -> Section:
    """The section with the figures that belong to it."""
    own = [name for name, place in PLACES.items() if place == section.id and name in figures]
    shown = [_figure(name, figures[name]) for name in own]
    return replace(section, figures=shown) if own else section


def _figure(name: str, svg: bytes) -> Figure:
    return Figure(name=name, svg=svg, caption=TITLES.get(name, name), remarks=remarks(svg))


def _origin(contents: Contents) -> Section:
    """How to repeat it; versions, machines and dates."""
    lines = [command.line for command in contents.commands]
    text = []
    if lines:
        text.append("These commands made what this folder holds; each can be repeated.")
        if any(" budget=" in line for line in lines):
            text.append("A command with budget= trains the part of its trials that fits.")
        if any(" -cd" in line or " --config-dir" in line for line in lines):
            text.append("Pages of your own (-cd) are read as they are now.")
    elif len(contents.table):
        text.append("The commands that trained these networks were not noted.")
    if contents.command not in lines:
        text.append("The last command below writes this page.")
        lines.append(contents.command)
    tables = []
    if len(contents.table):
        tables.append(Table("Where and when", _machines(contents.table)))
    for noun, failures in (
        ("trial", contents.failures),
        ("compressed network", contents.uncompressed),
    ):
        if failures:
            failed = pd.DataFrame(failures, columns=[noun, "reason"])
            tables.append(Table(f"Failed {noun}s", failed))
    return Section(
        id="origin", title="How to run it again", text=text, commands=lines, tables=tables
    )


def _machines(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of machine and software that the trials ran on."""
    minutes = table["finished"].str.slice(0, len("2026-01-01T00:00")).str.replace("T", " ")
    minutes = minutes.astype(object)  # pyarrow would start threads to find the first of them
    groups = table.assign(finished=minutes).groupby(["device", "machine", "threads", "versions"])
    found = groups.agg(
        trials=("seed", "size"),
        seconds=("seconds", "sum"),
        first=("finished", "min"),
        last=("finished", "max"),
    )
    return found.reset_index().rename(columns={"first": "first (UTC)", "last": "last (UTC)"})
