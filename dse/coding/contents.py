"""What a compressed file holds, layer by layer, in the pruned columns of the paper's Table 1."""

from __future__ import annotations

from itertools import groupby
from math import prod

import pandas as pd

from dse.coding.tensors import CompressedModel, Dense, FixedPoint, LowRank, Shared, Sparse, Tensor

WEIGHT, BIAS = ".weight", ".bias"


def contents(model: CompressedModel) -> pd.DataFrame:
    """A row for each layer or Fire module, and their total, as in the paper's Table 1.

    Columns: `layer`; `kept`, the percentages of the weights that are stored, one for each of its
    convolutions (squeeze, expand1x1, expand3x3, bypass); `bits` of a stored weight; `params`,
    weights and biases of the layer, and `params_after`, how many numbers are stored for them
    (biases are not pruned).
    """
    weights = {n.removesuffix(WEIGHT): t for n, t in model.tensors.items() if n.endswith(WEIGHT)}
    biases = {n.removesuffix(BIAS): t for n, t in model.tensors.items() if n.endswith(BIAS)}
    rows = []
    for layer, group in groupby(weights, key=lambda name: name.partition(".")[0]):
        names = list(group)
        own = [weights[name] for name in names]
        more = sum(prod(biases[name].shape) for name in names if name in biases)
        rows.append(
            {
                "layer": layer,
                "kept": "/".join(f"{100 * stored(t) / max(prod(t.shape), 1):.0f}" for t in own),
                "bits": "/".join(dict.fromkeys(str(bits(tensor)) for tensor in own)),
                "params": sum(prod(one.shape) for one in own) + more,
                "params_after": sum(map(stored, own)) + more,
            }
        )
    table = pd.DataFrame(rows, columns=["layer", "kept", "bits", "params", "params_after"])
    sums = {name: int(table[name].sum()) for name in ("params", "params_after")}
    total = pd.DataFrame([{"layer": "total", "kept": "", "bits": "", **sums}])
    return pd.concat([table, total], ignore_index=True)


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
