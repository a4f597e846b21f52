"""The pruned columns of Table 1 from a file's values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dse.coding.contents import bits, contents, stored
from dse.coding.tensors import CompressedModel, Dense, FixedPoint, LowRank, Shared, Sparse


def model() -> CompressedModel:
    codes = np.zeros((4, 2, 3, 3), np.uint8)
    codes[0] = 63
    codebook = np.linspace(0, 1, 64, dtype=np.float32)
    kept = np.arange(8).reshape(4, 2, 1, 1) % 2 == 0
    return CompressedModel(
        architecture={},
        tensors={
            "conv1.weight": Dense(values=np.ones((2, 1, 3, 3), np.float32)),
            "conv1.bias": Dense(values=np.ones(2, np.float32)),
            "fire2.squeeze.weight": Sparse(kept=kept, values=np.ones(4, np.float32)),
            "fire2.squeeze.bias": Dense(values=np.ones(4, np.float32)),
            "fire2.expand3x3.weight": Shared(codes=codes, codebook=codebook),
            "fire2.expand3x3.bias": Dense(values=np.ones(4, np.float32)),
            "fc6.weight": LowRank(
                shape=(10, 20),
                scheme="matrix",
                left=np.ones((10, 2), np.float32),
                right=np.ones((2, 20), np.float32),
            ),
            "fc7.weight": FixedPoint(
                numbers=np.ones((3, 10), np.int16), width=8, fraction_length=4
            ),
        },
    )


def test_rows_are_those_of_table_1() -> None:
    table = contents(model()).set_index("layer")
    assert table.index.tolist() == ["conv1", "fire2", "fc6", "fc7", "total"]
    assert table["kept"].tolist() == ["100", "50/25", "30", "100", ""]
    assert table["bits"].tolist() == ["32", "32/6", "32", "8", ""]
    assert table["params"].tolist() == [20, 8 + 4 + 72 + 4, 200, 30, 20 + 88 + 200 + 30]
    assert table["params_after"].tolist() == [20, 4 + 4 + 18 + 4, 60, 30, 20 + 30 + 60 + 30]


def test_formats_of_activations_are_columns() -> None:
    formats = {"input": (8, 6), "conv1": (8, 5)}
    formats |= {"fire2.squeeze": (8, 4), "fire2.expand3x3": (8, -1)}
    table = contents(replace(model(), activations=formats)).set_index("layer")
    assert table.index.tolist() == ["input", "conv1", "fire2", "fc6", "fc7", "total"]
    assert table["activation_bits"].tolist() == ["8", "8", "8", "", "", ""]
    assert table["fraction_length"].tolist() == ["6", "5", "4/-1", "", "", ""]
    plain = contents(model()).set_index("layer")
    assert table[[*plain]].iloc[1:].equals(plain)


def test_an_empty_tensor_and_a_codebook_of_zero_alone() -> None:
    nothing = Shared(codes=np.zeros((0, 3), np.uint8), codebook=np.zeros(1, np.float32))
    assert (stored(nothing), bits(nothing)) == (0, 1)
    table = contents(CompressedModel(architecture={}, tensors={"fc.weight": nothing}))
    assert table["kept"].tolist() == ["0", ""]
