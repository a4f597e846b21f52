"""`python -m dse.reproduce`: train the paper's Figure 3 and Table 3 again, and compare them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from dse.analysis import drawing
from dse.results import atomic, tables
from dse.sweep import launch
from dse.sweep.errors import RequestError
from dse.sweep.estimate import within_budget
from dse.sweep.messages import say
from dse.sweep.plan import plan
from dse.sweep.preflight import check_folder
from dse.sweep.request import Request, read_request
from dse.trial.names import outcomes
from dse.trial.question import Trial

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = ("figure3a", "figure3b", "table3")
PAGES = (*DEFAULT, "downsample", "widths")
SEEDS = "seed=0,1,2"
DESCRIPTION = (
    "Train the sweeps of the paper's figures and tables, draw them, and write a short page that "
    f"compares them with the paper. Name the pages to train first, any of {', '.join(PAGES)} "
    f"(default: {' '.join(DEFAULT)}), then key=value as for dse.sweep; seeds are 0, 1 and 2 unless "
    "seed= is given."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 some trials failed, 2 wrong request,
    130 interrupted."""
    return launch.guarded(_main, arguments)


def _main(arguments: list[str]) -> int:
    names = [a for a in arguments if a in PAGES] or list(DEFAULT)
    requests = _requests(names, [a for a in arguments if a not in PAGES])
    first = requests[0]
    check_folder(first.folder)
    every = {t.trial_id: t for request in requests for t in request.trials}
    trials: Sequence[Trial] = within_budget(first, list(every.values()), say)
    if first.plan:
        print(plan(first, trials, say))
        return 0
    failures = launch.run(trials, first.folder, first.workers, first.store)
    table = launch.asked(tables.write_tables(first.folder), trials, first.folder)
    drawn = drawing.draw(first.folder, table)
    path = first.folder / "index.html"
    atomic.write(path, page(names, table, len(every), drawn))
    print(path)
    return 1 if failures else 0


def _requests(names: Sequence[str], arguments: list[str]) -> list[Request]:
    """The request of each page, all for one folder; raises their mistakes all at once."""
    errors = [
        f"`{argument}` must be key=value or one of {', '.join(PAGES)}"
        for before, argument in pairwise(["", *arguments])
        if "=" not in argument and not argument.startswith("-") and not before.startswith("-")
    ]
    if any(argument.startswith(("-cn", "--config-name")) for argument in arguments):
        errors.append("`--config-name` must be left out: pages are named, as in `figure3a table3`")
    if errors:
        raise RequestError(errors)
    given = {a.partition("=")[0] for a in arguments}
    defaults = {"seed": SEEDS, "name": "name=reproduce"}
    arguments = [*arguments, *(text for key, text in defaults.items() if key not in given)]
    requests: list[Request] = []
    for name in names:
        try:
            requests.append(read_request("reproduce", DESCRIPTION, arguments, page=name))
        except RequestError as error:
            errors += error.lines
    if errors:
        raise RequestError(errors)
    return requests


def page(
    names: Sequence[str], table: pd.DataFrame, asked: int, drawn: Mapping[str, bytes]
) -> bytes:
    """A short HTML page of the named figures and tables; `drawn` holds the figures as SVG."""
    from dse.analysis import report
    from dse.analysis.sweeps import NoSweep
    from dse.analysis.table3 import TABLES

    sections = []
    for name in names:
        try:
            if name in TABLES:
                section = report.Section(title=TITLES[name], text=GAINS, table=TABLES[name](table))
            else:
                section = report.Section(
                    title=TITLES[name], text=findings(table, name), svg=drawn.get(name, b"")
                )
        except NoSweep as error:  # the trials of this page failed
            section = report.Section(title=TITLES[name], text=[str(error)])
        sections.append(section)
    return report.page("SqueezeNet's design space", summary(table, asked), sections)


MIDDLE = 0.5  # where Figure 3's curves bend, and where 3(a) and 3(b) meet
TITLES = {
    "figure3a": "Figure 3(a): squeeze ratio",
    "figure3b": "Figure 3(b): share of 3x3 filters",
    "table3": "Table 3: bypass connections",
    "downsample": "Late downsampling (section 3.1, strategy 3)",
    "widths": "Width: base_e, incr_e and freq",
}
GAINS = (
    "gain: the mean difference from no bypass over the shared seeds, in points, with its 95 % "
    "interval, which needs 3 seeds. The paper's columns are ImageNet's, of one run each.",
)


def summary(table: pd.DataFrame, asked: int) -> str:
    """What was trained and how it ended, in a sentence or two."""
    data = " and ".join(sorted(table["data"].unique()))
    seeds = ", ".join(str(s) for s in sorted(table["seed"].unique()))
    return (
        f"{len(table)} of {asked} trainings from scratch on {data}, seeds {seeds}: "
        f"{outcomes(table)}. Accuracies are on the whole test set, which was not used for any "
        "choice. These data are not ImageNet: the paper's points are shown in separate panels and "
        "columns."
    )


def findings(table: pd.DataFrame, name: str) -> list[str]:
    """What Figure 3 shows: the gains up to the middle, from there on, and in all."""
    from dse.analysis.statistics import INTERVAL_SEEDS
    from dse.analysis.sweeps import FIGURE_3, gain, one_sweep

    if name not in FIGURE_3:
        return []
    swept = FIGURE_3[name]
    values = sorted(one_sweep(table, swept.column)[swept.column].unique())
    first, last = values[0], values[-1]
    steps = [(first, MIDDLE), (MIDDLE, last)] if first < MIDDLE < last and MIDDLE in values else []
    steps.append((first, last))
    paper = {point.value: point.top5 for point in swept.points}
    lines = []
    for low, high in steps:
        answer, gained = gain(table, swept.column, low, high)
        text = f"From {swept.column} {low:g} to {high:g}: {gained.mean:+.1f} points of {answer}"
        if gained.count < INTERVAL_SEEDS:
            text += " (too few seeds for an interval)"
        else:
            text += (
                f" (95 % interval {gained.low:+.1f} to {gained.high:+.1f}, {gained.count} seeds)"
            )
        if low in paper and high in paper:
            text += f"; in the paper {paper[high] - paper[low]:+.1f} points of top-5 on ImageNet"
        lines.append(f"{text}.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
