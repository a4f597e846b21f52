"""Records that tests save, and how they compare two tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from dse.results import files
from dse.space.architecture import V1_0, Metaparameters
from dse.trial.protocol import Protocol
from dse.trial.question import QUESTION, Trial
from dse.trial.record import ANSWER, Answer, Circumstance, Record

FILES = {
    "curve.csv": b"epoch,lr,train_loss,train_top1,val_top1,val_loss\n1,0.1,2.0,25.0,25.0,2.0\n",
    "weights.safetensors": b"\x02" + bytes(7) + b"{}",
}
"""A curve of one epoch, and a file without a tensor."""


def record(sr: float = 0.125, seed: int = 0, **changes: Any) -> Record:
    """A record; `changes` are to its answer."""
    answer = dict.fromkeys(ANSWER, 1) | {"status": "learned", "diverged_step": -1, **changes}
    versions = "dse=0.1.0 python=3.11.7 torch=2.15.0+cu132"
    return Record(
        trial=Trial(
            metaparameters=Metaparameters(sr=sr),
            layout=V1_0,
            protocol=Protocol(image_size=64),
            seed=seed,
        ),
        answer=Answer(**answer),
        circumstance=Circumstance(
            seconds=1.25,
            device="cpu",
            threads=1,
            machine="x86_64",
            finished="2026-01-01T00:00:00+00:00",
            versions=versions,
        ),
    )


def place(folder: Path, one: Record) -> Path:
    return files.trial_folder(folder, one.trial.trial_id)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


ID = "0123456789abcdef0123"


RECORDS = [
    record(sr=sr, seed=seed, top1=sr * 90 + seed / 7, loss=math.nan if seed else 0.1)
    for sr in (0.125, 0.3, 0.75)
    for seed in (0, 1, 2, 10)
]


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are equal between runs on one machine: question and answer."""
    return table[["trial_id", *QUESTION, *ANSWER]]
