"""Files of compressed networks: lossless, small around the data, and nothing else is read."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_tensors import ARCHITECTURE, network, random_tensor

from dse.coding import container, header
from dse.coding.heads import BadFile, head
from dse.coding.tensors import (
    CompressedModel,
    Dense,
    FixedPoint,
    LowRank,
    Shared,
    Sparse,
    Tensor,
    same,
)

coders = pytest.mark.parametrize("coder", container.CODERS)


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


def shared(codes: Any, length: int = 4) -> Shared:
    book = np.arange(length, dtype=np.float32)
    return Shared(codes=np.asarray(codes, np.uint8), codebook=book)


def fixed(numbers: Any, width: int) -> FixedPoint:
    return FixedPoint(numbers=np.asarray(numbers, np.int16), width=width, fraction_length=7)


def low_rank(rank: int, scheme: str = "matrix", shape: tuple[int, ...] = (2, 3, 1, 1)) -> LowRank:
    left, right = np.ones((2, rank), np.float32), np.ones((rank, 3), np.float32)
    return LowRank(shape=shape, scheme=scheme, left=left, right=right)


def far_apart() -> Any:
    codes = np.zeros(5000, np.uint8)
    codes[[0, 1, 300, 556, 4999]] = 1, 3, 2, 2, 1
    return codes


EDGES = {
    "none": (),
    "no values": (Dense(values=np.zeros((3, 0, 2), np.float32)), shared(np.zeros((0, 5)))),
    "no dimensions": (Dense(values=np.full((), 2, np.float32)), shared(3), fixed(-1, 1)),
    "one value": (shared([3]), shared([0]), fixed([-32768], 16), fixed([5], 4)),
    "all zero": (shared(np.zeros((4, 300))), fixed(np.zeros(9), 8), shared([0, 0], 1)),
    "all kept": (shared(np.ones(500)), Sparse(kept=np.ones(2, np.bool_), values=floats(1, 0))),
    "nothing kept": (Sparse(kept=np.zeros((2, 2), np.bool_), values=floats()),),
    "long gaps": (shared(far_apart()), Sparse(kept=far_apart() > 2, values=floats(7))),
    "no floats": (Dense(values=floats(np.nan, np.inf, -np.inf, -0.0)),),
    "256 levels": (shared(np.arange(256), 256), shared(np.arange(256) % 3, 256)),
    "16 bits": (fixed(np.arange(-32768, 32768, 7), 16), fixed([-32768, 32767, 0, 0], 16)),
    "low rank": (low_rank(2), low_rank(0), low_rank(3, "spatial", (2, 3, 1, 1))),
    "16 dimensions": (shared(np.ones((1,) * 15 + (2,))),),
}


@coders
@pytest.mark.parametrize("name", EDGES)
def test_unusual_tensors_come_back_bit_for_bit(name: str, coder: str) -> None:
    model = network(*EDGES[name])
    assert same(container.decode(container.encode(model, coder)), model)


@coders
def test_random_tensors_come_back_bit_for_bit(coder: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        model = network(*(random_tensor(rng) for _ in range(100)))
        assert same(container.decode(container.encode(model, coder)), model)


@pytest.mark.slow
@coders
def test_10_000_random_tensors_come_back_bit_for_bit(coder: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        model = network(*(random_tensor(rng) for _ in range(100)))
        assert same(container.decode(container.encode(model, coder)), model)


@pytest.mark.parametrize("width", range(1, 11))
def test_all_numbers_of_a_width_come_back(width: int) -> None:
    half = 1 << width - 1
    model = network(fixed(np.arange(-half, half), width))
    assert same(container.decode(container.encode(model, "huffman")), model)


def test_what_is_around_the_tensors_comes_back() -> None:
    tensors = {"conv1.weight": shared([[1], [2]]), "conv1.bias": Dense(values=floats(1, 2))}
    model = CompressedModel(
        architecture={"network": "any", "list": [1, 2.5, None, True, "é"], "more": {"": {}}},
        tensors=tensors,
        activations={"input": (8, -3), "conv1": (4, 200)},
    )
    assert same(container.decode(container.encode(model, "huffman")), model)


# What cannot be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Dense(values=np.zeros(2)), "`values` must be float32"),  # type: ignore[arg-type]
        (Sparse(kept=np.ones(2, np.bool_), values=floats(1)), "as many as kept"),
        (shared([4]), "`codes` must be places in `codebook`"),
        (Shared(codes=np.zeros(2, np.uint8), codebook=floats(1, 2)), "`codebook` must start at 0"),
        (Shared(codes=np.zeros(2, np.uint8), codebook=floats(-0.0)), "`codebook` must start at 0"),
        (fixed([8], 4), "`numbers` must be int16 of 4 bits"),
        (fixed([0], 17), "impossible numbers"),
        (low_rank(2, shape=(3, 3, 1, 1)), "the factors must give"),
        (low_rank(2, scheme="diagonal"), "`scheme` must be"),
    ],
)
def test_a_tensor_against_its_rules_is_not_written(tensor: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=f"^tensor layer0.weight: .*{words}"):
        container.encode(network(tensor), "huffman")


@pytest.mark.parametrize(
    "around",
    [
        {"architecture": {"pair": (1, 2)}},
        {"architecture": {"number": float("nan")}},
        {"architecture": {1: 2}},
        {"architecture": {"object": object()}},
        {"architecture": {"text": "x" * header.MAX_TEXT}},
        {"activations": {"conv1": (8, 300)}},
        {"activations": {"conv1": (8, 2.0)}},
    ],
)
def test_what_json_cannot_hold_is_not_written(around: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"plain JSON|header"):
        container.encode(network(**around), "huffman")


def test_coders_are_known_by_name() -> None:
    with pytest.raises(ValueError, match=r"`coder` must be one of .*huffman.* got zip"):
        container.encode(network(), "zip")


# The size of the rest -------------------------------------------------------------------------


def squeezenet(e: int, kind: Any) -> dict[str, Tensor]:
    """Tensors with the names and shapes of a SqueezeNet, e expand filters in fire2."""
    tensors: dict[str, Tensor] = {}

    def layer(name: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = kind(np.zeros(shape))
        tensors[f"{name}.bias"] = Dense(values=np.zeros(shape[0], np.float32))

    layer("conv1", 64, 3, 3, 3)
    inputs = 64
    for number in range(2, 10):
        filters = e * (number // 2)
        layer(f"fire{number}.squeeze", filters // 8, inputs, 1, 1)
        layer(f"fire{number}.expand1x1", filters // 2, filters // 8, 1, 1)
        layer(f"fire{number}.expand3x3", filters // 2, filters // 8, 3, 3)
        inputs = filters
    layer("conv10", 10, inputs, 1, 1)
    return tensors


@pytest.mark.parametrize("e", [16, 32, 128])
def test_header_and_checksum_of_a_network_take_less_than_200_bytes(e: int) -> None:
    filters = [e * (number // 2) // 2 for number in range(2, 10)]
    architecture = {"network": "squeezenet", "classes": 10, "channels": 3, "head_relu": False}
    architecture |= {"s1x1": [n // 4 for n in filters], "e1x1": filters, "e3x3": filters}
    rng = np.random.default_rng(e)
    tensors = squeezenet(e, lambda zeros: shared(zeros, int(rng.integers(56, 65))))
    model = CompressedModel(architecture=architecture, tensors=tensors)
    top = header.write(model, "huffman", [head(tensor) for tensor in tensors.values()])
    assert len(container.MAGIC) + 1 + len(top) + container.DIGEST_BYTES < 200


# What is not read -----------------------------------------------------------------------------


def sealed(content: bytes) -> bytes:
    """A file's content with the right checksum."""
    body = content[: -container.DIGEST_BYTES]
    return body + container.digest(body)


