"""What a compressed network's file measures: its length, and the network that it decodes to."""

from __future__ import annotations

import hashlib
import math

from dse.coding.container import decode
from dse.coding.contents import bits, stored
from dse.coding.tensors import CompressedModel, Tensor
from dse.compress.networks import module
from dse.compress.retrain import Retraining
from dse.training.judge import judge
from dse.trial.compressed import Measured
from dse.trial.record import status_of


def measure(content: bytes, fp32_bytes: int, epochs: int, training: Retraining) -> Measured:
    """Measure a file: what is judged is the network that is decoded from it, and nothing else.

    `fp32_bytes` is the size of its trial's network and `epochs` the number of them in all;
    `training` has the data. Raises `BadFile` for a file that is damaged.
    """
    model = decode(content)
    network = module(model).to(training.device)
    data, together = training.data, training.images_at_a_time
    test = judge(network, lambda: data.batches(data.test, together), training.on_batch)
    validation = judge(network, training.validation, training.on_batch)
    return Measured(
        file_bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
        fp32_bytes=fp32_bytes,
        stored_density=stored_density(model),
        weight_bits=weight_bits(model),
        epochs_total=epochs,
        status=status_of(
            val_top1=validation.top1, guess=validation.guess, missed=validation.missed, step=-1
        ),
        top1=test.top1,
        top5=test.top5,
        loss=test.loss,
        val_top1=validation.top1,
        classes_predicted=validation.predicted,
    )


def stored_density(model: CompressedModel) -> float:
    """Numbers that are stored for each weight: none for one that is pruned, and those of the
    factors for a product of two. Biases are not counted."""
    weights = _weights(model)
    return sum(map(stored, weights)) / sum(weights.values())


def weight_bits(model: CompressedModel) -> float:
    """The mean over all weights of the bits that each layer has for one, before entropy coding."""
    weights = _weights(model)
    return sum(bits(one) * count for one, count in weights.items()) / sum(weights.values())


def _weights(model: CompressedModel) -> dict[Tensor, int]:
    """The weights without biases, and how many each tensor has."""
    return {t: math.prod(t.shape) for t in model.tensors.values() if len(t.shape) > 1}
