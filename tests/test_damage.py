"""Damaged files of compressed networks: always `BadFile`, in little memory and time.

Half of the damaged files keep their checksum. The others get the right one: they may hold another
network, but then a whole one.
"""

from __future__ import annotations

import random
import resource
import time
import tracemalloc

import numpy as np
import pytest
from random_tensors import KINDS, network, random_mask

from dse.coding import container, header
from dse.coding.heads import BadFile, head
from dse.coding.tensors import Dense, FixedPoint, Shared, Sparse, Tensor

SPARE = 16 << 20
"""Bytes that reading may take in any case, for a long header and for tables of 16 bits."""

END = container.DIGEST_BYTES
NUMBERS = ["0", "-1", "1", "2", "255", "256", "4096", "65536", "4194304", "2147483648", "9" * 30]
WORDS = ["null", "true", '""', "[]", "{}", "1.5", "1e999", "NaN", '"w"', '"huffman"', '"adaptive"']


def small_files() -> list[bytes]:
    """Files of each coder: of each kind of tensor alone, and of several together."""
    rng = np.random.default_rng(0)
    files: list[bytes] = []
    for kinds in [*((kind, kind) for kind in KINDS), *[KINDS] * 3] * 2:
        while True:
            net = network(*(kind(rng, random_mask(rng)) for kind in kinds))
            of_coders = [container.encode(net, coder) for coder in container.CODERS]
            if max(map(len, of_coders)) < 1000:
                break
        files += of_coders
    return files


def damaged(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A content with one to three changes: bits, bytes, numbers, parts moved, doubled or lost."""
    new = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start = rng.randrange(min(len(new), rng.choice((32, 1 << 20))) + 1)  # often near the start
        stop = min(len(new), start + rng.choice((1, 1, 2, 4, 16, 64)))
        part = rng.randrange(len(other) + 1)
        match rng.randrange(8):
            case 0 | 1 | 2:
                new[start:stop] = bytes(b ^ 1 << rng.randrange(8) for b in new[start:stop])
            case 3:
                new[start:stop] = rng.randbytes(stop - start)
            case 4:
                new[start:stop] = b""
            case 5:
                new[start:start] = new[start:stop]
            case 6:
                new[start:] = other[part:]
            case 7:
                new[start:stop] = other[part : part + stop - start]
    return bytes(new)


def damaged_text(rng: random.Random, text: str) -> str:
    """A header's text with another number or word, or damaged as any content."""
    places = [n for n, letter in enumerate(text) if letter.isdigit() or letter in '[{"']
    if rng.random() < 0.3:
        return damaged(rng, text.encode(), text.encode()).decode("latin-1")
    start = rng.choice(places)
    stop = start + 1
    while text[start:stop].isdigit() and text[stop : stop + 1].isdigit():
        stop += 1
    return text[:start] + rng.choice(NUMBERS + WORDS) + text[stop:]


def damaged_file(rng: random.Random, content: bytes, other: bytes) -> tuple[bytes, bool]:
    """A damaged file, and whether its checksum was made right again."""
    sealed = rng.random() < 0.5
    changed = sealed_again(rng, content, other) if sealed else damaged(rng, content, other)
    return damaged_file(rng, content, other) if changed in (content, other) else (changed, sealed)


def sealed_again(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A file with a right checksum whose body, header or payload is damaged."""
    start = len(container.MAGIC) + 1
    text, payload = header.inflated(content[start:-END])
    match rng.randrange(4):
        case 0:
            body = damaged(rng, content[:-END], other)
        case 1:
            body = content[:start] + header.deflated(damaged_text(rng, text)) + payload
        case _:
            others = header.inflated(other[start:-END])[1]
            body = content[: -END - len(payload)] + damaged(rng, payload, others)
    return body + container.digest(body)


def check(content: bytes, sealed: bool) -> bool:
    """Whether a damaged file was read, as another network that is whole."""
    try:
        model = container.decode(content)
    except BadFile as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return False
    assert sealed, "damage was not noticed"
    for tensor in model.tensors.values():
        head(tensor)  # raises where a tensor is against the rules of its kind
    return True


def damage(count: int, seed: int) -> float:
    """Check so many damaged files; the share of those with a right checksum that were read."""
    rng, files, read, longest = random.Random(seed), small_files(), 0, 0.0
    for _ in range(count):
        changed, sealed = damaged_file(rng, *rng.sample(files, 2))
        start = time.perf_counter()
        read += check(changed, sealed)
        longest = max(longest, time.perf_counter() - start)
    assert longest < 10, "seconds for one file"
    return read / (count / 2)


def test_10_000_damaged_files_are_refused() -> None:
    assert 0.01 < damage(10_000, seed=0) < 0.5


@pytest.mark.slow
def test_a_million_damaged_files_are_refused() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    damage(1_000_000, seed=1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB
    assert grown < 256 << 10


def peak(content: bytes) -> int:
    """The bytes that reading a file takes at most."""
    tracemalloc.start()
    try:
        container.decode(content)
    except BadFile:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


def test_a_damaged_file_takes_little_memory() -> None:
    rng, files = random.Random(2), small_files()
    for _ in range(100):
        assert peak(damaged_file(rng, *rng.sample(files, 2))[0]) < SPARE


@pytest.mark.parametrize("text", ["[" * (1 << 18), "[[]" + ",[]" * 87_000 + "]"])
def test_a_header_of_many_parts_takes_little_memory(text: str) -> None:
    body = container.MAGIC + b"\1" + header.deflated(text)
    assert peak(body + container.digest(body)) < SPARE


@pytest.mark.parametrize("coder", container.CODERS)
@pytest.mark.parametrize("density", [0.3, 0.85])
def test_a_network_takes_at_most_four_times_its_size(density: float, coder: str) -> None:
    rng, shape = np.random.default_rng(0), (250, 1000)
    kept = rng.random(shape) < density
    codes = np.clip(rng.geometric(0.1, shape), 1, 63) * kept
    tensors: list[Tensor] = [
        Shared(codes=codes.astype(np.uint8), codebook=np.arange(64, dtype=np.float32)),
        Sparse(kept=kept, values=np.ones(kept.sum(), np.float32)),
        FixedPoint(numbers=codes.astype(np.int16), width=8, fraction_length=8),
        Dense(values=np.ones(shape, np.float32)),
    ]
    for tensor in tensors:
        content = container.encode(network(tensor), coder)
        assert peak(content) < 4 * max(len(content), 4 * kept.size) + (1 << 20)