@coders
def test_every_changed_bit_and_every_other_length_is_refused(coder: str) -> None:
    content = container.encode(network(shared([1, 0, 0, 2]), low_rank(2)), coder)
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(BadFile):
            container.decode(bytes(changed))
    for length in range(len(content)):
        with pytest.raises(BadFile):
            container.decode(content[:length])
    with pytest.raises(BadFile):
        container.decode(content + b"\0")


@coders
def test_bytes_too_many_or_too_few_are_refused_with_their_checksum(coder: str) -> None:
    content = container.encode(network(shared([1, 0, 0, 2]), low_rank(2)), coder)
    body, end = content[: -container.DIGEST_BYTES], content[-container.DIGEST_BYTES :]
    for other in [*(body[:length] for length in range(len(body))), body + b"\0"]:
        with pytest.raises(BadFile):
            container.decode(sealed(other + end))
    assert sealed(body + end) == content


def test_a_file_says_what_is_wrong_with_it() -> None:
    content = container.encode(network(shared([1, 0])), "huffman")
    damaged = bytearray(content)
    damaged[20] ^= 1
    newer = sealed(content[:4] + b"\2" + content[5:])
    for file, words in [
        (b"PK\3\4" + content, "is not a compressed network"),
        (bytes(damaged), "checksum"),
        (newer, "version must be 1, got 2"),
    ]:
        with pytest.raises(BadFile, match=words):
            container.decode(file)


def declaring(row: list[int], coder: str, payload: bytes = b"") -> bytes:
    """A file whose header has one row of numbers for its only tensor."""
    content = {"coder": coder, "architecture": {}, "names": ["w"], "heads": [row]}
    text = json.dumps(content | {"activations": {}}, separators=(",", ":"))
    body = container.MAGIC + b"\1" + header.deflated(text) + payload
    return body + container.digest(body)


