"""Records of compressed networks that tests save."""

from __future__ import annotations

import hashlib
from typing import Any

from sample_records import record

from dse.trial.compressed import MEASURED, CompressedRecord, Measured
from dse.trial.compression import SETTINGS, Settings


def compressed_record(sr: float = 0.125, seed: int = 0, **changes: Any) -> CompressedRecord:
    """A record of `sample_records.record` compressed; `changes` are settings or measures."""
    parent = record(sr, seed)
    measured: dict[str, Any] = dict.fromkeys(MEASURED, 1)
    measured["status"] = "learned"
    measured["file_sha256"] = hashlib.sha256(b"f").hexdigest()
    measured |= {name: value for name, value in changes.items() if name in MEASURED}
    settings = Settings(**{name: changes[name] for name in changes if name in SETTINGS})
    return CompressedRecord(
        trial=parent.trial,
        settings=settings,
        measured=Measured(**measured),
        circumstance=parent.circumstance,
    )
