"""What each stage of Deep Compression saves (Han 2016, arXiv:1510.00149, table 1), in bytes."""

from __future__ import annotations

from math import prod

import numpy as np
import pandas as pd

from dse.coding.container import encode
from dse.coding.contents import bits, stored
from dse.coding.relative import INDEX_BITS, gaps
from dse.coding.tensors import CompressedModel, Shared

FULL = 32
"""Bits of a number at fp32."""
STAGES = ("dense, fp32", "pruned", "shared", "Huffman", "adaptive")


def stages(model: CompressedModel) -> pd.DataFrame:
    """The bytes of a network whose weights are shared, after each of the `STAGES`.

    Columns: `stage`, and bytes: `weights`, at fp32, then as `bits` of an index into the codebook;
    `positions` of the weights that are kept, `INDEX_BITS` each, unless all are; `rest`, codebooks
    and biases; `bytes`, all of them. The last two stages are files, as `encode` writes them, and
    have `bytes` only. Raises `ValueError` for a network without shared weights.
    """
    shared = [one for one in model.tensors.values() if isinstance(one, Shared)]
    if not shared:
        raise ValueError("the network must have shared weights, as deep_compression gives them")
    others = [one for one in model.tensors.values() if not isinstance(one, Shared)]
    numbers = np.array([entries(one) for one in shared])
    widths = np.array([bits(one) for one in shared])
    biases = sum(prod(one.shape) for one in others)
    narrow = sum(bits(one) * stored(one) for one in others)
    codebooks = FULL * sum(len(one.codebook) - 1 for one in shared)
    whole = sum(prod(one.shape) for one in shared)
    positions = INDEX_BITS * numbers.sum() if sum(map(stored, shared)) < whole else 0
    parts = [
        (FULL * whole, 0, FULL * biases),
        (FULL * numbers.sum(), positions, FULL * biases),
        ((widths * numbers).sum(), positions, codebooks + narrow),
    ]
    table = pd.DataFrame(parts, columns=["weights", "positions", "rest"]) / 8
    table = table.assign(bytes=table.sum(axis=1))
    lengths = [len(encode(model, coder)) for coder in ("huffman", "adaptive")]
    table = pd.concat([table, pd.DataFrame({"bytes": lengths})], ignore_index=True)
    table.insert(0, "stage", STAGES)
    return table


def entries(tensor: Shared) -> int:
    """Weights that are stored with their positions: those that are kept, and after each 16 pruned
    ones a 0.

    >>> entries(Shared(codes=np.array([1] + 16 * [0] + [1], np.uint8), codebook=np.zeros(2, "f4")))
    3
    """
    before = gaps(tensor.codes)
    return len(before) + int((before >> INDEX_BITS).sum())
