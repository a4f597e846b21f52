"""The adaptive coder: range coding with probabilities that are learned while a network is coded.

Codebooks first, then the codes of each tensor, then all other float32 values; see
`docs/adaptive_coder.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dse.coding.exact import Integers
from dse.coding.floats import MANTISSA, code_codebooks, code_floats, low_zeros
from dse.coding.heads import Codes, Head, head, join, split
from dse.coding.levels import Levels
from dse.coding.range_coder import Coder, Decoder, Encoder
from dse.coding.tensors import Floats, Tensor
from dse.coding.weight_model import code_levels

LOW_LIMITS = np.array([MANTISSA + 1] * 2)


def encode(tensors: Sequence[Tensor]) -> bytes:
    """The payload of some tensors."""
    coder, parts = Encoder(), [split(tensor) for tensor in tensors]
    heads = [head(tensor) for tensor in tensors]
    shared = [own.kind == "shared" for own in heads]
    low = [
        low_zeros(values for (_, values), book in zip(parts, shared, strict=True) if book == books)
        for books in (True, False)
    ]
    if any(low):
        coder.below(LOW_LIMITS, np.array(low))
    _code(coder, heads, low, parts)
    return coder.payload(short=any(low))


def decode(payload: bytes, heads: Sequence[Head]) -> list[Tensor]:
    """The tensors of `heads` in a payload. Raises `ValueError` for one that is damaged."""
    coder = Decoder(payload)
    low = coder.below(LOW_LIMITS, None).tolist() if coder.short else [0, 0]
    parts = _code(coder, heads, low, None)
    coder.end()
    return [join(own, *part) for own, part in zip(heads, parts, strict=True)]


def _code(
    coder: Coder,
    heads: Sequence[Head],
    low: Sequence[int],
    known: Sequence[tuple[Codes, Floats]] | None,
) -> list[tuple[Codes, Floats]]:
    """Codes and float32 values of all tensors; `known` is None in a decoder. The `low` bits of the
    mantissas, of codebooks and of other values, are 0."""
    shared = [i for i, own in enumerate(heads) if own.kind == "shared"]
    lengths = [heads[i].alphabet - 1 for i in shared]
    given = None if known is None else [known[i][1] for i in shared]
    books = dict(zip(shared, code_codebooks(coder, lengths, low[0], given), strict=True))
    codes = [
        _code_codes(coder, own, books.get(i), None if known is None else known[i][0])
        for i, own in enumerate(heads)
    ]
    others = [i for i in range(len(heads)) if i not in books]
    counts = [heads[i].floats(codes[i]) for i in others]
    given = None if known is None else [known[i][1] for i in others]
    books |= zip(others, code_floats(coder, counts, low[1], given), strict=True)
    return [(codes[i], books[i]) for i in range(len(heads))]


def _code_codes(coder: Coder, own: Head, book: Floats | None, known: Codes | None) -> Codes:
    """The codes of one tensor, in C order."""
    if not (own.alphabet and own.size):
        return np.zeros(own.size if own.alphabet else 0, np.uint16)
    if own.kind == "sparse":
        book = np.ones(1, np.float32)
    numbers, levels = (
        _fixed_point(coder, own.numbers[0], known) if book is None else _by_value(book)
    )
    given = None if known is None else numbers[known]
    found = code_levels(coder, own.shape, levels, given)
    back = np.empty(len(numbers), np.uint16)
    back[numbers] = np.arange(len(numbers))  # negative levels count from the end
    codes: Codes = back[found]
    return codes


def _by_value(book: Floats) -> tuple[Integers, Levels]:
    """The level of each code (0 first), for the values of codes 1, 2, ..."""
    below = np.signbit(book)
    sizes = book.view(np.uint32) % (1 << 31)
    numbers = np.zeros(len(book) + 1, np.int64)
    sides = []
    for sign, side in ((-1, np.flatnonzero(below)), (1, np.flatnonzero(~below))):
        rising = side[np.argsort(sizes[side], kind="stable")]
        numbers[rising + 1] = sign * np.arange(1, len(side) + 1)
        sides.append(book[rising])
    return numbers, Levels(*sides)


def _fixed_point(coder: Coder, width: int, known: Codes | None) -> tuple[Integers, Levels]:
    """The level of each code is its number. How many bits the numbers need comes first."""
    half = 1 << width - 1
    numbers = np.concatenate([[0], np.arange(-half, 0), np.arange(1, half)])
    given = None
    if known is not None:
        used = numbers[known]
        given = np.array([int(np.where(used < 0, ~used, used).max()).bit_length()])
    limit = 1 << int(coder.below(np.array([width]), given)[0])
    rising = np.arange(1, limit + 1, dtype=np.float32)
    return numbers, Levels(rising, rising[:-1])
