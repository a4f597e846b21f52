"""A simulator of EIE, which computes on compressed weights (Han 2016, arXiv:1602.01528).

EIE stores a layer's matrix column by column: the codes of its non-zero weights, each with the
number of zeros before it, 4 bits each. Rows are interleaved over processing elements: row i belongs
to element i mod N. A zero activation is skipped with its whole column, and each weight is looked up
in the layer's table when it is used. A convolution is its matrix (out, in * kh * kw) times the
patches of its input. This module computes the same products, in another order, and counts what
the hardware would do; it says nothing about time or energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional as F

from dse.coding.relative import INDEX_BITS, entries
from dse.coding.tensors import Floats, Shared


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Element:
    """What one processing element holds of a matrix.

    Entry n has the code `codes[n]` (uint8) after `zeros[n]` (uint8, 0 .. 15) zeros of this
    element's part of its column; column j's entries are `pointers[j]` .. `pointers[j + 1]`.
    """

    codes: NDArray[np.uint8]
    zeros: NDArray[np.uint8]
    pointers: NDArray[np.int64]

    def rows(self) -> NDArray[np.int64]:
        """The row of each entry, counted among this element's rows."""
        steps: NDArray[np.int64] = np.cumsum(self.zeros.astype(np.int64) + 1)
        starts = np.concatenate([[0], steps])[self.pointers[:-1]]
        rows: NDArray[np.int64] = steps - 1 - np.repeat(starts, np.diff(self.pointers))
        return rows

    def weights(self) -> NDArray[np.int64]:
        """The entries of each column that are not fillers."""
        before = np.concatenate([[0], np.cumsum(self.codes != 0)])
        return np.diff(before[self.pointers])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Columns:
    """A weight matrix (`rows`, `columns`) as EIE stores it; `table` holds its shared weights."""

    rows: int
    columns: int
    elements: tuple[Element, ...]
    table: Floats

    @property
    def entries(self) -> int:
        """Entries that are stored, fillers included."""
        return sum(len(element.codes) for element in self.elements)

    @property
    def fillers(self) -> int:
        """Entries of code 0, which only bridge a run of more than 15 zeros."""
        return sum(int((element.codes == 0).sum()) for element in self.elements)

    def matrix(self) -> sparse.csc_array:
        """The matrix that the elements hold, weights looked up, fillers included as zeros."""
        count = len(self.elements)
        parts = [
            sparse.csc_array(
                (self.table[e.codes], e.rows() * count + n, e.pointers), (self.rows, self.columns)
            )
            for n, e in enumerate(self.elements)
        ]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        return whole


@dataclass(kw_only=True, slots=True)
class Counts:
    """What a layer's products took, summed over all images.

    `dense` is the multiplications of the dense matrix; `weights` those left when pruned weights
    are skipped, `multiplications` when zero activations are skipped too. `touched` is the entries
    read, fillers included. `cycles` is the entries that the busiest element reads for each
    activation: a lower bound, as queues are not simulated.
    """

    dense: int = 0
    weights: int = 0
    multiplications: int = 0
    touched: int = 0
    cycles: int = 0


def interleaved(tensor: Shared, elements: int = 64) -> Columns:
    """A tensor of shared weights as EIE stores it, over a number of `elements` (at least 1).

    Raises `ValueError` for fewer than one element, or a tensor without rows and columns.
    """
    if elements < 1:
        raise ValueError(f"`elements` must be at least 1, got {elements}")
    if tensor.codes.ndim < 2:
        raise ValueError(f"`tensor` must be a matrix or a convolution, got shape {tensor.shape}")
    codes = tensor.codes.reshape(len(tensor.codes), math.prod(tensor.shape[1:]))
    parts = tuple(_element(codes[n::elements]) for n in range(elements))
    return Columns(
        rows=codes.shape[0], columns=codes.shape[1], elements=parts, table=tensor.codebook
    )


