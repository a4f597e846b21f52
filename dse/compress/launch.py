"""Run the compressions of a request that have no record yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dse.analysis.rendering import counted
from dse.compress.request import Compression, Request
from dse.results import compressed
from dse.results.files import COMPRESSED, remove, trial_folder
from dse.results.records import ids
from dse.sweep.launch import Tasks, carry_out
from dse.sweep.messages import say
from dse.sweep.preflight import check_data, check_records
from dse.sweep.timing import Length, length_of

COMPRESS = "dse.compress.worker:run"


def run(request: Request, function: str = COMPRESS, command: str = "") -> int:
    """Compress what has no record in the folder, or has lost its file; return how many are left
    without a record.

    `function` names what carries out a compression. See `dse.sweep.launch.carry_out`. Also raises
    `RequestError` if data are missing or not the published ones, and `Damaged` as `check_records`.
    """
    names = request.names
    check_records(request.folder, names, COMPRESSED, "compressed network")
    done = ids(request.folder, COMPRESSED) - compressed.lost(request.folder, names)
    todo = {c.compressed_id: c for c in request.compressions if c.compressed_id not in done}
    where = request.folder.absolute(), request.store.absolute()

    def prepare() -> None:
        check_data([one.trial for one in todo.values()], request.store, say)
        if lost := compressed.lost(request.folder, todo):  # another command may have made some
            some = f"{len(lost):,} of {counted(len(names), 'compressed network')}"
            say(f"{compressed.FILE} is missing or cut off for {some}: compressed again")
        for own in lost:
            remove(trial_folder(request.folder, own, COMPRESSED))

    tasks = Tasks(
        function=function,
        arguments={key: (one, *where, request.workers.device) for key, one in todo.items()},
        names=names,
        lengths={key: _length(one) for key, one in todo.items()},
        data={key: one.trial.protocol.data for key, one in todo.items()},
        prepare=prepare,
        result=_result,
        kind=COMPRESSED,
        noun="compressed network",
    )
    return carry_out(tasks, request.folder, request.workers, command)


def _length(one: Compression) -> Length:
    """How long a compression is: the epochs of retraining, and one more for all else."""
    return replace(length_of(one.trial), epochs=one.settings.retrain_epochs + 1, others=1)


def _result(row: Mapping[str, Any]) -> str:
    """What a compressed network's row says, in words."""
    ratio = row["fp32_bytes"] / row["file_bytes"]
    return f"{row['file_bytes']:,} bytes, {ratio:.1f} times smaller, top-1 {row['top1']:.2f}%"
