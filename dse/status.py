"""`python -m dse.status results/NAME`: what is done, failed, running and stopped half-way."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from dse.analysis.rendering import counted
from dse.results import (
    checkpoints,
    commands,
    compressed,
    curves,
    drivers,
    files,
    packs,
    records,
    running,
    studies,
)
from dse.results.checkpoints import Unfinished
from dse.results.running import called
from dse.space.rules import printable
from dse.sweep.errors import Parser
from dse.sweep.streams import print_lines, reported
from dse.trial.names import short_id, trial_names
from dse.trial.question import Trial

WEIGHTS = "weights.safetensors"
CODES = """exit code:
  0  none of these
  1  something failed, or a record, file or journal is damaged
  2  a wrong folder; nothing is shown
  3  something was killed or stopped half-way, and nothing is running
Of several folders, 1 comes before 3. Lost weights, and what was not
begun, do not count."""
NAMED, LISTED = 100, 5
"""Maximum number of finished trials that are read for the names of others, and of commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, see `CODES`. It changes nothing."""
    return reported(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m dse.status",
        description="Show what is done, failed, running and stopped half-way in results\n"
        "folders. Changes nothing.",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="results/NAME", help="a results folder"
    )
    folders: list[Path] = parser.parse_args(arguments).folders
    shown, codes = list[str](), {0}
    for folder in folders:
        try:
            files.require_trials(folder)
            shown += lines(folder, codes)
        except files.Damaged as error:  # a pack
            shown += str(error).splitlines()
            codes.add(1)
        except OSError as error:
            rule = f"`folder` must be a results folder, got {folder}: {error.strerror or error}"
            raise ValueError(rule) from None
    print_lines(*map(printable, shown))
    return 1 if 1 in codes else max(codes)


def damages(folder: Path) -> dict[str, list[str]]:
    """A line for each damaged record or file, by kind."""
    return {
        files.TRIALS: records.damages(folder, check=_check_curve),
        files.COMPRESSED: compressed.damages(folder),
    }


def _check_curve(home: Path, row: Mapping[str, Any]) -> None:
    """Raise `Damaged` where a trial's curve was cut or changed."""
    path = home / "curve.csv"
    if records.DIGESTS[path.name] not in row:  # of an earlier version
        curves.checked(home.parents[1], home.name)
    elif path.exists():
        records.check_file(path, path.read_bytes())


def lines(folder: Path, codes: set[int]) -> Iterator[str]:
    """Lines for the whole folder, for each failed trial, each command on it, each trial that was
    stopped half-way, and each damaged record or file; what they mean is added to `codes`."""
    damaged = damages(folder)
    stopped, early = checkpoints.unfinished(folder), studies.stopped(folder)
    early &= stopped.keys()
    stopped = {key: one for key, one in stopped.items() if key not in early}
    for kind, what in (files.TRIALS, "done"), (files.COMPRESSED, "compressed"):
        done, failures = records.ids(folder, kind), records.failures(folder, kind)
        if failures or damaged[kind]:
            codes.add(1)
        if done or failures or kind == files.TRIALS:
            texts = [f"{len(done) - len(damaged[kind]):,} {what}", f"{len(failures):,} failed"]
            texts += [f"{len(damaged[kind])} damaged"] if damaged[kind] else []
            if kind == files.TRIALS:
                texts += [f"{len(early)} stopped early by a search"] if early else []
                texts += [f"{len(stopped)} stopped half-way"] if stopped else []
            yield f"{folder}: {', '.join(texts)}"
        for trial_id, failure in failures.items():
            yield f"failed: {called(failure.name, trial_id)}: {failure.reason}"
    yield from _studies(folder)
    published, killed = drivers.published(folder), False
    for status, is_running in published:
        try:
            yield from running.of_command(folder, status, is_running)
            killed |= not (is_running or running.is_done(folder, status))
        except (TypeError, KeyError, AttributeError):
            yield "a command whose status cannot be read"
    yield from (others := list(running.unlisted(folder, published)))
    if (stopped or killed) and not others and not any(runs for _, runs in published):
        codes.add(3)
    yield from _stopped(folder, stopped)
    yield from itertools.chain.from_iterable(damaged.values())
    yield from _without_weights(folder)
    if damage := studies.damage(folder):
        codes.add(1)
        yield f"{damage}: a search refuses it"


