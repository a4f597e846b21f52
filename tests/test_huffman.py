"""Prefix codes, their tables, and the size of Huffman files."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import pytest
from random_tensors import network

from dse.coding import huffman, prefix
from dse.coding.bits import Reader, Writer, table
from dse.coding.bound import bound, entropy
from dse.coding.heads import head
from dse.coding.prefix import Integers
from dse.coding.tensors import Dense, FixedPoint, Shared, Tensor, same


def random_counts(seed: int) -> Integers:
    """Counts of 1 to 300 symbols; about a third are 0."""
    rng = np.random.default_rng(seed)
    counts = rng.geometric(rng.choice([0.5, 0.01, 0.001]), rng.integers(1, 301)) - 1
    return counts * (rng.random(len(counts)) < 0.7) + (np.arange(len(counts)) == 0)


def least_bits(counts: Integers) -> int:
    """Bits in Huffman's code: the sum of all nodes of his tree that are not leaves."""
    heap = counts[counts > 0].tolist()
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        node = heapq.heappop(heap) + heapq.heappop(heap)
        heapq.heappush(heap, node)
        bits += node
    return bits


@pytest.mark.parametrize("seed", range(20))
def test_huffman_s_code_is_the_shortest(seed: int) -> None:
    counts = random_counts(seed)
    bits = prefix.stream_bits(prefix.huffman(counts), counts)
    assert bits == least_bits(counts)
    assert entropy(counts) <= bits + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_all_codes_are_complete_and_no_word_begins_another(seed: int) -> None:
    counts = random_counts(seed)
    for lengths in prefix.candidates(counts):
        assert prefix.complete(lengths)
        assert (lengths[counts > 0] > 0).all()
        words = prefix.words(lengths)
        texts = sorted(f"{words[n]:0{lengths[n]}b}" for n in np.flatnonzero(lengths))
        assert not any(b.startswith(a) for a, b in pairwise(texts))


def test_words_never_have_more_bits_than_a_reader_takes() -> None:
    counts = [1, 1]
    while len(counts) < 45:
        counts.append(counts[-1] + counts[-2])  # Huffman's words: 1 to 44 bits
    lengths = prefix.huffman(np.array(counts))
    assert lengths.max() <= prefix.LONGEST
    assert prefix.complete(lengths)


@pytest.mark.parametrize("seed", range(20))
def test_symbols_come_back_and_their_table_is_used_again(seed: int) -> None:
    counts = random_counts(seed)
    symbols = np.repeat(np.arange(len(counts)), np.minimum(counts, 50)).astype(np.uint16)
    np.random.default_rng(seed).shuffle(symbols)
    writer = Writer({})
    writer.symbols(symbols, len(counts))
    first = len(writer.bits)
    writer.symbols(symbols, len(counts))
    assert len(writer.bits) - first <= first
    reader = Reader(writer.bits.tobytes())
    for _ in range(2):
        assert reader.symbols(len(symbols), len(counts)).tolist() == symbols.tolist()
    assert reader.end() == len(writer.bits.tobytes())


def written_table(lengths: list[int]) -> bytes:
    """A table as bytes, whether it is one of a code or not."""
    writer = Writer({})
    writer.numbers(*table(np.array(lengths)))
    return writer.bits.tobytes() + bytes(8)


WRONG = "111 123 000 222 020 1222 0012"


@pytest.mark.parametrize(
    "lengths", [*(list(map(int, word)) for word in WRONG.split()), [0, 0, 31], [1 << 30, 1, 1]]
)
def test_a_table_that_is_no_complete_prefix_code_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="not that of a complete Huffman code"):
        Reader(written_table(lengths)).symbols(1, len(lengths))


def test_a_table_that_is_too_long_or_was_never_written_is_refused() -> None:
    good = written_table([1, 2, 3, 3])
    assert Reader(good).symbols(1, 4).tolist() == [0]
    with pytest.raises(ValueError, match="too long"):
        Reader(good).symbols(1, 3)
    with pytest.raises(ValueError, match="to use again"):
        Reader(b"\x80").symbols(1, 4)
    with pytest.raises(ValueError, match="ends too soon"):
        Reader(good).symbols(1000, 4)


def test_bits_between_the_codes_and_the_values_must_be_zero() -> None:
    for byte, end in ((b"\xe0", 1), (b"\xe1", None)):
        reader = Reader(byte)
        assert reader.number(3) == 7
        if end:
            assert reader.end() == end
        else:
            with pytest.raises(ValueError, match="bits after its codes"):
                reader.end()


