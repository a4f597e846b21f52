"""`python -m dse.compare results/NAME bypass=none,simple`: is one value better than another?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.analysis.rendering import aligned, counted, decimals
from dse.analysis.selection import is_condition, parse, plain, select, words
from dse.results import compressed
from dse.sweep.errors import Parser
from dse.sweep.streams import print_lines, reported
from dse.trial.compressed import COLUMNS as COMPRESSED
from dse.trial.compression import SETTINGS
from dse.trial.names import LAYOUT, written
from dse.trial.record import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from dse.analysis.axes import Axis
    from dse.analysis.compare import Comparison

DESCRIPTION = """\
Compare values of a key by the accuracy of the trials in a results folder, or
by another result, such as y=val_loss. Trials are paired: same seed, and every
other key equal. If other keys vary in the folder, values are compared at each
combination of these, and then by the mean over all combinations; key=value
selects one."""
EPILOG = """\
p is from a sign-flip permutation test, exact up to 30 seeds. Holm's p is
adjusted for the number of rows of the table; that of a mean, for the number of
means. A difference is decided (significant) if Holm's p is at most 0.05. d_z is
the mean difference divided by its standard deviation. "more seeds" estimates
how many more would decide a difference of this size with 80% power; it is empty
where that is decided, or would take too many.

examples:
  python -m dse.compare results/reproduce bypass=none,simple
  python -m dse.compare results/mine sr=0.125,0.25,0.5 bypass=none
  python -m dse.compare results/mine bypass=none,simple y=val_loss
  python -m dse.compare results/mine method=none,prune    (compressed networks)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 for damaged records, 2 for a mistake.

    It changes nothing.
    """
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m dse.compare",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument(
        "wanted",
        nargs="*",
        metavar="key=value",
        help="the key to compare, with two or more values; others, with one value, seeds and "
        "conditions such as 'params<1e5' select trials",
    )
    options = parser.parse_args(arguments)
    found, values, remarks = _compared(options.folder, options.wanted)
    print_lines(table(found), *lines(found), *unpaired(found, values), *remarks)
    return 0


def _compared(
    folder: Path, arguments: Sequence[str]
) -> tuple[list[Comparison], list[Any], list[str]]:
    """The comparisons asked for, the values, and sentences on their means and on the trials.

    Raises `ValueError` or `OSError` for a mistake.
    """
    from dse.analysis.axes import FIELDS, SIZES, sweep
    from dse.analysis.compare import compare, compare_means
    from dse.analysis.compressed import distinct
    from dse.analysis.folder import answer, known_key, read, selected
    from dse.analysis.pairs import mixed_pairs, unlearned
    from dse.analysis.summary import by_results

    wanted = parse(arguments)
    y = ",".join(wanted.pop("y", []))
    table = read(folder)
    if {*wanted, y} & {*COMPRESSED} - {*COLUMNS}:
        table = distinct(compressed.load(folder, table))
    found = sweep(table)
    measure = answer("`y`", y, found.rows) if y else ""
    for name in wanted:
        known_key(name, found.rows)
    names = [axis.name.partition(", ")[0] for axis in found.axes if "data" not in axis.columns]
    key = _key(wanted, found.rows, names)
    texts = plain(wanted[key])
    rows = selected(found, wanted, key)
    for text in texts:
        if select(found.rows, {key: [text]}).index.intersection(rows.index).empty:
            given = {**wanted, key: [text, *filter(is_condition, wanted[key])]}
            raise ValueError(f"no trial has {' '.join(words(given))}")
    if key not in names and not any(key in axis.columns for axis in found.axes):
        reason = "it follows from other keys" if key in SIZES else "it is a result"
        instead = f"; compare {' or '.join(names)}" if names else ""
        raise ValueError(f"`{key}` cannot be compared: {reason}{instead}")
    if rows[key].nunique() < len(texts):
        raise ValueError(f"the values of `{key}` must differ, got {','.join(texts)}")

    own = (key,) if key in FIELDS else found.axis(key).columns
    chosen = replace(sweep(rows), measure=measure)  # of a layout, perhaps one field varies
    axis = chosen.axis(next(name for name in own if rows[name].nunique() > 1))
    others = [name for name in axis.columns if name not in own]
    together = _stands_for(key, axis, others, chosen.rows, folder) if others else ""
    values = [select(chosen.rows, {key: [text]})[axis.name].iloc[0] for text in texts]
    compared = compare(rows, axis.name, values, measure)
    means = [one.sentence for one in compare_means(rows, axis.name, values, measure)]
    remarks = [together, mixed_pairs(chosen, axis, values), unlearned(chosen, axis, values)]
    return compared, values, [*means, *filter(None, [*remarks, by_results(wanted)])]


def _stands_for(
    key: str, axis: Axis, others: Sequence[str], rows: pd.DataFrame, folder: Path
) -> str:
    """In words, the `others` of an axis' fields, which are compared with a key.

    Raises `ValueError` where a value of the field has several values of the axis, and for settings
    of compression, which are to be equal.
    """
    if key not in SETTINGS and (rows.groupby(key)[axis.name].nunique() == 1).all():
        return f"`{key}` varies together with {', '.join(others)}: they are compared as one."
    vary = f"{', '.join(others)} {'vary' if others[1:] else 'varies'} with it"
    rule = f"`{key}` must vary by itself in {folder}, and {vary}"
    if axis.name == LAYOUT:
        rule += f": compare `{LAYOUT}`"
    if key == "method":
        rule += "; compress by both with the same values of it"
    raise ValueError(rule)


def _key(wanted: Mapping[str, Sequence[str]], rows: pd.DataFrame, names: Sequence[str]) -> str:
    """The only key that has several values, apart from the seed; `names` are those that vary."""
    several = [key for key, texts in wanted.items() if plain(texts)[1:]]
    if several == ["seed"]:
        raise ValueError("`seed` cannot be compared: trials are paired by it")
    several = [key for key in several if key != "seed"]
    if not several:
        if not names:
            raise ValueError("no key can be compared: only the seed, or the data, varies")
        one = f"one of {', '.join(names)}" if names[1:] else names[0]
        two = ",".join(map(written, rows[names[0]].drop_duplicates().sort_values()[:2]))
        raise ValueError(f"no key has two values; give {one} two values, as in {names[0]}={two}")
    if len(several) > 1:
        raise ValueError(f"one key must have two or more values, got {' and '.join(several)}")
    return several[0]


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a table of text: a row for each, below what all have in common."""
    key, unit = comparisons[0].pairs.column, comparisons[0].unit
    most_first = sorted(comparisons, key=lambda one: -len(one.pairs.setting))
    settings = [*dict.fromkeys(name for one in most_first for name in one.pairs.setting)]
    rows = [_cells(one, settings) for one in comparisons]
    shared = (BEFORE, *settings, "seeds", *([key] if len(rows) > 1 else []))
    common = {name: rows[0][name] for name in shared if len({row[name] for row in rows}) == 1}
    values = (f"{key}={common.get(key)}", f"{BEFORE} {common.get(BEFORE)}")
    parts = [
        " ".join(text for text, name in zip(values, (key, BEFORE), strict=True) if name in common),
        " ".join(["at", *(f"{name}={common[name]}" for name in settings if name in common)]),
        counted(common["seeds"], "seed") if "seeds" in common else "",
        "in points" if unit.startswith(POINTS) else "",
    ]
    said = ", ".join(part for part in parts if part not in ("", "at"))
    columns = [name for name in rows[0] if name not in common]
    columns = [name for name in columns if name != MORE or any(row[MORE] for row in rows)]
    shown = aligned(columns, [[row[name] for name in columns] for row in rows])
    return f"{said}:\n{shown}" if said else shown


