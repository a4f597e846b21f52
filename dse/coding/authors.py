"""The format of the authors' `compressed_SqueezeNet.net`, read and written byte for byte.

All numbers are little-endian. For the layers in the network's order:

    uint32[layers]               entries stored in each layer, fillers included
    then for each layer
    float32[256]                 codebook; entry 0 is 0.0
    float32[filters]             biases
    uint8[entries]               codes, indices into the codebook
    uint8[(entries + 1) // 2]    zeros before each entry, 4 bits each, low half first

Where more than 15 zeros lie between two weights, fillers (15 zeros, code 0) bridge them. There is
no entropy coding. Source: decode.py of github.com/songhan/SqueezeNet-Deep-Compression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.coding.relative import INDEX_BITS, entries, gaps
from dse.coding.tensors import Dense, Shared, Tensor

LEVELS = 256


class AuthorsFormatError(ValueError):
    """Bytes that are no file of this format for these layers, or a tensor that it cannot hold."""


def read(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a file: for each layer of `shapes` (name -> shape of its weight, filters
    first) "name.weight" as `Shared` with all 256 shared weights, and "name.bias" as `Dense`.

    `write` gives the same bytes for a file whose fillers are as few as possible, as the authors'
    are. Raises `AuthorsFormatError` for bytes that do not fit these layers.
    """
    rest = memoryview(content)
    counts, rest = _take(rest, "<u4", len(shapes), "the counts")
    tensors: dict[str, Tensor] = {}
    for (name, shape), count in zip(shapes.items(), counts.tolist(), strict=True):
        codebook, rest = _take(rest, "<f4", LEVELS, f"the codebook of {name}")
        bias, rest = _take(rest, "<f4", shape[0], f"the biases of {name}")
        codes, rest = _take(rest, "u1", count, f"the codes of {name}")
        pairs, rest = _take(rest, "u1", (count + 1) // 2, f"the indices of {name}")
        if codebook[0] != 0 or not np.isfinite(codebook).all() or not np.isfinite(bias).all():
            raise AuthorsFormatError(
                f"{name}: values must be finite, and entry 0 of the codebook 0"
            )
        skipped = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:count]
        places = np.cumsum(skipped.astype(np.int64) + 1) - 1
        if count and places[-1] >= math.prod(shape):
            raise AuthorsFormatError(
                f"{name}: an entry at place {places[-1]} of {math.prod(shape)} weights"
            )
        whole = np.zeros(math.prod(shape), np.uint8)
        whole[places] = codes
        tensors[f"{name}.weight"] = Shared(
            codes=whole.reshape(shape), codebook=codebook.astype(np.float32)
        )
        tensors[f"{name}.bias"] = Dense(values=bias.astype(np.float32))
    if rest:
        raise AuthorsFormatError(f"{len(rest)} bytes are left after the last layer")
    return tensors


def write(tensors: Mapping[str, Tensor]) -> bytes:
    """The file of tensors as `read` gives them: for each layer, "name.weight" then "name.bias".

    A codebook of fewer than 256 shared weights is filled up with zeros. Raises `AuthorsFormatError`
    for a weight that is not `Shared` or has no bias.
    """
    counts, layers = [], []
    for name, weight in tensors.items():
        if name.endswith(".bias"):
            continue
        bias = tensors.get(f"{name.removesuffix('.weight')}.bias")
        if not isinstance(weight, Shared) or bias is None:
            raise AuthorsFormatError(f"{name} must be shared weights with a bias")
        whole = weight.codes.ravel()
        skipped, codes = entries(gaps(whole), whole[whole != 0], INDEX_BITS)
        codebook = np.zeros(LEVELS, "<f4")
        codebook[: len(weight.codebook)] = weight.codebook
        halves = np.append(skipped, np.zeros(len(skipped) % 2, np.uint16)).reshape(-1, 2)
        counts.append(len(codes))
        layers += [codebook.tobytes(), bias.dense().astype("<f4").tobytes()]
        pairs = halves[:, 0] | halves[:, 1] << 4
        layers += [part.astype("u1").tobytes() for part in (codes, pairs)]
    return b"".join([np.array(counts, "<u4").tobytes(), *layers])


def _take(rest: memoryview, kind: str, count: int, what: str) -> tuple[NDArray[Any], memoryview]:
    """The next `count` numbers of a dtype, and what follows them."""
    size = count * np.dtype(kind).itemsize
    if size > len(rest):
        raise AuthorsFormatError(f"the file ends within {what}")
    return np.frombuffer(rest[:size], kind), rest[size:]
