"""`python -m dse.compress verify results/NAME`: every file measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.compress.help import RUN
from dse.data.store import Store
from dse.results import compressed, files, records
from dse.results.files import COMPRESSED
from dse.runner.events import Failed, Finished
from dse.runner.runner import Runner, Workers
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.messages import say
from dse.sweep.overrides import parse_overrides
from dse.sweep.preflight import check_data
from dse.sweep.request import read_settings, read_store, read_workers
from dse.sweep.signals import stopped_by_signals
from dse.sweep.streams import print_lines
from dse.trial.compressed import CompressedRecord

CHECK = "dse.compress.check:run"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, or 1 where there are differences, which are printed.

    Raises `RequestError` for a wrong request.
    """
    folder, store, workers = _read(arguments)
    known: dict[str, CompressedRecord] = {}
    lines = []
    every = records.ids(folder, COMPRESSED)
    there = files.finished(folder, files.trial_ids(folder, COMPRESSED), COMPRESSED)
    if packed := len(every - there):
        say(f"{counted(packed, 'packed network')} cannot be verified: a pack has no files")
    for own in sorted(there):
        try:
            known[own] = compressed.read(folder, own)
        except files.Damaged as error:
            lines.append(str(error))
    if not known and not lines:
        raise RequestError([f"`folder` must have files of compressed networks, got {folder}"])
    check_data([record.trial for record in known.values()], store, say)
    for line in lines:
        print_lines(line)
    found = len(lines) + _measured(known, folder, store, workers)
    print_lines(f"{counted(len(known) + len(lines), 'compressed network')}, {_differences(found)}")
    return 1 if found else 0


def _read(arguments: Sequence[str]) -> tuple[Path, Store, Workers]:
    parser = RequestParser(
        prog="python -m dse.compress verify",
        description="Decode the compressed networks of a results folder, measure them again, and "
        "compare them with their records: bytes, SHA-256, top-1 and top-5.",
    )
    parser.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="data.* and runner.*"
    )
    options = parser.parse_args(arguments)
    errors: list[str] = []
    keys = [key for key in RUN if key not in ("plan", "limit")]
    given = parse_overrides(options.overrides, errors, keys)
    run = read_settings([given], errors)
    workers = read_workers([given], run, errors)
    folder: Path = options.folder
    try:
        files.require_trials(folder)
    except ValueError as error:
        errors.append(str(error))
    if errors:
        raise RequestError(errors)
    return folder, read_store(run), workers


def _measured(
    known: Mapping[str, CompressedRecord], folder: Path, store: Store, workers: Workers
) -> int:
    """Measure networks again; print their differences, and return how many there are."""
    where: Any = folder.absolute(), store.absolute(), workers.device
    found = 0
    with Runner(CHECK, workers, say) as runner, stopped_by_signals(runner) as received:
        for own, record in known.items():
            runner.submit(own, (record, *where))
        for event in runner.events():
            lines = []
            if isinstance(event, Finished):
                lines = event.value
            elif isinstance(event, Failed):
                lines = [f"it cannot be measured: {event.reason}"]
            found += len(lines)
            for line in lines:
                print_lines(f"{folder / COMPRESSED / str(event.key)}: {line}")
    if received:
        raise KeyboardInterrupt
    return found


def _differences(count: int) -> str:
    return counted(count, "difference") if count else "no difference"