BEFORE, MORE, POINTS = "compared with", "more seeds", "points of "


def _cells(one: Comparison, settings: Sequence[str]) -> dict[str, Any]:
    """The cells of a row, by the names of their columns."""
    pairs, difference = one.pairs, one.difference
    digits = 2 if one.unit.startswith(POINTS) else decimals(difference)
    known = difference.low == difference.low
    ends = f"{difference.low:z,.{digits}f} to {difference.high:z,.{digits}f}"
    return {
        pairs.column: written(pairs.after),
        BEFORE: written(pairs.before),
        **{name: written(pairs.setting.get(name, "")) for name in settings},
        one.unit.removeprefix(POINTS): f"{difference.mean:+z,.{digits}f}",
        "95% interval": ends if known else "too few seeds",
        "seeds": difference.count,
        "p": f"{one.p:.2g}",
        "Holm's p": f"{one.adjusted_p:.2g}",
        "d_z": f"{one.effect:z.2f}" if one.effect == one.effect else "",
        MORE: None if one.decided else one.seeds_needed,
    }


def lines(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What the comparisons show, in sentences."""
    from dse.analysis.compare import highlights, lacking_seeds

    shown = highlights(comparisons)
    if len(shown) < len(comparisons):
        decided = f"{len(shown)} of {len(comparisons)} differences are decided."
        yield f"{decided} {lacking_seeds(comparisons)}".strip()
    yield from (one.sentence for one in shown)


def unpaired(comparisons: Sequence[Comparison], values: Sequence[Any]) -> Iterator[str]:
    """A line for each two of the values that no seed has with all else equal."""
    paired = {(one.pairs.before, one.pairs.after) for one in comparisons}
    for before, after in combinations(values, 2):
        if (before, after) not in paired:
            column = comparisons[0].pairs.column
            both = f"{written(before)} and {written(after)}"
            yield f"{column}={both} are not compared: no seed has both with all else equal."


if __name__ == "__main__":
    sys.exit(main())
