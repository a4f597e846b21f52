"""The documentation is enough to compute a network in fixed point: a plain reader, written from
"Computing with it" in `docs/compressed_format.md`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dse.coding.tensors import CompressedModel, FixedPoint
from dse.compress.descriptions import describe
from dse.compress.networks import layers, module
from dse.space.architecture import Layout, Metaparameters, generate
from dse.training.network import SqueezeNet

DEFAULTS: dict[str, Any] = {
    "bypass": "none",
    "conv1_filters": 96,
    "conv1_kernel": 7,
    "conv1_stride": 2,
    "conv1_padding": 0,
    "pool_after": "1-4-8",
    "strided_fires": "none",
    "conv10_padding": 0,
    "conv10_split": 1,
    "conv10_multiple": 1,
    "head_relu": True,
}


def numbers(text: str) -> set[int]:
    return set() if text == "none" else {int(number) for number in text.split("-")}


def scores(model: CompressedModel, x: Tensor) -> Tensor:
    a = {**DEFAULTS, **model.architecture}
    values = {name: torch.tensor(tensor.dense()) for name, tensor in model.tensors.items()}

    def rounded(x: Tensor, name: str) -> Tensor:
        w, f = model.activations[name]
        whole = np.clip(np.rint(x.numpy() * 2.0**f), -(2 ** (w - 1)), 2 ** (w - 1) - 1)
        return torch.tensor(whole / 2.0**f, dtype=torch.float32)

    def layer(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
        return rounded(F.conv2d(x, weight, bias, stride, padding), name)

    def pooled(number: int, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True) if number in numbers(a["pool_after"]) else x

    x = layer("conv1", rounded(x, "input"), a["conv1_stride"], a["conv1_padding"])
    x = pooled(1, x.relu())
    for number in range(2, 10):
        name, strided = f"fire{number}", number in numbers(a["strided_fires"])
        stride, padding = (2, 1) if strided else (1, 0)
        squeezed = layer(f"{name}.squeeze", x, stride, padding).relu()
        expanded = [layer(f"{name}.expand1x1", squeezed)]
        expanded += [layer(f"{name}.expand3x3", squeezed, padding=1)]
        out = torch.cat(expanded, 1).relu()
        if a["bypass"] != "none" and out.shape == x.shape:
            out += x
        elif a["bypass"] == "complex":
            out += layer(f"{name}.bypass", x, stride)
        x = pooled(number, out)
    parts, classes = a["conv10_split"], a["classes"]
    share = -(-classes // parts)
    names = ["conv10"] if parts == 1 else [f"conv10_split{n + 1}" for n in range(parts)]
    found = torch.cat([layer(n, x, padding=a["conv10_padding"])[:, :share] for n in names], 1)
    return (found.relu() if a["head_relu"] else found)[:, :classes].mean((2, 3))


@pytest.mark.parametrize(
    ("metaparameters", "layout"),
    [
        (Metaparameters(base_e=16, incr_e=0, sr=0.25, bypass="simple"), Layout(conv1_filters=16)),
        (
            Metaparameters(base_e=16, incr_e=8, bypass="simple"),
            Layout(conv1_filters=12, conv1_padding=3, head_relu=False),
        ),
        (
            Metaparameters(base_e=16, incr_e=8, bypass="complex"),
            Layout(
                conv1_filters=16,
                pool_after="1-3",
                strided_fires="5",
                conv10_padding=1,
                conv10_split=2,
                conv10_multiple=4,
            ),
        ),
    ],
)
def test_a_network_in_fixed_point_can_be_computed(
    metaparameters: Metaparameters, layout: Layout
) -> None:
    rng = np.random.default_rng(5)
    network = SqueezeNet(generate(metaparameters, layout, num_classes=5))
    tensors = {
        name: FixedPoint(
            numbers=rng.integers(-128, 128, tuple(value.shape)).astype(np.int16),
            width=8,
            fraction_length=9 if name.endswith("weight") else 8,
        )
        for name, value in network.state_dict().items()
    }
    formats = {name: (8, int(rng.integers(3, 6))) for name in ("input", *layers(network))}
    model = CompressedModel(architecture=describe(network), tensors=tensors, activations=formats)
    x = torch.tensor(rng.normal(size=(4, 3, 40, 40)), dtype=torch.float32)
    with torch.no_grad():
        expected = module(model)(x)
    assert len(expected.unique()) > 10
    torch.testing.assert_close(scores(model, x), expected, rtol=1e-6, atol=1e-6)
