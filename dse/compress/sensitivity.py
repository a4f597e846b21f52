"""How much accuracy each layer loses when it alone is pruned (Han 2015, arXiv:1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from dse.compress.networks import floats, fold, layers
from dse.compress.prune import keep
from dse.compress.retrain import Retraining, val_top1

DENSITIES = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@torch.no_grad()
def sensitivity(
    model: nn.Module, training: Retraining, densities: Sequence[float] = DENSITIES
) -> pd.DataFrame:
    """Prune one layer at a time, without retraining: a row for each layer and density.

    Columns: `layer`, in the network's order; `density`, the share of its weights that are kept;
    `val_top1`, accuracy on the validation set in percent. The trained network stays as it is.
    """
    network = fold(model).to(training.device)
    whole, rows = val_top1(network, training), []
    for name, layer in layers(network).items():
        before = layer.weight.clone()
        for density in densities:
            mask = torch.from_numpy(keep(floats(before), density)).to(before.device)
            layer.weight.copy_(before * mask)
            top1 = whole if mask.all() else val_top1(network, training)
            rows.append({"layer": name, "density": density, "val_top1": top1})
        layer.weight.copy_(before)
    return pd.DataFrame(rows)
