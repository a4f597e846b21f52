"""The split of a folder of images as `dse.data.stream` makes it, for messages: without torch."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, cast

import numpy as np

from dse.data.folder import Manifest
from dse.trial.protocol import Protocol, random_seed


def untrained(protocol: Protocol, manifest: Manifest) -> list[str]:
    """The classes of which a protocol trains on no image."""
    total, held_out = sum(manifest.train), protocol.validation_images
    if min(manifest.train) > total - protocol.train_images:
        return []
    order = permutation(total, random_seed(0, "split", protocol.data))
    taken = order[held_out : held_out + protocol.train_images]
    labels = np.searchsorted([*accumulate(manifest.train)], taken, side="right")
    counts = np.bincount(labels, minlength=len(manifest.classes))
    return [name for name, count in zip(manifest.classes, counts, strict=True) if not count]


def permutation(number: int, seed: int) -> list[int]:
    """What `torch.randperm` gives for a generator with this seed: half a second for a million."""
    bits, legacy = np.random.MT19937(), np.random.RandomState(seed & 0xFFFFFFFF)
    bits.state = cast(Any, legacy.get_state(legacy=False))
    order = list(range(number))
    ahead = bits.random_raw(number - 1).astype(np.int64) % np.arange(number, 1, -1)
    for place, other in enumerate(ahead.tolist()):
        order[place], order[place + other] = order[place + other], order[place]
    return order