def _studies(folder: Path) -> Iterator[str]:
    """A line for each study: how many of its trials are done, and the best so far."""
    if not (studies.load(folder) or (folder / studies.JOURNAL).exists()):
        return
    from dse.analysis.studies import counts, ending, reached  # imports pandas
    from dse.search.ledger import so_far  # imports Optuna

    for name, study in so_far(folder).items():
        with suppress(TypeError, KeyError, AttributeError):
            known = f"{counts(study)}; {reached(study)}.{ending(study)}"
            yield f"study {name} ({study['sampler']}): {known.removesuffix('.')}"


def _stopped(folder: Path, stopped: Mapping[str, Unfinished]) -> Iterator[str]:
    """A line for each trial that resumes from its checkpoint, and how to resume."""
    trials = [one.trial for one in stopped.values() if one.trial]
    names = trial_names([*trials, *_finished(folder)] if trials else [])
    for trial_id, (trial, epoch, batches) in stopped.items():
        name = called(names.get(trial_id, f"trial {short_id(trial_id)}"), trial_id)
        if trial is None:
            yield f"stopped half-way: {name}"
        else:
            within = f" and {counted(batches, 'step')}" if batches else ""
            epochs = trial.protocol.recipe.epochs
            yield f"stopped half-way: {name}: epoch {epoch} of {epochs}{within}"
    if stopped and not drivers.published(folder):
        asked = [commands.moved(line, folder) for line in _asked(folder, stopped.keys())]
        asked = list(dict.fromkeys(asked))
        which = "to resume:" if len(asked) == 1 else "to resume, the one that asked for it:"
        yield from (f"{which} {line}" for line in asked[:LISTED])


def _asked(folder: Path, stopped: Set[str]) -> list[str]:
    """The commands that may have asked for some trials, newest first: those of the studies that
    sampled them, where studies sampled all of them."""
    noted = [command.line for command in reversed(commands.noted(folder))]
    noted = [line for line in noted if "dse.compress" not in line.split()]
    sampled = {line: studies.sampled_by(folder, _study(line)) & stopped for line in noted}
    if stopped <= set().union(*sampled.values()):
        return [line for line in noted if sampled[line]]
    return noted


def _study(command: str) -> str:
    """The study that the line of a search names, else its sampler's, or the default's."""
    given = dict(word.partition("=")[::2] for word in command.split())
    return given.get("study") or given.get("sampler", "tpe") if "dse.search" in given else ""


def _without_weights(folder: Path) -> Iterator[str]:
    """A line where finished trials, which are not packed, lack weights that their records name."""
    there = files.finished(folder, files.trial_ids(folder)) - packs.ids(folder)
    lacking = []
    for own in sorted(there):
        home = files.trial_folder(folder, own)
        if not _is_whole(home / WEIGHTS):
            with suppress(OSError, ValueError, RecursionError):
                named = records.DIGESTS[WEIGHTS] in records.read_row(home / files.RECORD)
                lacking += [own] * named
    if lacking:
        some = ", ".join(lacking[:LISTED]) + (", ..." if lacking[LISTED:] else "")
        what = f"{counted(len(lacking), 'trial')} without whole weights ({some})"
        again = "its folder to train it" if len(lacking) == 1 else "their folders to train them"
        yield f"{what}: remove {again} again"


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file has the length that its header says."""
    try:
        with safe_open(path, framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False


def _finished(folder: Path) -> Iterator[Trial]:
    """Some finished trials: names are of what differs between them and those stopped."""
    for trial_id in itertools.islice(sorted(records.ids(folder)), NAMED):
        with suppress(OSError, files.Damaged):
            yield records.read(files.trial_folder(folder, trial_id) / files.RECORD).trial


if __name__ == "__main__":
    sys.exit(main())
