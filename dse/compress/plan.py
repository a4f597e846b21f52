"""The text of a plan: each compression, and whether it is done."""

from __future__ import annotations

from dse.analysis.rendering import columns, counted
from dse.compress.request import Request
from dse.results.compressed import lost
from dse.results.files import COMPRESSED
from dse.results.records import ids
from dse.sweep.messages import say
from dse.sweep.preflight import check_data, check_records
from dse.trial.names import short_id


def plan(request: Request) -> str:
    """What a request would compress, as a table, and how much of it is done.

    Raises `Damaged` as `check_records` does, and `RequestError` where the data of what is to do are
    missing or not the published ones.
    """
    names = request.names
    check_records(request.folder, names, COMPRESSED, "compressed network")
    done = (ids(request.folder, COMPRESSED) & names.keys()) - lost(request.folder, names)
    todo = [c.trial for c in request.compressions if c.compressed_id not in done]
    check_data(todo, request.store, say, decode=False)
    rows = [
        (name, short_id(own), "done" if own in done else "to do") for own, name in names.items()
    ]
    table = columns([("compressed network", "id", ""), *rows], "<<<")
    count = counted(len(names), "compressed network")
    return "\n".join([*table, f"{count}, {len(done)} done, {len(names) - len(done)} to do"])
