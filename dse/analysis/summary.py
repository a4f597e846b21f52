"""What a sweep found, as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from dse.analysis.axes import SIZES, Sweep, configurations, sweep
from dse.analysis.devices import mixed_devices
from dse.analysis.known import UNLEARNED
from dse.analysis.rendering import columns, counted, done
from dse.trial.compressed import MEASURED
from dse.trial.names import outcome, outcomes, short_id, written
from dse.trial.record import ANSWER
from dse.trial.unread import unread

LINES = 20
"""Maximum number of configurations that are listed."""
EXACT = {*SIZES, "fp32_bytes", "epochs_total"}
RESULTS = {*ANSWER, *MEASURED, "seconds", "peak_memory_bytes"} - EXACT
"""What training and compression lead to; a selection by it keeps some seeds of a configuration."""


def summary(
    table: pd.DataFrame, asked: int, searched: Collection[str] = (), decoded: str = ""
) -> str:
    """The configurations of a table of records, and the best by validation accuracy.

    Accuracies are means over the seeds, in percent; that on the test set has its 95% interval. Of
    more than `LINES` configurations, and of a search, the best by validation accuracy are listed,
    in this order. `asked` is how many trials were to be trained; those without a record have
    failed. Of a search, each of the keys `searched` has a column, and the best is named by its ids
    too. With `decoded`, a way of compression, the table has the `compressed_id`, the `file_bytes`
    and the accuracies of networks decoded from their files.
    """
    count = done(len(table), asked, "trial")
    if table.empty:
        return count
    found = sweep(table, searched)
    points = configurations(found)
    ranked = _ranked(points)
    shown = ranked.head(LINES) if searched or len(points) > LINES else points
    means = "means over the seeds, " if table["seed"].nunique() > 1 else ""
    of = f", of the networks decoded from their files ({decoded})" if decoded else ""
    lines = [f"{count}: {_outcome(table)}; {means}accuracies in percent{of}"]
    lines += _table(found, shown)
    if more := len(points) - len(shown):
        lines.append(f"and {more:,} more in table.csv")
    if len(points) > 1 or searched:
        lines += best(found, ids=bool(searched))
    if devices := mixed_devices(table):
        lines.append(devices)
    return "\n".join(lines)


def trained(found: Sweep, selected: Collection[str] = (), stopped: int = 0) -> str:
    """What was trained and how it ended, in sentences; `selected` are the columns by which the
    trials were selected, and `stopped` is how many more were stopped early.

    By a result: then the report has no claims and no comparisons.
    """
    count = len(found.rows)
    networks = "1 network was" if count == 1 else f"{count:,} networks were"
    data = " and ".join(sorted(found.rows["data"].unique()))
    epochs = found.fixed.get("epochs")
    on = f"{data} for {counted(int(epochs), 'epoch')}" if epochs else data
    test = "Accuracies are on the test set, which was not used for any choice."
    if said := by_results(selected):
        test = f"Accuracies are on the test set. {said} Claims and comparisons are left out."
    early = (
        f", and {stopped:,} more {'was' if stopped == 1 else 'were'} stopped early"
        if stopped
        else ""
    )
    return f"{networks} trained from scratch on {on}: {outcomes(found.rows)}{early}. {test}"


def by_results(selected: Collection[str]) -> str:
    """A sentence where some of the columns by which trials were selected are results."""
    names = [name for name in selected if name in RESULTS]
    what = f"{' and '.join(names)}, {'results' if names[1:] else 'a result'}"
    rest = "means, intervals and p are of those that remain."
    return f"Trials were selected by {what}: {rest}" if names else ""


def _table(found: Sweep, points: pd.DataFrame) -> list[str]:
    """A line for each configuration, below the names of the columns."""
    names = [axis.name for axis in found.axes]
    header = [*names, found.answer, "95% interval", "val_top1", "seeds", "params", "size_bytes"]
    header += ["compressed_bytes"] if "file_bytes" in points else []
    rows = [
        [
            *[known.get(name, "-") for name in names],
            f"{point['mean']:.1f}",
            _interval(point),
            f"{point['val_top1']:.1f}",
            f"{point['count']:,}",
            f"{point['params']:,}",
            f"{point['size_bytes']:,}",
            *([f"{point['file_bytes']:,.0f}"] if "file_bytes" in point else []),
            _outcome(_trials(found, point)),
        ]
        for point in points.to_dict("records")
        for known in [_setting(found, point)]
    ]
    table = pd.DataFrame(rows, columns=[*header, "outcome"])
    if (found.rows["status"] == "learned").all():
        table = table.drop(columns="outcome")
    if not table["95% interval"].any():
        table = table.drop(columns="95% interval")
    sides = ["<" if name in (*names, "outcome") else ">" for name in table]
    return columns([[*table], *table.to_numpy().tolist()], sides)


def _setting(found: Sweep, point: Mapping[Any, Any]) -> dict[str, str]:
    """A configuration's values of the axes that its trials read."""
    values = found.read({axis.name: point[axis.name] for axis in found.axes})
    idle = unread(values)
    return {name: written(value) for name, value in values.items() if name not in idle}


