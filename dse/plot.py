"""`python -m dse.plot results/NAME x=size_bytes y=top1 hue=bypass`: figures of any sweep."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dse.analysis.selection import file_name, is_condition, parse, split, words
from dse.figures.importing import import_matplotlib
from dse.results import compressed, files, studies
from dse.sweep.errors import Parser, RequestError
from dse.sweep.messages import say, unwritable
from dse.sweep.streams import print_lines, with_streams
from dse.trial.record import COLUMNS

DESCRIPTION = """\
Draw the trials of a results folder. Without a kind and x=, what is drawn
follows from what varies: lines, a heat map, or the effect of each axis."""
EPILOG = """\
kinds:
  (none)     x= y= hue= col= log=
                              any column against any (default of x: an axis; of
                              y: the accuracy); a line where x is an axis, or a
                              size that one axis changes; else points
  curves     y= hue= col= log=
                              learning curves of y (default: val_top1)
  heatmap    x= y= value=     the mean of value (default: the accuracy) over two
                              axes (default: those that vary, if they are two),
                              a panel for each setting of the other axes
  effects    y=               the effect of each axis on y, all else being equal
  front      x=COST,...       Pareto fronts: accuracy against each cost
                              (default: size, MACs, activations, time)
  chance     x=AXIS,...       share of trials that end at chance, by
                              configuration or axes
  forest     x=AXIS           comparisons of each axis' first value with the
                              others, or of each two values of one axis
  interactions                the pairs of axes of a complete grid whose effects
                              depend most on each other
  distributions  x=AXIS,...   the share of networks within each error, by the
                              values of each axis
  subspaces  x=AXIS,...       the best accuracy within each size, by the values
                              of each axis
  compressed                  accuracy against the bytes of compressed networks'
                              files
  study      study=NAME       how a search went: the best accuracy, or the
                              front, over its trials and epochs (default of
                              study: the only one)
  architecture  module=       networks as in the Figures 1 and 2 of the paper,
                              with one Fire module (default: fire2); without a
                              folder, also those that were not trained: see
                              python -m dse.plot architecture --help

keys:
  hue=COLUMN   what the colours are: an axis, or any column with x= and y=
  col=AXIS     a panel for each value
  log=         the logarithmic axes: x, y, "x,y" or none (default: sizes are)
  output=FILE  .svg, .png or .pdf (default: .svg and .png in
               results/NAME/plots/)
  key=value    selects trials by any other column, as in sr=0.125,0.25; so do
               conditions: 'params<1e5' 'val_top1>=80' 'status!=diverged'

Where a column of compressed networks is named, as file_bytes or method is,
these are drawn: those of python -m dse.compress, and every trial with method
none.

