"""Retraining of a network whose weights are constrained, with the trial's own data and recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dse.compress.networks import layers
from dse.data.memory import Data
from dse.training.execute import STEPS
from dse.training.judge import judge
from dse.training.loop import CPU, OnEpoch, train
from dse.trial.compression import Settings
from dse.trial.protocol import random_seed
from dse.trial.recipe import Recipe

TUNING_RATE = 0.1
"""Their peak learning rate, as a share of that of the epochs before."""

STATISTICS = 64
"""Training batches, at most, over which the statistics of batch norms are taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """What a network was trained with: its data, its trial's recipe and seed.

    `on_epoch` is called after each epoch of retraining with its number (from 1) and `val_top1`;
    `on_batch` after each batch that is trained or judged. What they raise ends the fitting.
    """

    data: Data
    recipe: Recipe
    seed: int
    images_at_a_time: int = 256
    device: torch.device = CPU
    on_epoch: OnEpoch = lambda epoch, val_top1: None
    on_batch: Callable[[], None] = lambda: None

    def recipe_for(self, epochs: int, share: float) -> Recipe:
        """The trial's recipe over `epochs`: `share` of its learning rate, linearly down to 0."""
        return replace(
            self.recipe,
            epochs=epochs,
            lr=share * self.recipe.lr,
            schedule="linear",
            warmup=0.0,
            dead_after=0,
            ladder="none",
            dsd_density=1.0,
            dsd_sparse=0,
            dsd_final=0,
        )

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the validation set."""
        return self.data.batches(self.data.validation, self.images_at_a_time)


def val_top1(network: nn.Module, training: Retraining) -> float:
    """Accuracy on the validation set, percent."""
    return judge(network, training.validation, training.on_batch).top1


def retrain(
    network: nn.Module, training: Retraining | None, settings: Settings, epochs: int, done: int = 0
) -> None:
    """Train a network in place for some epochs, after `done` epochs of this retraining.

    Equal requests give equal weights on one machine's CPU. Raises `ValueError` where the
    loss is not finite.
    """
    if not epochs or training is None:  # `fit` has checked that there are data for epochs
        return
    outcome = train(
        network,
        training.data,
        training.validation,
        training.recipe_for(epochs, settings.retrain_lr),
        seed=random_seed(training.seed, "retrain", done),
        device=training.device,
        train_step=STEPS[training.device.type],
        on_epoch=lambda epoch, val: training.on_epoch(done + epoch, val),
        on_step=lambda step, state: training.on_batch(),
        on_judged=training.on_batch,
    )
    _estimate_norms(network.eval(), training)
    if outcome.diverged_step >= 0:
        raise ValueError(
            f"`retrain_lr` must be smaller: retraining diverged at step {outcome.diverged_step}, "
            f"got {settings.retrain_lr:g}"
        )


@torch.no_grad()
def _estimate_norms(network: nn.Module, training: Retraining) -> None:
    """Set the statistics of batch norms to averages over training batches: after few steps those
    that training has kept are still of other weights."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    before = [(norm, norm.momentum) for norm in norms]
    batches = training.data.train_batches(training.recipe.batch_size, training.seed, 1)
    for number, (x, _) in enumerate(islice(batches, STATISTICS), 1):
        for norm in norms:
            norm.train()
            norm.momentum = 1 / number  # the first batch replaces what was there
        network(x)
        training.on_batch()
    for norm, momentum in before:
        norm.eval()
        norm.momentum = momentum


def tune(
    network: nn.Module, training: Retraining | None, settings: Settings, epochs: int, done: int
) -> None:
    """As `retrain`, at a smaller learning rate: for a network without its norms."""
    low = replace(settings, retrain_lr=TUNING_RATE * settings.retrain_lr)
    retrain(network, training, low, epochs, done)


# Constraints ------------------------------------------------------------------------------------


def constrain(layer: nn.Module, constraint: nn.Module, name: str = "weight") -> None:
    """Compute a layer's weight by `constraint` from now on, in place of its present constraint."""
    release(layer, name)
    device = next(layer.parameters()).device
    parametrize.register_parametrization(layer, name, constraint.to(device))


def originals(layer: nn.Module) -> list[Tensor]:
    """The tensors that a constrained weight is computed from."""
    constraints = layer.get_submodule("parametrizations.weight")
    return list(constraints.parameters(recurse=False))


def release(layer: nn.Module, name: str = "weight", *, keep: bool = True) -> None:
    """End the constraint of a layer's weight, if any; the weight stays as the constraint has it,
    or (`keep` false) is again what the constraint was given."""
    if parametrize.is_parametrized(layer, name):
        parametrize.remove_parametrizations(layer, name, leave_parametrized=keep)


def release_all(network: nn.Module) -> None:
    """End the constraints of all layers."""
    for layer in layers(network).values():
        for name in ("weight", "bias"):
            release(layer, name)