# Sizes ----------------------------------------------------------------------------------------


def layer(rng: np.random.Generator, shape: tuple[int, ...], density: float, bits: int) -> Shared:
    """Weights like those of a trained layer, pruned by size, on 2**bits - 1 even levels."""
    weights = rng.laplace(size=shape) + 0.5 * rng.normal(size=shape)
    kept = np.abs(weights) >= np.quantile(np.abs(weights), 1 - density)
    low, high = weights[kept].min(), weights[kept].max()
    levels = np.round((weights - low) / (high - low) * (2**bits - 2)).astype(np.int64)
    used, codes = np.unique(levels[kept], return_inverse=True)
    whole = np.zeros(shape, np.uint8)
    whole[kept] = codes + 1
    book = np.append(0, low + used * (high - low) / (2**bits - 2))
    return Shared(codes=whole, codebook=book.astype(np.float32))


def weights_of_a_squeezenet(density: float, bits: int) -> list[Tensor]:
    """Those of a network for CIFAR-10 with a quarter of the published filters, sr 0.25."""
    rng = np.random.default_rng(bits)
    shapes: list[tuple[int, ...]] = [(64, 3, 3, 3), (10, 256, 1, 1)]
    for number in range(2, 10):
        e, before = 16 * (number // 2), max(2, 2 * ((number - 1) // 2)) * 16
        shapes += [(e // 2, before, 1, 1), (e, e // 2, 1, 1), (e, e // 2, 3, 3)]
    tensors: list[Tensor] = []
    for shape in shapes:
        pruned = density if shape[-1] == 3 and shape[1] > 3 else 1
        tensors += [layer(rng, shape, pruned, bits), Dense(values=np.ones(shape[0], np.float32))]
    return tensors


@pytest.mark.parametrize(("density", "bits"), [(0.1, 6), (0.33, 6), (0.6, 6), (0.33, 8), (0.95, 8)])
def test_the_payload_is_close_to_the_bound(density: float, bits: int) -> None:
    tensors = weights_of_a_squeezenet(density, bits)
    payload = huffman.encode(tensors)
    assert 0.99 < len(payload) / bound(network(*tensors)) < 1.018
    decoded = huffman.decode(payload, [head(tensor) for tensor in tensors])
    assert same(network(*decoded), network(*tensors))


@pytest.mark.parametrize(
    ("density", "zeros_are_coded"), [(0.05, False), (0.33, False), (0.95, True)]
)
def test_zeros_are_in_the_alphabet_where_few_weights_are_pruned(
    density: float, zeros_are_coded: bool
) -> None:
    tensor = layer(np.random.default_rng(0), (64, 64, 3, 3), density, 6)
    width = huffman.WIDTHS[Reader(huffman.encode([tensor])).number(huffman.WIDTH_BITS)]
    assert (width == 0) == zeros_are_coded


def test_the_width_of_an_index_follows_the_gaps() -> None:
    rng, widths = np.random.default_rng(0), []
    for density in (0.5, 0.1, 0.02, 0.004):
        payload = huffman.encode([layer(rng, (256, 256), density, 4)])
        widths.append(huffman.WIDTHS[Reader(payload).number(huffman.WIDTH_BITS)])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] == 8


def test_small_tensors_share_a_table_where_that_is_shorter() -> None:
    """Made from all of them, although none would pay for one of its own."""
    rng = np.random.default_rng(0)

    def biases(low: int, high: int) -> list[Tensor]:
        """50 tensors of 40 numbers each, of 8 bits."""
        numbers = [rng.integers(low, high, 40).astype(np.int16) for _ in range(50)]
        return [FixedPoint(numbers=own, width=8, fraction_length=6) for own in numbers]

    near, far = biases(-8, 8), biases(-128, 128)
    assert len(huffman.encode(near)) < 1.1 * 50 * 40 * 4 / 8
    assert len(huffman.encode(far)) == pytest.approx(50 * 40, rel=0.02)
    for tensors in (near, far, [*near, layer(rng, (64, 64, 3, 3), 0.3, 8), *far]):
        decoded = huffman.decode(huffman.encode(tensors), [head(tensor) for tensor in tensors])
        assert same(network(*decoded), network(*tensors))
