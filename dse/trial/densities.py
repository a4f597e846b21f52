"""Densities of single layers as one value: `conv10:0.2-fire8.expand3x3:0.5`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from dse.space.alexnet import AlexNet
from dse.space.architecture import FIRES, Architecture
from dse.space.rules import Rule, is_number, real
from dse.trial.names import written

NONE = "none"
PARTS = ("", "squeeze", "expand1x1", "expand3x3", "bypass")
"""The layers of a Fire module, in the network's order."""
DENSITY = real(0, 1, above=True)


def by_layer() -> Rule:
    """Layers with a density each, or "none". The layers are put in the order of a network."""

    def read(value: Any) -> str:
        if value == NONE:
            return NONE
        found: dict[str, float] = {}
        for text in re.split("-(?=[a-z])", value):  # not the sign of 1e-3
            layer, density = text.split(":")
            if layer in found or not is_number(density):
                raise ValueError
            found[layer] = DENSITY.read(float(density))
        return joined({layer: found[layer] for layer in sorted(found, key=_place)})

    return Rule(
        f"{NONE}, or LAYER:DENSITY joined by '-', each layer once, each density {DENSITY.text}",
        read,
    )


def _place(layer: str) -> tuple[int, int, str]:
    """Where a layer is among those of a network, by its name."""
    match = re.fullmatch(r"[a-z]+([1-9][0-9]{0,2})(?:_\w+)?\.?(\w*)", layer, re.A)
    if match is None:
        raise ValueError
    number, part = match.groups()
    return int(number), PARTS.index(part) if part in PARTS else len(PARTS), layer


def joined(densities: Mapping[str, float]) -> str:
    """Densities by layer as one value.

    >>> joined({"conv1": 0.8, "conv10": 0.2})
    'conv1:0.8-conv10:0.2'
    """
    return "-".join(f"{layer}:{written(density)}" for layer, density in densities.items())


def densities(text: str) -> dict[str, float]:
    """The density of each layer in a value that the rule has read.

    >>> densities("conv10:0.2"), densities("none")
    ({'conv10': 0.2}, {})
    """
    pairs = [] if text == NONE else [item.split(":") for item in re.split("-(?=[a-z])", text)]
    return {layer: float(density) for layer, density in pairs}


def unknown_layers(values: Iterable[str], networks: Sequence[Collection[str]]) -> list[str]:
    """A line for each layer in some values that not all networks, each given by its layers, have.

    >>> unknown_layers(["conv1:0.5-fc9:0.5"], [layer_names(AlexNet())])
    ['`densities` must name layers of the network, conv1 .. fc8 (8), got fc9; did you mean `fc8`?']
    """
    lines = []
    for layer in dict.fromkeys(layer for text in values for layer in densities(text)):
        lacking = [names for names in networks if layer not in names]
        if not lacking:
            continue
        first, *_, last = lacking[0]
        rule = f"must name layers of the network, {first} .. {last} ({len(lacking[0])})"
        near = [name for name in lacking[0] if name.startswith(f"{layer}.")]
        near = near or get_close_matches(layer, lacking[0], 1)
        hint = f"; did you mean `{'` or `'.join(near)}`?" if near else ""
        if len(lacking) < len(networks):
            hint = f", which {len(lacking):,} of {len(networks):,} networks do not have"
        lines.append(f"`densities` {rule}, got {layer}{hint}")
    return lines


def layer_names(architecture: Architecture | AlexNet) -> tuple[str, ...]:
    """The names of a network's convolutions and linear layers, in its order.

    >>> layer_names(AlexNet())
    ('conv1', 'conv2', 'conv3', 'conv4', 'conv5', 'fc6', 'fc7', 'fc8')
    """
    if isinstance(architecture, AlexNet):
        convolutions = range(1, len(architecture.convolutions) + 1)
        return (*(f"conv{number}" for number in convolutions), "fc6", "fc7", "fc8")
    names = ["conv1"]
    for number, fire in zip(FIRES, architecture.fires, strict=True):
        parts = PARTS[1:] if fire.wire == "conv" else PARTS[1:-1]
        names += [f"fire{number}.{part}" for part in parts]
    split = range(1, len(architecture.conv10_filters) + 1)
    last = [f"conv10_split{part}" for part in split] if len(split) > 1 else ["conv10"]
    return (*names, *last)
