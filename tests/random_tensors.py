"""Random tensors of every kind, and networks of them, for tests of compressed files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.coding.tensors import (
    CompressedModel,
    Dense,
    FixedPoint,
    LowRank,
    Shared,
    Sparse,
    Tensor,
)

ARCHITECTURE = {"network": "squeezenet", "classes": 10, "s1x1": [4, 8], "dropout": 0.2}
DENSITIES = (0, 0.001, 0.02, 0.1, 0.33, 0.5, 0.8, 0.95, 1)


def network(*tensors: Tensor, **more: Any) -> CompressedModel:
    """A network of tensors called "layer0.weight", "layer1.weight", ..."""
    named = {f"layer{n}.weight": tensor for n, tensor in enumerate(tensors)}
    return CompressedModel(**({"architecture": ARCHITECTURE, "tensors": named} | more))


def random_tensor(rng: np.random.Generator) -> Tensor:
    """A tensor of any kind, shape (0 to 6 dimensions, some empty), density and spread of values."""
    return KINDS[rng.integers(len(KINDS))](rng, random_mask(rng))


def random_mask(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which places of a tensor are kept. One in twenty has room for gaps beyond any index."""
    least = 0 if rng.random() < 0.1 else 1
    shape = tuple(rng.integers(least, 6, rng.integers(0, 7)).tolist())
    shape = (1, int(rng.integers(300, 2000))) if rng.random() < 0.05 else shape
    return np.asarray(rng.random(shape) < rng.choice(DENSITIES))


def random_dense(rng: np.random.Generator, kept: NDArray[np.bool_]) -> Dense:
    """Any bits: NaN, infinities and -0.0 as well."""
    words = rng.integers(0, 1 << 32, kept.size, np.uint32)
    return Dense(values=words.view(np.float32).reshape(kept.shape))


def random_sparse(rng: np.random.Generator, kept: NDArray[np.bool_]) -> Sparse:
    return Sparse(kept=kept, values=random_dense(rng, kept).values[kept])


def random_shared(rng: np.random.Generator, kept: NDArray[np.bool_]) -> Shared:
    book = rng.normal(size=rng.integers(1, 257)).astype(np.float32)
    book[0] = 0
    codes = rng.geometric(rng.choice([0.5, 0.1, 0.01]), kept.shape) % len(book)
    return Shared(codes=np.asarray(codes * kept, np.uint8), codebook=book)


def random_fixed(rng: np.random.Generator, kept: NDArray[np.bool_]) -> FixedPoint:
    width, fraction = int(rng.integers(1, 17)), int(rng.integers(-20, 40))
    half = 1 << width - 1
    numbers = np.clip(np.round(3 * rng.standard_cauchy(kept.shape)), -half, half - 1) * kept
    return FixedPoint(numbers=np.asarray(numbers, np.int16), width=width, fraction_length=fraction)


def random_low_rank(rng: np.random.Generator, kept: NDArray[np.bool_]) -> LowRank:  # noqa: ARG001
    scheme, rank = str(rng.choice(["matrix", "spatial"])), int(rng.integers(0, 5))
    out, inputs, height, width = shape = tuple(rng.integers(1, 5, 4).tolist())
    rows, columns = out, inputs * height * width
    if scheme == "spatial":
        rows, columns = out * width, inputs * height
    left, right = rng.normal(size=(rows, rank)), rng.normal(size=(rank, columns))
    return LowRank(
        shape=shape,
        scheme=scheme,
        left=left.astype(np.float32),
        right=right.astype(np.float32),
    )


KINDS: tuple[Callable[[np.random.Generator, NDArray[np.bool_]], Tensor], ...] = (
    random_dense,
    random_sparse,
    random_shared,
    random_fixed,
    random_low_rank,
)
