"""The bytes of each stage of a compression follow their definitions, and are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import crowded, text

from dse.coding.container import encode
from dse.coding.stages import STAGES, stages
from dse.coding.tensors import CompressedModel, Dense, FixedPoint, Shared
from dse.figures.stages import stages as figure_of


def model(density: float) -> CompressedModel:
    """4,000 weights, of which a share is kept, in a codebook of 15 and 0; and ten biases."""
    random = np.random.default_rng(3)
    codes = random.integers(1, 16, (10, 400)).astype(np.uint8)
    codes[random.random(codes.shape) >= density] = 0
    book = np.arange(16, dtype=np.float32)
    bias = FixedPoint(numbers=np.ones(10, np.int16), width=8, fraction_length=4)
    tensors = {"fc.weight": Shared(codes=codes, codebook=book), "fc.bias": bias}
    return CompressedModel(architecture={}, tensors=tensors)


def test_each_stage_has_the_bytes_of_its_definition() -> None:
    whole = model(1.0)
    table = stages(whole).set_index("stage")
    assert tuple(table.index) == STAGES
    assert table.loc["dense, fp32"].tolist() == [16_000, 0, 40, 16_040]
    assert table.loc["pruned"].tolist() == [16_000, 0, 40, 16_040]  # nothing is pruned
    assert table.loc["shared"].tolist() == [2_000, 0, 60 + 10, 2_070]
    for stage, coder in (("Huffman", "huffman"), ("adaptive", "adaptive")):
        assert table["bytes"][stage] == len(encode(whole, coder))


def test_pruning_saves_weights_and_long_gaps_cost_zeros() -> None:
    one = stages(model(0.3))
    assert (one["positions"][1:3] == one["weights"][1] / 8).all()  # 4 bits for each of 32
    half, tenth, fiftieth = (stages(model(density))["weights"][1] for density in (0.5, 0.1, 0.02))
    assert half == pytest.approx(8_000, rel=0.05)
    assert 1_600 < tenth < 2_400
    assert fiftieth > 1.5 * 0.02 * 16_000  # a gap of 50 has up to three zeros


def test_a_network_without_shared_weights_is_refused() -> None:
    dense = CompressedModel(architecture={}, tensors={"w": Dense(values=np.ones(3, np.float32))})
    with pytest.raises(ValueError, match="must have shared weights"):
        stages(dense)


def test_the_figure_shows_every_stage_and_its_bytes() -> None:
    table = stages(model(0.3))
    figure = figure_of(table)
    words = text(figure)
    for stage, size in zip(table["stage"], table["bytes"], strict=True):
        assert stage in words
        assert f"{size:,.0f} bytes" in words
    widths = [bar.get_width() for bar in figure.axes[0].containers[0]]
    assert widths[0] == pytest.approx(16_000 / 1024)
    assert widths == sorted(widths, reverse=True)
    assert not crowded(figure)
