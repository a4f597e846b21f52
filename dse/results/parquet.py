"""Parquet by one thread: Arrow's own ways wait forever where no more threads are allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def decoded(content: bytes) -> Any:
    """The Arrow table in a file; raises `pyarrow.ArrowException` or `OSError` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)


def encoded(table: pd.DataFrame) -> bytes:
    """A table without its index as a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False, nthreads=1), sink)
    return bytes(sink.getvalue())
