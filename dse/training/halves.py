"""A network's weights in bf16, all made at once.

autocast makes them layer by layer, and the gradients' return as well: on a GPU that is a fifth of
all launches of a step. The numbers are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Halves:
    """`model` with the weights and biases of its convolutions and linear layers in bf16.

    To be called under autocast, which sees to everything else.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._wholes = {
            f"{name}.{own}" if name else own: parameter
            for name, module in model.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear))
            for own, parameter in module.named_parameters(recurse=False)
        }
        self._halves = {
            name: torch.empty_like(whole, dtype=torch.bfloat16, requires_grad=True)
            for name, whole in self._wholes.items()
        }

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output, with today's weights."""
        for half in self._halves.values():
            half.grad = None
        with torch.no_grad():
            _copy(list(self._halves.values()), list(self._wholes.values()))
        output: Tensor = functional_call(self._model, self._halves, (x,))
        return output

    @torch.no_grad()
    def backward(self) -> None:
        """After a backward pass: add the gradients, in fp32, to those of the model's parameters."""
        used = {n: half.grad for n, half in self._halves.items() if half.grad is not None}
        gradients = [torch.empty_like(self._wholes[name]) for name in used]
        _copy(gradients, list(used.values()))
        for name, gradient in zip(used, gradients, strict=True):
            whole = self._wholes[name]
            whole.grad = gradient if whole.grad is None else whole.grad.add_(gradient)


def _copy(to: list[Tensor], given: list[Tensor]) -> None:
    """Copy tensors at once; there are none where constraints compute every weight and bias."""
    if to:
        torch._foreach_copy_(to, given)
