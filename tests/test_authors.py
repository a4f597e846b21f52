"""The authors' format: what is written, read again; their own file, byte for byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from dse.coding.authors import AuthorsFormatError, read, write
from dse.coding.tensors import Dense, Shared, Tensor

RELEASED = Path(__file__).parents[2] / "shared" / "data" / "compressed_SqueezeNet.net"
SHAPES = {"conv1": (4, 3, 3, 3), "squeeze": (3, 40, 1, 1), "empty": (2, 5, 1, 1)}


def network(density: float, seed: int = 0) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    tensors: dict[str, Tensor] = {}
    for name, shape in SHAPES.items():
        kept = rng.random(shape) < (0 if name == "empty" else density)
        codebook = np.append(0, rng.standard_normal(255)).astype(np.float32)
        codes = np.where(kept, rng.integers(1, 256, shape), 0).astype(np.uint8)
        tensors[f"{name}.weight"] = Shared(codes=codes, codebook=codebook)
        tensors[f"{name}.bias"] = Dense(values=rng.standard_normal(shape[0]).astype(np.float32))
    return tensors


@pytest.mark.parametrize("density", [0, 0.01, 0.06, 0.3, 1])
def test_what_is_written_is_read(density: float) -> None:
    for seed in range(20):
        tensors = network(density, seed)
        again = read(write(tensors), SHAPES)
        assert list(again) == list(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(again[name].dense(), tensor.dense())


def test_gaps_are_bridged_by_fillers() -> None:
    codes = np.zeros((1, 100, 1, 1), np.uint8)
    codes[0, [0, 17, 34, 80], 0, 0] = 9, 8, 7, 6  # 0, 16, 16 and 45 zeros before them
    weight = Shared(codes=codes, codebook=np.zeros(256, np.float32))
    content = write({"a.weight": weight, "a.bias": Dense(values=np.ones(1, np.float32))})
    assert struct.unpack("<I", content[:4]) == (8,)
    assert content[4 + 1024 :] == (
        struct.pack("<f", 1) + bytes([9, 0, 8, 0, 7, 0, 0, 6]) + bytes([0xF0, 0xF0, 0xF0, 0xDF])
    )


@pytest.mark.skipif(not RELEASED.exists(), reason="needs the released file")
def test_the_released_file_byte_for_byte() -> None:
    from dse.compress.released import SHAPES as V1_0

    content = RELEASED.read_bytes()
    tensors = read(content, V1_0)
    assert len(content) == 675_763
    assert write(tensors) == content
    weights = [tensor.dense() for name, tensor in tensors.items() if name.endswith("weight")]
    assert sum(w.size for w in weights) == 1_244_448
    assert sum(int(np.count_nonzero(w)) for w in weights) == 415_921


def test_bad_files_are_refused() -> None:
    content = write(network(0.3))
    for size in range(0, len(content), 7):
        with pytest.raises(AuthorsFormatError, match="the file ends within"):
            read(content[:size], SHAPES)
    with pytest.raises(AuthorsFormatError, match="1 bytes are left"):
        read(content + b"x", SHAPES)
    with pytest.raises(AuthorsFormatError, match="entry 0"):
        read(content[:12] + struct.pack("<f", 1) + content[16:], SHAPES)
    with pytest.raises(AuthorsFormatError, match="of 12 weights"):
        read(content, {**SHAPES, "conv1": (4, 3, 1, 1)})


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_give_a_network_or_the_error(seed: int) -> None:
    rng, content = np.random.default_rng(seed), write(network(0.3))
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        try:
            tensors = read(bytes(damaged), SHAPES)
        except AuthorsFormatError:
            continue
        assert [t.shape for t in tensors.values()] == [t.shape for t in network(0.3).values()]


def test_only_shared_weights_with_biases_can_be_written() -> None:
    tensors = network(1)
    with pytest.raises(AuthorsFormatError, match=r"conv1.weight must be shared weights"):
        write({"conv1.weight": tensors["conv1.bias"]})
