"""The network that is decoded from a compressed file: with its trial's preprocessing, or alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

from torch import nn

from dse.coding.container import decode
from dse.compress.decode import model
from dse.compress.decode import read as content_of
from dse.compress.networks import module
from dse.results.compressed import AGAIN, FILE, read
from dse.results.files import COMPRESSED, trial_folder
from dse.training.trained import Preprocess, Trained, class_names

Module = nn.Module
"""What a file alone gives."""


def load(folder: Path, compressed_id: str) -> Trained:
    """Decode a compressed network, in eval mode: batch norms are folded into its convolutions.

    Raises `ValueError` where the file is not there, or is not the one that the record is of.
    """
    path = trial_folder(folder, compressed_id, COMPRESSED) / FILE
    if not path.exists():
        raise ValueError(f"`folder` must hold {path}, got {folder}, which has its record only")
    record, content = read(folder, compressed_id), path.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.measured.file_sha256:
        raise ValueError(f"{path} is not the file of its record: {AGAIN}")
    network = cast(Trained, module(decode(content)))
    network.preprocess = Preprocess(record.trial.protocol)
    weights = trial_folder(folder, record.trial.trial_id) / "weights.safetensors"
    network.classes = class_names(weights)
    return network


def load_file(path: Path) -> Module:
    """Decode the network of a file alone, in eval mode: one of ours, or the authors' `.net`.

    Raises `ValueError` where it cannot be read or decoded.
    """
    return module(model(path, content_of(path)))
