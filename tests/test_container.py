"""Files of compressed networks: lossless, and anything damaged is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dse.compress import container
from dse.compress.heads import BadFile
from dse.compress.tensors import (
    CompressedModel,
    Dense,
    FixedPoint,
    LowRank,
    Shared,
    Sparse,
    Tensor,
    same,
)

ARCHITECTURE = {"network": "squeezenet", "classes": 10, "s1x1": [4, 8], "dropout": 0.2}


def random_tensor(rng: np.random.Generator) -> Tensor:
    """Any kind, shape, density, width and spread of values."""
    dimensions = rng.integers(0, 7)
    shape = tuple(rng.integers(0 if rng.random() < 0.1 else 1, 7, dimensions).tolist())
    if rng.random() < 0.05:
        shape = (1, int(rng.integers(300, 2000)))  # room for gaps longer than any index
    density = rng.choice([0, 0.001, 0.02, 0.1, 0.33, 0.5, 0.8, 0.95, 1])
    kept = rng.random(shape) < density
    floats = rng.integers(0, 1 << 32, shape, np.uint32).view(np.float32)  # NaN and -0.0 as well
    match rng.integers(0, 5):
        case 0:
            return Dense(values=np.asarray(floats))
        case 1:
            return Sparse(kept=np.asarray(kept), values=np.asarray(floats)[kept])
        case 2:
            return random_shared(rng, np.asarray(kept))
        case 3:
            width = int(rng.integers(1, 17))
            top = 1 << width - 1
            numbers = np.clip(np.round(rng.standard_cauchy(shape) * 3), -top, top - 1) * kept
            return FixedPoint(
                numbers=np.asarray(numbers, np.int16),
                width=width,
                fraction_length=int(rng.integers(-20, 40)),
            )
    return random_low_rank(rng)


def random_shared(rng: np.random.Generator, kept: Any) -> Shared:
    book = rng.normal(size=rng.integers(1, 257)).astype(np.float32)
    book[0] = 0
    spread = rng.geometric(rng.choice([0.5, 0.1, 0.01]), kept.shape) % len(book)
    codes = np.asarray(spread * kept, np.uint8)
    return Shared(codes=codes, codebook=book)


def random_low_rank(rng: np.random.Generator) -> LowRank:
    out, inputs, height, width = rng.integers(1, 5, 4).tolist()
    rank = int(rng.integers(0, 5))
    rows, columns = (out, inputs * height * width)
    scheme = str(rng.choice(["matrix", "spatial"]))
    if scheme == "spatial":
        rows, columns = out * width, inputs * height
    left, right = rng.normal(size=(rows, rank)), rng.normal(size=(rank, columns))
    return LowRank(
        shape=(out, inputs, height, width),
        scheme=scheme,
        left=left.astype(np.float32),
        right=right.astype(np.float32),
    )


def network(*tensors: Tensor, **more: Any) -> CompressedModel:
    named = {f"layer{n}.weight": tensor for n, tensor in enumerate(tensors)}
    return CompressedModel(architecture=ARCHITECTURE, tensors=named, **more)


@pytest.mark.parametrize("coder", container.CODERS)
def test_random_tensors_come_back_bit_for_bit(coder: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        model = network(*(random_tensor(rng) for _ in range(100)))
        assert same(container.decode(container.encode(model, coder)), model)


def test_a_changed_byte_is_refused() -> None:
    content = bytearray(
        container.encode(network(random_low_rank(np.random.default_rng(0))), "huffman")
    )
    for place in range(len(content)):
        content[place] ^= 1
        with pytest.raises(BadFile):
            container.decode(bytes(content))
        content[place] ^= 1
