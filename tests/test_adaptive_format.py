"""The adaptive coder is as documented: a reader written from docs/adaptive_coder.md agrees.

Python's floats are IEEE 754's everywhere, so this also shows that the coder's arithmetic does not
depend on how NumPy computes.
"""

from __future__ import annotations

import numpy as np
import pytest
from adaptive_reader import read

from dse.coding import adaptive
from dse.coding.tensors import Dense, Shared


def weight(shape: tuple[int, ...], entries: int, density: float, seed: int) -> Shared:
    """Weights of which those of one kernel are related."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) + rng.normal(size=(*shape[:2], *(1 for _ in shape[2:])))
    book = np.sort(rng.normal(0, 1.5, entries - 1))
    codes = np.abs(values[..., None] - book).argmin(axis=-1) + 1
    kept = np.abs(values) >= np.quantile(np.abs(values), 1 - density)
    whole = np.append(0, book).astype(np.float32)
    return Shared(codes=np.where(kept, codes, 0).astype(np.uint8), codebook=whole)


def shortened(values: np.ndarray, low: int) -> np.ndarray:
    """The same float32 values without the lowest bits of their mantissas."""
    return (values.view(np.uint32) >> low << low).view(np.float32)


@pytest.mark.parametrize("low", [0, 13])
def test_a_reader_written_from_the_documentation_agrees(low: int) -> None:
    weights = [
        weight((16, 12, 3, 3), 48, 0.4, 0),
        weight((12, 10, 1, 1), 256, 1, 1),
        weight((5, 3, 2, 2), 9, 0.5, 2),
        weight((80, 1), 5, 0.3, 3),
    ]
    weights = [Shared(codes=w.codes, codebook=shortened(w.codebook, low)) for w in weights]
    biases = [np.random.default_rng(n).normal(size=n).astype(np.float32) for n in (16, 40)]
    biases = [shortened(values, low // 2) for values in biases]
    payload = adaptive.encode([*weights, *(Dense(values=values) for values in biases)])
    heads = [(tensor.shape, len(tensor.codebook) - 1) for tensor in weights]
    codes, books, arrays = read(payload, [*heads, *map(len, biases)])
    assert codes == [tensor.codes.ravel().tolist() for tensor in weights]
    assert books == [tensor.codebook[1:].view(np.uint32).tolist() for tensor in weights]
    assert arrays == [values.view(np.uint32).tolist() for values in biases]
