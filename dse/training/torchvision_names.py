"""torchvision's names for our weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dse.space.architecture import FIRES, Layout
from dse.space.rules import split


def torchvision_names(layout: Layout) -> dict[str, str]:
    """Our module name -> torchvision's, for its squeezenet1_0 and squeezenet1_1.

    torchvision numbers conv1, its ReLU, each pooling and each Fire module in one row.
    """
    pools = split(layout.pool_after)
    names, place = {"conv1": "features.0"}, 2
    for number in (1, *FIRES):
        if number > 1:
            for part in ("squeeze", "expand1x1", "expand3x3"):
                names[f"fire{number}.{part}"] = f"features.{place}.{part}"
            place += 1
        place += number in pools
    return {**names, "conv10": "classifier.1"}


def from_torchvision(layout: Layout, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state as ours; raises `ValueError` where a tensor is missing or left over."""
    return _renamed(weights, {b: a for a, b in torchvision_names(layout).items()})


def to_torchvision(layout: Layout, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state as torchvision's; raises `ValueError` where a tensor is missing or left over."""
    return _renamed(weights, torchvision_names(layout))


def _renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    wanted = {f"{a}.{kind}": f"{b}.{kind}" for a, b in names.items() for kind in ("weight", "bias")}
    unmatched = sorted(set(wanted) ^ set(weights))
    if unmatched:
        state = "missing" if unmatched[0] in wanted else "left over"
        raise ValueError(f"`weights` must have torchvision's tensors: {unmatched[0]} is {state}")
    return {wanted[name]: tensor for name, tensor in weights.items()}
