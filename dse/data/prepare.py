"""Everything that a sweep's protocols need of their data, made sure of before any trial starts."""

from __future__ import annotations

from collections.abc import Iterable

from dse.data import cache, folder
from dse.data.store import DataError, Report, Store
from dse.trial.protocol import Protocol


def prepare_all(
    protocols: Iterable[Protocol], store: Store, report: Report = lambda line: None
) -> None:
    """Make sure that the data of all protocols are available and genuine.

    `report` is called before what takes long. Raises `DataError` with a line per bad set.
    """
    sizes: dict[str, set[int]] = {}
    folders: dict[str, Protocol] = {}
    for protocol in protocols:
        sizes.setdefault(protocol.data, set()).add(protocol.image_size)
        if protocol.data == "image_folder":
            folders[protocol.manifest] = protocol
    problems = []
    for name, image_sizes in sizes.items():
        try:
            cache.prepare(name, store, image_sizes, report)
        except DataError as error:
            problems.append(str(error))
    for protocol in folders.values():
        try:
            folder.prepare(protocol, store)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
