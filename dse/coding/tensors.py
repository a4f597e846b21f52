"""A compressed network as values: how each tensor is stored, before any coding.

Fitting gives a `CompressedModel`; coding it is lossless. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dense:
    """A tensor as it is: `values`, float32 of any shape (biases; an uncompressed network)."""

    values: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def dense(self) -> Floats:
        return self.values


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sparse:
    """A pruned tensor: `kept`, bool of the tensor's shape; `values`, float32, one for each place
    that is kept, in C order. A kept value may be 0."""

    kept: NDArray[np.bool_]
    values: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kept.shape

    def dense(self) -> Floats:
        whole = np.zeros(self.kept.shape, np.float32)
        whole[self.kept] = self.values
        return whole


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shared:
    """A tensor of shared weights: `codes`, uint8 of the tensor's shape, are indices into
    `codebook`, float32 (at most 256), whose entry 0 is 0.0: code 0 is a weight that was pruned."""

    codes: NDArray[np.uint8]
    codebook: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    def dense(self) -> Floats:
        whole: Floats = self.codebook[self.codes]
        return whole


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FixedPoint:
    """A tensor in fixed point: `numbers` (int16, of the tensor's shape) times
    2**-`fraction_length`; each fits into `width` bits (1 .. 16), two's complement."""

    numbers: NDArray[np.int16]
    width: int
    fraction_length: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    def dense(self) -> Floats:
        return np.ldexp(self.numbers.astype(np.float32), -self.fraction_length)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LowRank:
    """A weight as the product of two factors: `left` (rows, rank) and `right` (rank, columns),
    float32; rows and columns are those of the weight's matrix under `scheme`.

    - `matrix`: (out, in * kh * kw): a linear layer, a 1x1 convolution, or a convolution as `rank`
      kxk filters followed by a 1x1 convolution.
    - `spatial`: (out * kw, in * kh): a kxk convolution as a vertical, then a horizontal one.
    """

    shape: tuple[int, ...]
    scheme: str
    left: Floats
    right: Floats

    def dense(self) -> Floats:
        product = (self.left.astype(np.float64) @ self.right.astype(np.float64)).astype(np.float32)
        if self.scheme == "matrix":
            return product.reshape(self.shape)
        out, inputs, height, width = self.shape
        grid = product.reshape(out, width, inputs, height)
        return np.ascontiguousarray(grid.transpose(0, 2, 3, 1))


Tensor = Dense | Sparse | Shared | FixedPoint | LowRank


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CompressedModel:
    """A network to be stored: its architecture and its tensors.

    `architecture` describes the network after batch norm was folded, as plain JSON values (see
    `dse.compress.networks`). `tensors` are by name ("fire2.squeeze.weight"), in the network's
    order. `activations` has the fixed-point format of each layer's output, (width, fraction
    length), for networks that are evaluated with such outputs (Ristretto); empty for others.
    """

    architecture: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    activations: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def same(a: CompressedModel, b: CompressedModel) -> bool:
    """Whether two models are equal: each tensor stored in one way, bit for bit."""
    return (
        a.architecture == b.architecture
        and a.activations == b.activations
        and list(a.tensors) == list(b.tensors)
        and all(_same(a.tensors[name], b.tensors[name]) for name in a.tensors)
    )


def _same(a: Tensor, b: Tensor) -> bool:
    if type(a) is not type(b):
        return False
    for item in fields(a):
        one, other = getattr(a, item.name), getattr(b, item.name)
        if not isinstance(one, np.ndarray):
            if one != other:
                return False
        elif (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            return False
    return True
