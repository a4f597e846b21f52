"""Results folders for people: all records as one table, and their networks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dse.results import compressed, files, records, studies, tables
from dse.results.files import LISTED
from dse.results.records import ROUNDING
from dse.trial.compression import SETTINGS
from dse.trial.names import short_id
from dse.trial.question import QUESTION, Trial

if TYPE_CHECKING:
    import pandas as pd

    from dse.compress.load import Module
    from dse.training.trained import Trained


def load(*folders: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Load one or several results folders as a table: a row per trial, sorted by question.

    `load("a", "b")` and `load(["a", "b"])` are the same. A trial that is in several folders counts
    once, with the record of the first of them: on another machine its answer may differ in the
    last digits. Warns where `top1` or `val_top1` differs by more than `ROUNDING` points. A folder
    that has its `table.csv` only will do. The columns are described in docs/api.md; a folder with
    searches has two more.

    Raises `ValueError` for a folder that is not a results folder, or that holds damaged records
    (a line for each), and `TypeError` for anything that is not a path.
    """
    from dse.analysis import folder as reading  # imports pandas

    places = _paths(folders)
    return _joined({place: reading.load(place) for place in places}, ["trial_id"], QUESTION)


def load_compressed(*folders: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Load the compressed networks of results folders as a table, sorted by question.

    A row for each compressed network, with the length of its file (`file_bytes`) and the
    accuracies of the network that is decoded from it; and a row for each trial as it was trained,
    with `method` none. The columns are described in docs/compression.md. Folders are given, and
    what is in several of them counts, as in `load`.

    Raises `ValueError` for a folder that is not a results folder, or that holds damaged records
    (a line for each), and `TypeError` for anything that is not a path.
    """
    places = _paths(folders)
    for place in places:
        files.require_trials(place)
    loaded = {place: compressed.load(place, tables.load(place)) for place in places}
    return _joined(loaded, ["trial_id", "compressed_id"], [*QUESTION, *SETTINGS])


def load_study(folder: str | Path, study: str = "") -> pd.DataFrame:
    """Load a study of a results folder as a table: a row for each point that was proposed and not
    refused, in order. Of a search that runs or was killed it may be a minute old.

    `study` is its name; it may be left out where the folder has one study. Also the points that
    were stopped early or failed have a row. The columns are described in docs/api.md.

    Raises `ValueError` for a folder without a study, and where `study` must be one of several, and
    `TypeError` for a folder that is not a path.
    """
    place = _path(folder)

    from dse.analysis.studies import trials  # imports pandas

    return trials(studies.chosen(place, study)[1])


@overload
def network(file: str | Path, /) -> Module: ...
@overload
def network(folder: str | Path, trial: str | Trial | pd.Series[Any]) -> Trained: ...
def network(folder: str | Path, trial: str | Trial | pd.Series[Any] | None = None) -> Module:
    """Load a finished trial's network with its trained weights, or a compressed network as it is
    decoded from its file, in eval mode.

    `trial` is a trial_id, a compressed_id or the beginning of one, a `Trial`, or a row of
    `load(folder)` or `load_compressed(folder)`; a row without `compressed_id` is its trial. The
    network is a `torch.nn.Module` that returns class scores, (batch, classes). Its `preprocess`
    turns one image into its input, (1, channels, side, side): see
    `dse.training.trained.Preprocess`.

    With one argument it is the path of a compressed network's file, such as a copy of
    `network.bin`, or of the authors' `.net`. A file has no trial: the network that is decoded from
    it has no `preprocess`.

    Raises `ValueError` where the folder is not a results folder or does not hold this trial and
    its weights, or this compressed network and its file, or where a file alone cannot be decoded,
    and `TypeError` for other types.
    """
    if trial is None:
        return _of_file(_path(folder))
    place = _results_folder(folder)
    trials, networks = records.ids(place), records.ids(place, files.COMPRESSED)
    own = _id(place, trial, trials | networks)

    if own in networks:
        from dse.compress import load as decoded  # imports torch, as the next

        return decoded.load(place, own)

    from dse.training import trained

    return trained.load(place, own)


def _of_file(path: Path) -> Module:
    if path.is_dir():
        known = "a trial_id, a Trial or one row of the table"
        raise TypeError(f"`trial` must be given with a folder: {known}; got the folder {path} only")
    from dse.compress import load as decoded  # imports torch

    return decoded.load_file(path)


def _joined(
    loaded: Mapping[Path, pd.DataFrame], ids: list[str], order: Sequence[str]
) -> pd.DataFrame:
    """The tables of some folders as one, in which what has the same `ids` is once; see `load`."""
    if len(loaded) == 1:
        return next(iter(loaded.values()))

    import pandas as pd

    filled = {place: table for place, table in loaded.items() if len(table)} or loaded
    table = pd.concat([one.assign(folder=str(place)) for place, one in filled.items()])
    again = table.duplicated(ids)
    both = table[~again].merge(table[again], on=ids, suffixes=("", "_again"))
    far = [(both[name] - both[f"{name}_again"]).abs() > ROUNDING for name in ("top1", "val_top1")]
    unlike = both[far[0] | far[1]]
    own = unlike[ids[-1]].where(unlike[ids[-1]] != "", unlike["trial_id"])
    pairs = zip(map(short_id, own), unlike["folder"], unlike["folder_again"], strict=True)
    if which := [f"{one} ({first}, {second})" for one, first, second in pairs]:
        more = f" and {len(which) - LISTED} more" if len(which) > LISTED else ""
        warnings.warn(
            f"accuracies differ by more than {ROUNDING} points between folders, and the first "
            f"folder's count: {', '.join(which[:LISTED])}{more}",
            stacklevel=3,
        )
    table = table[~again].drop(columns="folder")
    return table.sort_values([*order], kind="stable", ignore_index=True)


def _paths(given: Sequence[object]) -> list[Path]:
    """The paths of folders, one by one or in lists."""
    places = [
        _path(folder)
        for one in given
        for folder in (one if isinstance(one, (list, tuple)) else [one])
    ]
    if not places:
        raise ValueError("`folders` must name at least one results folder, got none")
    return [*dict.fromkeys(places)]


def _results_folder(folder: object) -> Path:
    path = _path(folder)
    files.require_trials(path)
    return path


def _path(folder: object) -> Path:
    if not isinstance(folder, (str, Path)):
        raise TypeError(f"`folder` must be a str or a Path, got {type(folder).__name__}")
    return Path(folder).expanduser()


def _id(folder: Path, trial: object, known: Set[str]) -> str:
    """The one of the `known` ids that `trial` names: an id, its beginning, a trial or a row."""
    ids = (getattr(trial, name, None) for name in ("compressed_id", "trial_id"))
    of_row = next(
        (one for one in ids if isinstance(one, str) and one), None
    )  # one may be "" or NaN
    wanted = trial if isinstance(trial, str) else of_row
    if not isinstance(wanted, str):
        raise TypeError(
            "`trial` must be a trial_id, a Trial or one row of the table, "
            f"got {type(trial).__name__}"
        )
    matches = sorted(own for own in known if own.startswith(wanted))
    if wanted in matches:
        return wanted
    if not matches:
        raise ValueError(f"`trial` must be a finished trial of {folder}, got {wanted}")
    if len(matches) > 1:
        raise ValueError(
            f"`trial` must be the beginning of one id only, got {wanted!r}, "
            f"which {len(matches)} ids of {folder} begin with"
        )
    return matches[0]
