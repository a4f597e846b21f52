"""The file of a compressed network: `encode` and `decode`, lossless in both directions.

A file is magic and version, a header (deflated JSON: coder, architecture, tensors' names and
heads, activations), the coder's payload and a digest of all that. `docs/compressed_format.md` has
it byte by byte. Nothing in a file is run; what it declares is checked before memory is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from dse.coding import adaptive, header, huffman
from dse.coding.heads import BadFile, Head, head
from dse.coding.tensors import CompressedModel, Tensor

MAGIC = b"DSEc"
VERSION = 1
DIGEST_BYTES = 8

FREE, PER_BYTE = 1 << 22, 1 << 12
"""A file may declare 2**22 numbers (mostly weights), and 4096 more for each of its bytes: a few
bytes of damage cannot ask for gigabytes."""


class Coder(Protocol):
    """Codes all tensors of a network at once, so that they may share statistics."""

    def encode(self, tensors: Sequence[Tensor]) -> bytes: ...

    def decode(self, payload: bytes, heads: Sequence[Head]) -> list[Tensor]:
        """Raises `ValueError` for a payload that `encode` does not write."""
        ...


CODERS: dict[str, Coder] = {"adaptive": adaptive, "huffman": huffman}


def encode(model: CompressedModel, coder: str = "adaptive") -> bytes:
    """The file of a compressed network; `coder` is one of `CODERS`.

    Raises `ValueError` for a model that no file can hold, with the tensor's name.
    """
    if coder not in CODERS:
        raise ValueError(f"`coder` must be one of {', '.join(CODERS)}, got {coder}")
    heads = []
    for name, tensor in model.tensors.items():
        try:
            heads.append(head(tensor))
        except ValueError as error:
            raise ValueError(f"tensor {name}: {error}") from None
    top = header.write(model, coder, heads)
    payload = CODERS[coder].encode(list(model.tensors.values()))
    content = MAGIC + bytes([VERSION]) + top + payload
    _check_size(heads, len(content) + DIGEST_BYTES)
    return content + digest(content)


def decode(content: bytes) -> CompressedModel:
    """The network in a file's content.

    Raises `BadFile`, with one line, for a file that is damaged or of another format.
    """
    start = len(MAGIC) + 1
    if len(content) < start + DIGEST_BYTES or not content.startswith(MAGIC):
        raise BadFile("the file is not a compressed network")
    if content[start - 1] != VERSION:
        raise BadFile(f"the file's version must be {VERSION}, got {content[start - 1]}")
    body = memoryview(content)[:-DIGEST_BYTES]
    if digest(body) != content[-DIGEST_BYTES:]:
        raise BadFile("the file is damaged: its checksum differs")
    try:
        top, payload = header.read(bytes(body[start:]))
        if top.coder not in CODERS:
            raise ValueError("its coder is unknown")
        _check_size(top.heads, len(content))
        tensors = CODERS[top.coder].decode(payload, top.heads)
    except ValueError as error:
        raise BadFile(f"the file is damaged: {error}") from None
    return CompressedModel(
        architecture=top.architecture,
        tensors=dict(zip(top.names, tensors, strict=True)),
        activations=top.activations,
    )


def _check_size(heads: Sequence[Head], length: int) -> None:
    numbers, most = sum(own.declared for own in heads), FREE + PER_BYTE * length
    if numbers > most:
        raise ValueError(f"a file of {length} bytes may declare {most} numbers, got {numbers}")


def digest(content: bytes | memoryview) -> bytes:
    """The checksum of a file: BLAKE2b, 8 bytes, of all that is before it."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
