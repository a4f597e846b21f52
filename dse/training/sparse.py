"""The phases of a dense-sparse-dense training (arXiv:1607.04381): masks, and weights to keep.

A phase begins between two steps. Nothing here waits for the model's device.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dse.space.architecture import round_half_up
from dse.trial.recipe import Recipe


class Phases:
    """Which weights of `model` are kept at 0, and a copy of the end of the sparse phase.

    `masks` has a tensor of 0s and 1s, of its weight's shape, for each weight that may be pruned:
    all but those of the first layer; biases and norms are not. `sparse` has the model's weights and
    running statistics at the end of the sparse phase, 0 until then. Both are empty where the recipe
    has no sparse phase.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, steps_per_epoch: int) -> None:
        self._model, self._density = model, recipe.dsd_density
        self.masks: dict[str, Tensor] = {}
        self.sparse: dict[str, Tensor] = {}
        if recipe.dsd_density < 1:
            _, *rest = ((name, p) for name, p in model.named_parameters() if p.dim() > 1)
            self.masks = {name: torch.ones_like(weight.detach()) for name, weight in rest}
            self.sparse = {name: torch.zeros_like(t) for name, t in self._tensors().items()}
        self._sparse_from = recipe.dense_epochs * steps_per_epoch
        self._final_from = self._sparse_from + recipe.dsd_sparse * steps_per_epoch
        self._ended = False

    @torch.no_grad()
    def begin(self, step: int, momentum: Mapping[str, Tensor]) -> None:
        """Called before each step (from 0). At a phase's first step the momentum is set to 0, and

        - the sparse phase keeps the `dsd_density` largest weights of each layer, at least one, and
          sets the others to 0 for as long as it lasts;
        - the final phase frees them.
        """
        if not self.masks or step not in (self._sparse_from, self._final_from):
            return
        now = self._tensors()
        if step == self._sparse_from:
            for name, mask in self.masks.items():
                mask.copy_(largest(now[name], self._density))
                now[name].mul_(mask)
        else:
            for name, kept in self.sparse.items():
                kept.copy_(now[name])
            for mask in self.masks.values():
                mask.fill_(1.0)
            self._ended = True
        for tensor in momentum.values():
            tensor.zero_()

    def _tensors(self) -> dict[str, Tensor]:
        """The model's weights and running statistics, not copied."""
        return {n: t for n, t in self._model.state_dict().items() if t.is_floating_point()}

    def tensors(self) -> dict[str, Tensor]:
        """The masks ("mask.NAME") and the copy ("sparse.NAME"), not copied."""
        masks = {f"mask.{name}": mask for name, mask in self.masks.items()}
        return masks | {f"sparse.{name}": tensor for name, tensor in self.sparse.items()}

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Set all of `tensors()`, and the number of the next step."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self._ended = step > self._final_from

    def kept(self) -> dict[str, Tensor]:
        """The weights at the end of the sparse phase, in CPU memory; none before it."""
        return {
            name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in (self.sparse if self._ended else {}).items()
        }


def largest(weight: Tensor, density: float) -> Tensor:
    """1 where a weight is one of the largest of its layer in absolute value, else 0.

    >>> largest(torch.tensor([0.1, -3.0, 0.2, 1.0]), 0.5)
    tensor([0., 1., 0., 1.])
    """
    sizes = weight.abs().flatten()
    places = sizes.topk(max(round_half_up(density, sizes.numel()), 1)).indices
    return torch.zeros_like(sizes).scatter_(0, places, 1.0).view(weight.shape)
