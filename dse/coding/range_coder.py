"""Range coding of many decisions at a time (constriction's range coder), and raw numbers.

`Encoder` and `Decoder` have the same methods, so that one model serves both: the encoder codes the
symbols that it is given and returns them, the decoder ignores them and returns those of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

_MODELS, _QUEUE = constriction.stream.model, constriction.stream.queue
BIT = _MODELS.Bernoulli(perfect=False)
SYMBOL = _MODELS.Categorical(perfect=False)
BELOW = _MODELS.Uniform()
AT_ONCE, SHORT = 1 << 16, 1 << 31
LEAST = 2.0**-16
"""The lowest probability of a bit."""


def _parts(table: Reals, rows: Integers) -> Iterator[slice]:
    """Parts of `rows` whose rows of the table take little memory together."""
    length = max(AT_ONCE // table.shape[1], 1)
    return (slice(start, start + length) for start in range(0, len(rows), length))


def _one(weights: Reals) -> Any:
    return _MODELS.Categorical(weights, perfect=False)


class Coder(Protocol):
    """What a model needs of a coder; `known` is None in a decoder."""

    def bits(self, chances: Reals, known: Integers | None) -> Integers:
        """Bits, 0 or 1; `chances` (n,) are the probabilities of 1."""
        ...

    def symbols(self, table: Reals, rows: Integers, known: Integers | None) -> Integers:
        """Symbols 0 .. m - 1, m >= 2; their probabilities are in proportion to the row of `table`
        (any, m) that `rows` (n,) names."""
        ...

    def alike(self, weights: Reals, count: int, known: Integers | None) -> Integers:
        """Symbols 0 .. m - 1, m >= 2; `weights` (m,) are proportional to their probabilities."""
        ...

    def below(self, limits: Integers, known: Integers | None) -> Integers:
        """Numbers 0 .. limit - 1, all as probable; `limits` (n,) are 1 .. 2**23."""
        ...


class Encoder:
    """Codes symbols into bytes."""

    def __init__(self) -> None:
        self._queue: Any = _QUEUE.RangeEncoder()

    def bits(self, chances: Reals, known: Integers | None) -> Integers:
        return self._put(known, BIT, np.clip(chances, LEAST, 1 - LEAST))

    def symbols(self, table: Reals, rows: Integers, known: Integers | None) -> Integers:
        assert known is not None
        for part in _parts(table, rows):
            self._put(known[part], SYMBOL, table.take(rows[part], axis=0))
        return known

    def alike(self, weights: Reals, count: int, known: Integers | None) -> Integers:
        assert known is not None
        if count:
            self._queue.encode(known.astype(np.int32), _one(weights))
        return known

    def below(self, limits: Integers, known: Integers | None) -> Integers:
        assert known is not None
        several = limits > 1
        self._put(known[several], BELOW, limits[several].astype(np.int32))
        return known

    def _put(self, known: Integers | None, family: Any, parameters: Any) -> Integers:
        assert known is not None
        if len(known):
            self._queue.encode(known.astype(np.int32), family, parameters)
        return known

    def payload(self, short: bool) -> bytes:
        """All that was coded: 32-bit words, little endian; the first is how many follow, plus 2**31
        for `short`, which a decoder finds before it starts."""
        words = self._queue.get_compressed()
        first = len(words) + SHORT * short
        return np.concatenate([[first], words]).astype("<u4").tobytes()


class Decoder:
    """Finds the symbols in bytes that an `Encoder` wrote, asked for in the same order."""

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload, "<u4", len(payload) // 4).astype(np.uint32)
        if len(payload) % 4 or not len(words) or words[0] % SHORT != len(words) - 1:
            raise ValueError("its codes have another length")
        self.short = bool(words[0] >= SHORT)
        self._queue: Any = _QUEUE.RangeDecoder(words[1:])

    def bits(self, chances: Reals, known: Integers | None) -> Integers:  # noqa: ARG002
        return self._get(BIT, np.clip(chances, LEAST, 1 - LEAST))

    def symbols(self, table: Reals, rows: Integers, known: Integers | None) -> Integers:  # noqa: ARG002
        found = np.empty(len(rows), np.int64)
        for part in _parts(table, rows):
            found[part] = self._get(SYMBOL, table.take(rows[part], axis=0))
        return found

    def alike(self, weights: Reals, count: int, known: Integers | None) -> Integers:  # noqa: ARG002
        return self._get(_one(weights), count)

    def below(self, limits: Integers, known: Integers | None) -> Integers:  # noqa: ARG002
        found = np.zeros(len(limits), np.int64)
        several = limits > 1
        found[several] = self._get(BELOW, limits[several].astype(np.int32))
        return found

    def _get(self, family: Any, parameters: Any) -> Integers:
        if not np.size(parameters):
            return np.empty(0, np.int64)
        try:
            found: Integers = self._queue.decode(family, parameters).astype(np.int64)
        except AssertionError:  # constriction's error for words that no encoder writes
            raise ValueError("its codes cannot be decoded") from None
        return found

    def end(self) -> None:
        """Raises `ValueError` unless all words were used."""
        if not self._queue.maybe_exhausted():
            raise ValueError("its payload is too long")