def _element(codes: NDArray[np.uint8]) -> Element:
    """One element's rows of a matrix of codes."""
    columns, rows = np.nonzero(codes.T)
    first = np.concatenate([[True], columns[1:] != columns[:-1]])[: len(columns)]
    before = np.where(first, -1, np.concatenate([[-1], rows[:-1]])[: len(rows)])
    gaps = rows - before - 1
    parts = entries(gaps, codes[rows, columns], INDEX_BITS)
    zeros, whole = (part.astype(np.uint8) for part in parts)
    sizes = (gaps >> INDEX_BITS) + 1  # each entry follows its fillers
    counts = np.bincount(columns, sizes, minlength=codes.shape[1]).astype(np.int64)
    return Element(codes=whole, zeros=zeros, pointers=np.concatenate([[0], np.cumsum(counts)]))


def multiply(stored: Columns, activations: Floats, counts: Counts) -> Floats:
    """The matrix times `activations`, float32 (columns, n), straight from the stored form.

    Returns float32 (rows, n), equal to the dense product up to rounding; adds to `counts`.
    """
    active = np.count_nonzero(activations, axis=1)  # products that are not skipped, per column
    entries = np.array([np.diff(element.pointers) for element in stored.elements])
    weights = np.sum([element.weights() for element in stored.elements], axis=0)
    samples = activations.shape[1]
    counts.dense += stored.rows * stored.columns * samples
    counts.weights += int(weights.sum()) * samples
    counts.multiplications += int(weights @ active)
    counts.touched += int(entries.sum(0) @ active)
    counts.cycles += int(entries.max(0) @ active)
    product: Floats = stored.matrix() @ activations
    return product


class Simulated(nn.Module):
    """A convolution or a linear layer computed from its stored form; keeps its own `counts`."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, stored: list[Columns]) -> None:
        super().__init__()
        self.layer, self.stored, self.counts = layer, stored, Counts()

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer: (batch, inputs, h, w), or (batch, inputs)."""
        if isinstance(self.layer, nn.Linear):
            return self._add_bias(self._products(x.T.unsqueeze(0))[0].T)
        layer = self.layer
        kernel, stride = layer.kernel_size, layer.stride
        margins = [n for p in reversed(layer.padding) if isinstance(p, int) for n in (p, p)]
        padded = F.pad(x, margins)
        patches = F.unfold(padded, kernel, dilation=layer.dilation, stride=stride)
        batch, _, pixels = patches.shape
        together = patches.permute(1, 0, 2).reshape(layer.groups, -1, batch * pixels)
        out = self._products(together).reshape(layer.out_channels, batch, pixels)
        height = (padded.shape[2] - layer.dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
        return self._add_bias(out.permute(1, 0, 2).reshape(batch, layer.out_channels, height, -1))

    def _products(self, x: torch.Tensor) -> torch.Tensor:
        """(groups, columns, n) -> (groups, rows, n)."""
        parts = [
            multiply(stored, np.ascontiguousarray(part.numpy()), self.counts)
            for stored, part in zip(self.stored, x, strict=True)
        ]
        return torch.from_numpy(np.stack(parts))

    def _add_bias(self, out: torch.Tensor) -> torch.Tensor:
        if self.layer.bias is None:
            return out
        return out + self.layer.bias.view(-1, *[1] * (out.dim() - 2))


@contextmanager
def simulated(
    network: nn.Module, weights: Mapping[str, Shared], elements: int = 64
) -> Iterator[dict[str, Counts]]:
    """While the context lasts, `network` computes these layers from their stored form.

    `weights` are by tensor name ("fire2.squeeze.weight"). Yields the counts by layer. Raises
    `ValueError` for a name or a shape that the network does not have.
    """
    layers: dict[str, Simulated] = {}
    for name, tensor in weights.items():
        layer = dict(network.named_modules()).get(name.removesuffix(".weight"))
        if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.weight.shape != tensor.shape:
            raise ValueError(f"`weights` must be those of the network's layers, got {name}")
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        stored = [
            interleaved(Shared(codes=codes, codebook=tensor.codebook), elements)
            for codes in np.split(tensor.codes, groups)
        ]
        layers[name.removesuffix(".weight")] = Simulated(layer, stored)
    try:
        for name, layer in layers.items():
            _replace(network, name, layer)
        yield {name: layer.counts for name, layer in layers.items()}
    finally:
        for name, layer in layers.items():
            _replace(network, name, layer.layer)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
