"""What must hold before trials run: a folder that can be written, and the right data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dse.data import cache
from dse.data import folder as image_folder
from dse.data.store import DataError, Store
from dse.results.files import is_results
from dse.sweep.errors import RequestError
from dse.trial.question import Trial


def check_folder(folder: Path, key: str = "results.root") -> None:
    """Raise `RequestError` if a results folder cannot be written, or holds something else.

    `key` is what the user gave the folder by.
    """
    try:
        candidates = (folder / "trials", folder, *folder.absolute().parents)
        nearest = next(path for path in candidates if path.exists())
        with tempfile.TemporaryDirectory(prefix=".", dir=nearest):
            usable = is_results(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError([f"`{key}` must be writable, got {folder}: {reason}"]) from None
    if not usable:
        raise RequestError(
            [f"`name` must be a new folder or one with results of sweeps, got {folder}"]
        )


def check_data(
    trials: Sequence[Trial], store: Store, report: Callable[[str], None] = lambda line: None
) -> None:
    """Make sure that the data of `trials` are present and genuine, before torch is imported.

    `report` is called with a line before a long step. Raises `RequestError` with a line for each
    data set that is missing or not the published one.
    """
    sizes: dict[str, set[int]] = {}
    for protocol in (trial.protocol for trial in trials):
        sizes.setdefault(protocol.data, set()).add(protocol.image_size)
    folders = {t.protocol.manifest: t.protocol for t in trials if t.protocol.data == "image_folder"}
    checks: list[Callable[[], object]] = [
        *(partial(cache.prepare, data, store, of, report) for data, of in sizes.items()),
        *(partial(image_folder.prepare, protocol, store) for protocol in folders.values()),
    ]
    lines: list[str] = []
    for check in checks:
        try:
            check()
        except DataError as error:
            lines += str(error).splitlines()
    if lines:
        raise RequestError(lines)
