"""What the searches of a results folder found, as plain values: `studies/NAME.json`, one a study.

It is written when a search ends or is interrupted, and every minute while it runs, from the study
itself, so that reports and figures need no Optuna. No record depends on it. The ids of the trials
that a sampler chose are written to `studies/NAME.ids` before they are trained, so that those of a
search that runs or was killed are all known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dse.results.atomic import write
from dse.results.files import make, names, require_trials

STUDIES, JOURNAL, IDS = "studies", "study.journal", ".ids"
GRID = "grid"
"""The sampler that takes every point in order, as a sweep does."""
KEYS = {"sampler", "objectives", "limits", "ended", "refused", "effects", "points"}


def path_of(folder: Path, name: str) -> Path:
    """The file that keeps what a study found."""
    return folder / STUDIES / f"{name}.json"


def save(folder: Path, name: str, study: Mapping[str, Any]) -> Path:
    """Write what a study found; returns the file's path."""
    path = path_of(folder, name)
    make(path.parent)
    write(path, (json.dumps(study, indent=1) + "\n").encode())
    return path


def note_sampled(folder: Path, name: str, trial_ids: Iterable[str]) -> None:
    """Note that the sampler of a study chose some trials, before they are trained."""
    path = path_of(folder, name).with_suffix(IDS)
    make(path.parent)
    with path.open("a") as file:
        file.write("\n".join(["", *trial_ids, ""]))  # the last line may have been cut off


def stopped(folder: Path) -> set[str]:
    """The ids of the trials that studies stopped early, and will not resume."""
    points = [point for study in load(folder).values() for point in study["points"]]
    return {
        trial_id
        for point in points
        if isinstance(point, dict) and point.get("state") == "stopped"
        for trial_id in point.get("trials", ())
    }


def searched(folder: Path) -> set[str]:
    """The keys that the studies of a folder vary."""
    points = [point for study in load(folder).values() for point in study["points"]]
    return {key for point in points if isinstance(point, dict) for key in point.get("point", ())}


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """What each study found, by name; files that cannot be read are left out.

    Keys: `chance` (the validation accuracy up to which a network may be guessing), `sampler`,
    `objectives` (a cost and `val_top1`, or that alone), `limits`, `n_trials`, `compression` (the
    settings where the cost is `compressed_bytes`, else ""), `ended`, `refused` (counts by reason),
    `effects` (a mapping for each key, see `dse.search.closing`) and `points`, in order: `number`,
    `state` (trained, stored, stopped, failed or running), `point`, `values` of the objectives,
    `epochs` trained, `trials`, their ids, `networks`, the ids of the compressed networks where
    these are sought, else of the trials, `costs`, and of a stopped one `last`, its accuracy then.
    """
    found = {}
    for name in names(folder / STUDIES):
        if name.endswith(".json") and not name.startswith("."):
            with suppress(OSError, ValueError, RecursionError):
                study = json.loads((folder / STUDIES / name).read_bytes())
                if (
                    isinstance(study, dict)
                    and study.keys() >= KEYS
                    and isinstance(study["points"], list)
                ):
                    found[name.removesuffix(".json")] = study
    return found


def chosen(folder: Path, name: str = "") -> tuple[str, dict[str, Any]]:
    """The name of a folder's study, and what it found; `name` may be "" where there is one only.

    Raises `ValueError` where there is none, or none of this name, and for several without a name.
    """
    found = load(folder)
    if not found:
        require_trials(folder)
        raise ValueError(f"`folder` must hold a study, got {folder}: no search has ended there")
    if name not in found and (name or len(found) > 1):
        got = f"got {name}" if name else f"as {folder} has {len(found):,} studies"
        raise ValueError(f"`study` must be one of {', '.join(found)}, {got}")
    return (name, found[name]) if name else next(iter(found.items()))


def places(folder: Path) -> dict[str, tuple[str, int]]:
    """The study of each trial, and the place in it, from 1, of the point that the trial belongs to.

    Of several studies it is the one that trained it, else the first by name.
    """
    found: dict[str, tuple[str, int]] = {}
    known = load(folder)
    for is_trained in (False, True):
        for name in sorted(known, reverse=True):
            for place, point in enumerate(known[name]["points"], 1):
                if isinstance(point, dict) and (point.get("state") == "trained") == is_trained:
                    found |= dict.fromkeys(point.get("trials", ()), (name, place))
    return found


def torn(content: bytes) -> tuple[int, int]:
    """The first line of a journal that is no record, from 1, and where it begins in bytes; 0 and
    the length where all lines are records."""
    place = 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        if not _is_record(line):
            return number, place
        place += len(line)
    return 0, place


def _is_record(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return False


def damage(folder: Path) -> str:
    """A line where the journal of a folder's studies is damaged, apart from the end of its last
    record, which a search repairs; else ""."""
    path = folder / JOURNAL
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    line, _ = torn(content)
    return f"{path} is damaged in line {line:,}" if 0 < line < len(content.splitlines()) else ""


def copy(folder: Path, into: Path) -> None:
    """Copy what the studies of a folder found to another one.

    A study keeps its name, or gets a number where another one has it; of copies of one study, the
    one with more trials stays.
    """
    for name in sorted({Path(n).stem for n in names(folder / STUDIES) if not n.startswith(".")}):
        own = _trials(folder, name)
        number = 1
        while not own >= (there := _trials(into, copied := name + f"-{number}" * (number > 1))):
            if own <= there:
                break  # it has been copied
            number += 1
        else:
            make(into / STUDIES)
            for end in (".json", IDS):
                with suppress(FileNotFoundError):
                    content = (folder / STUDIES / f"{name}{end}").read_bytes()
                    write(into / STUDIES / f"{copied}{end}", content)


def _trials(folder: Path, name: str) -> set[str]:
    """The ids of the trials of a study, by both of its files; empty where there is none."""
    points = load(folder).get(name, {}).get("points", ())
    trials = [point.get("trials", ()) for point in points if isinstance(point, dict)]
    return sampled_by(folder, name).union(*trials)


def sampled_by(folder: Path, name: str) -> set[str]:
    """The ids of the trials that the sampler of a study, but `grid`, chose to train."""
    with suppress(OSError, ValueError):
        return {*path_of(folder, name).with_suffix(IDS).read_text().split()}
    return set()


def sampled(folder: Path) -> set[str]:
    """The ids of the trials that samplers chose: those of all studies, but of the sampler `grid`,
    and of what the folder had before."""
    noted = [
        sampled_by(folder, name.removesuffix(IDS))
        for name in names(folder / STUDIES)
        if name.endswith(IDS) and not name.startswith(".")
    ]
    return set().union(*noted) | {
        trial_id
        for study in load(folder).values()
        if study["sampler"] != GRID
        for point in study["points"]
        if isinstance(point, dict) and point.get("state") != "stored"
        for trial_id in point.get("trials", ())
    }