@coders
@pytest.mark.parametrize(
    "row",
    [
        [0, 1 << 22, 1 << 10],
        [1, 1 << 23],
        [2, 64] + [2] * 16 + [1 << 8],
        [3, 8, 0, (1 << 31) - 1, (1 << 31) - 1],
        [3, 1 << 30, 0, 4],
        [4, 1 << 22, 0, 4, 4],
        [4, 1, 1, 1 << 12, 1 << 12, 1, 1],
        [0, 1 << 31],
        [0, -1],
        [0, 10**300],
        [0, 0] + [1 << 30] * 15,
    ],
)
def test_a_huge_tensor_takes_no_memory(row: list[int], coder: str) -> None:
    tracemalloc.start()
    with pytest.raises(BadFile):
        container.decode(declaring(row, coder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


TEXT = (
    '{"coder":"huffman","architecture":{"a":1},"names":["v","w"],"heads":[[0,1],[5]],'
    '"activations":{"a":[8,5]}}'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"w"', '"v"'),
        ('"v",', ""),
        ('"w"', "2"),
        ("[5]", "[6]"),
        ("[[0,1],[5]]", "[[5],[0,1]]"),
        ("[0,1]", "[0,1.0]"),
        ("[0,1]", "[0,true]"),
        ("[0,1]", "[2,257,1]"),
        ("[0,1]", "[]"),
        ("[0,1]", "[2]"),
        ("[[0,1],[5]]", '"05"'),
        ("[[0,1],[5]]", "[{},[5]]"),
        ('"w"', '"__metadata__"'),
        ('"w"', r'"\ud800"'),
        ('"coder":"huffman","architecture":{"a":1}', '"architecture":{"a":1},"coder":"huffman"'),
        ("[8,5]", "[8]"),
        ("[8,5]", "[0,5]"),
        ("[8,5]", "{}"),
        ('{"a":1}', "[]"),
        ('{"a":1}', '{"a":1,"a":1}'),
        ('{"a":1}', '{"a": 1}'),
        ('{"a":1}', '{"a":NaN}'),
        ('{"a":1}', '{"a":' + "[" * 5000 + "]" * 5000 + "}"),
        ('"huffman"', '"zip"'),
        ("{", "["),
        ("}}", "}} "),
        ('"coder":"huffman",', ""),
        ('"activations"', '"more":1,"activations"'),
    ],
)
def test_a_header_in_any_other_form_is_refused(old: str, new: str) -> None:
    def file(text: str) -> bytes:
        body = container.MAGIC + b"\1" + header.deflated(text) + bytes(8)
        return body + container.digest(body)

    assert container.decode(file(TEXT)).activations == {"a": (8, 5)}
    assert old in TEXT
    with pytest.raises(BadFile):
        container.decode(file(TEXT.replace(old, new, 1)))


def test_a_tensor_that_is_there_is_read() -> None:
    model = container.decode(declaring([0, 2], "huffman", bytes(8)))
    assert same(model, replace(model, tensors={"w": Dense(values=floats(0, 0))}))


@coders
def test_a_network_of_more_weights_than_its_file_may_declare_is_not_written(coder: str) -> None:
    most = container.FREE - 64
    small = network(shared(np.zeros((2, most // 2))))
    assert same(container.decode(container.encode(small, coder)), small)
    with pytest.raises(ValueError, match="may declare"):
        container.encode(network(shared(np.zeros((2, most)))), coder)


GOLDEN = (
    "4453456301ad97211280300c043f7422d7a6c05f3a111575a8bafe1e41e940181c6e57e6c465eeafcf31ab7f"
    "b3ef3edd4bafed76d35e7a6d741e9c47e7ea3c399f4bf0999282e736000d39820bd6813a28409144c4907981"
    "8210044410347b077800e01730220a4d302f34c02916980000e4695db000022001c98f2081fc0007fff04743"
    "b40000803f00000040000040400000803f00000040000040400000803f00000040000040400000e040000080"
    "3f0000803f0000803f0000803f0000803f6695071097bda224"
)


def test_a_file_written_by_an_earlier_version_is_read() -> None:
    model = container.decode(bytes.fromhex(GOLDEN))
    assert same(model, network(*EDGES["one value"], *EDGES["long gaps"], low_rank(1)))
    assert model.architecture == ARCHITECTURE


def test_the_documented_dictionary_is_the_one_in_use() -> None:
    text = (Path(__file__).parents[1] / "docs/compressed_format.md").read_text(encoding="utf-8")
    assert f"{len(header.DICTIONARY):,} bytes" in text
    assert hashlib.sha256(header.DICTIONARY).hexdigest() in text