def _ranked(points: pd.DataFrame) -> pd.DataFrame:
    """Configurations in the order of their validation accuracy, of equal ones the smaller first."""
    return points.sort_values(["val_top1", "size_bytes"], ascending=[False, True], kind="stable")


def best(found: Sweep, ids: bool = False) -> Iterator[str]:
    """The best configuration by validation accuracy, a line for each data set, and one where others
    are as good; with the `ids` of its networks, a seed each."""
    ranked = _ranked(configurations(found))
    for data, trials in found.rows.groupby("data", sort=False):
        on = f" on {data!s}" if "data" in [axis.name for axis in found.axes] else ""
        if set(trials["status"]) <= {*UNLEARNED}:
            yield f"no network learned{on}"
            continue
        points = ranked[ranked["data"] == data] if on else ranked
        first = points.iloc[0].to_dict()
        own = _trials(found, first)
        name = " ".join(f"{key}={value}" for key, value in _named(found, first, own.iloc[0]))
        test = f"on the test set {first['mean']:.1f}% {_interval(first)}".rstrip()
        test += _fewer_seeds(int(first["count"]), points["count"].drop(points.index[0]))
        if "file_bytes" in first:
            test += f", {first['file_bytes']:,.0f} bytes compressed"
        test += f"; {_ids(own)}" if ids else ""
        yield (
            f"best by validation accuracy{on}: {name}; {test}" if name else f"accuracy{on}: {test}"
        )
        if (tied := int((points["val_top1"] == first["val_top1"]).sum())) > 1:
            yield f"{tied:,} configurations are tied at this accuracy{on}; the smallest is named"


def _fewer_seeds(own: int, others: pd.Series[int]) -> str:
    """In brackets, where other configurations have more seeds."""
    most = own if others.empty else int(others.max())
    up_to = "" if (others == most).all() else "up to "
    return f" ({counted(own, 'seed')}; others have {up_to}{most:,})" if own < most else ""


def _ids(rows: pd.DataFrame) -> str:
    """The short ids of networks, which `dse.network` takes."""
    compressed = "compressed_id" in rows
    noun = "compressed network" if compressed else "trial"
    own = [short_id(one) for one in rows["compressed_id" if compressed else "trial_id"]]
    return f"{noun}{'s' * (len(own) > 1)} {', '.join(own)}"


def _named(
    found: Sweep, point: Mapping[Any, Any], row: pd.Series[Any]
) -> Iterator[tuple[str, str]]:
    """What a configuration is called by: each field of those that vary together, but a layout, and
    not the data set. `row` is one of its trials."""
    known = _setting(found, point)
    axes = [axis for axis in found.axes if axis.name in known and axis.name != "data"]
    parts = [a.columns if a.name == ", ".join(a.columns) else (a.name,) for a in axes]
    fields = {name: row[name] for part in parts for name in part}
    idle = unread(fields)
    yield from ((name, written(value)) for name, value in fields.items() if name not in idle)


def _trials(found: Sweep, point: Mapping[Any, Any]) -> pd.DataFrame:
    """The trials of a configuration."""
    rows = found.rows
    for axis in found.axes:
        rows = rows[rows[axis.name] == point[axis.name]]
    return rows


def _interval(point: Any) -> str:
    return "" if point["low"] != point["low"] else f"[{point['low']:.1f}, {point['high']:.1f}]"


def _outcome(trials: pd.DataFrame) -> str:
    """The outcomes of a configuration's trials; all about the only one."""
    return outcome(trials.iloc[0]) if len(trials) == 1 else outcomes(trials)
