"""`python -m dse.compress sensitivity results/NAME`: which layers can be pruned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dse.analysis.selection import file_name
from dse.compress.help import RUN
from dse.compress.request import Request, read_request
from dse.figures.importing import import_matplotlib
from dse.results import tables
from dse.results.atomic import write
from dse.results.files import make
from dse.space.rules import real
from dse.sweep.captions import caption
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.keys import accepted
from dse.sweep.messages import say
from dse.sweep.overrides import parse_overrides
from dse.sweep.preflight import check_data, check_folder
from dse.sweep.streams import print_lines
from dse.trial.compression import SETTINGS
from dse.trial.names import trial_names
from dse.trial.question import Trial

if TYPE_CHECKING:
    import pandas as pd

DENSITY, MARGIN = "density", "margin"
DESCRIPTION = (
    "Prune one layer of a trained network at a time, without retraining, and measure the accuracy "
    "on the validation set. Networks that differ in their seed only are measured together. Keys: "
    "those of dse.sweep that select trials, density=0.8,0.5,0.2 (the shares of the weights that "
    "are kept), margin=1 (points of val_top1 that each layer may lose alone, in the value of "
    "`densities` that is printed), data.* and runner.device."
)


def main(arguments: Sequence[str]) -> int:
    """Write a table and a figure to results/NAME/plots; returns 0. Raises `RequestError` for a
    wrong request."""
    parser = RequestParser(prog="python -m dse.compress sensitivity", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument("keys", nargs="*", default=[], metavar="key=value", help="see above")
    words = parser.parse_intermixed_args(arguments).keys
    margin = _margin([word for word in words if _key(word) == MARGIN])
    words = [word for word in words if _key(word) != MARGIN]
    request, trials = _read([one for one in arguments if _key(one) != MARGIN], words)
    check_folder(request.folder, "folder")
    check_data(trials, request.store, say)
    densities = {one.settings.density for one in request.compressions}
    table = scanned(request, trials, densities if _given(words, DENSITY) else set())

    import_matplotlib()
    from dse.analysis.folder import rows_of  # these import pandas and matplotlib
    from dse.analysis.sensitivity import text
    from dse.figures.drawing import remark
    from dse.figures.plotting import encoded
    from dse.figures.sensitivity import sensitivity

    ids = {"trial_id": [trial.trial_id for trial in trials]}
    rows = rows_of(tables.load(request.folder), ids)
    note = remark(rows, caption(rows))
    name = file_name("sensitivity", *(word for word in words if _key(word) not in RUN))
    svg, png = encoded(sensitivity(table, note), "svg", "png")
    csv = table.to_csv(index=False).encode()
    make(request.folder / "plots")
    paths = [request.folder / "plots" / f"{name}.{kind}" for kind in ("csv", "svg", "png")]
    for path, content in zip(paths, (csv, svg, png), strict=True):
        write(path, content)
    print_lines(*text(table, margin), *paths)
    return 0


def _key(word: str) -> str:
    return word.partition("=")[0].strip()


def _given(words: Sequence[str], key: str) -> bool:
    return any(_key(word) == key for word in words)


def _margin(words: Sequence[str]) -> float:
    """The points that a layer may lose; raises `RequestError` for another value than one number."""
    errors: list[str] = []
    values = parse_overrides(words, errors, (MARGIN,), ()).get(MARGIN, [1.0])
    read = [accepted(MARGIN, value, real(0, 100), errors) for value in values]
    if len(read) != 1:
        errors.append(f"`{MARGIN}` must have one value, got {len(read)}")
    if errors:
        raise RequestError(errors)
    return float(read[0])


def _read(arguments: Sequence[str], words: Sequence[str]) -> tuple[Request, list[Trial]]:
    """The request, and its trials, which differ in their seed only."""
    idle = [name for name in (*SETTINGS, "plan") if name not in (DENSITY, MARGIN)]
    if extra := [name for name in idle if _given(words, name)]:
        raise RequestError(f"`{name}` has no effect on a sensitivity" for name in extra)
    request = read_request(arguments)
    trials = list({one.trial.trial_id: one.trial for one in request.compressions}.values())
    if len({tuple({**t.question, "seed": 0}.items()) for t in trials}) > 1:
        first, *_, last = trial_names(trials).values()
        rule = "must differ in their seed only: select some by key=value"
        raise RequestError([f"the trials {rule}, got {first} .. {last}"])
    return request, trials


def scanned(request: Request, trials: Sequence[Trial], densities: set[float]) -> pd.DataFrame:
    """`dse.compress.sensitivity` of each of the trials, with its `seed`, as one table."""
    import pandas as pd
    import torch

    from dse.compress.sensitivity import DENSITIES, sensitivity
    from dse.compress.worker import training_of
    from dse.training import trained

    chosen = sorted({1.0, *(densities or DENSITIES)}, reverse=True)
    store, device = request.store.absolute(), torch.device(request.workers.device)
    torch.set_num_threads(1)  # more wait for each other: the batches are small
    tables = []
    for number, trial in enumerate(trials, 1):
        training = training_of(trial, store, device)
        network = trained.load(request.folder, trial.trial_id)
        tables.append(sensitivity(network, training, chosen).assign(seed=trial.seed))
        say(f"[{number}/{len(trials)}] seed={trial.seed}")
    return pd.concat(tables, ignore_index=True)