examples:
  python -m dse.plot results/mine
  python -m dse.plot results/mine x=size_bytes y=top1 hue=bypass col=layout
  python -m dse.plot results/mine x=sr y=val_loss log=y output=loss.pdf
  python -m dse.plot results/mine curves hue=sr seed=0,1
  python -m dse.plot results/mine x=file_bytes y=top1 hue=method
  python -m dse.plot results/mine compressed method=none,ristretto
  python -m dse.plot results/mine heatmap x=sr y=pct3x3
  python -m dse.plot architecture sr=0.25 bypass=none,complex"""
USES = {
    "": ("x", "y", "hue", "col", "log"),
    "curves": ("y", "hue", "col", "log"),
    "heatmap": ("x", "y", "value"),
    "effects": ("y",),
    "front": ("x",),
    "chance": ("x",),
    "forest": ("x",),
    "interactions": (),
    "distributions": ("x",),
    "subspaces": ("x",),
    "compressed": (),
    "study": (),
    "architecture": ("module",),
}
"""Each kind and the keys that it uses; "" is any column against any other."""
OF_TRIALS = (
    "curves", "front", "chance", "forest", "interactions", "distributions", "subspaces",
    "architecture",
)  # fmt: skip
"""Kinds that draw no compressed networks."""
SEVERAL = (("x", "front"), ("x", "chance"), ("x", "distributions"), ("x", "subspaces"))
"""The keys and kinds that take several columns."""
CALLED = {"pareto": "front", "scatter": "x=COLUMN y=COLUMN", "line": "x=AXIS"}
"""What kinds are called elsewhere, and what they are here."""
KEYS = ("x", "y", "hue", "col", "value", "log", "module", "output")
SUFFIXES = (".svg", ".png", ".pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0, or 1 for damaged records, 2 for a mistake, 130 for an interruption.
    """
    return with_streams(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        paths = _architecture(given[1:]) if given[:1] == ["architecture"] else _results(given)
    except (RequestError, OSError, ValueError) as error:
        say(error)
        return 1 if isinstance(error, files.Damaged) else 2
    print_lines(*paths)
    return 0


def _architecture(arguments: list[str]) -> list[Path]:
    """Draw networks into plots/, or into the file that is given."""
    from dse.sweep.networks import read_networks

    if arguments and os.sep in arguments[0] and "=" not in arguments[0]:
        raise ValueError(f"write: python -m dse.plot {arguments[0]} architecture")
    outputs = [text.partition("=")[2] for text in arguments if text.startswith("output=")]
    if len(outputs) > 1:
        raise ValueError(f"`output` must be given once, got {' and '.join(outputs)}")
    output = _output(outputs)
    texts = [text for text in arguments if not text.startswith("output=")]
    networks, common, module, defaults = read_networks(texts)

    import_matplotlib()
    from dse.figures.macroarchitecture import drawings

    figures = drawings(networks, module, common)
    if not output:
        texts = [text for text in texts if not text.startswith("module=")]
        figures = {file_name(name, *texts): figure for name, figure in figures.items()}
    say(*filter(None, [defaults]))
    return _write(figures, Path("plots"), output)


def _results(arguments: list[str]) -> list[Path]:
    """Draw trials of a results folder."""
    parser = Parser(
        prog="python -m dse.plot",
        usage="python -m dse.plot results/NAME [kind] [key=value ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument("words", nargs="*", default=[], metavar="kind, key=value", help="see below")
    options = parser.parse_args(arguments)
    selects = [word for word in options.words if split(word)[1]]
    kind = _kind([word for word in options.words if word not in selects])
    wanted = parse(selects)
    keys = {key: wanted.pop(key) for key in KEYS if key in wanted}
    output = _output(keys.pop("output", []))
    _check_keys(kind, keys)

    import_matplotlib()
    from dse.analysis.folder import read, rows_of
    from dse.figures.drawn import drawn
    from dse.sweep.captions import caption

    if kind == "study":
        figure = _study(options.folder, wanted)
        named = file_name(kind, *words(wanted))
        return _write({named: figure}, options.folder / "plots", output)
    table, noun = read(options.folder), "trial"
    if _is_of_compressed(kind, keys, wanted):
        table, noun = compressed.load(options.folder, table), "network"
    rows = rows_of(table, wanted, KEYS)
    if kind == "architecture":
        figures = _networks(rows, keys.get("module", []), [] if output else words(wanted))
        return _write(figures, options.folder / "plots", output)
    searched = studies.searched(options.folder)
    note = caption(rows, len(table) - len(rows), noun, wanted, searched)
    figures = drawn(kind, rows, options.folder, keys, note)
    own = " ".join(figure.remarks.replace(note, "") for figure in figures.values())
    say(*dict.fromkeys(re.findall(r"Not shown: .*?\.(?= |$)", own)))
    named = file_name(kind, *words({**keys, **wanted}))
    if not kind and not keys:  # the names say what was chosen
        figures = {f"{name}_{named}".strip("_"): one for name, one in figures.items()}
    else:
        figures = {named: figures.popitem()[1]}
    return _write(figures, options.folder / "plots", output)


def _networks(rows: Any, modules: Sequence[str], selected: Sequence[str]) -> dict[str, Any]:
    """The figures of the networks of some trials, which are `selected`, by name."""
    from dse.figures.macroarchitecture import drawings
    from dse.space.rules import one_of
    from dse.sweep.networks import MODULES, drawing_of

    module = one_of(*MODULES).accept("module", ",".join(modules) or "fire2")
    networks, common = drawing_of(rows.to_dict("records"))
    figures = drawings(networks, module, common)
    return {file_name(name, *selected): figure for name, figure in figures.items()}


def _study(folder: Path, wanted: Mapping[str, Sequence[str]]) -> Any:
    """The figure of a folder's study; raises `ValueError` where trials are selected."""
    if others := [key for key in wanted if key != "study"]:
        raise ValueError(f"`{others[0]}` selects trials, and a study is drawn as a whole")
    name, study = studies.chosen(folder, ",".join(wanted.get("study", ())))
    from dse.analysis.folder import load
    from dse.figures.plotting import described
    from dse.figures.study import study_figure
    from dse.sweep.captions import caption

    own = {one for point in study["points"] for one in point.get("trials", ())}
    table = load(folder)
    rows = table[table["trial_id"].isin(own)]
    title = ": ".join(filter(None, [f"Study {name}", described(rows)]))
    return study_figure(study, title, caption(rows, searched=studies.searched(folder)))


def _kind(words: Sequence[str]) -> str:
    """The kind that is named, or ""."""
    known = [kind for kind in USES if kind]
    for word in words:
        if os.sep in word:
            raise ValueError(f"one folder must be named, got {word} too")
        if word not in known:
            if word in COLUMNS:
                raise ValueError(
                    f"a condition must be in quotes, such as '{word}>1': got {word} alone"
                )
            near = [CALLED[word]] if word in CALLED else get_close_matches(word, known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            rule = f"the kind must be one of {', '.join(known)}"
            raise ValueError(f"{rule}, got {word!a}{hint}")
    if len(words) > 1:
        raise ValueError(f"one kind must be named, got {' '.join(words)}")
    return words[0] if words else ""


def _check_keys(kind: str, keys: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError` for a key without use, or with a wrong number of values."""
    for key, values in keys.items():
        if key not in USES[kind]:
            kinds = ", ".join(one or "x= and y=" for one, uses in USES.items() if key in uses)
            raise ValueError(f"`{key}` is for {kinds}; it has no effect with {kind or 'x='}")
        for text in filter(is_condition, values):
            raise ValueError(f"`{key}` must be given by =, got {key}{text}")
        if len({*values}) < len(values):
            raise ValueError(f"the values of `{key}` must differ, got {','.join(values)}")
        if len(values) > 1 and key not in ("log", "module") and (key, kind) not in SEVERAL:
            raise ValueError(f"`{key}` must be one column, got {','.join(values)}")
    if not set(keys.get("log", ["x"])) <= {"x", "y"} and keys["log"] != ["none"]:
        raise ValueError(f"`log` must be x, y, x,y or none, got {','.join(keys['log'])}")


def _is_of_compressed(
    kind: str, keys: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]]
) -> bool:
    """Whether a column is named that only compressed networks have; they are drawn then.

    Raises `ValueError` for a kind that does not draw them.
    """
    names = [*wanted, *itertools.chain(*keys.values())]
    if kind in OF_TRIALS:
        theirs = "; the kind compressed draws their front" if kind == "front" else ""
        compressed.refuse(names, f"{kind} draws trials only{theirs}")
    return bool(compressed.named(names)) or kind == "compressed"


def _output(values: Sequence[str]) -> Path | None:
    """The file to write; raises `ValueError` for an extension that is not known."""
    if not values:
        return None
    path = Path(",".join(values))
    if path.suffix not in SUFFIXES:
        raise ValueError(f"`output` must end with {', '.join(SUFFIXES)}, got {path}")
    return path


def _write(figures: Mapping[str, Any], folder: Path, output: Path | None) -> list[Path]:
    """Write figures as SVG and PNG into a folder, or into one file, and others next to it."""
    from dse.figures.plotting import encoded

    contents: dict[Path, bytes] = {}
    for number, (name, figure) in enumerate(figures.items()):
        if output:
            path = output.with_stem(f"{output.stem}-{name}") if number else output
            (contents[path],) = encoded(figure, path.suffix[1:])
        else:
            svg, png = encoded(figure, "svg", "png")
            contents |= {folder / f"{name}.svg": svg, folder / f"{name}.png": png}
    try:
        if not output:
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            _replace(path, content)
    except OSError as error:
        if not output:
            with suppress(OSError):  # it holds files
                folder.rmdir()
        place = unwritable("output", output or folder, error)
        raise ValueError(place if output else f"{place}; choose another with output=FILE") from None
    return list(contents)


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: on a full disk, the old one stays."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
