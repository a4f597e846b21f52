"""What a compressed file holds, layer by layer, in the pruned columns of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import Any

import pandas as pd

from dse.coding.tensors import CompressedModel, Dense, FixedPoint, LowRank, Shared, Sparse, Tensor

WEIGHT, BIAS = ".weight", ".bias"
INPUT = "input"


def contents(model: CompressedModel) -> pd.DataFrame:
    """A row for each layer or Fire module, and their total, as in the paper's Table 1.

    Columns: `layer`; `kept`, the percentages of the weights that are stored, one for each of its
    convolutions (squeeze, expand1x1, expand3x3, bypass); `bits` of a stored weight; `params`,
    weights and biases of the layer, and `params_after`, how many numbers are stored for them
    (biases are not pruned). Where activations are in fixed point, a row for the `input` comes
    first, and `activation_bits` and `fraction_length` are those of each convolution's output.
    """
    weights = {n.removesuffix(WEIGHT): t for n, t in model.tensors.items() if n.endswith(WEIGHT)}
    biases = {n.removesuffix(BIAS): t for n, t in model.tensors.items() if n.endswith(BIAS)}
    names = ["layer", "kept", "bits", "params", "params_after", *_formats(model, [])]
    nothing = {"kept": "", "bits": "", "params": 0, "params_after": 0}
    rows: list[dict[str, Any]] = []
    if INPUT in model.activations:
        rows.append({"layer": INPUT, **nothing, **_formats(model, [INPUT])})
    for layer, group in groupby(weights, key=lambda name: name.partition(".")[0]):
        parts = list(group)
        own = [weights[name] for name in parts]
        more = sum(prod(biases[name].shape) for name in parts if name in biases)
        rows.append(
            {
                "layer": layer,
                "kept": "/".join(f"{100 * stored(t) / max(prod(t.shape), 1):.0f}" for t in own),
                "bits": "/".join(dict.fromkeys(str(bits(tensor)) for tensor in own)),
                "params": sum(prod(one.shape) for one in own) + more,
                "params_after": sum(map(stored, own)) + more,
                **_formats(model, parts),
            }
        )
    sums = {name: sum(row[name] for row in rows) for name in ("params", "params_after")}
    rows.append({"layer": "total", **nothing, **sums, **_formats(model, [])})
    return pd.DataFrame(rows, columns=names)


def _formats(model: CompressedModel, layers: Sequence[str]) -> dict[str, str]:
    """The cells with the formats of some layers' outputs; none where no layer has one."""
    own = [model.activations[name] for name in layers if name in model.activations]
    cells = {
        "activation_bits": "/".join(dict.fromkeys(str(width) for width, _ in own)),
        "fraction_length": "/".join(str(fraction) for _, fraction in own),
    }
    return cells if model.activations else {}


def stored(tensor: Tensor) -> int:
    """How many numbers of a tensor are stored: those other than 0 where it may be pruned."""
    match tensor:
        case Sparse():
            return len(tensor.values)
        case Shared():
            return int((tensor.codes != 0).sum())
        case LowRank():
            return tensor.left.size + tensor.right.size
        case Dense() | FixedPoint():
            return prod(tensor.shape)


def bits(tensor: Tensor) -> int:
    """Bits of a stored number before any entropy coding."""
    match tensor:
        case Shared():
            return max(len(tensor.codebook) - 1, 1).bit_length()
        case FixedPoint():
            return tensor.width
        case _:
            return 32
