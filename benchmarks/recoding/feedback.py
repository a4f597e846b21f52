"""Rounds the weights of each filter one after the other, those that are left making up for the
errors of those that are done.

Source: GPTQ (Frantar 2023, arXiv:2210.17323); here each value has a price, pruned weights stay 0,
and each filter has an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 64
"""Filters at a time: a limit of memory."""


Choose = Callable[[Tensor, Tensor], Tensor]
"""What weights aim for, and what their squared errors cost -> the values that they take."""


def round_filters(
    values: Tensor, kept: Tensor, curvature: Tensor, choose: Choose, importance: Tensor
) -> Tensor:
    """What `choose` makes of `values` (filters, n), 0 where not `kept`.

    Errors x of a filter cost `x @ curvature @ x`, times its `importance` (filters);
    `curvature` (n, n) is positive definite.
    """
    parts = [torch.split(whole, ROWS) for whole in (values, kept, importance)]
    return torch.cat([_rounded(v, k, i, curvature, choose) for v, k, i in zip(*parts, strict=True)])


def _rounded(
    values: Tensor, kept: Tensor, importance: Tensor, curvature: Tensor, choose: Choose
) -> Tensor:
    # The kept weights of each filter, those that matter most first; other places are padding.
    most = int(kept.sum(1).max())
    order = torch.where(kept, curvature.diagonal(), -1).argsort(1, descending=True)[:, :most]
    real = kept.gather(1, order)
    left = values.gather(1, order)
    costs = _own_costs(curvature, order, real)
    errors, chosen = torch.zeros_like(left), torch.zeros_like(left)
    for place in range(most):
        size = costs[:, place, place]
        before = costs[:, place, :place]
        aim = left[:, place] + (errors[:, :place] * before).sum(1) / size
        chosen[:, place] = choose(aim, importance * size**2) * real[:, place]
        errors[:, place] = (left[:, place] - chosen[:, place]) * real[:, place]
    return torch.zeros_like(values).scatter(1, order, chosen)


def _own_costs(curvature: Tensor, order: Tensor, real: Tensor) -> Tensor:
    """For each filter the lower triangular matrix L for which the sum of `(L @ x) ** 2` is the cost
    of the errors x in its order: a square is what an error costs if all later ones make up for it
    as well as they can."""
    both = real[:, :, None] & real[:, None, :]
    own = curvature[order[:, :, None], order[:, None, :]]
    own = torch.where(both, own, torch.eye(order.shape[1]).to(own))
    upper: Tensor = torch.linalg.cholesky(own.flip(1, 2)).flip(1, 2)
    return upper.transpose(1, 2).contiguous()
