"""Packs: many finished trials in one file of a results folder, their records and learning curves.

`trials.parquet` packs what is in `trials/`, `compressed.parquet` what is in `compressed/`. A pack
has a row for each record: the record's columns, and a list for each column of its curve, named
`curve.epoch` and so on. Its metadata hold the SHA-256 of its values. A trial that is packed and
has a folder too is one trial: the pack's record counts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.results.files import COMPRESSED, TRIALS, Signature, pack_of, refused, signature
from dse.results.parquet import decoded
from dse.trial import compressed, record

if TYPE_CHECKING:
    import pandas as pd

CURVE = "curve."
"""What the columns of the learning curves begin with."""
ID = {TRIALS: "trial_id", COMPRESSED: "compressed_id"}
"""The column that names what is of a kind."""
RECORD_FROM: Mapping[str, Callable[..., Any]] = {
    TRIALS: record.record_from,
    COMPRESSED: compressed.compressed_from,
}
"""What checks a row of a kind, and makes a record of it."""
COLUMNS = {TRIALS: record.COLUMNS, COMPRESSED: compressed.COLUMNS}
RESTORE = "restore it, or remove it to start over"


def ids(folder: Path, kind: str = TRIALS) -> frozenset[str]:
    """The ids of what is packed; none where there is no pack. Raises `Damaged`."""
    pack = _pack(folder, kind)
    return frozenset(pack[ID[kind]].to_pylist()) if pack else frozenset()


def rows(folder: Path, kind: str = TRIALS) -> list[dict[str, Any]]:
    """The packed records as flat rows; raises `Damaged` where one of them is not a record."""
    pack = _pack(folder, kind)
    if pack is None:
        return []
    columns = [name for name in pack.column_names if not name.startswith(CURVE)]
    try:
        return [RECORD_FROM[kind](row).row() for row in pack.select(columns).to_pylist()]
    except (ValueError, TypeError) as error:
        later = [name for name in columns if name not in COLUMNS[kind]]
        raise refused(pack_of(folder, kind), error, RESTORE, later) from None


def curves(folder: Path, wanted: Iterable[str], kind: str = TRIALS) -> pd.DataFrame:
    """The packed learning curves: the id's column, and those of `curve.csv`, a row for each epoch.

    In the order of `wanted`; what is not packed, or has no curve, has no row. Raises `Damaged`.
    """
    import pandas as pd

    pack = _pack(folder, kind)
    if pack is None or CURVE + "epoch" not in pack.column_names:
        return pd.DataFrame({ID[kind]: []})

    import pyarrow as pa
    import pyarrow.compute as pc

    places = {own: place for place, own in enumerate(pack[ID[kind]].to_pylist())}
    chosen = pa.array([places[own] for own in wanted if own in places], pa.int64())
    some = pack.take(chosen).combine_chunks()
    lists = {n.removeprefix(CURVE): some[n] for n in some.column_names if n.startswith(CURVE)}
    owners = some[ID[kind]].take(pc.list_parent_indices(lists["epoch"]))
    values = {name: pc.list_flatten(column).to_numpy() for name, column in lists.items()}
    return pd.DataFrame({ID[kind]: owners.to_pandas(), **values})


def encoded(
    kind: str, rows: list[dict[str, Any]], curves: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """A pack of some records and of their curves: by id, a list for each column of a curve."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pack = pa.Table.from_pylist(rows)
    own = [curves.get(row[ID[kind]], {}) for row in rows]
    for name in dict.fromkeys(name for curve in own for name in curve):
        column = pa.array([curve.get(name) for curve in own])
        pack = pack.append_column(CURVE + name, column)
    pack = pack.replace_schema_metadata({"sha256": _digest(pack)})
    sink = pa.BufferOutputStream()
    pq.write_table(pack, sink, compression="zstd", compression_level=15)
    return bytes(sink.getvalue())


def _pack(folder: Path, kind: str) -> Any:
    """The pack of a results folder as an Arrow table; None where there is none."""
    path = pack_of(folder, kind)
    state = signature(path)
    return None if state is None else _read(path, state, kind)


@functools.lru_cache(maxsize=4)
def _read(path: Path, _: Signature, kind: str) -> Any:
    """The Arrow table in a pack; raises `Damaged` where it was cut or changed, `OSError` where it
    cannot be read."""
    import pyarrow as pa

    content = path.read_bytes()
    try:
        pack = decoded(content)
        found = (pack.schema.metadata or {}).get(b"sha256", b"").decode()
        if found != _digest(pack):
            raise ValueError("its checksum is wrong")
        if len(set(pack[ID[kind]].to_pylist())) < len(pack):
            raise ValueError("it holds a record twice")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise refused(path, error, RESTORE) from None
    return pack


def _digest(pack: Any) -> str:
    """The SHA-256 of a table's names and values, however they are encoded in a file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.sha256()
    for field in pack.schema:
        column = pack[field.name].combine_chunks()
        digest.update(f"{field.name} {len(column)}\n".encode())
        if pa.types.is_list(field.type):
            lengths = pc.fill_null(pc.list_value_length(column), -1)
            digest.update(lengths.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            column = pc.list_flatten(column)
        if pa.types.is_string(column.type):
            digest.update("\0".join(column.to_pylist()).encode())
        else:
            digest.update(column.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()
