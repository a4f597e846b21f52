"""How often training ends at chance, for each configuration or value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dse.analysis.axes import Sweep, TooMany, sweep
from dse.analysis.labels import words
from dse.analysis.statistics import share
from dse.figures.marks import label_rows, row_height
from dse.figures.plotting import Figure, caption, described, legend, look, panels, style
from dse.figures.scales import count_groups, groups, in_order
from dse.trial.names import OUTCOMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 50
"""More rows than this cannot be read."""
SHOWN = ("never_learned", "diverged", "partly_dead")
"""Outcomes in the order in which they are drawn; the first one always is."""
WILSON = "Wilson's 95% intervals; how a trial ended is decided on the validation set."


def shares(found: Sweep, by: Sequence[str] = ()) -> pd.DataFrame:
    """The share of trials that ended at chance, and with each other outcome but `learned`.

    A row for each configuration, or for each setting of the axes named in `by`, over all trials
    that have it. Columns: those axes, `count`, and for each status in `SHOWN` its share, 0 to 1,
    with the ends of Wilson's 95% interval: `never_learned`, `never_learned_low`, ...
    """
    names = [found.axis(name).name for name in by] or [axis.name for axis in found.axes]
    rows = []
    for key, trials in groups(found.blank(found.rows), names):
        row = {**dict(zip(names, key, strict=True)), "count": len(trials)}
        for status in SHOWN:
            known = share(int((trials["status"] == status).sum()), len(trials))
            row |= {status: known.mean, f"{status}_low": known.low, f"{status}_high": known.high}
        rows.append(row)
    return in_order(pd.DataFrame(rows), [axis for axis in found.axes if axis.name in names])


def at_chance(found: Sweep | pd.DataFrame, by: Sequence[str] = (), *, note: str = "") -> Figure:
    """`shares` as a figure: a line of text for each row, and a mark for each outcome that occurs.

    Raises `NoSweep` for more rows than can be read.
    """
    found = sweep(found)
    names = [found.axis(name).name for name in by] or [axis.name for axis in found.axes]
    count = count_groups(found.blank(found.rows), names)
    if count > MOST_ROWS:
        raise TooMany(
            f"there would be {count:,} rows, and at most {MOST_ROWS} can be read: name some "
            f"axes, as in x={names[0]}, or select trials by key=value"
        )
    table = shares(found, by)
    texts = [words({name: row[name] for name in names}) for row in table.to_dict("records")]
    unknown = f"no value of {', '.join(names)}"
    labels = [textwrap.fill(text or unknown, 36) for text in texts]
    drawn = [status for status in SHOWN if status == SHOWN[0] or table[status].any()]
    with style():
        figure, (axes,) = panels(1, 1.6 + sum(map(row_height, labels)))
        for number, status in enumerate(drawn):
            _marks(axes, table, status, number, (number - (len(drawn) - 1) / 2) * 0.2)
        label_rows(axes, labels, [f"of {count:,}" for count in table["count"]])
        axes.set_xlim(-3, 103)
        axes.set_xlabel("share of the trials (%)")
        axes.set_title(described(found.rows))
        legend(figure, [OUTCOMES[status] for status in drawn])
        others = [axis.name for axis in found.axes if axis.name not in names]
        over = f"Over all trials, whatever their {', '.join(others)}." if others else ""
        caption(figure, WILSON, over, note, drawn=found.rows)
    return figure


def _marks(axes: Axes, table: pd.DataFrame, status: str, number: int, shift: float) -> None:
    """The shares of one outcome, percent, with their intervals."""
    x, low, high = (100 * table[f"{status}{end}"] for end in ("", "_low", "_high"))
    axes.errorbar(
        x,
        table.index.to_numpy(float) + shift,
        xerr=[x - low, high - x],
        label=OUTCOMES[status],
        **{**look(number), "linestyle": "none"},
        elinewidth=0.9,
    )
