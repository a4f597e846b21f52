"""How long training takes: a network's multiply-accumulates and activations, and steps, to seconds.

`seconds = rates @ work`, where work is (steps, multiply-accumulates, activations) and no rate is
negative. The rates are fitted to calibrations before a sweep, and to its epochs while it runs.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dse.space.alexnet import AlexNet
from dse.space.architecture import Architecture
from dse.space.cost import Cost, cost
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import Trial

Work: TypeAlias = NDArray[np.float64]
Rates: TypeAlias = NDArray[np.float64]

TRAINING = 3
"""Training with an image takes about as long as judging this many."""

TYPICAL: Rates = np.array([2e9, 1.0, 400.0])
"""Rates of a typical CPU core, in the time of one multiply-accumulate: a step's overhead, and
writing and reading an activation."""

NOISE = 0.1
"""Typical relative error of the fitted seconds of a trial's epochs."""


@functools.lru_cache(2**14)
def architecture_of(trial: Trial) -> Architecture | AlexNet:
    """A trial's network."""
    return trial.architecture


@functools.lru_cache(2**14)
def size_of(trial: Trial) -> Cost:
    """The cost of a trial's network."""
    return cost(architecture_of(trial), trial.protocol.image_size)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a task is: its `epochs`, the work of each, and judging after them, in epochs.

    `others` of the epochs, the last ones, only stand for work of another kind.
    """

    epochs: int
    epoch: Work
    judging: float
    others: int = 0


def length_of(trial: Trial) -> Length:
    """How long the training of a trial is."""
    protocol, size = trial.protocol, size_of(trial)
    return Length(
        epochs=protocol.recipe.epochs,
        epoch=epoch_work(protocol, size.macs, size.activations),
        judging=judging_epochs(protocol),
    )


def epoch_work(protocol: Protocol, macs: float, activations: float) -> Work:
    """Work of an epoch: training, then judging the validation set.

    `macs` and `activations` are a network's, for one image.
    """
    steps = epoch_steps(protocol.train_images, protocol.recipe.batch_size)
    images = _images(protocol)
    return np.array([steps, images * macs, images * activations], dtype=np.float64)


def training_work(protocol: Protocol, macs: float, activations: float) -> Work:
    """Work of a whole training: its epochs, then judging the test set."""
    epochs = protocol.recipe.epochs + judging_epochs(protocol) * np.array([0, 1, 1])
    return epochs * epoch_work(protocol, macs, activations)


def judging_epochs(protocol: Protocol) -> float:
    """Judging the test set, in epochs."""
    return protocol.facts.test / _images(protocol)


def _images(protocol: Protocol) -> int:
    """Images whose judging takes as long as an epoch."""
    return TRAINING * protocol.train_images + protocol.validation_images


def fit(
    work: ArrayLike, seconds: ArrayLike, expected: Rates = TYPICAL, noise: float = NOISE
) -> Rates:
    """Rates, none negative, with the least squared relative errors of the observed `seconds`.

    `work` has shape (n, 3), n at least 1; `seconds` has shape (n,), all above 0, each within a
    share of `noise` or so. Similar networks do not determine all three rates, so the
    rates are also pulled towards the `expected` ones, scaled to the observations: the less noise,
    the less.
    Errors are relative to the observed seconds, so a trial that waited in a queue counts little.

    >>> rates = fit([[5, 9e9, 1e6], [5, 2e9, 2e6]], [1.4, 0.7])
    >>> (np.array([[5, 9e9, 1e6], [5, 2e9, 2e6]]) @ rates).round(1).tolist()
    [1.4, 0.7]
    """
    from scipy.optimize import nnls  # imported here: it takes a quarter of a second

    observed, times = np.asarray(work, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    rates = expected * np.median(times / (observed @ expected))
    rows = np.vstack([observed * rates / times[:, None], noise * np.eye(len(rates))])
    factors, _ = nnls(rows, np.r_[np.ones(len(times)), np.full(len(rates), noise)])
    fitted: Rates = factors * rates
    return fitted


def wall_time(seconds: Sequence[float], workers: int) -> float:
    """Seconds until tasks are done that `workers` take in order, each when it is free.

    >>> wall_time([3, 1, 1, 4], workers=2)
    6
    """
    free: list[float] = [0] * workers
    for task in seconds:
        heapq.heapreplace(free, free[0] + task)
    return max(free)
