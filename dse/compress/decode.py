"""`python -m dse.compress decode FILE`: a compressed network as plain safetensors."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from dse.coding.container import decode
from dse.coding.tensors import CompressedModel
from dse.results.atomic import write
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.messages import unwritable
from dse.sweep.streams import print_lines


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0. Raises `RequestError` for a wrong request or a damaged file."""
    parser = RequestParser(
        prog="python -m dse.compress decode",
        description="Decode a compressed network and write its weights as safetensors (float32).",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a compressed network")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="(default: FILE as .safetensors)"
    )
    options = parser.parse_args(arguments)
    content = read(options.file)
    output: Path = options.output or options.file.with_suffix(".safetensors")
    check_output(output, options.file)
    weights = safetensors(model(options.file, content))
    replace(output, weights)
    print_lines(f"{output}: {len(weights):,} bytes, decoded from {len(content):,}")
    return 0


def read(path: Path) -> bytes:
    """A file that the user named; raises `RequestError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        line = f"`file` must be readable, got {path}: {error.strerror}"
        raise RequestError([line]) from None


def check_output(output: Path, path: Path) -> None:
    """Raises `RequestError` where the output is a folder or the file that is read, or its folder
    does not exist."""
    if output.is_dir():
        raise RequestError([f"`output` must be a file, got the folder {output}"])
    if output.exists() and output.samefile(path):
        raise RequestError([f"`output` must be another file than {path}, got {output}"])
    if not output.parent.is_dir():
        reason = os.strerror(errno.ENOENT)
        raise RequestError([f"`output` must be writable, got {output}: {reason}"])


def model(path: Path, content: bytes) -> CompressedModel:
    """The network in a file, in the authors' format where its name ends in `.net`.

    Raises `RequestError` where it is damaged or of another format.
    """
    try:
        if path.suffix == ".net":
            from dse.compress.released import read_released  # imports torch

            return read_released(content)
        return decode(content)
    except ValueError as error:
        raise RequestError([f"`file` cannot be decoded, got {path}: {error}"]) from None


def safetensors(model: CompressedModel) -> bytes:
    """The weights of a compressed network as safetensors, with its architecture as metadata."""
    tensors = {name: np.ascontiguousarray(one.dense()) for name, one in model.tensors.items()}
    parts = {"architecture": dict(model.architecture), "activations": dict(model.activations)}
    return save(tensors, {name: json.dumps(part) for name, part in parts.items() if part})


def replace(output: Path, content: bytes) -> None:
    """Write a file that the user named; raises `RequestError` where that cannot be done."""
    try:
        write(output, content)
    except OSError as error:
        raise RequestError([unwritable("output", output, error)]) from None
